"""The form in which networks are compared: activations are blocks, and identities are gone."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, tree

from zoo.convert.blocks import Block, Network, Ref, refs

if TYPE_CHECKING:
    from collections.abc import Mapping

# Layers whose `activation` is applied to their output (a recurrent layer's is not).
ENDS_IN_ACTIVATION = (
    layers.Dense,
    layers.EinsumDense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)
# Entries of a config that inference does not depend on, or that the weights' shapes show.
IGNORED = re.compile(
    r"name|trainable|dtype|seed|momentum|synchronized|renorm.*|use_bias|units|filters|lora_.*"
    r"|quantization_config|.*_(initializer|regularizer|constraint)"
)


def normal(network: Network) -> Network:
    """The network with activations as blocks of their own, without identities and dead ends."""
    for block in network:
        if block.layer in ENDS_IN_ACTIVATION and block.activation != "linear":
            activation = Block(
                f"{block.name}_activation",
                layers.Activation,
                {"activation": block.config["activation"]},
                shape=block.shape,
            )
            block_now = network[block.name].with_config(activation="linear")
            network = network.replaced(block_now).inserted(activation, after=block.name)
    for block in network:
        if _is_identity(network, block.name):
            network = network.without(block.name)
    return replace(network.upto(*(ref.block for ref in network.outputs)), outputs=network.outputs)


def _is_identity(network: Network, name: str) -> bool:
    block = network[name]
    taken = refs((block.args, block.kwargs))
    if len(taken) != 1 or taken[0].index or not isinstance(block.layer, type):
        return False
    if block.layer is layers.Identity:
        return True
    facts = facts_of(network, block)
    return (
        (facts["kind"] == "Activation" and facts.get("activation") == "linear")
        or (facts["kind"] == "Reshape" and network[taken[0].block].shape == block.shape)
        or (facts["kind"] == "Rescaling" and (facts["scale"], facts["offset"]) == (1, 0))
    )


def facts_of(network: Network, block: Block) -> dict[str, Any]:
    """All that the block's function depends on, but its weights and whom it takes from."""
    if block.layer is layers.InputLayer:
        position = [b.name for b in network.inputs].index(block.name)
        return {"kind": "Input", "shape": block.shape, "position": position}
    constants = [x for x in tree.flatten((block.args, block.kwargs)) if not isinstance(x, Ref)]
    common = {"inputs": len(block.parents), "arguments": _plain(constants)}
    if not isinstance(block.layer, type):
        own = {k: v for k, v in vars(block.layer).items() if k[0] != "_" and k != "name"}
        return {"kind": type(block.layer).__name__, **_plain(own), **common, "shape": block.shape}
    config = _full_config(block.layer, block.config)
    # Flattening channels first would also move the channels.
    if (
        block.layer in (layers.Flatten, layers.Reshape)
        and config.get("data_format") != "channels_first"
    ):
        return {"kind": "Reshape", "target_shape": block.shape, **common}
    activation = _activation(block.layer, config)
    if activation is not None:
        return {"kind": "Activation", **activation, **common}
    owner = network[block.shares] if block.shares else block
    shapes = {f"{k} shape": v.shape for k, v in owner.arrays.items() if k != "bias"}
    kept = {k: v for k, v in config.items() if not IGNORED.fullmatch(k)}
    if kept.get("activation") == "linear":
        del kept["activation"]
    if isinstance(kept.get("axis"), int):
        kept["axis"] %= len(block.shape) + 1
    kind = keras.saving.get_registered_name(block.layer)
    return {"kind": kind, **kept, **shapes, **common}


def _full_config(layer: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the defaults of what it leaves out, in plain types."""
    try:
        made = layer.from_config({"name": "x", **config}).get_config()
    except (TypeError, ValueError):  # a layer of the user's own that needs more than its config
        made = dict(config)
    return _plain(made)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(map(_plain, value))
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _activation(layer: Any, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """An activation by its function, whichever layer computes it; None for other layers."""
    if layer is layers.Activation:
        return _function(config["activation"])
    if layer in (layers.ReLU, layers.LeakyReLU):
        slope, most = config["negative_slope"], config.get("max_value")
        return _rectifier(slope=slope, max_value=most, threshold=config.get("threshold", 0.0))
    if layer is layers.ELU:
        return {"activation": "elu", "alpha": config["alpha"]}
    if layer is layers.Softmax:
        return {"activation": "softmax", "axis": config["axis"]}
    return None


def _function(activation: Any) -> dict[str, Any]:
    """The facts of what a config names as activation: a string, or a serialised object."""
    function = keras.activations.get(activation)
    if isinstance(function, keras.Layer):
        config = _plain(function.get_config())
        kept = {k: v for k, v in config.items() if not IGNORED.fullmatch(k)}
        return _activation(type(function), config) or {
            "activation": type(function).__name__,
            **kept,
        }
    name = getattr(function, "__name__", str(function))
    return {
        # Keras's defaults of the functions that layers have with other parameters.
        "relu": _rectifier(),
        "relu6": _rectifier(max_value=6.0),
        "leaky_relu": _rectifier(slope=0.2),
        "elu": {"activation": "elu", "alpha": 1.0},
        "softmax": {"activation": "softmax", "axis": -1},
    }.get(name, {"activation": name})


def _rectifier(
    slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> dict[str, Any]:
    return {"activation": "relu", "slope": slope, "max_value": max_value, "threshold": threshold}
