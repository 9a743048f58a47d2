"""Rewriting a network towards the form that a given target has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras import layers

from zoo.convert import rules
from zoo.convert.rules.linear import outputs_of

if TYPE_CHECKING:
    from zoo.convert.blocks import Block, Network


def rewrite_towards(network: Network, target: Network) -> Network:
    """Applies the rules that make `network` more like `target` and keep its function.

    Channels last, a Dense for a transposed convolution of one pixel, upsampling and convolution for
    a transposed convolution or the other way round, and wider layers where the target's are.
    """
    kinds = {block.layer for block in target}
    if layers.Permute not in kinds:
        network = rules.absorb_channel_permutation(network)
    if not any(_is_unit_conv_transpose(target, block) for block in target):
        network = rules.unit_conv_transpose_to_dense(network)
    if layers.UpSampling2D not in kinds:
        network = rules.upsample_conv_to_conv_transpose(network)
    elif layers.Conv2DTranspose not in kinds:
        network = rules.conv_transpose_to_upsample_conv(network)
    return _widened(network, target)


def _is_unit_conv_transpose(network: Network, block: Block) -> bool:
    return block.layer is layers.Conv2DTranspose and network[block.parents[0]].shape[:2] == (1, 1)


def _widened(network: Network, target: Network) -> Network:
    """Net2Wider (arXiv 1511.05641) where the target has as many layers, but wider ones."""
    theirs = [block for block in target if block.is_linear]
    ours = [block.name for block in network if block.is_linear]
    if len(ours) != len(theirs):
        return network
    for name, block in zip(ours[:-1], theirs[:-1], strict=True):
        width = outputs_of(block)
        if block.layer is network[name].layer and width > outputs_of(network[name]):
            network = rules.widen(network, name, width, seed=0)
    return network
