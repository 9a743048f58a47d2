"""Penalties on gradients: values and second derivatives by PyTorch, differences and by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import losses

if TYPE_CHECKING:
    from collections.abc import Callable

RNG = np.random.default_rng(0)
REAL = RNG.random((5, 4, 4, 2)).astype(np.float32)
FAKE = RNG.random((5, 4, 4, 2)).astype(np.float32)
MIX = RNG.random((5, 1, 1, 1)).astype(np.float32)
KERNEL = RNG.normal(size=(3, 3, 2, 3))
DENSE = RNG.normal(size=(48, 1))


def critic(images: Any, kernel: Any, dense: Any) -> Any:
    """A convolution, a smooth activation and a linear layer; to [batch, 1]."""
    x = tf.tanh(tf.nn.conv2d(images, kernel, 1, "SAME"))
    return tf.reshape(x, [-1, 48]) @ dense


def torch_critic(images: Any, kernel: Any, dense: Any) -> Any:
    import torch

    x = images.permute(0, 3, 1, 2)
    x = torch.nn.functional.conv2d(x, kernel.permute(3, 2, 0, 1), padding=1).tanh()
    return x.permute(0, 2, 3, 1).reshape(-1, 48) @ dense


def torch_gradient(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Gradient of the sum, differentiable once more."""
    import torch

    inputs = inputs.clone().requires_grad_()
    return torch.autograd.grad(function(inputs).sum(), inputs, create_graph=True)[0]


def torch_norm(function: Callable[[Any], Any], inputs: Any) -> Any:
    return torch_gradient(function, inputs).flatten(1).norm(dim=1)


# name: (ours of critic, real, fake, mix; PyTorch's)
PENALTIES = {
    "squared_gradient_norm": (
        lambda f, real, fake, mix: losses.squared_gradient_norm(f, real),
        lambda f, real, fake, mix: torch_norm(f, real) ** 2,
    ),
    "unit_gradient_penalty": (
        lambda f, real, fake, mix: losses.unit_gradient_penalty(f, real),
        lambda f, real, fake, mix: (torch_norm(f, real) - 1) ** 2,
    ),
    "gradient_norm_penalty": (
        losses.gradient_norm_penalty,
        lambda f, real, fake, mix: (torch_norm(f, mix * real + (1 - mix) * fake) - 1) ** 2,
    ),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_and_their_gradients_are_those_of_torch(name: str) -> None:
    """In float64, with respect to the critic's weights, and as a graph of unknown batch size.

    1e-9 covers float64's roundings and the 1e-12 under the root.
    """
    import torch

    ours, theirs = PENALTIES[name]
    weights = [torch.tensor(w, requires_grad=True) for w in (KERNEL, DENSE)]
    batch = [torch.tensor(x, dtype=torch.float64) for x in (REAL, FAKE, MIX)]
    wanted = theirs(lambda x: torch_critic(x, *weights), *batch)
    gradients = torch.autograd.grad(wanted.sum(), weights)

    variables = [tf.Variable(w) for w in (KERNEL, DENSE)]
    shapes = [(None, 4, 4, 2), (None, 4, 4, 2), (None, 1, 1, 1)]

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float64) for shape in shapes])
    def penalty(real: Any, fake: Any, mix: Any) -> Any:
        with tf.GradientTape() as tape:
            value = ours(lambda x: critic(x, *variables), real, fake, mix)
        return value, tape.gradient(value, variables)

    value, found = penalty(*(tf.constant(x, tf.float64) for x in (REAL, FAKE, MIX)))
    assert value.shape == (5,)
    np.testing.assert_allclose(value, wanted.detach(), rtol=1e-9)
    for a, b in zip(found, gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_are_float32(name: str) -> None:
    """Also for images of half precision, which the critic then gets in float32."""
    weights = [np.float32(w) for w in (KERNEL, DENSE)]
    values = {
        dtype: PENALTIES[name][0](
            lambda x: critic(x, *weights), *(tf.cast(x, dtype) for x in (REAL, FAKE, MIX))
        )
        for dtype in (tf.float32, tf.bfloat16)
    }
    assert values[tf.float32].dtype == values[tf.bfloat16].dtype == tf.float32
    # bfloat16 keeps 8 bits of the images
    np.testing.assert_allclose(values[tf.bfloat16], values[tf.float32], rtol=0.05)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_of_a_flat_critic_are_finite(name: str) -> None:
    """√ has no derivative at 0."""
    point = tf.Variable(tf.zeros([5, 1]))
    with tf.GradientTape() as tape:
        value = PENALTIES[name][0](
            lambda x: tf.nn.relu(tf.reduce_sum(x, axis=[1, 2, 3])[:, None] * point), REAL, FAKE, MIX
        )
    wanted = 0.0 if name == "squared_gradient_norm" else 1.0
    # (√1e-12 − 1)² is 1 − 2e-6
    np.testing.assert_allclose(value, np.full(5, wanted), atol=1e-5)
    assert np.all(np.isfinite(tape.gradient(value, point)))


def test_penalties_of_a_linear_critic() -> None:
    """∇f = w everywhere: ‖w‖² and (‖w‖ − 1)², for any x̂."""
    w = RNG.normal(size=(32, 1)).astype(np.float32)
    norm = np.linalg.norm(w)
    for name, (penalty, _) in PENALTIES.items():
        found = penalty(lambda x: tf.reshape(x, [-1, 32]) @ w, REAL, FAKE, MIX)
        wanted = norm**2 if name == "squared_gradient_norm" else (norm - 1) ** 2
        np.testing.assert_allclose(found, np.full(5, wanted), rtol=1e-5)


def test_gradient_norm_penalty_mixes_as_in_algorithm_1() -> None:
    """f(x) = ½ ‖x‖² has ∇f = x̂, so the penalty shows x̂ = ε x + (1 − ε) G(z)."""
    found = losses.gradient_norm_penalty(
        lambda x: 0.5 * tf.reduce_sum(tf.square(x), axis=[1, 2, 3])[:, None], REAL, FAKE, MIX
    )
    between = (MIX * REAL + (1 - MIX) * FAKE).reshape(5, -1)
    np.testing.assert_allclose(found, (np.linalg.norm(between, axis=1) - 1) ** 2, rtol=1e-4)


@pytest.mark.parametrize("name", PENALTIES)
def test_second_order_by_differences(name: str) -> None:
    """Through Keras layers: with respect to a kernel, against central differences."""
    network = keras.Sequential(
        [
            keras.Input((4, 4, 2), dtype="float64"),
            keras.layers.Conv2D(3, 3, activation="softplus", dtype="float64"),
            keras.layers.Flatten(dtype="float64"),
            keras.layers.Dense(1, dtype="float64"),
        ]
    )
    kernel = network.weights[0]
    batch = [tf.constant(x, tf.float64) for x in (REAL, FAKE, MIX)]

    def penalty() -> tf.Tensor:
        return tf.reduce_sum(PENALTIES[name][0](network, *batch))

    with tf.GradientTape() as tape:
        value = penalty()
    found = tape.gradient(value, kernel.value).numpy()
    start, step = kernel.numpy(), 1e-5
    for index in [(0, 0, 0, 0), (1, 2, 1, 2)]:
        sides = []
        for sign in (1, -1):
            moved = start.copy()
            moved[index] += sign * step
            kernel.assign(moved)
            sides.append(float(penalty()))
        kernel.assign(start)
        assert found[index] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6)


