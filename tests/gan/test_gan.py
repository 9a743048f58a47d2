"""The GAN step against the same algorithm written out plainly."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.support.equivalence import structured_images
from zoo import losses
from zoo.gan.gan import REGULARIZERS

RATE = 0.01
RNG = np.random.default_rng(0)


def _gan(name: str, **options: object) -> keras.Model:
    model = zoo.create(name, IMAGE_SHAPE, LATENT_DIM, network="mlp", **options)
    model.compile(keras.optimizers.SGD(RATE), keras.optimizers.SGD(RATE))
    return model


def _moved(variables: list, loss: object, tape: tf.GradientTape) -> list[np.ndarray]:
    return [
        v.numpy() - RATE * g.numpy()
        for v, g in zip(variables, tape.gradient(loss, variables), strict=True)
    ]


def _assert_weights(network: keras.Model, wanted: list[np.ndarray]) -> None:
    for weight, value in zip(network.trainable_variables, wanted, strict=True):
        np.testing.assert_allclose(weight.numpy(), value, rtol=1e-5, atol=1e-7)


def test_one_pass_is_the_simultaneous_update_of_two(images: np.ndarray) -> None:
    """arXiv 1406.2661: each player against the other as it was, on one fake batch."""
    model = _gan("dcgan")
    g, d = model.generator, model.discriminator
    z = model.noise("latent", tf.constant(20), [LATENT_DIM])
    with tf.GradientTape(persistent=True) as tape:
        real, fake = d(images[:20], training=True), d(g(z, training=True), training=True)
        d_loss = tf.reduce_mean(-tf.math.log(tf.sigmoid(real)) - tf.math.log(1 - tf.sigmoid(fake)))
        g_loss = tf.reduce_mean(-tf.math.log(tf.sigmoid(fake)))
    wanted_d = _moved(d.trainable_variables, d_loss, tape)
    wanted_g = _moved(g.trainable_variables, g_loss, tape)
    logs = model.train_on_batch(images[:20], return_dict=True)
    _assert_weights(d, wanted_d)
    _assert_weights(g, wanted_g)
    assert logs["discriminator_loss"] == pytest.approx(float(d_loss), rel=1e-5)
    assert logs["generator_loss"] == pytest.approx(float(g_loss), rel=1e-5)


def test_wgan_gp_is_algorithm_1(images: np.ndarray) -> None:
    """arXiv 1704.00028, algorithm 1: n_critic critic updates on fresh minibatches, then G's."""
    n_critic, size, weight = 3, 4, 10.0
    model = _gan("wgan_gp", n_critic=n_critic)
    g = keras.models.clone_model(model.generator)
    f = keras.models.clone_model(model.discriminator)
    g.set_weights(model.generator.get_weights())
    f.set_weights(model.discriminator.get_weights())
    z = model.noise("latent", tf.constant(n_critic * size), [LATENT_DIM])
    mix = model.noise("mix", tf.constant(n_critic * size), [1, 1, 1], uniform=True)
    for i in range(n_critic):
        x, latents, epsilon = (v[i::n_critic] for v in (images[: n_critic * size], z, mix))
        with tf.GradientTape() as tape:
            fake = g(latents)
            between = epsilon * x + (1 - epsilon) * fake
            with tf.GradientTape() as inner:
                inner.watch(between)
                score = f(between)
            norm = tf.norm(tf.reshape(inner.gradient(score, between), [size, -1]), axis=1)
            loss = tf.reduce_mean(f(fake) - f(x)) + weight * tf.reduce_mean((norm - 1) ** 2)
        for v, value in zip(
            f.trainable_variables, _moved(f.trainable_variables, loss, tape), strict=True
        ):
            v.assign(value)
    latents = model.noise("generator_latent", tf.constant(size), [LATENT_DIM])
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(f(g(latents)))
    wanted_g = _moved(g.trainable_variables, loss, tape)
    model.train_on_batch(images[: n_critic * size])
    _assert_weights(model.discriminator, [v.numpy() for v in f.trainable_variables])
    _assert_weights(model.generator, wanted_g)
    assert int(model.discriminator_optimizer.iterations) == n_critic
    assert int(model.generator_optimizer.iterations) == int(model.step) == 1


