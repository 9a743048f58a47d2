"""GAN → VAE and VAE → GAN: the same images, all tensors accounted for, all or nothing."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from keras import layers
from rich.console import Console

import zoo
from tests.cases import assert_same_state
from tests.support.equivalence import structured_images
from zoo import convert
from zoo.convert import distillation, plan, rules, sources
from zoo.convert.report import Report
from zoo.convert.writing import variables
from zoo.layers import prior_layer
from zoo.networks import conv
from zoo.sampling.posterior import aggregate_moments

SHAPE, LATENT = (8, 8, 1), 4
EXACT = 5e-6
# The package exports functions of the same names.
gan_to_vae, vae_to_gan = (sys.modules[f"zoo.convert.{n}"] for n in ("gan_to_vae", "vae_to_gan"))


def _shake(model: keras.Model, seed: int = 0) -> None:
    """Random weights and BatchNorm statistics far from the trivial ones."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        positive = "variance" in weight.name or "gamma" in weight.name
        draw = rng.uniform(0.2, 3.0, weight.shape) if positive else rng.normal(0, 0.2, weight.shape)
        weight.assign(draw)


def _gan(name: str = "dcgan", **options: Any) -> Any:
    """Of few channels, unless a network is named."""
    if "network" not in options:
        norm = "none" if name == "wgan_gp" else "batch"
        options.setdefault("generator", conv.generator(SHAPE, LATENT, width=8))
        options.setdefault("discriminator", conv.discriminator(SHAPE, norm, width=8))
    gan = zoo.create(name, SHAPE, LATENT, **options)
    _shake(gan.generator)
    if gan.ema_generator is not None:
        _shake(gan.ema_generator, seed=1)
    return gan


def _decoder(channels: tuple[int, int] = (8, 4), latent: int = LATENT) -> keras.Model:
    """Of the structure of `conv.decoder`."""
    inputs = keras.Input((latent,), name="latent")
    x = layers.Dense(4 * channels[1] * 4)(inputs)
    x = layers.ReLU()(layers.Reshape((4, 4, channels[1]))(x))
    x = layers.Conv2DTranspose(1, 4, 2, padding="same")(x)
    return keras.Model(inputs, x)


def _vae(decoder: keras.Model | None = None, latent: int = LATENT, **options: Any) -> Any:
    return zoo.create(
        "vae", SHAPE, latent,
        encoder=conv.encoder(SHAPE, latent, width=8),
        decoder=decoder or conv.decoder(SHAPE, latent, width=8), **options,
    )  # fmt: skip


def _stack(*stack: layers.Layer, latent: int = LATENT) -> keras.Model:
    inputs = x = keras.Input((latent,))
    for layer in stack:
        x = layer(x)
    model = keras.Model(inputs, x)
    _shake(model)
    return model


def _values(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(variable).copy() for variable in model.variables]


def _assert_unchanged(model: keras.Model, before: list[np.ndarray]) -> None:
    for variable, value in zip(model.variables, before, strict=True):
        assert np.asarray(variable).tobytes() == value.tobytes(), variable.path


def _assert_same_images(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a.generate(300, seed=7), b.generate(300, seed=7), atol=EXACT)


def _assert_draws(vae: Any, generator: Callable, low: float = 0.0, latents: Any = None) -> None:
    """The VAE draws the images of a generator of N(0, I), in [low, 1]."""
    z = np.random.default_rng(3).normal(size=(100, LATENT)).astype(np.float32)
    wanted = (np.asarray(generator(z if latents is None else latents(z))) - low) / (1 - low)
    np.testing.assert_allclose(vae.generate_from(z), wanted, atol=EXACT)


def _paths(model: keras.Model, network: str) -> set[str]:
    return {f"{network}/{path}" for path in variables(model)}


def _assert_complete(report: Report, targets: set[str], of_source: set[str]) -> None:
    """Every tensor of the target once, and every one of the source used, or once as unused."""
    found = [row.target for row in report.rows if row.target]
    assert sorted(found) == sorted(targets)
    unused = [row.source for row in report.rows if not row.target]
    assert len(unused) == len(set(unused))
    assert {row.status for row in report.rows if not row.target} <= {"UNUSED"}
    used: set[str] = set()
    for row in report.rows:
        for part in row.source.split(" · ") if row.target and row.source else []:
            block, _, names = part.rpartition("/")
            used |= {f"{block}/{name}" for name in names.strip("{}").split(", ")}
    assert used | set(unused) == of_source
    assert not used & set(unused)


# GAN → VAE: a new VAE


@pytest.mark.parametrize("name", ["dcgan", "wgan_gp"])
@pytest.mark.parametrize("options", [{}, {"ema": 0.9}, {"network": "mlp"}], ids=str)
def test_vae_draws_the_gans_images(name: str, options: dict) -> None:
    gan = _gan(name, **options)
    before = _values(gan)
    vae, report = convert.gan_to_vae(gan)
    _assert_same_images(vae, gan)
    assert report.equality.passed
    assert report.coverage == 1.0
    assert report.equivalence in ("tolerance", "bitwise")
    assert report.weights == ("ema" if "ema" in options else "raw")
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in vae.decoder.layers)
    _assert_unchanged(gan, before)


def test_the_average_or_the_raw_weights() -> None:
    gan = _gan(ema=0.9)
    for weights, generator in (
        ("auto", gan.ema_generator), ("ema", gan.ema_generator), ("raw", gan.generator),
    ):  # fmt: skip
        vae, report = convert.gan_to_vae(gan, weights=weights)
        _assert_draws(vae, generator)
        assert report.weights == ("raw" if weights == "raw" else "ema")
    with pytest.raises(ValueError, match="weights='ema'.*no average.*'raw' or 'auto'"):
        convert.gan_to_vae(_gan(), weights="ema")


