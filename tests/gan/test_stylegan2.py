"""StyleGAN2: its layers against PyTorch, its penalties against differences, and its averages.

Equal exports and replicas are what the conformance tests show of every model.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's custom)

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from zoo import losses
from zoo.core.model import ZooModel
from zoo.layers import style as modulation

RNG = np.random.default_rng(0)


def _normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def _model(**options: Any) -> Any:
    return zoo.create("stylegan2", IMAGE_SHAPE, LATENT_DIM, **{"network": "style-4", **options})


def _styles(model: ZooModel, latents: Any) -> Any:
    return model.generator.get_layer("mapping")(latents)


def _channels_first(x: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.moveaxis(x, -1, 1), requires_grad=True)


# Layers


@pytest.mark.parametrize("demodulate", [True, False])
def test_modulated_convolution_is_one_of_each_examples_weights(demodulate: bool) -> None:
    """Eq. 1 to 3, with grouped convolutions as in the authors' code: values and gradients."""
    x, s, upstream = _normal(3, 5, 6, 4), 1 + _normal(3, 4), _normal(3, 5, 6, 7)
    layer = modulation.ModulatedConv2D(7, 3, demodulate=demodulate)
    layer.build(x.shape, s.shape)
    layer.bias.assign(_normal(7))
    inputs, scales = tf.constant(x), tf.constant(s)
    with tf.GradientTape() as tape:
        tape.watch([inputs, scales])
        found = layer(inputs, scales)
        total = tf.reduce_sum(found * upstream)
    gradients = tape.gradient(total, [inputs, scales, layer.kernel])

    tx, ts = _channels_first(x), torch.tensor(s, requires_grad=True)
    tw = torch.tensor(layer.kernel.numpy(), requires_grad=True)  # [3, 3, in, out]
    w = tw.permute(3, 2, 0, 1)[None] / math.sqrt(3 * 3 * 4) * ts[:, None, :, None, None]
    if demodulate:
        w = w / torch.sqrt(torch.sum(w**2, dim=(2, 3, 4), keepdim=True) + 1e-8)
    wanted = (
        F.conv2d(
            tx.reshape(1, 3 * 4, 5, 6), w.reshape(3 * 7, 4, 3, 3), padding=1, groups=3
        ).reshape(3, 7, 5, 6)
        + torch.tensor(layer.bias.numpy())[:, None, None]
    )
    (wanted * torch.tensor(np.moveaxis(upstream, -1, 1))).sum().backward()

    # float32 sums of up to 36 terms, and for gradients of 630, of size about 1
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), wanted.detach(), atol=1e-5)
    np.testing.assert_allclose(np.moveaxis(gradients[0], -1, 1), tx.grad, atol=1e-4)
    np.testing.assert_allclose(gradients[1], ts.grad, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradients[2], tw.grad, rtol=1e-4, atol=1e-4)


def test_demodulation_restores_unit_variance() -> None:
    """Of white inputs with unit variance, whatever the scales (section 2.2)."""
    x, s = _normal(4, 34, 34, 8), np.exp(2 * _normal(4, 8))
    layer = modulation.ModulatedConv2D(16, 3, padding="valid")
    found = np.asarray(layer(x, s))
    # 1,024 places, of which neighbours overlap: about 300 independent ones, each variance
    # ± √(2 / 300) = 8 %; the mean of 64 of them varies by less than a quarter of that
    variances = found.var(axis=(1, 2))
    assert variances.min() > 0.6
    assert variances.max() < 1.5
    assert variances.mean() == pytest.approx(1.0, abs=0.05)
    plain = modulation.ModulatedConv2D(16, 3, padding="valid", demodulate=False)
    assert np.asarray(plain(x, s)).var(axis=(1, 2)).max() > 2.0


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_equalized_layers_scale_their_weights(rate: float) -> None:
    """N(0, 1) / rate stored, rate / √fan_in at work: outputs of unit variance at any rate."""
    x = _normal(256, 400)
    layer = modulation.EqualizedDense(300, rate)
    layer.build(x.shape)
    layer.bias.assign(_normal(300))
    assert np.std(layer.kernel.numpy()) == pytest.approx(1 / rate, rel=0.01)  # of 120,000: 0.2 %
    with tf.GradientTape() as tape:
        found = layer(x)
    by_kernel, by_bias = tape.gradient(found, [layer.kernel, layer.bias])
    weight, bias = torch.tensor(layer.kernel.numpy().T), torch.tensor(layer.bias.numpy())
    wanted = F.linear(torch.tensor(x), weight * rate / math.sqrt(400), rate * bias)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.std(found - rate * layer.bias) == pytest.approx(1.0, rel=0.05)
    np.testing.assert_allclose(
        by_kernel, np.tile(x.sum(0)[:, None] * rate / 20, 300), rtol=1e-3, atol=1e-5
    )
    np.testing.assert_allclose(by_bias, np.full(300, 256 * rate), rtol=1e-5)