@pytest.mark.slow
def test_the_average_follows_its_definition(images: np.ndarray) -> None:
    """θ̄ ← d θ̄ + (1 − d) θ with d = min(decay, (1 + t) / (10 + t)); sampling uses θ̄."""
    model = _gan("dcgan", ema=0.3)
    average = [w.numpy() for w in model.generator.trainable_variables]
    for step in range(6):
        model.train_on_batch(images[:20])
        decay = min(0.3, (1 + step) / (10 + step))
        average = [
            decay * a + (1 - decay) * w.numpy()
            for a, w in zip(average, model.generator.trainable_variables, strict=True)
        ]
    for found, wanted in zip(model.ema_generator.weights, average, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-7)
    latents = model.sample_latents(3, seed=0)
    np.testing.assert_array_equal(model.generate(3, seed=0), model.ema_generator(latents))
    assert np.abs(model.generate(3, seed=0) - model.generator(latents)).max() > 0


# Losses and penalties combine


def _one_step(**options: Any) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Logs, and what each player's weights moved by."""
    keras.utils.set_random_seed(0)
    model = _gan("gan", normalization="none", diff_augment="translation", **options)
    players = (model.generator, model.discriminator)
    before = [player.get_weights() for player in players]
    logs = model.train_step(tf.constant(structured_images()[:8]))
    assert all(np.isfinite(value) for value in logs.values())
    generator, discriminator = (
        np.concatenate([np.ravel(a - b) for a, b in zip(player.get_weights(), old, strict=True)])
        for player, old in zip(players, before, strict=True)
    )
    return logs, generator, discriminator


@pytest.mark.slow
@pytest.mark.parametrize("loss", losses.ADVERSARIAL)
def test_every_loss_with_every_penalty(loss: str) -> None:
    """Both players move; a penalty changes the discriminator's move and not the generator's."""
    _, generator, discriminator = _one_step(loss=loss)
    assert np.abs(generator).max() > 1e-7
    assert np.abs(discriminator).max() > 1e-7
    for regularizer in REGULARIZERS:
        logs, same, other = _one_step(loss=loss, regularizer=regularizer)
        assert logs["gradient_penalty"] > 0
        np.testing.assert_array_equal(same, generator, err_msg=regularizer)
        assert np.abs(other - discriminator).max() > 1e-7, regularizer


def test_r3gan_is_its_equations_in_pytorch() -> None:
    """Both losses, R1 + R2 and their second derivatives, in a simultaneous step of SGD."""
    import torch
    from torch.nn.functional import leaky_relu, softplus

    n, gamma = 6, 0.25
    images = RNG.random((n, *IMAGE_SHAPE)).astype(np.float32)
    model = _gan("r3gan")
    z = np.asarray(model.noise("latent", tf.constant(n), [LATENT_DIM]))
    g, d = (
        [torch.tensor(w, dtype=torch.float64, requires_grad=True) for w in network.get_weights()]
        for network in (model.generator, model.discriminator)
    )

    def critic(x: torch.Tensor) -> torch.Tensor:
        x = 2.0 * x - 1.0
        for i in (0, 2):
            x = leaky_relu(x @ d[i] + d[i + 1], 0.2)
        return x @ d[4] + d[5]

    def squared_norm(x: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0].square().sum(dim=1)

    real = torch.tensor(images, dtype=torch.float64).flatten(1)
    hidden = torch.tensor(z, dtype=torch.float64)
    for i in (0, 2):
        hidden = torch.relu(hidden @ g[i] + g[i + 1])
    fake = (torch.tanh(hidden @ g[4] + g[5]) + 1.0) / 2.0
    penalty = 0.5 * gamma * (squared_norm(real) + squared_norm(fake)).mean()
    difference = critic(real) - critic(fake)
    d_gradients = torch.autograd.grad(
        softplus(-difference).mean() + penalty, d, retain_graph=True, allow_unused=True
    )
    g_gradients = torch.autograd.grad(softplus(difference).mean(), g)
    logs = model.train_on_batch(images, return_dict=True)
    for network, weights, gradients in (
        (model.discriminator, d, d_gradients),
        (model.generator, g, g_gradients),
    ):
        _assert_weights(
            network,
            [(w - RATE * v).detach().numpy() for w, v in zip(weights, gradients, strict=True)],
        )
    assert logs["gradient_penalty"] == pytest.approx(penalty.item(), rel=1e-5)


