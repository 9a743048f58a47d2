"""What a recipe does at each step, the terms it moves, and the laws of q(z)."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from keras import layers

import zoo
from tests.cases import assert_same_state
from zoo import convert
from zoo.sampling import posterior
from zoo.training import recipes
from zoo.training.loop import train
from zoo.training.recipes import DiscriminatorWarmUp, SleepWakeJoint, learning_rate
from zoo.training.runs import load_run

SHAPE, LATENT = (8, 8, 1), 3
BATCH = 20  # of 60 images: three steps an epoch


def _generator() -> keras.Model:
    """Images that tell their latents apart."""
    inputs = keras.Input((LATENT,))
    x = layers.Dense(16, activation="relu", name="hidden")(inputs)
    x = layers.Dense(64, activation="sigmoid", name="pixels")(x)
    model = keras.Model(inputs, layers.Reshape(SHAPE)(x))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def _encoder() -> keras.Model:
    inputs = keras.Input(SHAPE)
    x = layers.Dense(32, activation="relu")(layers.Flatten()(inputs))
    mean = layers.Dense(LATENT, name="mean")(x)
    return keras.Model(inputs, [mean, layers.Dense(LATENT, name="log_variance")(x)])


def _vae(transfer: Any = (1.0, 1.0, 0.0, 0.0), **options: Any) -> Any:
    """With the generator as decoder, and a small encoder."""
    keras.utils.set_random_seed(0)
    converted, _ = convert.gan_to_vae(_generator(), network="mlp")
    return zoo.create(
        "vae", SHAPE, LATENT, encoder=_encoder(), decoder=converted.decoder, transfer=transfer,
        **options,
    )  # fmt: skip


def _compiled(**options: Any) -> Any:
    vae = _vae(**options)
    vae.compile(keras.optimizers.Adam(1e-2), keras.optimizers.Adam(1e-2))
    return vae


def _fit(model: Any, images: np.ndarray, steps: int, *callbacks: Any) -> None:
    data = tf.data.Dataset.from_tensor_slices(images).batch(BATCH, drop_remainder=True).repeat()
    model.fit(data, steps_per_epoch=steps, epochs=1, verbose=0, callbacks=list(callbacks))


class _Watch(keras.callbacks.Callback):
    """What a recipe has set for each step, and the decoder after it."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Any] = []
        self.rates: list[tuple[float, float]] = []
        self.decoders: list[list[np.ndarray]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.weights.append(tuple(np.asarray(self.model.term_weights).tolist()))
        rates = (self.model.optimizer, self.model.decoder_optimizer)
        self.rates.append(tuple(float(learning_rate(o).numpy()) for o in rates))
        self.decoders.append([w.copy() for w in self.model.decoder.get_weights()])


# Sleep, wake, joint


@pytest.mark.parametrize(
    ("step", "weights", "rate"),
    [
        (0, (0, 0, 1, 0), 0),
        (149, (0, 0, 1, 0), 0),
        (150, (1, 0, 0.1, 0), 0),
        (175, (1, 0.25, 0.1, 0), 0),  # the warm-up takes a fifth of 500 steps
        (200, (1, 0.5, 0.1, 0), 0),
        (250, (1, 1, 0.1, 0), 0),
        (649, (1, 1, 0.1, 0), 0),
        (650, (1, 1, 0.1, 1), 0.1),
        (999, (1, 1, 0.1, 1), 0.1),
        (5000, (1, 1, 0.1, 1), 0.1),
    ],
)
def test_phases(step: int, weights: tuple, rate: float) -> None:
    found, found_rate = SleepWakeJoint(1000, sleep=0.15, wake=0.5, decoder_rate=0.1).phase(step)
    assert found == pytest.approx(weights, abs=1e-12)
    assert found_rate == rate


def test_phases_of_other_lengths() -> None:
    recipe = SleepWakeJoint(100, sleep=0.5, wake=0.25, replay=0.3, anchor=7.0, decoder_rate=0.5)
    assert recipe.phase(49) == ((0, 0, 1, 0), 0)
    assert recipe.phase(50) == ((1, 0, 0.3, 0), 0)
    assert recipe.phase(74) == ((1, 1, 0.3, 0), 0)
    assert recipe.phase(75) == ((1, 1, 0.3, 7), 0.5)


@pytest.mark.slow
def test_the_decoder_moves_only_in_the_joint_phase(images: np.ndarray) -> None:
    vae, watch = _compiled(), _Watch()
    first = [w.copy() for w in vae.decoder.get_weights()]
    encoder = vae.encoder.get_weights()
    # 3 steps of sleep, 10 of wake, 7 joint
    recipe = SleepWakeJoint(20, sleep=0.15, wake=0.5, decoder_rate=0.1)
    _fit(vae, images, 20, recipe, watch)
    assert watch.weights == [pytest.approx(recipe.phase(step)[0], rel=1e-6) for step in range(20)]
    assert watch.rates == [
        pytest.approx((1e-2, 1e-2 * recipe.phase(step)[1]), rel=1e-6) for step in range(20)
    ]
    for step, weights in enumerate(watch.decoders):
        same = all(np.array_equal(a, b) for a, b in zip(weights, first, strict=True))
        assert same == (step < 13), step
    moved = zip(encoder, vae.encoder.get_weights(), strict=True)
    assert all(np.any(a != b) for a, b in moved)
    for a, b in zip(vae.first_decoder.get_weights(), first, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_the_anchor_holds_the_decoder(images: np.ndarray) -> None:
    distances = []
    for anchor in (0.0, 1e5):
        vae = _compiled()
        before = vae.generate(200, seed=0)
        recipe = SleepWakeJoint(1, sleep=0.0, wake=0.0, anchor=anchor, decoder_rate=1.0)
        _fit(vae, images, 30, recipe)
        distances.append(np.sqrt(np.mean((vae.generate(200, seed=0) - before) ** 2)))
    assert distances[1] < 0.3 * distances[0]


@pytest.mark.slow
def test_a_frozen_decoder_never_moves(images: np.ndarray) -> None:
    vae = _compiled()
    begin = recipes.prepare(vae, "frozen")
    first = [w.copy() for w in vae.decoder.get_weights()]
    vae.compile(keras.optimizers.Adam(1e-2), keras.optimizers.Adam(1e-2))
    _fit(vae, images, 30, *begin(10))  # beyond its end
    for a, b in zip(vae.decoder.get_weights(), first, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_dreaming_teaches_the_encoder(images: np.ndarray) -> None:
    """It recovers the latents of images that the decoder draws."""
    vae = _compiled()
    z = vae.sample_latents(500, seed=1)
    drawn = vae.generate_from(z)

    def explained() -> np.ndarray:
        mean = np.asarray(vae.encode(drawn)[0])
        return 1 - np.mean((mean - z) ** 2, axis=0) / np.var(z, axis=0)

    assert explained().max() < 0.3
    _fit(vae, images, 150, SleepWakeJoint(150, sleep=1.0))
    assert explained().min() > 0.5
    # σ of the posterior is that of the errors, within a factor
    mean, log_variance = map(np.asarray, vae.encode(drawn))
    assert 0.3 < np.mean((mean - z) ** 2 / np.exp(log_variance)) < 3.0


# The terms


def _noise(vae: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents and pixel noise of the evaluation's dreams."""
    names = (("test_dream", [LATENT]), ("test_dream_pixels", SHAPE))
    start = tf.constant(0, tf.int64)
    z, pixels = (vae.noise(name, tf.constant(n), shape, counter=start) for name, shape in names)
    return np.asarray(z), np.asarray(pixels)


@pytest.mark.parametrize(
    "likelihood", ["gaussian", pytest.param("bernoulli", marks=pytest.mark.slow)]
)
def test_the_sleep_loss_is_the_density_of_the_latents(likelihood: str, images: np.ndarray) -> None:
    vae = _compiled(likelihood=likelihood)
    if likelihood == "gaussian":
        vae.pixels.variance.assign(0.04)
    z, pixels = _noise(vae, 60)
    deviation = 0.2 if likelihood == "gaussian" else 0.0
    dreamt = vae.generate_from(z) + deviation * pixels
    # Its network, since noisy dreams leave [0, 1], which `encode` refuses.
    mean, log_variance = (np.asarray(x, np.float64) for x in vae.encoder(dreamt, training=False))
    density = scipy.stats.norm.logpdf(z, mean, np.exp(0.5 * log_variance)).sum(axis=1)
    measured = vae.evaluate(images, batch_size=60, verbose=0, return_dict=True)
    assert measured["sleep"] == pytest.approx(-density.mean(), rel=1e-5)
    assert measured["loss"] == pytest.approx(measured["distortion"] + measured["rate"], rel=1e-5)


@pytest.mark.slow
def test_the_anchor_is_a_squared_distance(images: np.ndarray) -> None:
    vae = _compiled()
    first = vae.decoder.get_weights()
    z, _ = _noise(vae, 60)
    assert vae.evaluate(images, batch_size=60, verbose=0, return_dict=True)["anchor"] == 0
    before = vae.generate_from(z).astype(np.float64)
    vae.decoder.set_weights([w + 0.1 for w in first])
    after = vae.generate_from(z).astype(np.float64)
    measured = vae.evaluate(images, batch_size=60, verbose=0, return_dict=True)["anchor"]
    assert measured == pytest.approx(((after - before) ** 2).sum(axis=(1, 2, 3)).mean(), rel=1e-4)


def test_a_step_follows_the_weighted_sum(images: np.ndarray) -> None:
    """SGD at rate 1 moves encoder and decoder by the gradients of the sum written out."""
    weights = (0.7, 0.3, 0.2, 5.0)
    vae = _vae(transfer=weights, likelihood="bernoulli")
    vae.decoder.set_weights([w + 0.1 for w in vae.decoder.get_weights()])
    x = tf.constant(images[:BATCH])
    noise, z = (vae.noise(name, tf.constant(BATCH), [LATENT]) for name in ("posterior", "dream"))
    with tf.GradientTape(persistent=True) as tape:
        mean, log_variance = vae.encoder(x)
        logits = vae.decoder(mean + tf.exp(log_variance / 2) * noise)
        cross = tf.nn.sigmoid_cross_entropy_with_logits(x, logits)
        distortion = tf.reduce_sum(cross) / BATCH
        rate = tf.reduce_sum(mean**2 + tf.exp(log_variance) - 1 - log_variance) / 2 / BATCH
        drawn = tf.sigmoid(vae.decoder(z))
        mu, s = vae.encoder(tf.stop_gradient(drawn))
        sleep = tf.reduce_sum((z - mu) ** 2 / tf.exp(s) + s + np.log(2 * np.pi)) / 2 / BATCH
        anchor = tf.reduce_sum((drawn - tf.sigmoid(vae.first_decoder(z))) ** 2) / BATCH
        terms = (distortion, rate, sleep, anchor)
        loss = sum(w * term for w, term in zip(weights, terms, strict=True))
    variables = [*vae.encoder.trainable_variables, *vae.decoder.trainable_variables]
    wanted = [
        np.asarray(v) - np.asarray(g)
        for v, g in zip(variables, tape.gradient(loss, [v.value for v in variables]), strict=True)
    ]
    vae.compile(keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0))
    logs = vae.train_on_batch(images[:BATCH], return_dict=True)
    for variable, value in zip(variables, wanted, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-4, atol=2e-4, err_msg=variable.path)
    for name, term in zip(("distortion", "rate", "sleep", "anchor"), terms, strict=True):
        assert logs[name] == pytest.approx(float(term), rel=1e-4), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("log_variance", "weights", "infinite"),
    [
        (-200.0, (1.0, 1.0, 0.0, 0.0), "sleep"),
        pytest.param(100.0, (0.0, 0.0, 0.0, 1.0), "rate", marks=pytest.mark.slow),
    ],
)
def test_a_term_of_weight_zero_may_be_infinite(
    log_variance: float, weights: tuple, infinite: str, images: np.ndarray
) -> None:
    """It is not in the loss, nor NaN in a gradient."""
    vae = _vae(transfer=weights)
    vae.encoder.get_layer("log_variance").bias.assign(np.full(LATENT, log_variance))
    vae.decoder.set_weights([w + 0.1 for w in vae.decoder.get_weights()])
    vae.compile(keras.optimizers.SGD(1e-3), keras.optimizers.SGD(1e-3))
    before = vae.decoder.get_weights()
    vae.train_on_batch(images[:BATCH])
    assert all(np.isfinite(w).all() for w in vae.get_weights() if w.dtype.kind == "f")
    assert any(np.any(a != b) for a, b in zip(before, vae.decoder.get_weights(), strict=True))
    measured = vae.evaluate(images, batch_size=60, verbose=0, return_dict=True)
    assert not np.isfinite(measured[infinite])


@pytest.mark.slow
def test_scales_of_two_optimizers(images: np.ndarray) -> None:
    """Each grows and shrinks by itself; powers of 2 change no bit of what is learnt."""
    states = []
    for scaled in (False, True):
        vae = _vae(transfer=(1.0, 1.0, 0.5, 2.0))
        optimizers = [keras.optimizers.SGD(1e-3) for _ in range(2)]
        if scaled:
            optimizers = [
                keras.optimizers.LossScaleOptimizer(o, initial_scale=s, dynamic_growth_steps=g)
                for o, s, g in zip(optimizers, (2.0**4, 2.0**7), (1, 3), strict=True)
            ]
        vae.compile(*optimizers)
        _fit(vae, images, 6)
        if scaled:
            assert [float(o.dynamic_scale) for o in optimizers] == [2.0**10, 2.0**9]
        states.append(vae.get_weights())
    for plain, other in zip(*states, strict=True):
        np.testing.assert_array_equal(plain, other)


# Resuming


class _InterruptAt(keras.callbacks.Callback):
    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.model.steps_done == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(1, id="sleep", marks=pytest.mark.slow),
        pytest.param(4, id="wake"),
        pytest.param(10, id="joint", marks=pytest.mark.slow),
    ],
)
def test_a_run_resumes_within_a_phase(step: int, images: np.ndarray, tmp_path: Path) -> None:
    """4 epochs of 3 steps: two of sleep, six of wake and four joint."""

    def begin(steps: int) -> list[Any]:
        return [SleepWakeJoint(steps, sleep=0.15, wake=0.5)]

    settings = {"epochs": 4, "batch_size": BATCH, "verbose": 0, "recipe": begin}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    vae = _compiled()
    assert train(vae, images, whole, **settings)
    vae = _compiled()
    stop = [_InterruptAt(step)]
    assert not train(vae, images, parts, callbacks=stop, **settings)
    vae = load_run(parts)
    assert vae.steps_done == step
    assert train(vae, images, parts, recipe_steps=12, **settings)
    assert_same_state(vae, load_run(whole))
    assert_same_state(load_run(parts), load_run(whole))


