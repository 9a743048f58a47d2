"""Output activations: a generator's images ⇄ a decoder's logits.

sigmoid(2x) = (tanh x + 1) / 2, so a generator that ends in tanh is a decoder with twice its last
kernel and bias.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from keras import layers

from zoo.convert.blocks import Block
from zoo.convert.rules.linear import HOMOGENEOUS, after_affine, is_plain, moves_values

if TYPE_CHECKING:
    from zoo.convert.blocks import Network

LOGITS = "tanh → sigmoid (× 2)"
IMAGES = "sigmoid → tanh (× ½)"
CUT = "cut off at 0 and 1"
MERGE = "merge rescalings"


def logits_from_images(network: Network) -> Network:
    """A generator without its output activation: the logits of its images.

    The images are sigmoid(logits), rescaled to `output_range(network)`. Without a linear layer
    directly before the tanh, a Rescaling(2) takes the tanh's place.

    Raises:
        ValueError: If it ends in neither sigmoid nor tanh, or its images are neither in [0, 1] nor
            in [-1, 1].
    """
    ending = _ending(network)
    block = network[ending.block]
    if block.is_linear:
        block = block.with_config(activation="linear")
        if ending.factor != 1:
            block = after_affine(block, ending.factor, None, LOGITS)
        network = network.replaced(block)
    elif ending.factor != 1:
        network = _scaled(network, block.name, ending.factor, LOGITS)
    else:
        network = network.without(block.name)
    return network.without(*ending.rescalings)


def output_range(network: Network) -> tuple[float, float]:
    """Darkest and brightest value of a generator's images: (0, 1) or (-1, 1).

    Raises:
        ValueError: As `logits_from_images`.
    """
    return _ending(network).range


def images_from_logits(network: Network, low: float = 0.0) -> Network:
    """A decoder with tanh and, for images in [0, 1], Rescaling(0.5, 0.5) after half its logits.

    Args:
        network: A decoder that returns logits.
        low: Darkest value of the images: 0, or -1 for images in [-1, 1].

    Raises:
        ValueError: If `low` is neither, or the network's output is used within it too.
    """
    if low not in (0.0, -1.0):
        msg = f"low={low}: images begin at 0 or at -1."
        raise ValueError(msg)
    last = _output(network)
    tanh = Block("tanh", layers.Activation, {"activation": "tanh"}, shape=last.shape)
    network = network.inserted(tanh, after=last.name)
    tanh = _output(network)
    network = _scaled_before(network, tanh.name, 0.5, IMAGES)
    if low == 0.0:
        config = {"scale": 0.5, "offset": 0.5}
        unit = Block("to_unit_range", layers.Rescaling, config, shape=last.shape)
        network = network.inserted(unit, after=tanh.name)
    return network


def images_from_values(network: Network) -> Network:
    """A decoder whose values are the pixels, cut off at 0 and 1 by a ReLU of at most 1.

    Raises:
        ValueError: If the network's output is used within it too.
    """
    last = _output(network)
    cut = Block("cut_off", layers.ReLU, {"max_value": 1.0}, shape=last.shape)
    return network.inserted(cut, after=last.name)


def merge_rescalings(network: Network) -> Network:
    """One Rescaling in place of several in a row, as x * 0.5 + 0.5 makes them.

    (x · s₁ + o₁) · s₂ + o₂ = x · s₁s₂ + (o₁s₂ + o₂).
    """
    for name in [block.name for block in network]:
        block = network[name]
        before = network.only_parent(name)
        if before is None or not (_is_scalar_rescaling(block) and _is_scalar_rescaling(before)):
            continue
        first, second = before.config, block.config
        scale = first["scale"] * second["scale"]
        offset = first["offset"] * second["scale"] + second["offset"]
        network = network.replaced(block.with_config(scale=scale, offset=offset))
        network = network.without(before.name)
    return network


@dataclass(frozen=True)
class _Ending:
    """The block with the activation, the rescalings after it, and what they make of images."""

    block: str
    rescalings: tuple[str, ...]
    factor: int
    range: tuple[float, float]


def _output(network: Network) -> Block:
    if len(network.outputs) != 1 or network.consumers(network.outputs[0].block) != [""]:
        outputs = [ref.block for ref in network.outputs]
        msg = f"The generator returns {outputs}; expected one output, used nowhere else."
        raise ValueError(msg)
    return network[network.outputs[0].block]


def _ending(network: Network) -> _Ending:
    block: Block | None = _output(network)
    scale, offset = 1.0, 0.0
    rescalings: list[str] = []
    functions: list[str] = []
    while block is not None:
        if _is_scalar_rescaling(block):
            # scale (s x + o) + offset
            offset += scale * block.config["offset"]
            scale *= block.config["scale"]
            rescalings.append(block.name)
            functions.insert(0, _words(block))
        elif block.layer is layers.Activation or (block.is_linear and block.activation != "linear"):
            functions.insert(0, block.activation)
            break
        elif not moves_values(block):
            block = None
            break
        block = network.only_parent(block.name)
    function = functions[0] if functions else ""
    dark, factor = {"sigmoid": (0.0, 1), "tanh": (-1.0, 2)}.get(function, (np.nan, 0))
    low, high = float(scale * dark + offset), float(scale + offset)
    shared = block is not None and block.is_linear and network.is_shared(block.name)
    for wanted in ((0.0, 1.0), (-1.0, 1.0)):
        if block is not None and not shared and np.allclose((low, high), wanted, atol=1e-12):
            return _Ending(block.name, tuple(rescalings), factor, wanted)
    msg = (
        f"The generator ends in {functions or _output(network).kind}; expected a "
        "Dense, Conv2D or Conv2DTranspose followed by sigmoid, or by tanh and "
        "Rescaling(0.5, 0.5)."
    )
    raise ValueError(msg)


def _words(block: Block) -> str:
    scale, offset = block.config["scale"], block.config["offset"]
    if (scale, offset) == (0.5, 0.5):
        return "rescaling to [0, 1]"
    return f"rescaling by {scale} and {offset}"


def _is_scalar_rescaling(block: Block) -> bool:
    return block.layer is layers.Rescaling and all(
        np.isscalar(block.config[key]) for key in ("scale", "offset")
    )


def _scaled(network: Network, name: str, factor: float, rule: str) -> Network:
    """With `factor` · x in place of block `name`'s f(x)."""
    linear = _linear_before(network, name)
    if linear is None:
        config = {"scale": float(factor), "offset": 0.0}
        block = replace(network[name], layer=layers.Rescaling, config=config)
        return network.replaced(block)
    scaled = after_affine(linear, factor, None, rule)
    return network.replaced(scaled).without(name)


def _scaled_before(network: Network, name: str, factor: float, rule: str) -> Network:
    """With f(`factor` · x) in place of block `name`'s f(x)."""
    linear = _linear_before(network, name)
    if linear is not None:
        return network.replaced(after_affine(linear, factor, None, rule))
    before = network[network[name].parents[0]]
    if _is_scalar_rescaling(before) and network.is_private(before.name):
        scale, offset = (factor * before.config[key] for key in ("scale", "offset"))
        if (scale, offset) == (1.0, 0.0):
            return network.without(before.name)
        return network.replaced(before.with_config(scale=scale, offset=offset))
    config = {"scale": float(factor), "offset": 0.0}
    block = Block("rescaling", layers.Rescaling, config, shape=before.shape)
    return network.inserted(block, after=before.name)


def _linear_before(network: Network, name: str) -> Block | None:
    """The linear block whose output, but for shapes and interpolation, `name` alone takes."""
    block = network.only_parent(name)
    while block is not None and block.layer in HOMOGENEOUS:
        block = network.only_parent(block.name)
    return block if is_plain(network, block) else None
