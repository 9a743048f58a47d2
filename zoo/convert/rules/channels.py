"""What is left of channels first, as in networks ported from PyTorch: Permutes at Dense layers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from keras import layers

from zoo.convert.rules.linear import with_weights
from zoo.core.channels import ELEMENTWISE

if TYPE_CHECKING:
    from zoo.convert.blocks import Block, Network

ABSORB = "absorb channel permutation"
LAST = "channels last"


def absorb_channel_permutation(network: Network) -> Network:
    """Without each Permute that a Dense layer can do.

    Dense → Reshape((C, H, W)) → Permute((2, 3, 1)) is Dense with permuted columns →
    Reshape((H, W, C)); Permute → Flatten → Dense is Flatten → Dense with permuted rows. Activations
    may be between. A Permute that stays is exact, and not noted.
    """
    for permute in [block for block in network if block.layer is layers.Permute]:
        network = _into_columns(network, permute) or _into_rows(network, permute) or network
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
    reshapes = [part for part in path if part.layer is layers.Reshape]
    if block is None or block.layer is not layers.Dense or len(reshapes) != 1:
        return None
    if "softmax" in [part.activation for part in (block, *path)] or len(block.shape) != 1:
        return None
    target, dims = reshapes[0].shape, permute.config["dims"]
    order = _order(target, dims)
    bias = block.arrays.get("bias")
    dense = with_weights(
        block, block.arrays["kernel"][:, order], None if bias is None else bias[order], ABSORB
    )
    changed = [replace(part, shape=permute.shape) for part in path if part.shape == target]
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
