"""GAN → VAE: the VAE draws the images of the GAN, whether it is new or given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from tests.cases import assert_same_state
from tests.support.conversions import (
    EXACT,
    LATENT,
    SHAPE,
    assert_draws,
    assert_same_images,
    assert_unchanged,
    gan_to_vae,
    make_decoder,
    make_gan,
    make_stack,
    make_vae,
    values_of,
)
from tests.support.networks import shake
from zoo import convert
from zoo.convert import sources
from zoo.networks import conv


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dcgan", {"ema": 0.9}),
        pytest.param("wgan_gp", {"network": "mlp"}, marks=pytest.mark.slow),
        pytest.param("dcgan", {}, marks=pytest.mark.slow),
        pytest.param("dcgan", {"network": "mlp"}, marks=pytest.mark.slow),
        pytest.param("wgan_gp", {}, marks=pytest.mark.slow),
        pytest.param("wgan_gp", {"ema": 0.9}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_vae_draws_the_gans_images(name: str, options: dict) -> None:
    gan = make_gan(name, **options)
    before = values_of(gan)
    vae, report = convert.gan_to_vae(gan)
    assert_same_images(vae, gan)
    assert report.equality.passed
    assert report.coverage == 1.0
    assert report.equivalence in ("tolerance", "bitwise")
    assert report.weights == ("ema" if "ema" in options else "raw")
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in vae.decoder.layers)
    assert_unchanged(gan, before)


@pytest.mark.slow
def test_attention_and_spectral_norms_pass_unchanged() -> None:
    gan = zoo.create("sagan", (8, 8, 1), LATENT, network="sagan-4")
    for seed in range(5):
        gan.generator(gan.sample_latents(16, seed=seed), training=True)  # norms and statistics
    gan.generator.get_layer("attention").gamma.assign(0.7)  # 0 at first: it would do nothing
    vae, report = convert.gan_to_vae(gan)
    assert_same_images(vae, gan)
    assert report.equality.passed
    assert report.coverage == 1.0
    assert vae.decoder.get_layer("attention").gamma.numpy() == np.float32(0.7)


@pytest.mark.slow
def test_the_average_or_the_raw_weights() -> None:
    gan = make_gan(ema=0.9)
    for weights, generator in (
        ("auto", gan.ema_generator), ("ema", gan.ema_generator), ("raw", gan.generator),
    ):  # fmt: skip
        vae, report = convert.gan_to_vae(gan, weights=weights)
        assert_draws(vae, generator)
        assert report.weights == ("raw" if weights == "raw" else "ema")
    with pytest.raises(ValueError, match="weights='ema'.*no average.*'raw' or 'auto'"):
        convert.gan_to_vae(make_gan(), weights="ema")


@pytest.mark.slow
def test_kept_norms_stay_as_they_are(images: np.ndarray) -> None:
    gan = make_gan()
    vae, report = convert.gan_to_vae(gan, batch_norm="keep")
    norms = [x for x in vae.decoder.layers if isinstance(x, layers.BatchNormalization)]
    assert len(norms) == 1
    assert not {id(v) for v in norms[0].variables} & {id(v) for v in vae.trainable_variables}
    assert_same_images(vae, gan)
    before = [np.asarray(v).copy() for v in norms[0].variables]
    vae.term_weights.assign((1.0, 1.0, 0.1, 1.0))
    vae.compile()
    vae.fit(images, batch_size=20, verbose=0)
    for variable, value in zip(norms[0].variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    kernel = report.rows[0]
    assert (kernel.target, kernel.status) == ("decoder/project/kernel", "COPIED")


@pytest.mark.slow
def test_statistics_that_never_converged(images: np.ndarray) -> None:
    gan = make_gan()
    gan = zoo.create("dcgan", SHAPE, LATENT, discriminator=conv.discriminator(SHAPE, width=8))
    gan.compile()
    gan.train_on_batch(images[:20])
    vae, report = convert.gan_to_vae(gan)
    assert_same_images(vae, gan)
    assert "NOT CONVERGED" in report.batch_norm
    assert "batch_norm_0" in report.batch_norm


@pytest.mark.slow
def test_recalibrated_statistics() -> None:
    """The images are the generator's with the moments of its own activations."""
    gan = make_gan()
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
    gan = make_gan()
    shake(gan.discriminator, seed=2)
    vae, report = convert.gan_to_vae(gan, encoder_init="discriminator")
    assert_same_images(vae, gan)
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
    vae, _ = convert.gan_to_vae(make_gan())
    for layer in vae.encoder.layers:
        for weight in layer.weights:
            weight.assign(100.0 * np.asarray(weight) + 1.0)
    _, log_variance = vae.encode(np.ones((3, *SHAPE), np.float32))
    assert float(np.max(log_variance)) == 2.0