@pytest.mark.slow
def test_the_recipe_spans_its_own_steps(images: np.ndarray, tmp_path: Path) -> None:
    """With more epochs than it was made for, the rest goes on as its end."""
    vae, watch = _compiled(), _Watch()
    spans: list[int] = []

    def begin(steps: int) -> list[Any]:
        spans.append(steps)
        return [SleepWakeJoint(steps), watch]

    settings = {"batch_size": BATCH, "verbose": 0, "recipe": begin}
    train(vae, images, tmp_path, epochs=2, **settings)
    train(vae, images, tmp_path, epochs=3, recipe_steps=6, **settings)
    assert spans == [6, 6]
    assert watch.weights[-3:] == [pytest.approx((1, 1, 0.1, 1))] * 3


# The discriminator first


def _gan() -> Any:
    vae = _vae()
    gan, _ = convert.vae_to_gan(vae, whiten_posterior=False)
    gan.compile()
    return gan


class _Rates(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[float, np.ndarray]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        rate = float(learning_rate(self.model.generator_optimizer).numpy())
        weights = [np.ravel(np.asarray(v)) for v in self.model.generator.trainable_variables]
        self.found.append((rate, np.concatenate(weights)))


@pytest.mark.slow
def test_the_generator_waits_and_rises(images: np.ndarray, tmp_path: Path) -> None:
    gan, rates = _gan(), _Rates()
    first = np.concatenate([np.ravel(v) for v in gan.generator.trainable_variables])
    critic = gan.discriminator.get_weights()
    warm_up = DiscriminatorWarmUp(1e-3, steps=4, ramp=5)
    _fit(gan, images, 6, warm_up, rates)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    _fit(loaded, images, 6, DiscriminatorWarmUp(1e-3, steps=4, ramp=5), rates)
    wanted = [0, 0, 0, 0, 0, 0.2e-3, 0.4e-3, 0.6e-3, 0.8e-3, 1e-3, 1e-3, 1e-3]
    np.testing.assert_allclose([rate for rate, _ in rates.found], wanted, rtol=1e-6)
    for step, (rate, weights) in enumerate(rates.found):
        assert np.array_equal(weights, first) == (rate == 0), step
    moved = zip(critic, loaded.discriminator.get_weights(), strict=True)
    assert all(np.any(a != b) for a, b in moved)


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps", [9, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 60, 100_000))]
)
def test_the_warm_up_of_a_run(steps: int) -> None:
    """A tenth of it at most, and the rate of the model's own optimizer in the end."""
    gan = _gan()
    learning_rate(gan.generator_optimizer).assign(0.0)  # as in a run that is resumed
    (found,) = recipes.prepare(gan, "warm-up")(steps)
    assert found.steps <= min(steps / 10, recipes.WARM_UP)
    assert 1 <= found.ramp <= recipes.WARM_UP
    assert found.rate == pytest.approx(2e-4)
    assert recipes.prepare(gan, "plain")(steps) == []


