"""Networks of blocks in channels last, for what TensorFlow cannot compute channels first.

`zoo.core.channels` does this to Keras graphs, which are trained: it keeps each layer, its name and
the order of the weights, so that checkpoints load, and refuses a graph where it cannot. Neither can
stand for the other. Here a network comes from any model that can be read, subclassed ones among
them, or from a rule, and nothing is trained: Permutes move and cancel until alignment meets none.
Both take from there what a layer's config says of its layout.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from keras import layers

from zoo.convert.blocks import Block
from zoo.core.channels import ELEMENTWISE, is_channels_first, with_channels_last

if TYPE_CHECKING:
    from zoo.convert.blocks import Network

TO_LAST, TO_FIRST = (2, 3, 1), (3, 1, 2)


def to_channels_last(network: Network) -> Network:
    """The network with [batch, height, width, channels] inside; its inputs and outputs stay.

    Keras keeps the kernels of both layouts alike: only Permutes are needed, which cancel between
    layers and move past activations. `absorb_channel_permutation` takes those at Dense layers.
    """
    if not has_channels_first(network):
        return network
    for name in [block.name for block in network if _takes_channels_first(network, block)]:
        block = network[name]
        config = (
            {**block.config, "axis": -1}
            if block.layer is layers.BatchNormalization
            else with_channels_last(dict(block.config))
        )
        taken = network[block.parents[0]].shape
        shape = _permuted(block.shape, TO_LAST) if len(block.shape) == 3 else block.shape
        network = network.replaced(replace(block, config=config, shape=shape))
        network = network.inserted_before(_permute(TO_LAST, taken), block.name)
        if len(shape) == 3:
            network = network.inserted(_permute(TO_FIRST, shape), after=block.name)
    return _with_permutes_moved(network)


def has_channels_first(network: Network) -> bool:
    """Whether a layer is channels first; Flatten and BatchNorm, which always run, do not count."""
    norms = layers.BatchNormalization
    return any(_takes_channels_first(network, b) for b in network if b.layer is not norms)


def _takes_channels_first(network: Network, block: Block) -> bool:
    if len(block.parents) != 1 or len(network[block.parents[0]].shape) != 3:
        return False
    if block.layer is layers.BatchNormalization:
        return block.config["axis"] == 1
    return block.layer is not layers.Flatten and is_channels_first(dict(block.config))


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
