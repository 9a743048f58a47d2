"""Channels first, as in networks ported from PyTorch, to channels last."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from keras import layers

from zoo.convert.blocks import Block
from zoo.convert.rules.linear import with_weights

if TYPE_CHECKING:
    from zoo.convert.blocks import Network

ABSORB = "absorb channel permutation"
LAST = "channels last"
ELEMENTWISE = (
    layers.Activation,
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
)
TO_LAST, TO_FIRST = (2, 3, 1), (3, 1, 2)


def absorb_channel_permutation(network: Network) -> Network:
    """Without each Permute that a Dense layer can do.

    Dense → Reshape((C, H, W)) → Permute((2, 3, 1)) is Dense with permuted columns →
    Reshape((H, W, C)); Permute → Flatten → Dense is Flatten → Dense with permuted rows. Activations
    may be between. A Permute that stays is exact, and not noted.
    """
    for permute in [block for block in network if block.layer is layers.Permute]:
        network = _into_columns(network, permute) or _into_rows(network, permute) or network
    return network


def to_channels_last(network: Network) -> Network:
    """The network with [batch, height, width, channels] inside; its inputs and outputs stay.

    Keras keeps the kernels of both layouts alike: only Permutes are needed, which cancel between
    layers and move past activations. `absorb_channel_permutation` takes those at Dense layers.
    """
    for name in [block.name for block in network if _is_channels_first(block)]:
        block = network[name]
        changes = {"axis": -1} if "axis" in block.config else {"data_format": "channels_last"}
        taken = network[block.parents[0]].shape
        shape = _permuted(block.shape, TO_LAST) if len(block.shape) == 3 else block.shape
        network = network.replaced(replace(block.with_config(**changes), shape=shape))
        network = network.inserted_before(_permute(TO_LAST, taken), block.name)
        if len(shape) == 3:
            network = network.inserted(_permute(TO_FIRST, shape), after=block.name)
    return _with_permutes_moved(network)


def _is_channels_first(block: Block) -> bool:
    norm = block.layer is layers.BatchNormalization and len(block.shape) == 3
    return (norm and block.config["axis"] == 1) or (
        block.config.get("data_format") == "channels_first" and block.layer is not layers.Flatten
    )


def _permute(dims: tuple[int, ...], taken: tuple[int | None, ...]) -> Block:
    return Block("permute", layers.Permute, {"dims": dims}, shape=_permuted(taken, dims))


def _permuted(shape: tuple[int | None, ...], dims: tuple[int, ...]) -> tuple[int | None, ...]:
    return tuple(shape[dim - 1] for dim in dims)


def _with_permutes_moved(network: Network) -> Network:
    """With Permutes behind the activations that follow them, and without pairs that cancel."""
    for name in [block.name for block in network]:
        while name in network.blocks and network[name].layer is layers.Permute:
            permute, child = network[name], network.only_child(name)
            if child is None:
                break
            taken = network[permute.parents[0]].shape
            if child.layer in ELEMENTWISE and child.activation != "softmax":
                network = network.without(name).replaced(
                    replace(child, args=permute.args, shape=taken)
                )
                network = network.inserted(permute, after=child.name)
            elif child.layer is layers.Permute:
                dims = _permuted(tuple(permute.config["dims"]), tuple(child.config["dims"]))
                network = network.without(name)
                if dims == (1, 2, 3):
                    network = network.without(child.name)
                else:
                    network = network.replaced(network[child.name].with_config(dims=dims))
                break
            else:
                break
    return network


def _into_columns(network: Network, permute: Block) -> Network | None:
    """Dense → Reshape → Permute as Dense → Reshape; None if it is not that."""
    path: list[Block] = []
    block = network.only_parent(permute.name)
    while block is not None and (
        block.layer in ELEMENTWISE or (block.layer is layers.Reshape and block.shape)
    ):
        path.append(block)
        block = network.only_parent(block.name)
    reshapes = [found for found in path if found.layer is layers.Reshape]
    if block is None or block.layer is not layers.Dense or len(reshapes) != 1:
        return None
    if "softmax" in [found.activation for found in (block, *path)] or len(block.shape) != 1:
        return None
    target, dims = reshapes[0].shape, permute.config["dims"]
    order = _order(target, dims)
    bias = block.arrays.get("bias")
    dense = with_weights(
        block, block.arrays["kernel"][:, order], None if bias is None else bias[order], ABSORB
    )
    changed = [replace(found, shape=permute.shape) for found in path if found.shape == target]
    network = network.replaced(dense, *changed)
    reshape = network[reshapes[0].name].with_config(target_shape=permute.shape)
    return network.replaced(replace(reshape, shape=permute.shape)).without(permute.name)


def _into_rows(network: Network, permute: Block) -> Network | None:
    """Permute → Flatten → Dense as Flatten → Dense; None if it is not that."""
    between: list[Block] = []
    flat = network.only_child(permute.name)
    while flat is not None and flat.layer in ELEMENTWISE and flat.activation != "softmax":
        between.append(flat)
        flat = network.only_child(flat.name)
    if flat is None or flat.layer not in (layers.Flatten, layers.Reshape) or len(flat.shape) != 1:
        return None
    if flat.config.get("data_format") == "channels_first":
        return None
    dense = network.only_child(flat.name)
    if dense is None or dense.layer is not layers.Dense or network.is_shared(dense.name):
        return None
    taken = network[permute.parents[0]].shape
    kernel = np.empty_like(dense.arrays["kernel"])
    kernel[_order(taken, permute.config["dims"])] = dense.arrays["kernel"]
    changed = with_weights(dense, kernel, dense.arrays.get("bias"), ABSORB)
    moved = [replace(block, shape=taken) for block in between]
    return network.replaced(changed, *moved).without(permute.name)


def _order(shape: tuple[int | None, ...], dims: tuple[int, ...]) -> np.ndarray:
    """Where each number of the permuted array was in the array, both flat."""
    sizes = [size or 0 for size in shape]
    places = np.arange(np.prod(sizes)).reshape(sizes)
    return places.transpose([dim - 1 for dim in dims]).ravel()
