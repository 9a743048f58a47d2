"""VAE → GAN: the GAN draws the images of the VAE, whether it is new or given."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

import zoo
from tests.cases import assert_same_state
from tests.support.conversions import (
    EXACT,
    LATENT,
    SHAPE,
    assert_complete,
    assert_same_images,
    assert_unchanged,
    make_gan,
    make_vae,
    paths_of,
    values_of,
)
from tests.support.equivalence import structured_images
from tests.support.networks import shake
from zoo import convert
from zoo.convert import sources
from zoo.convert.report import Report
from zoo.networks import conv
from zoo.sampling.posterior import aggregate_moments


@pytest.fixture(scope="module")
def vae() -> Any:
    """Its posterior is far from N(0, I), and σ depends on the image."""
    vae = make_vae()
    shake(vae.encoder, seed=4)
    shake(vae.decoder, seed=5)
    return vae


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return structured_images()


def test_without_whitening_the_gan_draws_the_vaes_images(vae: Any) -> None:
    before = values_of(vae)
    gan, report = convert.vae_to_gan(vae, whiten_posterior=False)
    assert_same_images(gan, vae)
    assert report.coverage == 1.0
    assert report.equivalence == "tolerance"
    assert report.direction == "vae_to_gan"
    assert_unchanged(vae, before)


@pytest.mark.parametrize(
    "options",
    [
        {},
        *(
            pytest.param(o, marks=pytest.mark.slow)
            for o in ({"batch_norm": "none"}, {"model": "wgan_gp"})
        ),
    ],
    ids=str,
)
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


@pytest.mark.parametrize("model", ["dcgan", pytest.param("wgan_gp", marks=pytest.mark.slow)])
def test_a_discriminator_of_its_own(model: str, vae: Any) -> None:
    """Random, of the GAN's own architecture, and in the report."""
    gan, report = convert.vae_to_gan(
        vae, whiten_posterior=False, discriminator_init="random", model=model
    )
    statuses = {r.target: r.status for r in report.rows if r.target.startswith("discriminator/")}
    assert set(statuses) == paths_of(gan.discriminator, "discriminator")
    assert set(statuses.values()) == {"REINITIALISED"}
    wanted = zoo.create(model, SHAPE, LATENT).discriminator
    assert [w.shape for w in gan.discriminator.weights] == [w.shape for w in wanted.weights]


@pytest.mark.parametrize("init", ["encoder", pytest.param("random", marks=pytest.mark.slow)])
@pytest.mark.parametrize("given", [pytest.param(False, marks=pytest.mark.slow), True])
def test_every_tensor_of_a_gan_is_in_the_report_once(
    init: str, given: bool, vae: Any, tmp_path: Path
) -> None:
    target = make_gan(generator=_biased(), ema=0.9) if given else None
    gan, report = convert.vae_to_gan(vae, target, whiten_posterior=False, discriminator_init=init)
    targets = paths_of(gan.generator, "generator") | paths_of(gan.discriminator, "discriminator")
    of_source = paths_of(vae.decoder, "decoder") | paths_of(vae.encoder, "encoder")
    assert_complete(report, targets, of_source)
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


@pytest.mark.slow
@pytest.mark.parametrize("norm", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_given_gan_takes_the_decoder(norm: bool, vae: Any) -> None:
    gan = make_gan("wgan_gp", generator=_biased(norm=norm), ema=0.9)
    critic = values_of(gan.discriminator)
    found, report = convert.vae_to_gan(
        vae, gan, whiten_posterior=False, discriminator_init="random"
    )
    assert found is gan
    assert_same_images(gan, vae)
    for raw, average in zip(
        gan.generator.get_weights(), gan.ema_generator.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(raw, average)
    assert_unchanged(gan.discriminator, critic)
    assert report.coverage == 1.0
    convert.vae_to_gan(vae, gan, whiten_posterior=False)
    np.testing.assert_array_equal(
        gan.discriminator.get_layer("conv_0").kernel, vae.encoder.get_layer("conv_0").kernel
    )


def test_a_given_generator_that_ends_in_sigmoid(vae: Any) -> None:
    tanh = _biased(norm=False)
    logits = tanh.layers[-3].output
    gan = make_gan(generator=keras.Model(tanh.inputs, layers.Activation("sigmoid")(logits)))
    _, report = convert.vae_to_gan(vae, gan, whiten_posterior=False)
    assert_same_images(gan, vae)
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
    gan = make_gan()
    before = values_of(gan)
    with pytest.raises(ValueError, match="'project' has a bias that varies.*use_bias=True"):
        convert.vae_to_gan(vae, gan, whiten_posterior=False)
    assert_unchanged(gan, before)
    _, report = convert.vae_to_gan(vae, gan, whiten_posterior=False, mode="partial")
    assert report.equivalence == "approximate"
    np.testing.assert_array_equal(
        gan.generator.get_layer("project").kernel, vae.decoder.get_layer("project").kernel
    )


def test_options_of_a_new_gan(vae: Any) -> None:
    gan, _ = convert.vae_to_gan(vae, whiten_posterior=False, ema=0.9, n_critic=2)
    assert (gan.ema, gan.n_critic) == (0.9, 2)
    assert_same_images(gan, vae)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"batch_norm": "none"}, marks=pytest.mark.slow),
        pytest.param({"model": "projection_gan"}, marks=pytest.mark.slow),
    ],
)
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


@pytest.mark.slow
def test_a_dry_run_to_a_gan(vae: Any, pictures: np.ndarray) -> None:
    nothing, dry = convert.vae_to_gan(vae, images=pictures, dry_run=True)
    assert nothing is None
    assert dry == convert.vae_to_gan(vae, images=pictures)[1]
    gan = make_gan(generator=_biased())
    before = values_of(gan)
    same, _ = convert.vae_to_gan(vae, gan, images=pictures, dry_run=True)
    assert same is gan
    assert_unchanged(gan, before)


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "options", [{}, pytest.param({"network": "mlp"}, marks=pytest.mark.slow)], ids=str
)
def test_there_and_back(options: dict) -> None:
    """GAN → VAE → GAN draws the same images; so does VAE → GAN → VAE."""
    gan = make_gan(**options)
    vae, _ = convert.gan_to_vae(gan, encoder_init="discriminator")
    again, _ = convert.vae_to_gan(vae, whiten_posterior=False)
    assert_same_images(again, gan)
    back, _ = convert.gan_to_vae(again)
    assert_same_images(back, vae)


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
    gan = make_gan()
    before = values_of(gan)
    with pytest.raises(ValueError, match="ema: options are for a new GAN"):
        convert.vae_to_gan(vae, gan, whiten_posterior=False, ema=0.9)
    assert_unchanged(gan, before)
    small = zoo.create("dcgan", SHAPE, LATENT - 1, network="mlp")
    with pytest.raises(ValueError, match="decoder has 4 latent dimensions, the GAN 3"):
        convert.vae_to_gan(vae, small, whiten_posterior=False)
    other = zoo.create("dcgan", (8, 12, 1), LATENT, network="mlp")
    with pytest.raises(ValueError, match=r"decoder's images are \(8, 8, 1\).*\(8, 12, 1\)"):
        convert.vae_to_gan(vae, other, whiten_posterior=False)