# Errors


def test_recipes_of_other_models(images: np.ndarray) -> None:
    plain = zoo.create("vae", SHAPE, LATENT, network="mlp")
    plain.compile()
    before = plain.get_weights()
    with pytest.raises(ValueError, match="SleepWakeJoint.*made with `transfer`"):
        plain.fit(images, verbose=0, callbacks=[SleepWakeJoint(10)])
    assert plain.steps_done == 0
    for a, b in zip(before, plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for recipe in ("joint", "frozen"):
        with pytest.raises(ValueError, match=f"recipe='{recipe}'.*no transfer"):
            recipes.prepare(plain, recipe)
    with pytest.raises(ValueError, match="recipe='warm-up': expected one of joint, frozen, plain"):
        recipes.prepare(plain, "warm-up")
    with pytest.raises(ValueError, match="decoder_optimizer: this vae has optimizer"):
        plain.compile(decoder_optimizer="adam")
    with pytest.raises(ValueError, match=r"transfer=\(1.0, -1.0\): expected a weight"):
        zoo.create("vae", SHAPE, LATENT, transfer=(1.0, -1.0))


@pytest.mark.parametrize("which", [0, 1])
def test_schedules_are_refused(which: int, images: np.ndarray) -> None:
    vae = _vae()
    optimizers = [keras.optimizers.Adam(1e-3) for _ in range(2)]
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 10)
    optimizers[which] = keras.optimizers.Adam(schedule)
    vae.compile(*optimizers)
    with pytest.raises(TypeError, match="learning rate is a CosineDecay; expected a number"):
        _fit(vae, images, 2, SleepWakeJoint(10))
    assert vae.steps_done == 0


