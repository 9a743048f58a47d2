"""Self-attention against PyTorch, and what it is for."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import SelfAttention2D

SHAPE = (2, 5, 6, 16)  # odd, so that pooling has a rest


def drawn(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def shaken(**options: Any) -> SelfAttention2D:
    rng = np.random.default_rng(1)
    layer = SelfAttention2D(**options)
    layer.build(SHAPE)
    for weight in layer.weights:
        weight.assign(rng.normal(0.0, 0.5, weight.shape))
    return layer


def test_it_is_pytorchs_attention() -> None:
    """With the maps, the pooling and γ of arXiv 1805.08318; gradients too."""
    import torch
    from torch.nn.functional import max_pool2d, scaled_dot_product_attention

    layer, x = shaken(spectral=False), drawn()
    with tf.GradientTape() as tape:
        y = layer(x)
        loss = tf.reduce_sum(tf.square(y))
    gradients = tape.gradient(loss, layer.trainable_variables)
    weights = {
        name: torch.tensor(np.asarray(mapping.kernel)[0, 0], requires_grad=True)
        for name, mapping in zip(
            "fghv", (layer.key, layer.query, layer.value, layer.out), strict=True
        )
    }
    gamma = torch.tensor(np.asarray(layer.gamma), requires_grad=True)
    features = torch.tensor(x)

    def pooled(maps: Any) -> Any:
        whole = max_pool2d(maps.permute(0, 3, 1, 2), 2, ceil_mode=True)
        return whole.flatten(2).transpose(1, 2)

    keys, values = (pooled(features @ weights[name]) for name in "fh")
    queries = (features @ weights["g"]).flatten(1, 2)
    seen = scaled_dot_product_attention(queries, keys, values, scale=1.0)
    wanted = gamma * (seen @ weights["v"]).reshape(SHAPE) + features
    np.testing.assert_allclose(y, wanted.detach(), rtol=1e-5, atol=1e-5)
    (wanted**2).sum().backward()
    theirs = {"gamma": gamma.grad, **{name: weights[name].grad for name in weights}}
    for variable, gradient in zip(layer.trainable_variables, gradients, strict=True):
        name = variable.path.split("/")[-2 if variable.path.endswith("kernel") else -1]
        other = np.reshape(theirs[name], gradient.shape)
        np.testing.assert_allclose(gradient, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


def test_at_first_it_is_the_identity() -> None:
    x = drawn()
    np.testing.assert_array_equal(SelfAttention2D()(x, training=True), x)


@pytest.mark.parametrize("spectral", [False, True])
def test_every_pixel_sees_all(spectral: bool) -> None:
    layer, x = shaken(spectral=spectral), tf.constant(drawn())
    with tf.GradientTape() as tape:
        tape.watch(x)
        corner = tf.reduce_sum(tf.square(layer(x)[:, 0, 0]))
    sensitive = np.abs(tape.gradient(corner, x)).max(axis=-1)
    assert (sensitive > 0).mean() > 0.9  # a pixel that no maximum of the pooling takes is unseen
    assert sensitive[:, -1, -1].min() > 0


@pytest.mark.slow
def test_kernels_have_norm_one() -> None:
    layer, x = SelfAttention2D(), drawn()
    layer.build(SHAPE)
    mappings = (layer.key, layer.query, layer.value, layer.out)
    for mapping in mappings:  # a mean sets the largest singular value apart, for power iteration
        mapping.kernel.assign(mapping.kernel + 0.3)
    for _ in range(30):
        layer(x, training=True)
    for mapping in mappings:
        kernel = np.asarray(mapping.normalized_kernel(training=False))
        norm = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]
        assert norm == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("spectral", [False, True])
def test_saved_and_loaded(tmp_path: Any, spectral: bool) -> None:
    model = keras.Sequential([keras.Input(SHAPE[1:]), SelfAttention2D(spectral=spectral)])
    for weight in model.weights:
        weight.assign(np.random.default_rng(3).normal(size=weight.shape))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(drawn()), model(drawn()))
