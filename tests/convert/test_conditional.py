"""Conditional GAN ⇄ conditional VAE: the images of every class stay what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from tests.support.conversions import (
    EXACT,
    LATENT,
    SHAPE,
    assert_complete,
    assert_unchanged,
    paths_of,
    values_of,
)
from tests.support.equivalence import structured_images
from tests.support.networks import shake
from zoo import convert
from zoo.convert import rules
from zoo.convert.building import build
from zoo.convert.reading import read
from zoo.layers import ConditionalBatchNormalization

CLASSES = 3
slow = pytest.mark.slow
GANS = {
    "mlp": ("dcgan", "mlp"),
    "a BatchNorm per class": ("projection_gan", "conv-4"),
    "biggan": ("biggan", "biggan-4"),
    "biggan_deep": ("biggan", "biggan_deep-4"),
    "resnet": ("projection_gan", "resnet-4"),
}


def make(name: str, network: str, **options: Any) -> Any:
    model = zoo.create(name, SHAPE, LATENT, network=network, num_classes=CLASSES, **options)
    part = model.generator if model.family == "gan" else model.decoder
    if network.startswith("biggan"):  # random u would be no estimates of singular vectors
        for seed in range(3):
            inputs = [model.sample_latents(18, seed=seed), np.arange(18) % CLASSES]
            part(inputs, training=True)
        part.get_layer("attention").gamma.assign(0.7)  # 0 at first: it would do nothing
    else:
        shake(part)
    if getattr(model, "ema_generator", None) is not None:
        model.ema_generator.set_weights(part.get_weights())
    return model


def assert_same_classes(a: Any, b: Any) -> None:
    """Both draw the same of every class, and something else of another."""
    latents = a.sample_latents(20, seed=5)
    drawn = []
    for label in range(CLASSES):
        drawn.append(a.generate_from(latents, label))
        np.testing.assert_allclose(drawn[-1], b.generate_from(latents, label), atol=2e-5)
    assert np.abs(drawn[1] - drawn[0]).max() > 1e-2


@pytest.mark.parametrize(
    ("name", "network"),
    [pytest.param(*GANS[key], marks=[] if key == "mlp" else slow, id=key)
     for key in GANS],
)  # fmt: skip
def test_a_conditional_gan_becomes_a_conditional_vae(
    name: str, network: str, tmp_path: Path
) -> None:
    gan = make(name, network)
    before = values_of(gan)
    vae, report = convert.gan_to_vae(gan)
    assert (vae.model_name, vae.num_classes, report.target) == ("cvae", CLASSES, "cvae")
    assert report.equality.passed
    assert report.coverage == 1.0
    assert_same_classes(vae, gan)
    assert_unchanged(gan, before)
    of_source = paths_of(gan.sampling_generator, "generator")
    of_source |= paths_of(gan.discriminator, "discriminator")
    of_target = paths_of(vae.decoder, "decoder") | paths_of(vae.encoder, "encoder")
    if not network.startswith("biggan"):  # whose u the rule that divides by σ leaves out
        assert_complete(report, of_target, of_source)
    # It trains on, from a file too, and the statistics of what is not folded stay.
    statistics = [v.numpy() for v in vae.decoder.variables if "moving" in v.name]
    vae.save(tmp_path / "vae.keras")
    vae = keras.models.load_model(tmp_path / "vae.keras")
    assert_same_classes(vae, gan)
    vae.compile()
    pictures = structured_images()[:12]
    vae.fit(pictures, np.arange(12) % CLASSES, batch_size=12, verbose=0)
    after = [v.numpy() for v in vae.decoder.variables if "moving" in v.name]
    assert len(after) == len(statistics)
    assert all(np.array_equal(a, b) for a, b in zip(after, statistics, strict=True))
    assert not np.array_equal(vae.generate(2, seed=0), gan.generate(2, seed=0))


@pytest.mark.slow
def test_a_given_conditional_vae_takes_the_generator() -> None:
    gan = make("dcgan", "mlp")
    vae = make("cvae", "mlp")
    encoder = values_of(vae.encoder)
    same, report = convert.gan_to_vae(gan, vae)
    assert same is vae
    assert report.equality.passed
    assert report.first_diverging is None
    assert_same_classes(vae, gan)
    assert_unchanged(vae.encoder, encoder)
    larger = zoo.create("cvae", SHAPE, LATENT + 2, network="mlp", num_classes=CLASSES)
    _, report = convert.gan_to_vae(gan, larger)
    assert report.equality.passed


@slow
def test_recalibrated_statistics_are_of_all_classes() -> None:
    gan = make("projection_gan", "conv-4")
    vae, report = convert.gan_to_vae(gan, batch_norm="recalibrate")
    assert report.equality.passed
    assert vae.num_classes == CLASSES


@pytest.mark.slow
@pytest.mark.parametrize(
    "network", ["conv-4", pytest.param("mlp", marks=slow), pytest.param("biggan-4", marks=slow),
                pytest.param("biggan_deep-4", marks=slow), pytest.param("resnet-4", marks=slow)]
)  # fmt: skip
def test_a_conditional_vae_becomes_a_conditional_gan(network: str) -> None:
    vae = make("cvae", network)
    before = values_of(vae)
    gan, report = convert.vae_to_gan(vae, whiten_posterior=False, ema=0.9)
    assert gan.num_classes == CLASSES
    assert report.equality.passed
    assert_same_classes(gan, vae)
    pictures = structured_images()
    labels = np.arange(len(pictures)) % CLASSES
    whitened, report = convert.vae_to_gan(
        vae, images=pictures, labels=labels, model="gan", discriminator_init="random"
    )
    assert report.equivalence == "distributional"
    mean, covariance = zoo.sampling.posterior.aggregate_moments(vae, pictures, labels)
    latents = gan.sample_latents(9, seed=0)
    carried = latents @ np.linalg.cholesky(covariance).T + mean
    np.testing.assert_allclose(
        whitened.generate_from(latents, 2), vae.generate_from(carried, 2), atol=5e-5
    )
    assert_unchanged(vae, before)
    gan.compile()
    gan.fit(pictures[:12], labels[:12], batch_size=12, verbose=0)  # its discriminator has labels
    assert len(gan.discriminator.inputs) == 2


@slow
def test_a_given_conditional_gan_takes_the_decoder() -> None:
    vae, gan = make("cvae", "mlp"), make("dcgan", "mlp")
    _, report = convert.vae_to_gan(vae, gan, whiten_posterior=False, discriminator_init="random")
    assert report.equality.passed
    assert_same_classes(gan, vae)
    back, _ = convert.gan_to_vae(gan)
    assert_same_classes(back, vae)


@slow
@pytest.mark.parametrize("network", ["biggan-4", "biggan_deep-4"])
def test_one_class_of_biggan(network: str) -> None:
    """The embedding joins every chunk: its constant goes into the biases of each."""
    gan = make("biggan", network)
    generator = rules.unwrap_spectral_norm(read(gan.sampling_generator))
    one = build(rules.fix_label(generator, 2))
    assert [tensor.name for tensor in one.inputs] == ["latent"]
    latents = gan.sample_latents(20, seed=1)
    np.testing.assert_allclose(one(latents), gan.generate_from(latents, 2), atol=EXACT)
    vae, report = convert.gan_to_vae(one)
    assert (vae.model_name, report.equality.passed, report.coverage) == ("vae", True, 1.0)
    np.testing.assert_allclose(vae.generate_from(latents), gan.generate_from(latents, 2), atol=2e-5)


@slow
def test_a_recipe_trains_a_conditional_vae() -> None:
    """Dreamt images have the labels of the batch; what is frozen stays."""
    vae, _ = convert.gan_to_vae(make("dcgan", "mlp"))
    vae.compile()
    recipe = zoo.training.recipes.SleepWakeJoint(4)
    pictures = structured_images()[:24]
    labels = np.arange(24) % CLASSES
    first = values_of(vae.decoder)
    vae.term_weights.assign([0.0, 0.0, 1.0, 0.0])
    vae.fit(pictures, labels, batch_size=12, verbose=0)  # asleep
    assert_unchanged(vae.decoder, first)
    history = vae.fit(pictures, labels, batch_size=12, epochs=3, verbose=0, callbacks=[recipe])
    assert np.isfinite(history.history["sleep"]).all()
    assert history.history["sleep"][-1] != 0.0


def test_frozen_conditional_norms_keep_their_statistics() -> None:
    """From a file too, where Keras keeps only the layer's own flag."""
    layer = ConditionalBatchNormalization(CLASSES, trainable=False)
    again = ConditionalBatchNormalization.from_config(layer.get_config())
    x, y = np.random.default_rng(0).normal(size=(5, 2)).astype("f"), np.arange(5) % CLASSES
    again(x, y, training=True)
    np.testing.assert_array_equal(again.normalize.moving_mean, [0.0, 0.0])
    trains = ConditionalBatchNormalization(CLASSES)
    trains(x, y, training=True)
    assert np.abs(trains.normalize.moving_mean).max() > 0.0


