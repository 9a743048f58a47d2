"""Encoder and discriminator share a trunk: images to features; only their heads differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
from keras import layers

from zoo.convert import rules
from zoo.convert.blocks import Network, Ref
from zoo.convert.building import build
from zoo.convert.reading import read
from zoo.convert.report import TensorRow
from zoo.convert.writing import variables

# The posterior's log-variance, so that neither a sharp nor a flat one runs away while the decoder
# is fixed.
LOG_VARIANCE = (-8.0, 2.0)
HIDDEN = 256  # as in zoo.networks.conv


def trunk_of(network: Network, heads: int) -> Network:
    """The network before its last linear layers.

    Args:
        network: An encoder (two heads) or a discriminator (one).
        heads: Number of outputs expected.

    Returns:
        The same blocks without the heads and what comes after them; its output is what fed them.

    Raises:
        ValueError: If there are other outputs, or they do not come from Dense layers that all take
            from one block.
    """
    ends = []
    for ref in network.outputs:
        block = network[ref.block]
        while not block.is_linear and len(block.parents) == 1:
            block = network[block.parents[0]]
        ends.append(block)
    parents = {block.parents for block in ends}
    dense = all(block.layer is layers.Dense for block in ends)
    if len(ends) != heads or len(parents) != 1 or not dense:
        msg = (
            f"{network.name} ends in {[block.name for block in ends]}; expected {heads} Dense "
            "layers that take from one block. Start the new network at random instead."
        )
        raise ValueError(msg)
    (parent,) = parents.pop()
    kept: dict[str, Any] = {}

    def keep(name: str) -> None:
        for before in network[name].parents:
            keep(before)
        kept[name] = network[name]

    keep(parent)
    blocks = {name: block for name, block in network.blocks.items() if name in kept}
    return replace(network, blocks=blocks, outputs=(Ref(parent),))


def encoder_trunk(discriminator: keras.Model) -> Network:
    """A discriminator without its head, BatchNorm folded where it can be.

    Raises:
        ValueError: If it takes more than images, or has other heads than one.
    """
    if len(discriminator.inputs) > 1:
        taken = " and ".join(tensor.name for tensor in discriminator.inputs)
        msg = (
            f"The discriminator takes {taken}: it has no features of images alone for an encoder. "
            "Start the encoder at random instead (encoder_init='random')."
        )
        raise ValueError(msg)
    network = rules.unwrap_spectral_norm(read(discriminator, "discriminator"))
    return rules.fold_norms(trunk_of(network, heads=1))


def encoder_on(trunk: Network, latent_dim: int) -> keras.Model:
    """An encoder with this trunk and new heads, random."""
    model = build(trunk)
    features = layers.Dense(HIDDEN, activation="relu", name="hidden")(model.outputs[0])
    return keras.Model(model.inputs[0], heads(features, latent_dim), name="encoder")


def heads(features: Any, latent_dim: int) -> list[Any]:
    """Posterior mean and clamped log-variance of features."""
    mean = layers.Dense(latent_dim, dtype="float32", name="mean")(features)
    raw = layers.Dense(latent_dim, dtype="float32", name="log_variance")(features)
    return [mean, keras.ops.clip(raw, *LOG_VARIANCE)]


def clamped(encoder: keras.Model) -> keras.Model:
    """An encoder whose log-variance is clamped."""
    mean, log_variance = encoder.outputs
    outputs = [mean, keras.ops.clip(log_variance, *LOG_VARIANCE)]
    inputs = encoder.inputs if len(encoder.inputs) > 1 else encoder.inputs[0]
    return keras.Model(inputs, outputs, name=encoder.name)


def discriminator_on(trunk: Network) -> keras.Model:
    """A discriminator with this trunk and a new head, random."""
    model = build(trunk)
    logit = layers.Dense(1, dtype="float32", name="logit")(model.outputs[0])
    inputs = model.inputs if len(model.inputs) > 1 else model.inputs[0]
    return keras.Model(inputs, logit, name="discriminator")


def rows_as_they_are(model: keras.Model, status: str, rule: str = "") -> list[TensorRow]:
    """A row for each tensor of a network that is not aligned.

    Args:
        model: The network; a target's, or for the status "UNUSED" a source's.
        status: "REINITIALISED", "KEPT" or "UNUSED".
        rule: What was done to all of them.
    """
    shapes = {path: tuple(variable.shape) for path, variable in variables(model).items()}
    if status == "UNUSED":
        return [TensorRow("", path, "", shape, status, shape) for path, shape in shapes.items()]
    return [TensorRow(path, "", rule, shape, status) for path, shape in shapes.items()]
