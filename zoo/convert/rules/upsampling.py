"""Nearest upsampling and convolution ⇄ one transposed convolution."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import layers

from zoo.convert.blocks import Block
from zoo.convert.rules.linear import is_channels_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.convert.blocks import Network

MERGE = "upsample + conv → conv transpose"
SPLIT = "conv transpose → upsample + conv"
# Relative residual of a float32 kernel that is in the image of the map.
ROUNDING = 1e-6


def upsample_conv_to_conv_transpose(
    network: Network, names: Sequence[str] | None = None
) -> Network:
    """One Conv2DTranspose in place of nearest UpSampling2D and Conv2D.

    An output takes x[i] through every upsampled pixel that repeats it, so the kernel of size
    k + s − 1 and stride s is flip(K) convolved with ones(s, s) (deconvolution and checkerboards:
    Odena et al., 2016). Exact with borders.

    Args:
        network: The network.
        names: The Conv2D blocks; None: all that can.

    Raises:
        ValueError: If a named block cannot.
    """
    for block in _chosen(network, names):
        reason = why_not_merged(network, block)
        if reason is None:
            up = network[block.parents[0]]
            sizes = tuple(up.config["size"])
            kernel = _merged(block.arrays["kernel"], sizes)
            merged = _as(layers.Conv2DTranspose, block, kernel, sizes, MERGE)
            network = network.replaced(merged).without(up.name)
        elif names is not None:
            raise ValueError(reason)
    return network


def conv_transpose_to_upsample_conv(
    network: Network, names: Sequence[str] | None = None
) -> Network:
    """Nearest UpSampling2D and Conv2D in place of Conv2DTranspose, where its kernel allows.

    The inverse of `upsample_conv_to_conv_transpose`, by least squares: most transposed
    convolutions are no upsampled convolution.

    Args:
        network: The network.
        names: The Conv2DTranspose blocks; None: all that can; the others are noted.

    Raises:
        ValueError: If a named block cannot.
    """
    for block in _chosen(network, names):
        if names is None and block.layer is not layers.Conv2DTranspose:
            continue
        kernel, reason = _split(network, block)
        if kernel is not None:
            strides = tuple(block.config["strides"])
            config = {
                "size": strides,
                "interpolation": "nearest",
                "data_format": "channels_last",
            }
            (parent,) = block.parents
            shape = (*block.shape[:2], network[parent].shape[-1])
            up = Block("up_sampling", layers.UpSampling2D, config, shape=shape)
            conv = _as(layers.Conv2D, block, kernel, (1, 1), SPLIT)
            network = network.replaced(conv).inserted_before(up, block.name)
        elif names is not None:
            raise ValueError(reason)
        elif block.config["strides"] != (1, 1):
            network = network.noted(reason)
    return network


def _chosen(network: Network, names: Sequence[str] | None) -> list[Block]:
    unknown = [name for name in names or () if name not in network.blocks]
    if unknown:
        msg = f"No blocks {unknown}. Choose among {list(network.blocks)}."
        raise ValueError(msg)
    return [network[name] for name in (names if names is not None else network.blocks)]


def why_not_merged(network: Network, block: Block) -> str | None:
    """Why a block is no convolution of stride 1 behind nearest upsampling; None if it is one."""
    if block.layer is not layers.Conv2D:  # whose configuration may be of another form
        return f"{block.name!r} is a {block.kind}; expected Conv2D to merge it with upsampling."
    up = network.only_parent(block.name)
    config = block.config
    checks: list[tuple[str, Any, Any]] = [
        ("is called more than once:", network.is_shared(block.name), False),
        ("follows", up.kind if up else None, "UpSampling2D"),
        ("has padding", config.get("padding"), "same"),
        ("has data_format", config.get("data_format"), "channels_last"),
        ("has strides", tuple(config.get("strides", ())), (1, 1)),
        ("has dilation_rate", tuple(config.get("dilation_rate", ())), (1, 1)),
        ("has groups", config.get("groups"), 1),
        ("has odd kernel sides:", all(n % 2 for n in config.get("kernel_size", ())), True),
        ("follows interpolation", up and up.config.get("interpolation"), "nearest"),
        ("follows data_format", up and up.config.get("data_format"), "channels_last"),
    ]
    for words, value, wanted in checks:
        if value != wanted:
            return f"{block.name!r} {words} {value}; expected {wanted} to merge it with upsampling."
    return None


def _merged(kernel: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """The Conv2DTranspose kernel (h, w, out, in) of a Conv2D kernel (h, w, in, out)."""
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    rows, columns = (_sum_of_shifts(*pair) for pair in zip(kernel.shape, sizes, strict=False))
    return np.einsum("ai,bj,ijoc->aboc", rows, columns, flipped)


def _sum_of_shifts(size: int, factor: int) -> np.ndarray:
    """Convolution with ones(factor) as a matrix [size + factor − 1, size]."""
    offsets = np.arange(size + factor - 1)[:, None] - np.arange(size)
    return ((offsets >= 0) & (offsets < factor)).astype(np.float64)


def _split(network: Network, block: Block) -> tuple[np.ndarray | None, str]:
    """The Conv2D kernel; or None and the reason."""
    config = block.config
    strides = tuple(config.get("strides", ()))
    sizes = [k - s + 1 for k, s in zip(config.get("kernel_size", ()), strides, strict=False)]
    checks: list[tuple[str, Any, Any]] = [
        ("is a", block.kind, "Conv2DTranspose"),
        ("is called more than once:", network.is_shared(block.name), False),
        ("has padding", config.get("padding"), "same"),
        ("has channels first:", is_channels_first(block), False),
        ("has dilation_rate", tuple(config.get("dilation_rate", ())), (1, 1)),
        ("has output_padding", config.get("output_padding"), None),
        ("has kernel side − stride + 1 odd:", all(n > 0 and n % 2 for n in sizes), True),
    ]
    for words, value, wanted in checks:
        if value != wanted:
            return None, f"{block.name!r} {words} {value}; expected {wanted} to split it."
    kernel = block.arrays["kernel"]
    rows, columns = (np.linalg.pinv(_sum_of_shifts(*p)) for p in zip(sizes, strides, strict=True))
    flipped = np.einsum("ia,jb,aboc->ijoc", rows, columns, kernel)
    split = flipped[::-1, ::-1].swapaxes(2, 3)
    size = float(np.linalg.norm(kernel))
    residual = float(np.linalg.norm(_merged(split, strides) - kernel)) / (size or 1.0)
    if residual > ROUNDING:
        return None, (
            f"{block.name!r}: its kernel is no upsampled convolution's: relative residual "
            f"{residual:.2g}, expected at most {ROUNDING:g}. Keep the Conv2DTranspose."
        )
    return split, ""


def _as(layer: Any, block: Block, kernel: np.ndarray, strides: tuple[int, ...], rule: str) -> Block:
    """A convolution block as one of the other kind."""
    dropped = ("groups", "output_padding")
    config = {key: value for key, value in block.config.items() if key not in dropped}
    config |= {"kernel_size": kernel.shape[:2], "strides": strides}
    new = replace(block, layer=layer, config=config)
    return new.with_arrays({**block.arrays, "kernel": kernel}, rule)
