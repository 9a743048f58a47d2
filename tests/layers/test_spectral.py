"""Spectral normalisation, against PyTorch's and NumPy's singular values.

Layers are compared with PyTorch to 1e-5 of float32 values near 1: some 100 roundings.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.small_networks import (
    CLASSES,
    LABELS,
    NAMES,
    build_network,
    random_latents,
)
from zoo.layers import SelfAttention2D, SpectralConv2D, SpectralDense
from zoo.training import strategy


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name != "conv" else name for name in NAMES],
)
def test_every_kernel_is_normalised(name: str) -> None:
    model = build_network(
        name, "discriminator", (8, 8, 1), normalization="spectral", num_classes=CLASSES, heads=(4,)
    )
    joint = build_network(name, "discriminator", (8, 8, 1), normalization="spectral", latent_dim=5)
    inner = [layer for each in (model, joint) for layer in each._flatten_layers(include_self=False)]
    # Attention has a gain of its own beside its kernels, which are layers within it.
    every = [layer for layer in inner if layer.weights and not isinstance(layer, SelfAttention2D)]
    assert all(isinstance(layer, (SpectralDense, SpectralConv2D)) for layer in every)
    for layer in every:
        # The singular values of a large random kernel lie close, so that power iteration is slow;
        # a mean sets the largest apart.
        layer.kernel.assign(layer.kernel + 0.3)
        for _ in range(20):
            layer.normalized_kernel(training=True)
        kernel = layer.normalized_kernel(training=False)
        largest = np.linalg.norm(np.reshape(kernel, (-1, kernel.shape[-1])), 2)
        assert 1 - 1e-6 < largest < 1 + 1e-3, layer.name


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_spectral_layers_are_pytorchs(kind: str) -> None:
    """Value, gradient, and the gradient of a gradient penalty, at the same u and v."""
    import torch
    from torch.nn.utils.parametrizations import spectral_norm

    rng = np.random.default_rng(0)
    dense = kind == "dense"
    layer = SpectralDense(4) if dense else SpectralConv2D(4, 3)
    x = rng.normal(size=(2, 6) if dense else (2, 5, 5, 3)).astype(np.float32)
    layer.build(x.shape)
    w, u = np.asarray(layer.kernel), np.asarray(layer.u)
    v = w.reshape(-1, 4) @ u
    v /= np.linalg.norm(v)
    if not dense:
        v = v.reshape(3, 3, 3).transpose(2, 0, 1)
    order = (1, 0) if dense else (3, 2, 0, 1)
    theirs = torch.nn.Linear(6, 4) if dense else torch.nn.Conv2d(3, 4, 3)
    theirs = spectral_norm(theirs).eval()
    parametrization = theirs.parametrizations.weight
    with torch.no_grad():
        parametrization.original.copy_(torch.tensor(w.transpose(order)))
        parametrization[0]._u.copy_(torch.tensor(u))
        parametrization[0]._v.copy_(torch.tensor(v.reshape(-1)))
        theirs.bias.zero_()

    x_torch = torch.tensor(x if dense else x.transpose(0, 3, 1, 2), requires_grad=True)
    y_torch = theirs(x_torch)
    loss_torch = (y_torch**3).sum()
    (slope,) = torch.autograd.grad(loss_torch, x_torch, create_graph=True)
    of_loss, of_penalty = (
        torch.autograd.grad(value, parametrization.original, retain_graph=True)[0].numpy()
        for value in (loss_torch, (slope**2).sum())
    )

    kernel = layer.trainable_variables[0]
    images = tf.constant(x)
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            inner.watch(images)
            y = layer(images)
            loss = tf.reduce_sum(y**3)
        penalty = tf.reduce_sum(inner.gradient(loss, images) ** 2)
    wanted = y_torch.detach().numpy()
    np.testing.assert_allclose(
        y, wanted if dense else wanted.transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-5
    )
    back = np.argsort(order)
    for found, gradient in ((loss, of_loss), (penalty, of_penalty)):
        np.testing.assert_allclose(
            outer.gradient(found, kernel), gradient.transpose(back), rtol=1e-5,
            atol=1e-5 * np.abs(gradient).max(),
        )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_call_in_training_is_one_power_iteration(dtype: str) -> None:
    """Algorithm 1 of arXiv 1802.05957; σ in float32 whatever the layer computes in."""
    layer = SpectralDense(4, dtype=dtype)
    layer.build((None, 6))
    w, u = np.asarray(layer.kernel, np.float64), np.asarray(layer.u, np.float64)
    assert np.linalg.norm(u) == pytest.approx(1.0, abs=1e-6)
    x = random_latents(3, 6)
    y = layer(x, training=True)
    v = w @ u / np.linalg.norm(w @ u)
    moved = v @ w / np.linalg.norm(v @ w)
    assert layer.u.dtype == "float32"
    np.testing.assert_allclose(layer.u, moved, atol=1e-6)
    sigma = v @ w @ moved
    unit = keras.backend.standardize_dtype(layer.compute_dtype)
    rounding = {"float32": 1e-6, "float16": 2**-10, "bfloat16": 2**-7}[unit]
    # Two roundings, of W / σ and of x, in each of six products.
    tolerance = 2 * 6 * rounding * np.abs(x).max()
    np.testing.assert_allclose(tf.cast(y, tf.float32), x @ (w / sigma), atol=tolerance)
    before = np.asarray(layer.u)
    layer(x, training=False)
    np.testing.assert_array_equal(layer.u, before)
    np.testing.assert_array_equal(layer.kernel, w.astype(np.float32))


@pytest.mark.slow
def test_two_replicas_compute_what_one_does() -> None:
    """u, moving statistics and outputs, of a conditional generator and its spectral judge."""

    def train(devices: tf.distribute.Strategy, parts: int) -> tuple[list[Any], list[Any]]:
        keras.utils.set_random_seed(0)
        with devices.scope():
            generator = build_network("conv", "generator", (8, 8, 1), 5, num_classes=CLASSES)
            critic = build_network(
                "conv", "discriminator", (8, 8, 1), normalization="spectral", num_classes=CLASSES
            )
        size = 4 // parts

        @tf.function
        def step() -> Any:
            def of_replica() -> Any:
                context = tf.distribute.get_replica_context()
                start = size * tf.cast(context.replica_id_in_sync_group, tf.int32)
                latents = tf.constant(random_latents())[start : start + size]
                labels = tf.constant(LABELS)[start : start + size]
                images = generator([latents, labels], training=True)
                return critic([images, labels], training=True)

            return devices.run(of_replica)

        for _ in range(2):
            logits = devices.experimental_local_results(step())
        weights = [*generator.non_trainable_variables, *critic.non_trainable_variables]
        copies = [devices.experimental_local_results(weight.value) for weight in weights]
        for values in copies:
            np.testing.assert_array_equal(values[0], values[-1])
        return [np.concatenate(logits)], [np.asarray(values[0]) for values in copies]

    two = train(strategy("mirrored", replicas=2), 2)  # the process's one over these devices
    one = train(tf.distribute.get_strategy(), 1)
    for a, b in zip([*two[0], *two[1]], [*one[0], *one[1]], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