def test_equalized_convolution_is_pytorchs() -> None:
    x = _normal(2, 9, 9, 5)
    layer = modulation.EqualizedConv2D(6, 3, strides=2, activation=modulation.scaled_leaky_relu)
    found = layer(x)
    kernel = torch.tensor(layer.kernel.numpy()).permute(3, 2, 0, 1) / math.sqrt(3 * 3 * 5)
    linear = F.conv2d(_channels_first(x), kernel, stride=2)
    wanted = math.sqrt(2.0) * F.leaky_relu(linear, 0.2)
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), wanted.detach(), atol=1e-5)


@pytest.mark.parametrize(("padding", "strides"), [(2, 1), (1, 2)])
def test_blur_is_the_papers_filter(padding: int, strides: int) -> None:
    x = _normal(2, 8, 6, 3)
    layer = modulation.Blur(padding, strides)
    found = layer(x)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = torch.outer(taps, taps).expand(3, 1, 4, 4)
    wanted = F.conv2d(_channels_first(x), kernel, padding=padding, stride=strides, groups=3)
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), wanted.detach(), atol=1e-6)
    assert layer.compute_output_shape(x.shape) == found.shape


def test_bilinear_upsampling_is_the_papers_filter_inside() -> None:
    """Zeros between pixels and [1, 3, 3, 1] / 4 along each axis; edges differ."""
    x = _normal(2, 5, 6, 1)
    found = keras.layers.UpSampling2D(2, interpolation="bilinear")(x)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    kernel = torch.outer(taps, taps)[None, None]
    wanted = F.conv_transpose2d(_channels_first(x), kernel, stride=2, padding=1).detach()
    np.testing.assert_allclose(
        np.moveaxis(found, -1, 1)[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-6
    )


# The path length penalty


def test_penalty_is_that_of_the_jacobian() -> None:
    """Eq. 4 with the whole of J, [pixels, styles], which the penalty never forms."""
    model = _model(path_length_every=3)
    model.path_length.assign(1.0)
    batch = {"latents": tf.constant(_normal(2, LATENT_DIM)), "direction": _normal(2, *IMAGE_SHAPE)}
    found = model.generator_penalty(model.extend_batch(batch, training=True))
    styles = _styles(model, batch["latents"])
    with tf.GradientTape() as tape:
        tape.watch(styles)
        images = model.generator.get_layer("synthesis")(styles)
    jacobian = tape.batch_jacobian(images, styles).numpy().reshape(2, 64, 128)
    lengths = np.linalg.norm(
        np.einsum("np,npw->nw", batch["direction"].reshape(2, 64), jacobian), axis=1
    )
    # On [−1, 1] lengths are twice these, and γ_pl = ln 2 / (r² (ln r − ln 2)) = ½ / 64 (appendix B)
    # is for y ~ N(0, I); a is here that of y / √(8 · 8) on [0, 1].
    wanted = 3 * (0.5 / 64) * (2 * lengths - 2 * 8 * 1.0) ** 2
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    model.step.assign(1)
    assert not np.any(model.generator_penalty(model.extend_batch(batch, training=True)))
    assert "path_lengths" not in model.extend_batch(batch, training=False)


@pytest.mark.slow
def test_lazy_penalties_move_weights_every_kth_step(images: np.ndarray) -> None:
    """With no other loss, the players move in their penalty's steps alone, and a with them."""
    model = _model(path_length_every=2, regularizer_every=3, ema=None)
    zero = lambda real, fake: 0.0 * tf.reduce_sum(real + fake, axis=1)  # noqa: E731
    model.generator_loss = model.discriminator_loss = zero
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
    moved: dict[str, list[int]] = {"generator": [], "discriminator": [], "a": []}
    for step in range(7):
        before = _snapshot(model)
        model.train_step(tf.constant(images[:4]))
        for name, value in _snapshot(model).items():
            if not np.array_equal(value, before[name]):
                moved[name].append(step)
    assert moved == {"generator": [0, 2, 4, 6], "discriminator": [0, 3, 6], "a": [0, 2, 4, 6]}


def _snapshot(model: Any) -> dict[str, np.ndarray]:
    def flat(network: keras.Model) -> np.ndarray:
        return np.concatenate([np.ravel(v) for v in network.trainable_variables])

    players = {name: flat(getattr(model, name)) for name in ("generator", "discriminator")}
    return {**players, "a": model.path_length.numpy()}


# Averages and truncation


def test_averages_move_towards_the_means(images: np.ndarray) -> None:
    """One step of an idle generator: w̄ by 0.005 and a by 0.01 of the way from 0."""
    model = _model()
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
    styles = _styles(model, model.noise("latent", tf.constant(6), [LATENT_DIM]))
    directions = model.noise("direction", tf.constant(6), IMAGE_SHAPE)
    synthesis = model.generator.get_layer("synthesis")
    lengths = losses.path_lengths(synthesis, styles, directions)
    model.train_step(tf.constant(images[:6]))
    for generator in (model.generator, model.ema_generator):
        average = generator.get_layer("truncation").average
        np.testing.assert_allclose(average, 0.005 * np.mean(styles, axis=0), rtol=1e-4, atol=1e-7)
    assert float(model.path_length) == pytest.approx(0.01 * np.mean(lengths), rel=1e-4)


@pytest.mark.slow
def test_truncation() -> None:
    """ψ = 0 is the image of the mean style, ½ that of the style half-way; training knows none."""
    model = _model(ema=None)
    generator = model.generator
    synthesis = generator.get_layer("synthesis")
    latents = model.sample_latents(5, seed=0)
    average = 0.3 * _normal(128)
    plain = model.generate(5, seed=0)
    trained = np.asarray(generator(latents, training=True))
    generator.get_layer("truncation").average.assign(average)
    np.testing.assert_allclose(model.generate(5, seed=0), plain, atol=1e-6)
    model.truncation = 0.0
    mean_image = np.asarray(synthesis(average[None]))
    np.testing.assert_allclose(model.generate(5, seed=0), np.repeat(mean_image, 5, 0), atol=1e-6)
    model.truncation = 0.5
    middle = synthesis((average + _styles(model, latents)) / 2)
    np.testing.assert_allclose(model.generate(5, seed=0), middle, atol=1e-6)
    np.testing.assert_array_equal(generator(latents, training=True), trained)
    assert model.get_config()["truncation"] == 0.5
    assert _model(truncation=0.25).truncation == 0.25


# Other options


@pytest.mark.slow
def test_conditional_and_in_turn(images: np.ndarray) -> None:
    """With labels and two critic updates: the averages still move."""
    model = _model(num_classes=3, n_critic=2, ema=None, path_length_every=1)
    model.compile()
    logs = model.train_step((tf.constant(images[:6]), tf.range(6) % 3))
    assert all(np.isfinite(value) for value in logs.values())
    assert float(model.path_length) > 0
    latents = np.repeat(model.sample_latents(1, seed=0), 3, axis=0)
    assert np.ptp(model.generate_from(latents, np.arange(3)), axis=0).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "mlp"}, "network='mlp'.*no layer 'mapping'.*Take 'style'"),
        ({"normalization": "spectral"}, "'spectral'.*has none"),
        ({"path_length_weight": -1.0}, "path_length_weight=-1.0"),
        ({"path_length_every": 0}, "path_length_every=0"),
        ({"truncation": 1.5}, "truncation=1.5"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _model(**options)
