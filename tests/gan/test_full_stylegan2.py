"""StyleGAN2 of configuration F: noise of its layers, mixed styles, lazy Adam, conversions."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from zoo import losses
from zoo.convert import gan_to_vae, vae_to_gan
from zoo.convert.classes import starts
from zoo.convert.starting import start_from
from zoo.networks import stylegan2

RNG = np.random.default_rng(0)
OPTIONS = {"network": "stylegan2-2", "style_dim": 4, "ema": None}
PIXELS = 4 * 4 + 2 * 8 * 8  # of noise


def _model(**options: Any) -> Any:
    model = zoo.create("stylegan2", IMAGE_SHAPE, LATENT_DIM, **{**OPTIONS, **options})
    for weight in model.generator.trainable_variables:
        if weight.name == "strength":
            weight.assign(0.5)
    return model


@pytest.fixture(scope="module")
def gan() -> Any:
    return _model()


def _batch(gan: Any, n: int) -> dict[str, Any]:
    return gan.batch_noise(gan.noise_source(tf.zeros([n, *IMAGE_SHAPE])))


# Noise


def test_training_draws_noise_for_each_layer_image_and_step(gan: Any) -> None:
    batch = _batch(gan, 3)
    drawn = [np.asarray(batch[f"noise_{i}"]) for i in range(3)]
    assert [x.shape for x in drawn] == [(3, 4, 4, 1), (3, 8, 8, 1), (3, 8, 8, 1)]
    assert len({float(x.ravel()[k]) for x in drawn for k in range(3)}) == 9
    gan.step.assign(5)
    assert np.abs(np.asarray(_batch(gan, 3)["noise_0"]) - drawn[0]).min() > 0
    gan.step.assign(0)
    np.testing.assert_array_equal(_batch(gan, 3)["noise_0"], drawn[0])


def test_fixed_noise_makes_an_image_a_function_of_its_latent(gan: Any) -> None:
    """With the stored images, which are those that `by_layer` is given."""
    assert gan.layer_noise == "fixed"
    assert gan.noise_dim == LATENT_DIM
    latents = np.repeat(gan.sample_latents(1, seed=0), 2, axis=0)
    images = gan.generate_from(latents)
    np.testing.assert_array_equal(images[0], images[1])
    synthesis = gan.generator.get_layer("synthesis")
    stored = [synthesis.get_layer(f"stored_noise_{i}").image[None] for i in range(3)]
    styles = np.repeat(gan.generator.get_layer("mapping")(latents[:1])[:, None], 4, axis=1)
    wanted = stylegan2.layered(gan.generator)([tf.constant(styles), *stored])
    np.testing.assert_allclose(images[:1], wanted, atol=1e-6)


@pytest.mark.slow
def test_random_noise_is_part_of_the_latent(gan: Any) -> None:
    """Each image has its own; the stored noise in its place gives the fixed image."""
    fixed = gan.generate(2, seed=1)
    gan.layer_noise = "random"
    try:
        assert gan.noise_dim == LATENT_DIM + PIXELS
        latents = gan.sample_latents(3, seed=1)
        first = np.concatenate([np.repeat(latents[:1, :LATENT_DIM], 3, 0), latents[:, 3:]], 1)
        images = gan.generate_from(first)
        assert np.abs(images[0] - images[1]).max() > 1e-3
        synthesis = gan.generator.get_layer("synthesis")
        stored = [np.ravel(synthesis.get_layer(f"stored_noise_{i}").image) for i in range(3)]
        noise = np.tile(np.concatenate(stored), (2, 1))
    finally:
        gan.layer_noise = "fixed"
    z = gan.sample_latents(2, seed=1)
    gan.layer_noise = "random"
    same = gan.generate_from(np.concatenate([z, noise], axis=1))
    gan.layer_noise = "fixed"
    np.testing.assert_allclose(same, fixed, atol=1e-6)


def test_networks_without_noise() -> None:
    model = _model(layer_noise="none", style_mixing=0.0)
    assert set(_batch(model, 2)) == {"latents", "direction"}
    with pytest.raises(ValueError, match="layer_noise='fixed': expected 'none'"):
        model.layer_noise = "fixed"
    assert model.generate(2, seed=0).shape == (2, *IMAGE_SHAPE)
    config = model.get_config()
    assert (config["layer_noise"], config["style_mixing"], config["style_dim"]) == ("none", 0.0, 4)


# Style mixing


def test_mixing_changes_the_layers_from_the_crossover_on(gan: Any) -> None:
    batch = _batch(gan, 400)
    styles = np.asarray(gan.styles_by_layer(batch))
    mapping = gan.generator.get_layer("mapping")
    one, two = (np.asarray(mapping(batch[k]))[:, None] for k in ("latents", "mixing_latents"))
    is_one = np.all(np.abs(styles - one) < 1e-6, axis=2)
    is_two = np.all(np.abs(styles - two) < 1e-6, axis=2)
    assert np.all(is_one ^ is_two)
    assert is_one[:, 0].all()  # the first layer has the first style
    crossover = is_one.sum(axis=1)
    np.testing.assert_array_equal(is_one, np.arange(4) < crossover[:, None])
    # 0.9 of 400 images have two styles, ± 6 (one deviation), with the three places alike, ± 9
    counts = np.bincount(crossover, minlength=5)
    assert counts[4] == pytest.approx(40, abs=24)
    assert counts[1:4] == pytest.approx(120, abs=36)


def test_a_second_style_leaves_coarser_images_alone(gan: Any) -> None:
    """From the third layer on: the image of 4 × 4 pixels, which the sum begins with, stays."""
    by_layer = stylegan2.layered(gan.generator)
    coarse = keras.Model(by_layer.inputs, by_layer.get_layer("to_rgb_1").output)
    batch = _batch(gan, 2)
    styles = np.array(gan.styles_by_layer(batch))
    other = styles.copy()
    other[:, 2:] = RNG.standard_normal((2, 2, 4))
    noise = [batch[f"noise_{i}"] for i in range(3)]
    np.testing.assert_array_equal(
        coarse([tf.constant(styles), *noise]), coarse([tf.constant(other), *noise])
    )
    before, after = (by_layer([tf.constant(s), *noise]) for s in (styles, other))
    assert np.abs(np.asarray(before) - after).max() > 1e-3


# Penalties and Adam


def test_path_lengths_are_those_of_differences(gan: Any) -> None:
    """The root mean square over the layers of ‖∂⟨y, g⟩ / ∂w‖ / √(8 · 8), by finite differences."""
    batch = {**_batch(gan, 1), "images": tf.zeros([1, *IMAGE_SHAPE])}
    found = gan.extend_batch(batch, training=True)["path_lengths"]
    styles = np.asarray(gan.styles_by_layer(batch), np.float64)
    steps = 1e-2 * np.eye(16).reshape(16, 4, 4)
    by_layer = stylegan2.layered(gan.generator)
    noise = [np.repeat(batch[f"noise_{i}"], 32, axis=0) for i in range(3)]
    around = np.concatenate([styles + steps, styles - steps]).astype(np.float32)
    images = np.asarray(by_layer([tf.constant(around), *map(tf.constant, noise)]), np.float64)
    slopes = (images[:16] - images[16:]).reshape(16, 64) @ np.ravel(batch["direction"]) / 2e-2
    wanted = math.sqrt(np.sum((slopes / 8.0) ** 2) / 4)
    assert float(found[0]) == pytest.approx(wanted, rel=1e-2)
    assert gan.path_length_weight == 8.0  # the authors' 2 on [−1, 1]
    assert gan.path_length_every == 8


def test_adam_is_the_papers_for_lazy_penalties(gan: Any) -> None:
    """Rate and momenta of c = k / (k + 1) (appendix B): k is 8 for G, and 16 for D."""
    for name, every in (("generator_optimizer", 8), ("discriminator_optimizer", 16)):
        c = every / (every + 1)
        config = gan.default_optimizer(name).get_config()
        assert config["learning_rate"] == pytest.approx(0.002 * c, rel=1e-6)
        assert (config["beta_1"], config["beta_2"]) == (0.0, pytest.approx(0.99**c, rel=1e-9))
    small = zoo.create("stylegan2", IMAGE_SHAPE, 2, network="style-2", ema=None)
    assert small.default_optimizer("generator_optimizer").get_config()["beta_2"] == 0.99
    assert small.path_length_every == 4
    assert not {"layer_noise", "style_mixing", "style_dim"} & set(small.get_config())


def test_path_length_of_a_step_is_averaged(gan: Any) -> None:
    batch = _batch(gan, 2)
    lengths = losses.path_lengths(
        lambda w: stylegan2.layered(gan.generator)([w, *(batch[f"noise_{i}"] for i in range(3))]),
        gan.styles_by_layer(batch),
        batch["direction"],
    )
    gan.path_length.assign(1.0)
    found = gan.generator_penalty(gan.extend_batch(batch, training=True))
    gan.path_length.assign(0.0)
    wanted = 8 * 8.0 * (np.asarray(lengths) - 1.0) ** 2
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


# Discriminator, conversion, errors


def test_an_image_is_judged_alone(gan: Any) -> None:
    """Though in training the discriminator sees how alike the images are."""
    images = RNG.random((4, *IMAGE_SHAPE)).astype(np.float32)
    alone = np.concatenate([gan.discriminate(images[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(gan.discriminate(images), alone, atol=1e-6)


@pytest.mark.slow
def test_there_and_back(gan: Any) -> None:
    """As the decoder of a VAE, and from it into the generator of another GAN: the same images."""
    vae, report = gan_to_vae(gan, network="mlp")
    assert report.equivalence == "tolerance"
    images = gan.generate(5, seed=0)
    np.testing.assert_allclose(vae.generate(5, seed=0), images, atol=5e-5)
    other = _model()
    _, report = vae_to_gan(vae, other, whiten_posterior=False, discriminator_init="random")
    assert report.equivalence == "tolerance"
    np.testing.assert_allclose(other.generate(5, seed=0), images, atol=5e-5)


@pytest.mark.slow
def test_it_grows(gan: Any) -> None:
    """To twice the side: blocks at the old sides are kept, and so is the width."""
    model: Any
    model, _ = start_from(gan, starts([], [], {}), image_shape=(16, 16, 1))
    assert (model.image_shape, model.network) == ((16, 16, 1), gan.network)
    large, small = (stylegan2.layered(each.generator) for each in (model, gan))
    for ours, theirs in (("conv_1_0", "conv_0_0"), ("to_rgb_1", "to_rgb_0")):
        kernels = [n.get_layer(name).kernel for n, name in ((large, ours), (small, theirs))]
        np.testing.assert_array_equal(*map(np.asarray, kernels))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_noise": "some"}, "layer_noise='some': expected one of 'fixed'"),
        ({"style_mixing": 1.5}, "style_mixing=1.5: expected a probability"),
        ({"style_dim": 0}, "style_dim=0: expected at least 1"),
        ({"network": "style-2", "style_dim": 8}, "style_dim=8: it belongs to network='stylegan2'"),
        ({"normalization": "spectral"}, "'spectral'.*has none"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zoo.create("stylegan2", IMAGE_SHAPE, LATENT_DIM, **{"network": "stylegan2-2", **options})