@pytest.mark.slow
def test_a_dry_run_changes_nothing() -> None:
    gan = make_gan()
    nothing, dry = convert.gan_to_vae(gan, dry_run=True)
    _, wet = convert.gan_to_vae(gan)
    assert nothing is None
    assert dry == wet
    vae = make_vae()
    before = values_of(vae)
    same, dry = convert.gan_to_vae(gan, vae, dry_run=True)
    assert same is vae
    assert_unchanged(vae, before)
    assert dry == convert.gan_to_vae(gan, vae)[1]


@pytest.mark.slow
def test_a_converted_vae_is_saved_whole(images: np.ndarray, tmp_path: Path) -> None:
    vae, _ = convert.gan_to_vae(make_gan(), encoder_init="discriminator")
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


@pytest.mark.parametrize(
    "transfer", [pytest.param(None, marks=pytest.mark.slow), (1.0, 1.0, 0.0, 0.0)]
)
def test_a_given_decoder_takes_the_generator(transfer: Any) -> None:
    gan, vae = make_gan(), make_vae(transfer=transfer)
    encoder = values_of(vae.encoder)
    found, report = convert.gan_to_vae(gan, vae)
    assert found is vae
    assert_same_images(vae, gan)
    assert_unchanged(vae.encoder, encoder)
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
    gan = make_gan("wgan_gp")
    vae = make_vae()
    _, report = convert.gan_to_vae(gan, vae, encoder_init="discriminator")
    statuses = {row.target: row.status for row in report.rows}
    assert statuses["encoder/conv_0/kernel"] == "COPIED"
    assert statuses["encoder/mean/kernel"] == "REINITIALISED"
    np.testing.assert_array_equal(
        vae.encoder.get_layer("conv_0").kernel, gan.discriminator.get_layer("conv_0").kernel
    )


@pytest.mark.parametrize("more", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_larger_latent_is_exact(more: int) -> None:
    gan, vae = make_gan(), make_vae(latent=LATENT + more)
    _, report = convert.gan_to_vae(gan, vae)
    z = vae.sample_latents(100, seed=3)
    np.testing.assert_allclose(vae.generate_from(z), gan.generate_from(z[:, :LATENT]), atol=EXACT)
    assert report.equivalence == "tolerance"


@pytest.mark.slow
def test_a_wider_decoder_is_exact() -> None:
    generator = make_stack(*make_decoder((8, 3)).layers[1:], layers.Activation("sigmoid"))
    vae = make_vae(make_decoder((8, 7)))
    _, report = convert.gan_to_vae(generator, vae)
    assert_draws(vae, generator)
    assert report.equivalence == "tolerance"
    assert report.coverage == 1.0
    assert any("Net2Wider" in row.rule or "widen" in row.rule for row in report.rows)


@pytest.mark.slow
def test_a_smaller_latent_is_approximate() -> None:
    gan, vae = make_gan(), make_vae(latent=LATENT - 1)
    before = values_of(vae)
    with pytest.raises(ValueError, match="4 latent dimensions.* 3.*latent_dim=4.*mode='partial'"):
        convert.gan_to_vae(gan, vae)
    assert_unchanged(vae, before)
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
    generator = make_stack(
        layers.Dense(64), layers.Reshape((4, 4, 4)), layers.ReLU(), layers.UpSampling2D(),
        layers.Conv2D(1, 3, padding="same"), layers.Activation("tanh"), layers.Rescaling(0.5, 0.5),
    )  # fmt: skip
    vae = make_vae(make_decoder((8, 4)))
    _, report = convert.gan_to_vae(generator, vae)
    assert_draws(vae, generator)
    assert report.coverage == 1.0


def test_a_mapping_chooses_between_twins() -> None:
    def twins(*names: str, end: str) -> keras.Model:
        inputs = keras.Input((LATENT,))
        parts = [layers.Dense(64, name=name)(inputs) for name in names]
        x = layers.Reshape(SHAPE)(layers.Add()(parts))
        x = layers.Activation("sigmoid")(x) if end else x
        model = keras.Model(inputs, x)
        shake(model)
        return model

    generator, vae = twins("a", "b", end="sigmoid"), make_vae(twins("c", "d", end=""))
    with pytest.raises(ValueError, match="nothing tells them apart"):
        convert.gan_to_vae(generator, vae)
    convert.gan_to_vae(generator, vae, mapping={"gen/a": "dec/d"})
    np.testing.assert_array_equal(
        vae.decoder.get_layer("d").kernel, generator.get_layer("a").kernel
    )