# Path lengths

STYLES = {"one": RNG.normal(size=(5, 6)), "per_layer": RNG.normal(size=(5, 2, 6))}
NOISE = RNG.normal(size=(5, 4, 3, 2))
PROJECT, MODULATE = RNG.normal(size=(6, 24)), RNG.normal(size=(6, 2))


def synthesize(styles: Any, project: Any, modulate: Any) -> Any:
    """Images [batch, 4, 3, 2] of one style, or of one for each of two layers."""
    first, second = (styles[:, 0], styles[:, 1]) if len(styles.shape) == 3 else (styles, styles)
    x = tf.reshape(tf.tanh(first @ project), [-1, 4, 3, 2])
    return x * (second @ modulate)[:, None, None]


def torch_synthesize(styles: Any, project: Any, modulate: Any) -> Any:
    first, second = (styles[:, 0], styles[:, 1]) if styles.ndim == 3 else (styles, styles)
    x = (first @ project).tanh().reshape(-1, 4, 3, 2)
    return x * (second @ modulate)[:, None, None]


@pytest.mark.parametrize("kind", STYLES)
def test_path_lengths_and_their_gradients_are_those_of_torch(kind: str) -> None:
    """In float64, with respect to the synthesis network's weights, as a graph."""
    import torch

    weights = [torch.tensor(w, requires_grad=True) for w in (PROJECT, MODULATE)]
    noise = torch.tensor(NOISE)
    gradient = torch_gradient(
        lambda w: torch_synthesize(w, *weights) * noise / np.sqrt(12), torch.tensor(STYLES[kind])
    )
    wanted = gradient.norm(dim=-1)
    if kind == "per_layer":
        wanted = wanted.square().mean(dim=1).sqrt()
    gradients = torch.autograd.grad(wanted.sum(), weights)

    variables = [tf.Variable(w) for w in (PROJECT, MODULATE)]

    @tf.function
    def lengths(styles: Any, noise: Any) -> Any:
        with tf.GradientTape() as tape:
            value = losses.path_lengths(lambda w: synthesize(w, *variables), styles, noise)
        return value, tape.gradient(value, variables)

    value, found = lengths(tf.constant(STYLES[kind]), tf.constant(NOISE))
    assert value.shape == (5,)
    np.testing.assert_allclose(value, wanted.detach(), rtol=1e-9)
    for a, b in zip(found, gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_path_lengths_of_a_scaled_isometry() -> None:
    """g(w) = c Q w with QᵀQ = I: E ‖Jᵀ y‖² is c² style_dim / (height · width)."""
    q, _ = np.linalg.qr(RNG.normal(size=(32, 6)))
    n, scale = 4000, 3.0
    found = losses.path_lengths(
        lambda w: tf.reshape(scale * w @ np.float32(q.T), [-1, 4, 4, 2]),
        np.zeros((n, 6), np.float32),
        RNG.normal(size=(n, 4, 4, 2)).astype(np.float32),
    )
    assert found.dtype == tf.float32
    # Relative deviation √(2 / 6) / √4000 is 1 percent; four of them.
    assert float(tf.reduce_mean(found**2)) == pytest.approx(scale**2 * 6 / 16, rel=0.04)


def test_path_lengths_reach_what_makes_the_styles() -> None:
    """A tape outside also sees a mapping network before the styles; zero gradients give no NaN."""
    mapping = tf.Variable(np.eye(6, dtype=np.float32))
    project, modulate = np.float32(PROJECT), np.float32(MODULATE)
    for scale in (1.0, 0.0):
        with tf.GradientTape() as tape:
            styles = np.float32(STYLES["one"]) @ mapping
            value = losses.path_lengths(
                lambda w, scale=scale: scale * synthesize(w, project, modulate),
                styles,
                np.float32(NOISE),
            )
        gradient = tape.gradient(value, mapping).numpy()
        assert np.all(np.isfinite(value))
        assert np.all(np.isfinite(gradient))
        assert np.any(gradient != 0.0) == (scale != 0.0)
