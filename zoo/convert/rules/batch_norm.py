"""BatchNorm in inference mode: folded into linear layers, inserted, and its statistics taken anew.

With s = γ / √(v + ε), BatchNorm(x W + b) = x (W s) + (b − m) s + β.
Instance, layer and group normalisation depend on the example: they are never folded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from keras import layers

from zoo.convert.blocks import Block
from zoo.convert.building import build, check_keras, evaluated
from zoo.convert.reading import read
from zoo.convert.rules.linear import (
    ACTIVATIONS,
    after_affine,
    is_channels_first,
    is_plain,
    outputs_of,
    with_weights,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import keras

    from zoo.convert.blocks import Network

FOLD = "fold BatchNorm"
INSERT = "insert identity BatchNorm"
RECALIBRATE = "recalibrate BatchNorm"
BETWEEN = (layers.Reshape, layers.UpSampling2D, layers.Cropping2D)  # of linear layer and BatchNorm
CHUNK = 256  # examples computed at a time


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Copies a Keras model with `fold_norms`.

    Args:
        model: A Keras model that can be read.

    Returns:
        A functional model that computes the same in inference mode, up to float32 rounding.

    Raises:
        ValueError: If the model cannot be read.

    Example:
        >>> import keras
        >>> from zoo.convert import fold_batch_norm
        >>> stack = [keras.Input((2,)), keras.layers.Dense(3), keras.layers.BatchNormalization()]
        >>> [type(layer).__name__ for layer in fold_batch_norm(keras.Sequential(stack)).layers]
        ['InputLayer', 'Dense']
    """
    check_keras(model)
    return build(fold_norms(read(model, "model")))


def fold_norms(network: Network) -> Network:
    """Without each BatchNorm that directly follows a linear layer, or that a Dense layer follows.

    Between the linear layer and the BatchNorm may be Reshape, UpSampling2D and Cropping2D. Each
    BatchNorm that stays is noted, with the reason.
    """
    for norm in _norms(network):
        linear, reason = _linear_before(network, norm)
        dense = network.only_child(norm.name)
        scale, shift = _scale_and_shift(norm)
        if linear is not None:
            network = network.replaced(after_affine(linear, scale, shift, FOLD, norm))
            network = network.without(norm.name)
        elif dense is not None and dense.layer is layers.Dense and _can_fold_forward(network, norm):
            kernel = dense.arrays["kernel"]
            bias = shift @ kernel + dense.arrays.get("bias", 0.0)
            network = network.replaced(
                with_weights(dense, scale[:, None] * kernel, bias, FOLD, norm)
            ).without(norm.name)
        else:
            network = network.noted(f"{norm.name}: BatchNorm not folded: {reason}.")
    return network


def insert_batch_norm(
    network: Network,
    latents: np.ndarray | Sequence[np.ndarray],
    after: Sequence[str] | None = None,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    synchronized: bool = True,
    use_bias: bool = True,
) -> Network:
    """With BatchNorms that change nothing: γ = √(v + ε), β = m.

    Args:
        network: The network.
        latents: Draws of the prior (one array per input), under which m and v are taken.
        after: Blocks to put them behind. None: every linear block but the last that an activation
            follows; where a Reshape is between, behind that.
        epsilon: The epsilon of the BatchNorms.
        momentum: Likewise.
        synchronized: Likewise.
        use_bias: Whether the linear layers before them keep their biases. Without, m is that of
            the output less its bias, which β takes over. A Dense bias that differs between the
            positions of a Reshape stays, with a note.

    Raises:
        ValueError: If a block of `after` does not exist.
    """
    after = _places(network) if after is None else list(after)
    if not after:
        return network
    for name in after:
        if name not in network.blocks:
            msg = f"after={name!r}: no such block. Choose among {list(network.blocks)}."
            raise ValueError(msg)
        network = _without_inner_activation(network, name)
    statistics = moments(network, after, latents)
    for name in after:
        mean, variance = statistics[name]
        beta, linear = mean, None
        if not use_bias:
            linear, bias = _bias_to_absorb(network, name, len(mean))
            if linear is not None:
                mean = mean - bias
                network = network.replaced(
                    with_weights(linear, linear.arrays["kernel"], None, INSERT)
                )
            elif bias is not None:
                network = network.noted(f"{name}: its bias stays: it differs between positions.")
        options = {"epsilon": epsilon, "momentum": momentum, "synchronized": synchronized}
        norm = Block(
            "batch_norm",
            layers.BatchNormalization,
            {"axis": -1, **options},
            shape=network[name].shape,
        )
        gamma = np.sqrt(variance + epsilon)
        arrays = dict(zip(_NAMES, (gamma, beta, mean, variance), strict=True))
        norm = norm.with_arrays(arrays, INSERT, *([linear] if linear else []))
        network = network.inserted(norm, after=name)
    return network