def test_errors() -> None:
    gan, cvae = make("dcgan", "mlp"), make("cvae", "mlp")
    plain = zoo.create("vae", SHAPE, LATENT, network="mlp")
    before = values_of(plain)
    with pytest.raises(ValueError, match="generator has 3 classes, the VAE none.*fix_label"):
        convert.gan_to_vae(gan, plain)
    assert_unchanged(plain, before)
    with pytest.raises(ValueError, match="has no classes, the VAE 3. Create it with num_classes=0"):
        convert.gan_to_vae(zoo.create("dcgan", SHAPE, LATENT, network="mlp"), cvae)
    with pytest.raises(ValueError, match="mode='distill' is for a generator without classes.*3"):
        convert.gan_to_vae(gan, mode="distill")
    with pytest.raises(ValueError, match="discriminator takes image and label.*random"):
        convert.gan_to_vae(gan, encoder_init="discriminator")
    with pytest.raises(ValueError, match="num_classes=4: the cvae has 3 classes"):
        convert.vae_to_gan(cvae, whiten_posterior=False, num_classes=4)
    with pytest.raises(ValueError, match="decoder has 3 classes, the GAN none"):
        convert.vae_to_gan(
            cvae, zoo.create("dcgan", SHAPE, LATENT, network="mlp"), whiten_posterior=False
        )
    with pytest.raises(ValueError, match="labels"):
        convert.vae_to_gan(cvae, images=structured_images())