def test_kept_norms_stay_as_they_are(images: np.ndarray) -> None:
    gan = _gan()
    vae, report = convert.gan_to_vae(gan, batch_norm="keep")
    norms = [x for x in vae.decoder.layers if isinstance(x, layers.BatchNormalization)]
    assert len(norms) == 1
    assert not {id(v) for v in norms[0].variables} & {id(v) for v in vae.trainable_variables}
    _assert_same_images(vae, gan)
    before = [np.asarray(v).copy() for v in norms[0].variables]
    vae.term_weights.assign((1.0, 1.0, 0.1, 1.0))
    vae.compile()
    vae.fit(images, batch_size=20, verbose=0)
    for variable, value in zip(norms[0].variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    kernel = report.rows[0]
    assert (kernel.target, kernel.status) == ("decoder/project/kernel", "COPIED")


def test_statistics_that_never_converged(images: np.ndarray) -> None:
    gan = _gan()
    gan = zoo.create("dcgan", SHAPE, LATENT, discriminator=conv.discriminator(SHAPE, width=8))
    gan.compile()
    gan.train_on_batch(images[:20])
    vae, report = convert.gan_to_vae(gan)
    _assert_same_images(vae, gan)
    assert "NOT CONVERGED" in report.batch_norm
    assert "batch_norm_0" in report.batch_norm


def test_recalibrated_statistics() -> None:
    """The images are the generator's with the moments of its own activations."""
    gan = _gan()
    vae, report = convert.gan_to_vae(gan, batch_norm="recalibrate")
    assert "recalibrated" in report.batch_norm
    assert report.equality.passed
    exact = keras.models.clone_model(gan.generator)
    exact.set_weights(gan.generator.get_weights())
    norm = exact.get_layer("batch_norm_0")
    z = np.random.default_rng(9).normal(size=(100_000, LATENT)).astype(np.float32)
    inner = np.asarray(keras.Model(exact.inputs, norm.input)(z), np.float64)
    norm.moving_mean.assign(inner.mean(axis=(0, 1, 2)))
    norm.moving_variance.assign(inner.var(axis=(0, 1, 2)))
    drawn = vae.generate_from(z[:200])
    off = np.abs(drawn - np.asarray(exact(z[:200]))).max()
    assert off < 0.1 * np.abs(drawn - gan.generate_from(z[:200])).max()
    # and exactly those under the draws that the conversion takes
    draws = sources.normal_draws(gan_to_vae.RECALIBRATION_LATENTS, LATENT, seed=1)
    inner = np.asarray(keras.Model(exact.inputs, norm.input)(draws), np.float64)
    norm.moving_mean.assign(inner.mean(axis=(0, 1, 2)))
    norm.moving_variance.assign(inner.var(axis=(0, 1, 2)))
    np.testing.assert_allclose(drawn, exact(z[:200]), atol=EXACT)


def test_an_encoder_from_the_discriminator(images: np.ndarray) -> None:
    gan = _gan()
    _shake(gan.discriminator, seed=2)
    vae, report = convert.gan_to_vae(gan, encoder_init="discriminator")
    _assert_same_images(vae, gan)
    features = keras.Model(
        gan.discriminator.inputs, gan.discriminator.get_layer("logit").input
    )(images, training=False)  # fmt: skip
    found = keras.Model(vae.encoder.inputs, vae.encoder.get_layer("hidden").input)(images)
    np.testing.assert_allclose(found, features, atol=1e-5)
    statuses = {row.target: row.status for row in report.rows}
    assert statuses["encoder/conv_0/kernel"] == "COPIED"
    assert statuses["encoder/mean/kernel"] == "REINITIALISED"
    with pytest.raises(ValueError, match="encoder_init='discriminator'.*Take 'random'"):
        convert.gan_to_vae(gan.generator, encoder_init="discriminator")


def test_a_new_encoder_is_clamped() -> None:
    vae, _ = convert.gan_to_vae(_gan())
    for layer in vae.encoder.layers:
        for weight in layer.weights:
            weight.assign(100.0 * np.asarray(weight) + 1.0)
    _, log_variance = vae.encode(np.ones((3, *SHAPE), np.float32))
    assert float(np.max(log_variance)) == 2.0


def test_a_dry_run_changes_nothing() -> None:
    gan = _gan()
    nothing, dry = convert.gan_to_vae(gan, dry_run=True)
    _, wet = convert.gan_to_vae(gan)
    assert nothing is None
    assert dry == wet
    vae = _vae()
    before = _values(vae)
    same, dry = convert.gan_to_vae(gan, vae, dry_run=True)
    assert same is vae
    _assert_unchanged(vae, before)
    assert dry == convert.gan_to_vae(gan, vae)[1]


def test_a_converted_vae_is_saved_whole(images: np.ndarray, tmp_path: Path) -> None:
    vae, _ = convert.gan_to_vae(_gan(), encoder_init="discriminator")
    vae.term_weights.assign((1.0, 0.5, 0.1, 2.0))
    vae.compile()
    vae.fit(images, batch_size=20, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.models.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.generate(4, seed=0), vae.generate(4, seed=0))
    np.testing.assert_array_equal(loaded.encode(images)[0], vae.encode(images)[0])
    assert_same_state(loaded, vae)
    for model in (vae, loaded):
        model.fit(images, batch_size=20, shuffle=False, verbose=0)
    assert_same_state(loaded, vae)


# GAN → VAE: the decoder of a given VAE


@pytest.mark.parametrize("transfer", [None, (1.0, 1.0, 0.0, 0.0)])
def test_a_given_decoder_takes_the_generator(transfer: Any) -> None:
    gan, vae = _gan(), _vae(transfer=transfer)
    encoder = _values(vae.encoder)
    found, report = convert.gan_to_vae(gan, vae)
    assert found is vae
    _assert_same_images(vae, gan)
    _assert_unchanged(vae.encoder, encoder)
    assert report.coverage == 1.0
    if transfer:
        for first, now in zip(
            vae.first_decoder.get_weights(), vae.decoder.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(first, now)
    encoders = {row.status for row in report.rows if row.target.startswith("encoder/")}
    assert encoders == {"KEPT"}


def test_no_encoder_from_a_discriminator_of_pairs() -> None:
    with pytest.raises(ValueError, match=r"takes image and latent: .*\n?.*encoder_init='random'"):
        convert.gan_to_vae(zoo.create("bigan", (8, 8, 1), 3), encoder_init="discriminator")


def test_a_given_encoder_takes_the_discriminator(images: np.ndarray) -> None:
    gan = _gan("wgan_gp")
    vae = _vae()
    _, report = convert.gan_to_vae(gan, vae, encoder_init="discriminator")
    statuses = {row.target: row.status for row in report.rows}
    assert statuses["encoder/conv_0/kernel"] == "COPIED"
    assert statuses["encoder/mean/kernel"] == "REINITIALISED"
    np.testing.assert_array_equal(
        vae.encoder.get_layer("conv_0").kernel, gan.discriminator.get_layer("conv_0").kernel
    )


@pytest.mark.parametrize("more", [1, 3])
def test_a_larger_latent_is_exact(more: int) -> None:
    gan, vae = _gan(), _vae(latent=LATENT + more)
    _, report = convert.gan_to_vae(gan, vae)
    z = vae.sample_latents(100, seed=3)
    np.testing.assert_allclose(vae.generate_from(z), gan.generate_from(z[:, :LATENT]), atol=EXACT)
    assert report.equivalence == "tolerance"


def test_a_wider_decoder_is_exact() -> None:
    generator = _stack(*_decoder((8, 3)).layers[1:], layers.Activation("sigmoid"))
    vae = _vae(_decoder((8, 7)))
    _, report = convert.gan_to_vae(generator, vae)
    _assert_draws(vae, generator)
    assert report.equivalence == "tolerance"
    assert report.coverage == 1.0
    assert any("Net2Wider" in row.rule or "widen" in row.rule for row in report.rows)


def test_a_smaller_latent_is_approximate() -> None:
    gan, vae = _gan(), _vae(latent=LATENT - 1)
    before = _values(vae)
    with pytest.raises(ValueError, match="4 latent dimensions.* 3.*latent_dim=4.*mode='partial'"):
        convert.gan_to_vae(gan, vae)
    _assert_unchanged(vae, before)
    _, report = convert.gan_to_vae(gan, vae, mode="partial")
    assert report.equivalence == "approximate"
    assert any("3 of 4 dimensions" in note for note in report.notes)
    # the directions that are kept draw what the generator draws there
    kernel = np.asarray(gan.generator.get_layer("project").kernel, np.float64)
    norm = gan.generator.get_layer("batch_norm_0")
    scale = np.asarray(norm.gamma) / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    u = np.linalg.svd(kernel * np.tile(scale, kernel.shape[1] // len(scale)))[0][:, :3]
    z = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    signs = np.stack(np.meshgrid(*[[-1, 1]] * 3), -1).reshape(-1, 3)  # of singular vectors
    drawn = vae.generate_from(z)
    errors = [
        np.abs(drawn - gan.generate_from((z * sign) @ u.T.astype(np.float32))).max()
        for sign in signs
    ]
    assert min(errors) < EXACT


def test_upsampling_becomes_a_transposed_convolution() -> None:
    generator = _stack(
        layers.Dense(64), layers.Reshape((4, 4, 4)), layers.ReLU(), layers.UpSampling2D(),
        layers.Conv2D(1, 3, padding="same"), layers.Activation("tanh"), layers.Rescaling(0.5, 0.5),
    )  # fmt: skip
    vae = _vae(_decoder((8, 4)))
    _, report = convert.gan_to_vae(generator, vae)
    _assert_draws(vae, generator)
    assert report.coverage == 1.0


def test_a_mapping_chooses_between_twins() -> None:
    def twins(*names: str, end: str) -> keras.Model:
        inputs = keras.Input((LATENT,))
        parts = [layers.Dense(64, name=name)(inputs) for name in names]
        x = layers.Reshape(SHAPE)(layers.Add()(parts))
        x = layers.Activation("sigmoid")(x) if end else x
        model = keras.Model(inputs, x)
        _shake(model)
        return model

    generator, vae = twins("a", "b", end="sigmoid"), _vae(twins("c", "d", end=""))
    with pytest.raises(ValueError, match="nothing tells them apart"):
        convert.gan_to_vae(generator, vae)
    convert.gan_to_vae(generator, vae, mapping={"gen/a": "dec/d"})
    np.testing.assert_array_equal(
        vae.decoder.get_layer("d").kernel, generator.get_layer("a").kernel
    )


# Modes


def test_partial_mode_states_what_it_did() -> None:
    """The source has another last kernel size: the first layer is copied, the last is not."""
    generator = _stack(
        layers.Dense(64), layers.Reshape((4, 4, 4)), layers.ReLU(),
        layers.Conv2DTranspose(1, 2, 2, padding="same", activation="sigmoid"),
    )  # fmt: skip
    vae = _vae(_decoder((8, 4)))
    before = _values(vae)
    with pytest.raises(ValueError, match="(?s)finds no partner.*mode='partial'"):
        convert.gan_to_vae(generator, vae)
    _assert_unchanged(vae, before)
    _, report = convert.gan_to_vae(generator, vae, mode="partial")
    statuses = [row.status for row in report.rows if row.target.startswith("decoder/")]
    assert statuses == ["COPIED", "COPIED", "SLICED", "COPIED"]
    assert report.coverage == pytest.approx((4 * 64 + 64 + 4 * 4 + 1) / (4 * 64 + 64 + 16 * 4 + 1))
    assert report.equivalence == "approximate"
    assert not report.equality.passed
    drawn = vae.generate_from(sources.normal_draws(50, LATENT, 0))
    off = np.abs(drawn - np.asarray(generator(sources.normal_draws(50, LATENT, 0)))).max()
    assert off == pytest.approx(report.equality.max_error, rel=0.5)


@keras.saving.register_keras_serializable("tests")
class BlackBox(keras.Model):
    """A generator that cannot be read, of images in [−1, 1]."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = layers.Dense(16, activation="relu")
        self.pixels = layers.Dense(64)

    def call(self, x: Any) -> Any:
        return tf.tanh(tf.reshape(self.pixels(self.hidden(x)), (-1, *SHAPE)))


def _black_box() -> keras.Model:
    model = BlackBox()
    model(np.zeros((1, LATENT), np.float32))
    _shake(model)
    return model


def test_distillation_of_what_cannot_be_read() -> None:
    black = _black_box()
    with pytest.raises(ValueError, match="BlackBox.*cannot be read.*mode='distill'"):
        convert.gan_to_vae(black)
    keras.utils.set_random_seed(0)
    vae = zoo.create("vae", SHAPE, LATENT, network="mlp")
    encoder = _values(vae.encoder)
    z = sources.normal_draws(200, LATENT, 5)
    wanted = (np.asarray(black(z)) + 1) / 2
    before = np.mean((vae.generate_from(z) - wanted) ** 2)
    _, report = convert.gan_to_vae(black, vae, mode="distill", distill_steps=100)
    after = np.mean((vae.generate_from(z) - wanted) ** 2)
    assert after < 0.05 * before
    assert report.equality.rms_error == pytest.approx(np.sqrt(after), rel=0.3)
    assert (report.mode, report.equivalence, report.coverage) == ("distill", "approximate", 0.0)
    _assert_unchanged(vae.encoder, encoder)
    targets = _paths(vae.decoder, "decoder") | _paths(vae.encoder, "encoder")
    _assert_complete(report, targets, {f"generator/{w.path}" for w in black.weights})


def test_distillation_into_a_new_vae_of_an_unusual_end() -> None:
    """A generator that can be read, but whose end is no decoder's."""
    generator = _stack(layers.Dense(64), layers.Reshape(SHAPE), layers.ReLU(max_value=1.0))
    with pytest.raises(ValueError, match=r"ends in .*ReLU.*expected"):
        convert.gan_to_vae(generator)
    found = [
        convert.gan_to_vae(generator, mode="distill", network="mlp", distill_steps=n)[1]
        for n in (1, 60)
    ]
    assert found[1].equality.rms_error < 0.5 * found[0].equality.rms_error
    bright = _stack(layers.Dense(64), layers.Reshape(SHAPE), layers.Rescaling(9.0))
    with pytest.raises(ValueError, match=r"draws .* to .*; expected images in \[0, 1\] or"):
        convert.gan_to_vae(bright, mode="distill")


def test_distillation_is_repeatable() -> None:
    generator = _stack(layers.Dense(64), layers.Reshape(SHAPE), layers.Activation("sigmoid"))
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        decoder = _decoder()
        distillation.distill(generator, decoder, LATENT, steps=5, seed=1)
        found.append(decoder.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


# Generators from outside


@keras.saving.register_keras_serializable("tests")
class OfLayers(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = layers.Dense(12, activation="leaky_relu")
        self.norm = layers.BatchNormalization()
        self.pixels = layers.Dense(64, activation="sigmoid")

    def call(self, x: Any, training: bool = False) -> Any:
        x = self.norm(self.hidden(x), training=training)
        return keras.ops.reshape(self.pixels(x), (-1, *SHAPE))


def _of_layers() -> keras.Model:
    model = OfLayers()
    model(np.zeros((1, LATENT), np.float32))
    _shake(model)
    return model


def _nested() -> keras.Model:
    inner = _stack(layers.Dense(16), layers.BatchNormalization(), layers.ReLU())
    return _stack(inner, layers.Dense(64), layers.Reshape(SHAPE), layers.Activation("tanh"))


def _arithmetic() -> keras.Model:
    inputs = keras.Input((LATENT,))
    x = layers.Reshape(SHAPE)(layers.Dense(64)(layers.Dense(9, activation="relu")(inputs)))
    model = keras.Model(inputs, (keras.ops.tanh(x) + 1.0) / 2.0)
    _shake(model)
    return model


def _channels_first() -> keras.Model:
    """As from PyTorch: [n, channels, height, width] within, permuted for Keras's layers."""
    return _stack(
        layers.Dense(48), layers.Reshape((3, 4, 4)), layers.Permute((2, 3, 1)),
        layers.BatchNormalization(), layers.ReLU(),
        layers.Conv2DTranspose(1, 4, 2, padding="same", use_bias=False), layers.Activation("tanh"),
    )  # fmt: skip


def _spectral() -> keras.Model:
    norm = layers.SpectralNormalization
    stack = norm(layers.Dense(64)), layers.Reshape((4, 4, 4)), layers.ReLU()
    last = norm(layers.Conv2DTranspose(1, 4, 2, padding="same"))
    model = _stack(*stack, last, layers.Activation("sigmoid"))
    model(np.zeros((1, LATENT), np.float32), training=True)
    return model


OUTSIDE: dict[str, tuple[Callable[[], keras.Model], float]] = {
    "subclassed": (_of_layers, 0.0),
    "nested": (_nested, -1.0),
    "keras.ops": (_arithmetic, 0.0),
    "channels first": (_channels_first, -1.0),
    "spectral norm": (_spectral, 0.0),
    "sequential": (
        lambda: keras.Sequential(
            [keras.Input((LATENT,)), layers.Dense(64, "tanh"), layers.Reshape(SHAPE)]
        ),
        -1.0,
    ),
    "sigmoid": (lambda: _stack(layers.Dense(64, activation="sigmoid"), layers.Reshape(SHAPE)), 0.0),
}


@pytest.mark.parametrize(("make", "low"), OUTSIDE.values(), ids=OUTSIDE.keys())
def test_generators_from_outside(
    make: Callable[[], keras.Model], low: float, tmp_path: Path
) -> None:
    """As a model and as a file."""
    generator = make()
    before = _values(generator)
    vae, report = convert.gan_to_vae(generator)
    _assert_draws(vae, generator, low)
    assert report.coverage == 1.0
    assert report.equivalence in ("bitwise", "tolerance")
    _assert_unchanged(generator, before)
    generator.save(tmp_path / "generator.keras")
    again, report_again = convert.gan_to_vae(tmp_path / "generator.keras")
    _assert_same_images(again, vae)
    assert [row.status for row in report_again.rows] == [row.status for row in report.rows]


def test_a_gan_of_the_zoo_with_a_subclassed_generator() -> None:
    gan = _gan(generator=_of_layers(), ema=0.9)
    vae, report = convert.gan_to_vae(gan)
    _assert_same_images(vae, gan)
    assert report.weights == "ema"


def test_another_prior() -> None:
    """On carried latents the images are equal, and these have the prior's law."""
    generator = _stack(layers.Dense(64, activation="sigmoid"), layers.Reshape(SHAPE))
    vae, report = convert.gan_to_vae(generator, prior="uniform")
    assert report.equivalence == "distributional"
    assert "uniform" in report.prior
    _assert_draws(vae, generator, latents=prior_layer("uniform"))
    layer = vae.decoder.get_layer("uniform_from_normal")
    carried = np.asarray(layer(vae.sample_latents(2500, seed=0)))
    assert scipy.stats.kstest(carried.ravel(), scipy.stats.uniform(-1, 2).cdf).pvalue > 0.01


# VAE → GAN


@pytest.fixture(scope="module")
def vae() -> Any:
    """Its posterior is far from N(0, I), and σ depends on the image."""
    vae = _vae()
    _shake(vae.encoder, seed=4)
    _shake(vae.decoder, seed=5)
    return vae


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return structured_images()


def test_without_whitening_the_gan_draws_the_vaes_images(vae: Any) -> None:
    before = _values(vae)
    gan, report = convert.vae_to_gan(vae, whiten_posterior=False)
    _assert_same_images(gan, vae)
    assert report.coverage == 1.0
    assert report.equivalence == "tolerance"
    assert report.direction == "vae_to_gan"
    _assert_unchanged(vae, before)


@pytest.mark.parametrize("options", [{}, {"batch_norm": "none"}, {"model": "wgan_gp"}], ids=str)
def test_the_gan_draws_from_the_aggregate_posterior(
    vae: Any, pictures: np.ndarray, options: dict
) -> None:
    """G(ε) = D(A ε + m)."""
    gan, report = convert.vae_to_gan(vae, images=pictures, **options)
    mean, covariance = aggregate_moments(vae, pictures)
    factor = np.linalg.cholesky(covariance)
    noise = np.random.default_rng(0).normal(size=(200, LATENT)).astype(np.float32)
    wanted = vae.decode((noise @ factor.T + mean).astype(np.float32))
    np.testing.assert_allclose(gan.generate_from(noise), wanted, atol=2e-5)
    assert np.abs(gan.generate_from(noise) - vae.generate_from(noise)).max() > 0.01
    assert report.equivalence == "distributional"
    assert report.equality.passed
    assert gan.model_name == options.get("model", "dcgan")


def test_aggregate_moments_are_those_of_draws(vae: Any, pictures: np.ndarray) -> None:
    mean, covariance = aggregate_moments(vae, pictures)
    means, log_variances = vae.encode(pictures)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4000, len(pictures), LATENT))
    draws = (np.asarray(means) + np.exp(0.5 * np.asarray(log_variances)) * noise).reshape(
        -1, LATENT
    )
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(mean / scale, draws.mean(0) / scale, atol=0.02)
    unit = np.outer(scale, scale)
    np.testing.assert_allclose(covariance / unit, np.cov(draws.T) / unit, atol=0.02)


def test_moments_of_one_dimension(pictures: np.ndarray) -> None:
    vae = zoo.create("vae", SHAPE, 1, network="mlp")
    mean, covariance = aggregate_moments(vae, pictures)
    assert (mean.shape, covariance.shape) == ((1,), (1, 1))
    assert convert.vae_to_gan(vae, images=pictures)[1].equality.passed


def test_inserted_norms_do_nothing_yet(vae: Any) -> None:
    gan, report = convert.vae_to_gan(vae, whiten_posterior=False)
    norms = [x for x in gan.generator.layers if isinstance(x, layers.BatchNormalization)]
    assert len(norms) == 1
    assert "identity" in report.batch_norm
    z = sources.normal_draws(4096, LATENT, 11)
    still = np.asarray(gan.generator(z, training=False))
    moving = np.asarray(gan.generator(z, training=True))
    assert np.sqrt(np.mean((moving - still) ** 2)) < 0.05 * still.std()
    plain, _ = convert.vae_to_gan(vae, whiten_posterior=False, batch_norm="none")
    assert not any(isinstance(x, layers.BatchNormalization) for x in plain.generator.layers)


def test_the_discriminator_sees_the_encoders_features(vae: Any, pictures: np.ndarray) -> None:
    gan, report = convert.vae_to_gan(vae, whiten_posterior=False)
    head = gan.discriminator.layers[-1]
    found = keras.Model(gan.discriminator.inputs, head.input)(pictures)
    wanted = keras.Model(vae.encoder.inputs, vae.encoder.get_layer("hidden").output)(pictures)
    np.testing.assert_array_equal(found, wanted)
    statuses = {row.target: row.status for row in report.rows}
    assert statuses["discriminator/logit/kernel"] == "REINITIALISED"
    assert statuses["discriminator/conv_0/kernel"] == "COPIED"


@pytest.mark.parametrize("model", ["dcgan", "wgan_gp"])
def test_a_discriminator_of_its_own(model: str, vae: Any) -> None:
    """Random, of the GAN's own architecture, and in the report."""
    gan, report = convert.vae_to_gan(
        vae, whiten_posterior=False, discriminator_init="random", model=model
    )
    statuses = {r.target: r.status for r in report.rows if r.target.startswith("discriminator/")}
    assert set(statuses) == _paths(gan.discriminator, "discriminator")
    assert set(statuses.values()) == {"REINITIALISED"}
    wanted = zoo.create(model, SHAPE, LATENT).discriminator
    assert [w.shape for w in gan.discriminator.weights] == [w.shape for w in wanted.weights]


@pytest.mark.parametrize("init", ["encoder", "random"])
@pytest.mark.parametrize("given", [False, True])
def test_every_tensor_of_a_gan_is_in_the_report_once(
    init: str, given: bool, vae: Any, tmp_path: Path
) -> None:
    target = _gan(generator=_biased(), ema=0.9) if given else None
    gan, report = convert.vae_to_gan(vae, target, whiten_posterior=False, discriminator_init=init)
    targets = _paths(gan.generator, "generator") | _paths(gan.discriminator, "discriminator")
    of_source = _paths(vae.decoder, "decoder") | _paths(vae.encoder, "encoder")
    _assert_complete(report, targets, of_source)
    report.save(tmp_path / "conversion.json")
    assert Report.load(tmp_path / "conversion.json") == report
    text = io.StringIO()
    Console(file=text, width=80).print(report.table())
    assert max(map(len, text.getvalue().splitlines())) <= 80


def _biased(*, norm: bool = True) -> keras.Model:
    """The generator that `conv.decoder` becomes, its first layer with a bias."""
    plain = conv.decoder(SHAPE, LATENT, width=8)
    inputs = x = keras.Input((LATENT,))
    for layer in plain.layers[1:]:
        x = type(layer).from_config(layer.get_config())(x)
        if norm and isinstance(layer, layers.Reshape):
            x = layers.BatchNormalization()(x)
    return keras.Model(inputs, layers.Rescaling(0.5, 0.5)(layers.Activation("tanh")(x)))


@pytest.mark.parametrize("norm", [False, True])
def test_a_given_gan_takes_the_decoder(norm: bool, vae: Any) -> None:
    gan = _gan("wgan_gp", generator=_biased(norm=norm), ema=0.9)
    critic = _values(gan.discriminator)
    found, report = convert.vae_to_gan(
        vae, gan, whiten_posterior=False, discriminator_init="random"
    )
    assert found is gan
    _assert_same_images(gan, vae)
    for raw, average in zip(
        gan.generator.get_weights(), gan.ema_generator.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(raw, average)
    _assert_unchanged(gan.discriminator, critic)
    assert report.coverage == 1.0
    convert.vae_to_gan(vae, gan, whiten_posterior=False)
    np.testing.assert_array_equal(
        gan.discriminator.get_layer("conv_0").kernel, vae.encoder.get_layer("conv_0").kernel
    )


def test_a_given_generator_that_ends_in_sigmoid(vae: Any) -> None:
    tanh = _biased(norm=False)
    logits = tanh.layers[-3].output
    gan = _gan(generator=keras.Model(tanh.inputs, layers.Activation("sigmoid")(logits)))
    _, report = convert.vae_to_gan(vae, gan, whiten_posterior=False)
    _assert_same_images(gan, vae)
    assert report.coverage == 1.0


def test_a_larger_latent_of_a_gan_is_exact(vae: Any) -> None:
    gan = zoo.create(
        "dcgan", SHAPE, LATENT + 2, discriminator=conv.discriminator(SHAPE, width=8),
        generator=keras.Model(
            (wide := conv.decoder(SHAPE, LATENT + 2, width=8)).inputs,
            layers.Activation("sigmoid")(wide.output),
        ),
    )  # fmt: skip
    convert.vae_to_gan(vae, gan, whiten_posterior=False)
    z = gan.sample_latents(100, seed=0)
    np.testing.assert_allclose(gan.generate_from(z), vae.generate_from(z[:, :LATENT]), atol=EXACT)


def test_a_bias_that_a_generator_has_no_place_for(vae: Any) -> None:
    """The zoo's conv generator has none in its first layer, and a BatchNorm only one a channel."""
    gan = _gan()
    before = _values(gan)
    with pytest.raises(ValueError, match="'project' has a bias that varies.*use_bias=True"):
        convert.vae_to_gan(vae, gan, whiten_posterior=False)
    _assert_unchanged(gan, before)
    _, report = convert.vae_to_gan(vae, gan, whiten_posterior=False, mode="partial")
    assert report.equivalence == "approximate"
    np.testing.assert_array_equal(
        gan.generator.get_layer("project").kernel, vae.decoder.get_layer("project").kernel
    )


def test_options_of_a_new_gan(vae: Any) -> None:
    gan, _ = convert.vae_to_gan(vae, whiten_posterior=False, ema=0.9, n_critic=2)
    assert (gan.ema, gan.n_critic) == (0.9, 2)
    _assert_same_images(gan, vae)


@pytest.mark.parametrize("options", [{}, {"batch_norm": "none"}, {"model": "projection_gan"}])
def test_a_conditional_gan_begins_as_the_vae_and_learns_classes(
    options: dict, vae: Any, pictures: np.ndarray
) -> None:
    gan, report = convert.vae_to_gan(
        vae, whiten_posterior=False, discriminator_init="random", num_classes=3, ema=0.5, **options
    )
    assert report.equality.passed
    latents = vae.sample_latents(20, seed=0)
    for label in range(3):
        np.testing.assert_allclose(
            gan.generate_from(latents, label), vae.generate_from(latents), atol=2e-5
        )
    gan.compile()
    labels = np.arange(len(pictures)) % 3
    gan.fit(pictures, labels, epochs=3, batch_size=20, verbose=0)
    one, other = (gan.generate_from(latents, label) for label in (0, 1))
    assert np.abs(one - other).max() > 1e-4


def test_a_dry_run_to_a_gan(vae: Any, pictures: np.ndarray) -> None:
    nothing, dry = convert.vae_to_gan(vae, images=pictures, dry_run=True)
    assert nothing is None
    assert dry == convert.vae_to_gan(vae, images=pictures)[1]
    gan = _gan(generator=_biased())
    before = _values(gan)
    same, _ = convert.vae_to_gan(vae, gan, images=pictures, dry_run=True)
    assert same is gan
    _assert_unchanged(gan, before)


def test_a_converted_gan_is_saved_whole(vae: Any, pictures: np.ndarray, tmp_path: Path) -> None:
    gan, _ = convert.vae_to_gan(vae, images=pictures, ema=0.9)
    gan.compile()
    gan.fit(pictures, batch_size=20, verbose=0)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    np.testing.assert_array_equal(loaded.generate(4, seed=0), gan.generate(4, seed=0))
    for model in (gan, loaded):
        model.fit(pictures, batch_size=20, shuffle=False, verbose=0)
    assert_same_state(loaded, gan)


@pytest.mark.parametrize("options", [{}, {"network": "mlp"}], ids=str)
def test_there_and_back(options: dict) -> None:
    """GAN → VAE → GAN draws the same images; so does VAE → GAN → VAE."""
    gan = _gan(**options)
    vae, _ = convert.gan_to_vae(gan, encoder_init="discriminator")
    again, _ = convert.vae_to_gan(vae, whiten_posterior=False)
    _assert_same_images(again, gan)
    back, _ = convert.gan_to_vae(again)
    _assert_same_images(back, vae)


VAE_ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "no images": ({}, "whiten_posterior=True.*give images"),
    "bytes": ({"images": np.zeros((5, *SHAPE), np.uint8)}, r"uint8.*float32 in \[0, 1\]"),
    "other images": ({"images": np.zeros((5, 8, 9, 1), np.float32)}, r"\(5, 8, 9, 1\).*8, 8, 1"),
    "one image": ({"images": np.zeros((1, *SHAPE), np.float32)}, "n ≥ 2"),
    "init": ({"discriminator_init": "decoder"}, "discriminator_init='decoder': expected"),
    "norm": ({"batch_norm": "fold"}, "batch_norm='fold': expected one of 'insert', 'none'"),
    "mode": ({"mode": "distill"}, "mode='distill': expected one of 'exact', 'partial'"),
    "model": ({"whiten_posterior": False, "model": "vae"}, "model='vae': expected one of.*'dcgan'"),
    "classes": (
        {"whiten_posterior": False, "num_classes": 3}, "num_classes=3.*Take.*'random'",
    ),
    "networks": (
        {"whiten_posterior": False, "generator": 1}, "generator: made from the VAE.*gan=",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("options", "message"), VAE_ERRORS.values(), ids=VAE_ERRORS.keys())
def test_errors_of_vae_to_gan(options: dict, message: str, vae: Any) -> None:
    with pytest.raises(ValueError, match=message):
        convert.vae_to_gan(vae, **options)


def test_given_gans_that_do_not_fit(vae: Any) -> None:
    gan = _gan()
    before = _values(gan)
    with pytest.raises(ValueError, match="ema: options are for a new GAN"):
        convert.vae_to_gan(vae, gan, whiten_posterior=False, ema=0.9)
    _assert_unchanged(gan, before)
    small = zoo.create("dcgan", SHAPE, LATENT - 1, network="mlp")
    with pytest.raises(ValueError, match="decoder has 4 latent dimensions, the GAN 3"):
        convert.vae_to_gan(vae, small, whiten_posterior=False)
    other = zoo.create("dcgan", (8, 12, 1), LATENT, network="mlp")
    with pytest.raises(ValueError, match=r"decoder's images are \(8, 8, 1\).*\(8, 12, 1\)"):
        convert.vae_to_gan(vae, other, whiten_posterior=False)


# The report


def test_a_pure_copy_is_bitwise() -> None:
    """Sigmoid at the end, BatchNorm kept: nothing is computed anew."""
    generator = _stack(
        layers.Dense(64, use_bias=False), layers.Reshape((4, 4, 4)), layers.BatchNormalization(),
        layers.ReLU(), layers.Conv2DTranspose(1, 4, 2, padding="same"),
        layers.Activation("sigmoid"),
    )  # fmt: skip
    vae, report = convert.gan_to_vae(generator, batch_norm="keep")
    assert report.equivalence == "bitwise"
    assert {r.status for r in report.rows if r.target.startswith("decoder")} == {"COPIED"}
    z = sources.normal_draws(64, LATENT, 1)
    np.testing.assert_array_equal(tf.sigmoid(vae.decoder(z)), generator(z))
    assert convert.gan_to_vae(generator)[1].equivalence == "tolerance"


@pytest.mark.parametrize(
    "options",
    [{}, {"batch_norm": "keep"}, {"encoder_init": "discriminator"}, {"mode": "distill"}],
    ids=str,
)
@pytest.mark.parametrize("given", [False, True])
def test_every_tensor_is_in_the_report_once(
    options: dict, given: bool, tmp_path: Path
) -> None:  # fmt: skip
    if options.get("mode") == "distill":
        options = {**options, "distill_steps": 1}
    gan = _gan(ema=0.9)
    target = None
    if given:
        decoder = None
        if options.get("batch_norm") == "keep":
            decoder = keras.Model(gan.generator.inputs, gan.generator.get_layer("logits").output)
            decoder = keras.models.clone_model(decoder)
        target = _vae(decoder)
    vae, report = convert.gan_to_vae(gan, target, **options)
    generator = {f"generator/{path}" for path in variables(gan.ema_generator)}
    critic = {f"discriminator/{path}" for path in variables(gan.discriminator)}
    targets = _paths(vae.decoder, "decoder") | _paths(vae.encoder, "encoder")
    _assert_complete(report, targets, generator | critic)
    report.save(tmp_path / "conversion.json")
    assert Report.load(tmp_path / "conversion.json") == report
    text = io.StringIO()
    Console(file=text, width=80).print(report.table())
    assert max(map(len, text.getvalue().splitlines())) <= 80
    assert "max" in text.getvalue()


@pytest.mark.parametrize("given", [False, True])
def test_a_perturbed_kernel_fails(given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry of one kernel, off by a thousandth of the kernel's scale."""
    gan = _gan()
    target = _vae() if given else None
    before = _values(target) if target else None
    fold = rules.fold_norms

    def perturbed(network: Any) -> Any:
        network = fold(network)
        block = network["project"]
        kernel = block.arrays["kernel"].copy()
        kernel[1, 2] += 1e-3 * np.sqrt(np.mean(kernel**2))
        return network.replaced(block.with_arrays({**block.arrays, "kernel": kernel}, "fault"))

    monkeypatch.setattr(rules, "fold_norms", perturbed)
    with pytest.raises(ValueError, match="decoder does not compute the generator's images"):
        convert.gan_to_vae(gan, target)
    if target:
        _assert_unchanged(target, before)


# Errors and atomicity


def _conditional() -> keras.Model:
    inputs = [keras.Input((LATENT,)), keras.Input((3,), name="label")]
    x = layers.Dense(64, activation="sigmoid")(layers.Concatenate()(inputs))
    return keras.Model(inputs, layers.Reshape(SHAPE)(x))


BAD: dict[str, tuple[Callable[[], Any], dict[str, Any], type[Exception], str]] = {
    "mode": (_gan, {"mode": "exakt"}, ValueError, "mode='exakt': expected one of 'exact'"),
    "batch_norm": (_gan, {"batch_norm": "insert"}, ValueError, "batch_norm='insert': expected"),
    "weights": (_gan, {"weights": "swa"}, ValueError, "weights='swa': expected one of 'auto'"),
    "encoder": (_gan, {"encoder_init": "he"}, ValueError, "encoder_init='he': expected"),
    "prior": (_gan, {"prior": "cauchy"}, ValueError, "prior='cauchy'.*'uniform'"),
    "distill": (
        _gan, {"mode": "distill", "batch_norm": "keep"}, ValueError, "'keep'.*mode='distill'",
    ),
    "file": (lambda: "no_such.keras", {}, FileNotFoundError, "no_such.keras.*expected a .keras"),
    "no model": (lambda: 3, {}, TypeError, "int is neither a GAN"),
    "conditional": (_conditional, {}, ValueError, "2 inputs.*conditional.*fix_label"),
    "no images": (
        lambda: _stack(layers.Dense(64)), {}, ValueError, r"maps \(None, 4\) to \(None, 64\)",
    ),
    "not built": (OfLayers, {}, ValueError, "not been built.*call it on latents"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "options", "error", "message"), BAD.values(), ids=BAD.keys())
def test_errors_name_value_and_remedy(
    make: Callable[[], Any], options: dict, error: type[Exception], message: str
) -> None:
    vae = _vae()
    before = _values(vae)
    with pytest.raises(error, match=message):
        convert.gan_to_vae(make(), vae, **options)
    _assert_unchanged(vae, before)


def test_targets_that_do_not_fit() -> None:
    gan = _gan()
    wide = zoo.create("vae", (8, 12, 1), LATENT, network="mlp")
    with pytest.raises(ValueError, match=r"\(8, 8, 1\).*\(8, 12, 1\).*image_shape=\(8, 8, 1\)"):
        convert.gan_to_vae(gan, wide, mode="partial")
    with pytest.raises(ValueError, match="mode='distill' needs as many"):
        convert.gan_to_vae(gan, _vae(latent=7), mode="distill")
    with pytest.raises(TypeError, match="DCGAN is no VAE of the zoo"):
        convert.gan_to_vae(gan, gan)
    with pytest.raises(TypeError, match="DCGAN is no VAE of the zoo"):
        convert.vae_to_gan(gan)
    with pytest.raises(TypeError, match="VAE is no GAN of the zoo"):
        convert.vae_to_gan(wide, wide, whiten_posterior=False)


class _BrokenError(RuntimeError):
    pass


def _breaks(*_: Any, **__: Any) -> Any:
    raise _BrokenError


def _fails_at_assign(monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    """From now on the k-th assignment fails, once it has assigned, and later ones work."""
    count = 0
    assign = keras.Variable.assign

    def counted(self: Any, value: Any) -> Any:
        nonlocal count
        count += 1
        found = assign(self, value)
        if count == k:
            raise _BrokenError
        return found

    commit = plan.commit_all

    def commit_all(*args: Any, **kwargs: Any) -> None:
        with monkeypatch.context() as inner:
            inner.setattr(keras.Variable, "assign", counted)
            commit(*args, **kwargs)

    monkeypatch.setattr(plan, "commit_all", commit_all)


STAGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "measure": lambda patch: [
        patch.setattr(m, "measure", _breaks) for m in (gan_to_vae, vae_to_gan)
    ],
    "align": lambda patch: patch.setattr(plan, "align", _breaks),
    "first assign": lambda patch: _fails_at_assign(patch, 1),
    "fourth assign": lambda patch: _fails_at_assign(patch, 4),
    "last network": lambda patch: patch.setattr(keras.Model, "set_weights", _breaks),
}


@pytest.fixture(scope="module")
def trained() -> tuple[Any, Any, np.ndarray]:
    """A VAE and a GAN, each to be converted into the other, and images."""
    images = np.random.default_rng(0).random((20, *SHAPE)).astype(np.float32)
    vae = _vae(_decoder((8, 4)), transfer=(1.0, 1.0, 0.0, 0.0))
    _shake(vae.encoder)
    inputs = keras.Input((LATENT,))
    images_of = keras.ops.sigmoid(_decoder((8, 4))(inputs))
    generator = keras.Model(inputs, images_of)
    gan = _gan(generator=generator, ema=0.9, discriminator=conv.discriminator(SHAPE, "none", 8))
    return vae, gan, images


@pytest.mark.parametrize("to", ["vae", "gan"])
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES.keys())
def test_all_or_nothing(
    stage: Callable, to: str, trained: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae, gan, images = trained
    target = vae if to == "vae" else gan
    before = _values(target)
    stage(monkeypatch)
    conversion = {
        "vae": lambda: convert.gan_to_vae(gan, vae, encoder_init="discriminator"),
        "gan": lambda: convert.vae_to_gan(vae, gan, images=images),
    }[to]
    with pytest.raises(_BrokenError):
        conversion()
    _assert_unchanged(target, before)