def moments(
    network: Network, names: Sequence[str], latents: np.ndarray | Sequence[np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and variance of each channel of blocks' outputs, in float64.

    Args:
        network: The network.
        names: The blocks.
        latents: Draws of the prior; one array per input.

    Returns:
        By block: mean and population variance over examples and positions.
    """
    return channel_moments(network, dict.fromkeys(names, -1), latents)


def recalibrate_batch_norm(network: Network, latents: np.ndarray | Sequence[np.ndarray]) -> Network:
    """With every BatchNorm's moving statistics those of its input under the prior.

    In topological order, each with the new statistics before it: what endless training-mode
    passes at a frozen generator would average to.
    """
    for norm in _norms(network):
        (parent,) = norm.parents
        if network.is_shared(norm.name):
            network = network.noted(f"{norm.name}: statistics kept: the layer is shared.")
            continue
        statistics = channel_moments(network, {parent: norm.config["axis"]}, latents)
        mean, variance = statistics[parent]
        arrays = {**norm.arrays, "moving_mean": mean, "moving_variance": variance}
        network = network.replaced(norm.with_arrays(arrays, RECALIBRATE))
    return network


def batch_norm_drift(
    network: Network, latents: np.ndarray | Sequence[np.ndarray]
) -> dict[str, float]:
    """How far each BatchNorm's stored statistics are from those under the prior.

    Returns:
        By block: the largest over channels of |m − m̂| / √(v̂ + ε) and |log((v + ε) / (v̂ + ε))|,
        with m̂ and v̂ of `recalibrate_batch_norm`. 0 where they agree; a shared layer is left out.
    """
    exact = recalibrate_batch_norm(network, latents)
    own = [norm for norm in _norms(network) if not network.is_shared(norm.name)]
    return {norm.name: _drift(norm, exact[norm.name].arrays) for norm in own}


_NAMES = ("gamma", "beta", "moving_mean", "moving_variance")


def _norms(network: Network) -> list[Block]:
    return [b for b in network if b.layer is layers.BatchNormalization and not b.shares]


def _scale_and_shift(norm: Block) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = norm.arrays["moving_mean"], norm.arrays["moving_variance"]
    scale = norm.arrays.get("gamma", 1.0) / np.sqrt(variance + norm.config["epsilon"])
    return scale, norm.arrays.get("beta", 0.0) - mean * scale


def _linear_before(network: Network, norm: Block) -> tuple[Block | None, str]:
    """The linear block to fold into, or None and the reason."""
    if norm.config.get("renorm") or network.is_shared(norm.name):
        return None, "it renormalises, or is shared"
    if norm.config["axis"] not in (-1, len(norm.shape)):
        return None, f"its axis is {norm.config['axis']}, not the last"
    name, before = norm.name, network.only_parent(norm.name)
    # Channels first, they would move or repeat what the BatchNorm takes for channels.
    while before is not None and before.layer in BETWEEN and not is_channels_first(before):
        name, before = before.name, network.only_parent(before.name)
    reason = ""
    if before is None:
        reason = f"what feeds {name!r} feeds others too, or is a shared layer"
    elif not before.is_linear:
        reason = f"it follows {before.name!r} ({before.kind}), not a linear layer"
    elif not is_plain(network, before):
        reason = f"{before.name!r} has the activation {before.activation}"
    elif is_channels_first(before):
        reason = f"{before.name!r} has its channels first"
    elif outputs_of(before) % norm.shape[-1]:
        reason = f"the {outputs_of(before)} outputs of {before.name!r} are not whole channels"
    return (None, reason) if reason else (before, "")


def _can_fold_forward(network: Network, norm: Block) -> bool:
    last = norm.config["axis"] in (-1, len(norm.shape))
    child = network.only_child(norm.name)
    return (
        last
        and not norm.config.get("renorm")
        and not network.is_shared(norm.name)
        and child is not None
        and not network.is_shared(child.name)
    )


def _places(network: Network) -> list[str]:
    """Where `insert_batch_norm` puts BatchNorms by itself."""
    linear = [block for block in network if block.is_linear]
    places = []
    for block in linear[:-1]:
        if block.activation != "linear":
            places.append(block.name)
            continue
        name, child = block.name, network.only_child(block.name)
        while child is not None and child.layer is layers.Reshape:
            name, child = child.name, network.only_child(child.name)
        if child is not None and child.layer in ACTIVATIONS:
            places.append(name)
    return places


def _without_inner_activation(network: Network, name: str) -> Network:
    """With a linear block's activation as a block of its own."""
    block = network[name]
    if not block.is_linear or block.activation == "linear":
        return network
    config = {"activation": block.config["activation"]}
    own = Block(block.activation, layers.Activation, config, shape=block.shape)
    network = network.replaced(block.with_config(activation="linear"))
    return network.inserted(own, after=name)


def _bias_to_absorb(
    network: Network, name: str, channels: int
) -> tuple[Block | None, np.ndarray | None]:
    """The linear block at `name` or before, and its bias a channel; or None and the bias."""
    block: Block | None = network[name]
    while block is not None and block.layer is layers.Reshape:
        block = network.only_parent(block.name)
    if block is None or not is_plain(network, block) or "bias" not in block.arrays:
        return None, None
    bias = block.arrays["bias"].reshape(-1, channels)
    if np.any(bias != bias[:1]):
        return None, bias
    return block, bias[0]


def channel_moments(
    network: Network,
    axes: Mapping[str, int],
    latents: np.ndarray | Sequence[np.ndarray],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and variance along an axis of blocks' outputs, chunk by chunk (Chan et al., 1979)."""
    count = dict.fromkeys(axes, 0)
    mean: dict[str, np.ndarray] = {}
    squares: dict[str, np.ndarray] = {}  # sums of squared deviations
    for values in evaluated(network.upto(*axes), latents, CHUNK):
        for (name, axis), value in zip(axes.items(), values, strict=True):
            flat = np.moveaxis(value, axis, -1).reshape(-1, value.shape[axis])
            m, s, n = flat.mean(0), len(flat) * flat.var(0), len(flat)
            if name in mean:
                delta, total = m - mean[name], count[name] + n
                s = squares[name] + s + delta**2 * (count[name] * n / total)
                m = mean[name] + delta * (n / total)
            mean[name], squares[name] = m, s
            count[name] += n
    return {name: (mean[name], squares[name] / count[name]) for name in axes}


def _drift(norm: Block, exact: Mapping[str, np.ndarray]) -> float:
    epsilon = norm.config["epsilon"]
    variance = exact["moving_variance"] + epsilon
    shift = np.abs(norm.arrays["moving_mean"] - exact["moving_mean"]) / np.sqrt(variance)
    stretch = np.abs(np.log((norm.arrays["moving_variance"] + epsilon) / variance))
    return float(max(shift.max(), stretch.max()))