# The aggregate posterior


def _linear_vae(matrix: np.ndarray, offset: np.ndarray, log_variance: float) -> Any:
    """q(z | x) = N(A x + b, σ² I)."""
    inputs = keras.Input(SHAPE)
    flat = layers.Flatten()(inputs)
    mean = layers.Dense(LATENT, name="mean")(flat)
    spread = layers.Dense(LATENT, name="log_variance", kernel_initializer="zeros")(flat)
    encoder = keras.Model(inputs, [mean, spread])
    encoder.get_layer("mean").set_weights([matrix.T, offset])
    encoder.get_layer("log_variance").bias.assign(np.full(LATENT, log_variance))
    return zoo.create("vae", SHAPE, LATENT, encoder=encoder, network="mlp")


@pytest.mark.parametrize("components", [1, 3])
def test_a_mixture_has_the_moments_of_the_posterior(components: int) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(0, 0.3, (LATENT, 64)).astype(np.float32)
    offset = np.array([1.0, -2.0, 0.5], np.float32)
    # Uniform pixels, of mean 1/2 and variance 1/12: their sums, and so q(z), are nearly Gaussian.
    pixels = rng.random((6000, *SHAPE), np.float32)
    kernel = np.sqrt(12.0) * matrix
    vae = _linear_vae(kernel, offset - 0.5 * kernel.sum(axis=1), log_variance=-1.0)
    covariance = matrix @ matrix.T + np.exp(-1.0) * np.eye(LATENT)
    scale = np.sqrt(np.diag(covariance))
    mean, found = posterior.aggregate_moments(vae, pixels)
    np.testing.assert_allclose(mean / scale, offset / scale, atol=0.05)
    np.testing.assert_allclose(found / np.outer(scale, scale), covariance / np.outer(scale, scale),
                               atol=0.06)  # fmt: skip
    mixture = posterior.fit_mixture(vae, pixels, components=components, seed=0)
    drawn = posterior.draw(mixture, 20_000, seed=1)
    assert (drawn.shape, drawn.dtype) == ((20_000, LATENT), np.float32)
    np.testing.assert_allclose(drawn.mean(0) / scale, offset / scale, atol=0.06)
    unit = np.outer(scale, scale)
    np.testing.assert_allclose(np.cov(drawn.T) / unit, covariance / unit, atol=0.08)


def test_draws_of_a_mixture_follow_the_seed(images: np.ndarray) -> None:
    vae = _vae()
    mixture = posterior.fit_mixture(vae, images, components=2, seed=0)
    first = posterior.draw(mixture, 50, seed=1)
    np.testing.assert_array_equal(posterior.draw(mixture, 50, seed=1), first)
    assert np.any(posterior.draw(mixture, 50, seed=2) != first)
    again = posterior.fit_mixture(vae, images, components=2, seed=0)
    np.testing.assert_array_equal(again.means_, mixture.means_)
    assert np.any(posterior.fit_mixture(vae, images, components=2, seed=3).means_ != mixture.means_)
    # not ordered by component
    labels = mixture.predict(posterior.draw(mixture, 200, seed=1))
    assert 0 < np.mean(labels[:100]) < 1