@pytest.mark.slow
def test_a_lazy_penalty(images: np.ndarray) -> None:
    """Every third step three times as heavy; an evaluation has it as it is."""
    found = {}
    for every in (1, 3):
        keras.utils.set_random_seed(0)
        model = _gan("gan", regularizer="r1", regularizer_every=every, n_critic=2)
        model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
        penalties = []
        for _ in range(4):
            model.reset_metrics()
            penalties.append(
                model.train_on_batch(images[:20], return_dict=True)["gradient_penalty"]
            )
        model.reset_metrics()
        evaluated = model.test_on_batch(images[:20], return_dict=True)["gradient_penalty"]
        found[every] = np.array([*penalties, evaluated])
    # The weights idle, and the penalty of real images has no noise.
    np.testing.assert_allclose(found[3], found[1] * [3, 0, 0, 3, 1], rtol=1e-5)


@pytest.mark.slow
def test_weights_are_clipped(images: np.ndarray) -> None:
    """The critic's alone, after each of its updates (arXiv 1701.07875, algorithm 1)."""
    model = zoo.create("wgan", IMAGE_SHAPE, LATENT_DIM, network="mlp", n_critic=2)
    model.compile()
    model.fit(images, batch_size=20, verbose=0)
    for weight in model.discriminator.trainable_variables:
        assert np.abs(weight).max() <= np.float32(0.01), weight.path
    assert np.abs(model.discriminator.get_weights()[0]).max() == np.float32(0.01)
    assert np.abs(model.generator.get_weights()[0]).max() > 0.05


def test_two_time_scales() -> None:
    """arXiv 1706.08500: the discriminator's rate in multiples of the generator's."""
    for name in ("dcgan", "wgan"):
        model = zoo.create(name, IMAGE_SHAPE, LATENT_DIM, network="mlp", ttur=4.0)
        model.compile()
        rates = [float(getattr(model, o).learning_rate) for o in model.optimizer_names]
        assert rates == pytest.approx([model.learning_rate, 4.0 * model.learning_rate])


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hinges"}, r"loss='hinges': expected one of \('non_saturating'"),
        ({"regularizer": "r3"}, r"regularizer='r3': expected one of \('gradient_penalty'.*None"),
        ({"regularizer": "r1", "normalization": "batch"}, "'none' or 'spectral'"),
        ({"normalization": "layer"}, "normalization='layer'"),
        ({"regularizer_weight": 1.0}, "regularizer_weight=1.0: expected a regularizer"),
        ({"regularizer": "r1", "regularizer_weight": -1.0}, "regularizer_weight=-1.0"),
        ({"regularizer_every": 0}, "regularizer_every=0"),
        ({"clip_weights": 0.0}, "clip_weights=0.0"),
        ({"n_critic": 0}, "n_critic=0"),
        ({"ema": 1.0}, "ema=1.0"),
        ({"ttur": 0.0}, "ttur=0.0"),
        ({"num_classes": 1}, "num_classes=1"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _gan("gan", **options)


def test_own_networks_of_another_shape() -> None:
    latent, image = keras.Input((LATENT_DIM,)), keras.Input(IMAGE_SHAPE)
    flat = keras.Model(latent, keras.layers.Dense(64)(latent))
    two = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(image)))
    with pytest.raises(ValueError, match=r"generator maps \(3,\) to \[\(64,\)\]"):
        _gan("gan", generator=flat)
    with pytest.raises(
        ValueError, match=r"discriminator maps \(8, 8, 1\) to \[\(2,\)\]; exp.*\(1,\)"
    ):
        _gan("gan", discriminator=two)


@pytest.mark.slow
def test_too_few_images_for_the_critic(images: np.ndarray) -> None:
    model = _gan("wgan_gp")
    with pytest.raises(tf.errors.InvalidArgumentError, match="fewer images than n_critic=5"):
        model.fit(images[:4], batch_size=4, verbose=0)
