"""Wider layers of the same function (Net2Wider, arXiv 1511.05641, section 2.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from keras import layers

from zoo.convert.rules.linear import (
    ACTIVATIONS,
    input_axis,
    is_channels_first,
    output_axis,
    outputs_of,
    with_weights,
)

if TYPE_CHECKING:
    from zoo.convert.blocks import Block, Network

WIDEN = "Net2Wider"
# They treat every channel alike, by itself.
CHANNELWISE = (
    *ACTIVATIONS,
    layers.UpSampling2D,
    layers.Cropping2D,
    layers.ZeroPadding2D,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.GlobalAveragePooling2D,
)


def widen(network: Network, block_name: str, width: int, seed: int = 0) -> Network:
    """The network with more units or filters in one layer, the new ones copies of old ones.

    Outputs g(j) = j for the old and random for the new; what takes them has its kernel divided by
    how often each is there. Between may be activations, BatchNorm, shapes, upsampling and pooling.

    Args:
        network: The network.
        block_name: A Dense, Conv2D or Conv2DTranspose block.
        width: Units or filters to have. A Dense layer that is reshaped to a map gets more channels:
            its units must be a multiple of the map's positions.
        seed: Seed of the choice of copies.

    Raises:
        ValueError: If the width is smaller than before or no such multiple, or what takes the
            outputs cannot take copies: the network's output, a sum with another branch, a norm
            over channels.
    """
    if block_name not in network.blocks or not network[block_name].is_linear:
        linear = [block.name for block in network if block.is_linear]
        msg = f"{block_name!r} is no linear block of the network: expected one of {linear}."
        raise ValueError(msg)
    block = network[block_name]
    _check_replicable(network, block)
    if block.activation == "softmax":
        msg = f"{block_name!r} has a softmax within, which copies would change: widen another."
        raise ValueError(msg)
    channels = _channels(network, block)
    positions = outputs_of(block) // channels
    if width < outputs_of(block) or width % positions:
        msg = (
            f"width={width}: {block_name!r} has {outputs_of(block)} outputs, {channels} channels "
            f"at {positions} positions; expected a multiple of {positions}, no smaller."
        )
        raise ValueError(msg)
    new = np.random.default_rng(seed).integers(0, channels, width // positions - channels)
    copies = _Copies(np.concatenate([np.arange(channels), new]), channels)
    index = copies.index(positions)
    key = "units" if block.layer is layers.Dense else "filters"
    bias = block.arrays.get("bias")
    kernel = np.take(block.arrays["kernel"], index, output_axis(block))
    wider = with_weights(block, kernel, None if bias is None else bias[index], WIDEN)
    wider = wider.with_config(**{key: len(index)})
    network = network.replaced(_with_last(wider, len(index)))
    return _replicated_after(network, block_name, positions, copies)


@dataclass(frozen=True)
class _Copies:
    """Which of the old channels each channel is."""

    of: np.ndarray
    channels: int

    def index(self, positions: int) -> np.ndarray:
        """Old index of each number where the last axis has every channel at several positions."""
        return (np.arange(positions)[:, None] * self.channels + self.of).ravel()

    def shares(self, positions: int) -> np.ndarray:
        """1 / how often each is there."""
        return np.tile(1.0 / np.bincount(self.of)[self.of], positions)


def _replicated_after(network: Network, name: str, positions: int, copies: _Copies) -> Network:
    """The network whose blocks after `name`, up to linear ones, take the copies."""
    for consumer in network.consumers(name):
        block = network[consumer] if consumer else None
        if block is not None and block.is_linear:
            network = network.replaced(_taking_copies(network, block, positions, copies))
            continue
        after = _channelwise(block, positions, copies)
        if block is None or after is None or network.is_shared(consumer):
            taker = f"{block.name!r} ({block.kind})" if block else "the network's output"
            msg = (
                f"{taker} takes {name!r} and cannot take copies of its channels; expected linear "
                "layers, behind activations, BatchNorm, shapes, upsampling or pooling. Widen "
                "another layer."
            )
            raise ValueError(msg)
        new, positions_after = after
        network = _replicated_after(network.replaced(new), consumer, positions_after, copies)
    return network


def _channelwise(block: Block | None, positions: int, copies: _Copies) -> tuple[Block, int] | None:
    """A block on the copies, and at how many positions its last axis has them; None if it cannot.

    A reshape keeps the order of numbers, so the channels repeat in any last axis they divide.
    """
    if block is None or is_channels_first(block):
        return None
    if block.layer in (layers.Reshape, layers.Flatten):
        last = block.shape[-1]
        if not last or last % copies.channels:
            return None
        positions = last // copies.channels
        block = _with_last(block, positions * len(copies.of))
        changes = {"target_shape": block.shape} if block.layer is layers.Reshape else {}
        return block.with_config(**changes), positions
    if not _is_channelwise(block):
        return None
    index = copies.index(positions)
    arrays = {
        key: value[..., index] if value.shape[-1] == positions * copies.channels else value
        for key, value in block.arrays.items()
    }
    return _with_last(block.with_arrays(arrays, WIDEN), len(index)), positions


def _is_channelwise(block: Block) -> bool:
    if block.layer is layers.BatchNormalization:
        return block.config["axis"] in (-1, len(block.shape))
    if block.layer is layers.Rescaling:
        return np.isscalar(block.config["scale"]) and np.isscalar(block.config["offset"])
    return block.layer in CHANNELWISE and block.activation != "softmax"


def _taking_copies(network: Network, block: Block, positions: int, copies: _Copies) -> Block:
    _check_replicable(network, block)
    axis = input_axis(block)
    kernel = np.take(block.arrays["kernel"], copies.index(positions), axis)
    shares = copies.shares(positions)
    kernel = kernel * (shares if axis == -1 else shares[:, None])
    return block.with_arrays({**block.arrays, "kernel": kernel}, WIDEN)


def _check_replicable(network: Network, block: Block) -> None:
    groups = block.config.get("groups", 1)
    if network.is_shared(block.name) or groups != 1 or is_channels_first(block):
        msg = (
            f"{block.name!r} cannot be widened or fed with copies: it is called more than once, "
            f"has groups={groups} or channels first; expected a layer of its own, groups=1 and "
            "channels last."
        )
        raise ValueError(msg)


def _channels(network: Network, block: Block) -> int:
    """Channels of what consumers see: of a Dense layer that is reshaped to a map, the map's."""
    outputs = outputs_of(block)
    if block.layer is not layers.Dense:
        return outputs
    child = network.only_child(block.name)
    while child is not None and (
        child.layer in ACTIVATIONS or child.layer is layers.BatchNormalization
    ):
        child = network.only_child(child.name)
    if child is not None and child.layer is layers.Reshape and len(child.shape) == 3:
        return child.shape[-1] or outputs
    return outputs


def _with_last(block: Block, size: int) -> Block:
    return replace(block, shape=(*block.shape[:-1], size))
