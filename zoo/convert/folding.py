"""BatchNorm in inference mode, folded into the linear layer before it.

With s = γ / √(v + ε), BatchNorm(W x + b) = (s W) x + (b − m) s + β: the same function in two
tensors fewer a layer. Computed in float64 and rounded once.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from zoo.convert.graph import LayerGraph, as_functional, copy_model

LINEAR = (layers.Dense, layers.Conv2D, layers.Conv2DTranspose)


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Copies a model, folding each BatchNorm that directly follows a linear layer.

    Args:
        model: A functional or built sequential model.

    Returns:
        A functional model that computes the same in inference mode, up to float32 rounding.
        A BatchNorm stays where folding would change the function: after an activation, after a
        layer that others read too, or before any linear layer.

    Raises:
        ValueError: If the model is neither functional nor sequential.
    """
    model = as_functional(model, "model")
    pairs = foldable_pairs(model)
    norms = frozenset(norm.name for _, norm in pairs)
    linear_names = {linear.name for linear, _ in pairs}

    def add_bias(layer: Any, config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "use_bias": True} if layer.name in linear_names else config

    folded = copy_model(model, add_bias, skip=norms)
    for linear, norm in pairs:
        folded.get_layer(linear.name).set_weights(_fold(linear, norm))
    return folded


def foldable_pairs(model: keras.Model) -> list[tuple[Any, Any]]:
    """(linear layer, BatchNorm) of each BatchNorm that `fold_batch_norm` folds."""
    graph = LayerGraph(model)
    pairs = []
    for norm in model.layers:
        if type(norm) is not layers.BatchNormalization or getattr(norm, "renorm", False):
            continue
        before = graph.only_parent(norm)
        rank = len(norm.input.shape)
        if isinstance(before, layers.Reshape) and norm.axis in (-1, rank - 1):
            before = graph.only_parent(before)
        if (
            before is None
            or type(before) not in LINEAR
            or before.activation is not keras.activations.linear
        ):
            continue
        if norm.axis in (-1, rank - 1) and getattr(before, "data_format", None) != "channels_first":
            pairs.append((before, norm))
    return pairs


def _fold(linear: Any, norm: Any) -> list[np.ndarray]:
    """Kernel and bias of `linear` followed by `norm`."""
    kernel = np.asarray(linear.kernel, np.float64)
    mean, variance = (np.asarray(w, np.float64) for w in (norm.moving_mean, norm.moving_variance))
    scale = 1.0 / np.sqrt(variance + norm.epsilon)
    if norm.gamma is not None:
        scale = scale * np.asarray(norm.gamma, np.float64)
    shift = -mean * scale
    if norm.beta is not None:
        shift = shift + np.asarray(norm.beta, np.float64)
    transposed = isinstance(linear, layers.Conv2DTranspose)  # kernel [h, w, out, in]
    outputs = kernel.shape[-2 if transposed else -1]
    # Dense → Reshape → BatchNorm: every position of the reshaped map has the same channels.
    scale, shift = (np.tile(x, outputs // len(x)) for x in (scale, shift))
    bias = shift
    if linear.bias is not None:
        bias = shift + scale * np.asarray(linear.bias, np.float64)
    kernel = kernel * (scale[:, None] if transposed else scale)
    return [kernel.astype(np.float32), bias.astype(np.float32)]
