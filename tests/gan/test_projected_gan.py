"""Projected GAN: what is fixed, what the players minimise, and what it is for.

`tests/networks/test_projected.py` compares its networks with PyTorch's.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from zoo import convert, metrics
from zoo.convert.classes import starts
from zoo.convert.starting import start_from
from zoo.evaluation.extractors import note_on_features
from zoo.metrics import efficientnet_lite
from zoo.networks import projected

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {"network": "mlp", "features": "random-1", "feature_size": 32, "projection_width": 2}
NARROW = {"feature_size": 64, "projection_width": 4}  # with the pretrained features


def made(**options: Any) -> Any:
    return zoo.create("projected_gan", IMAGE_SHAPE, LATENT_DIM, **{**SMALL, **options})


def values_of(network: keras.Model) -> list[np.ndarray]:
    return [np.asarray(variable) for variable in network.variables]


def test_features_do_not_move(images: np.ndarray) -> None:
    """They are no player's, are not averaged, and have no trainable weight."""
    model = made()
    model.compile()
    before, judged = values_of(model.feature_network), values_of(model.discriminator)
    model.train_step(tf.constant(images[:6]))
    for one, other in zip(before, values_of(model.feature_network), strict=True):
        np.testing.assert_array_equal(one, other)
    moved = zip(judged, values_of(model.discriminator), model.discriminator.variables, strict=True)
    assert all((one != other).any() for one, other, variable in moved if variable.trainable)
    fixed = {id(variable) for variable in model.feature_network.variables}
    assert not fixed & {id(variable) for variable in model.trainable_variables}
    assert not any(
        fixed & {id(v) for v in model.variables_of(name)} for name in model.optimizer_names
    )


def test_losses_are_the_means_over_the_scales(images: np.ndarray) -> None:
    """Hinge at every place (arXiv 2111.01007, eq. 4, with the hinge of its section 4)."""
    model = made(feature_size=160, diff_augment=None, seed=3)
    model.compile()
    logs = {n: float(x) for n, x in model.test_step(tf.constant(images[:6])).items()}
    latents = model.noise("test_latent", 6, [LATENT_DIM], counter=tf.constant(0, tf.int64))
    fake = model.images_from_latents(latents)
    scales: list[Any] = []
    for batch in (images[:6], fake):
        maps = model.feature_network(batch)
        mean, logits = model.discriminator(maps)
        np.testing.assert_allclose(model.discriminate(batch), mean[:, 0], atol=1e-6)
        assert logits.shape == (6, 16)  # 4 scales of 2 × 2 places
        scales.append(np.asarray(logits).reshape(6, 4, 4))
    of_real, of_fake = scales
    parts = np.maximum(0.0, 1.0 - of_real) + np.maximum(0.0, 1.0 + of_fake)
    assert logs["discriminator_loss"] == pytest.approx(parts.mean(axis=(0, 2)).sum() / 4, rel=1e-5)
    assert logs["generator_loss"] == pytest.approx(-of_fake.mean(axis=(0, 2)).sum() / 4, rel=1e-4)
    assert logs["real_logit"] == pytest.approx(of_real.mean(), rel=1e-4)


def test_settings_are_the_authors() -> None:
    """Those of their code's `fastgan` configuration, for batches of 64 images."""
    model = made()
    model.compile()
    for name in model.optimizer_names:
        config = getattr(model, name).get_config()
        found = [config[key] for key in ("learning_rate", "beta_1", "beta_2")]
        assert found == pytest.approx([2e-4, 0.0, 0.99])
    assert (model.loss_name, model.normalization, model.n_critic) == ("hinge", "spectral", 1)
    assert (model.diff_augment, model.ema_images) == ("color,translation,cutout", 20_000)


@pytest.mark.slow
def test_a_label_changes_the_logits() -> None:
    model = made(num_classes=3)
    image = np.full((3, *IMAGE_SHAPE), 0.8, np.float32)
    logits = model.discriminate(image, tf.constant([0, 1, 1]))
    assert logits[0] != logits[1]
    assert logits[1] == logits[2]


# What it becomes


@pytest.mark.slow
def test_vae_and_gan() -> None:
    """The generator is converted as any other; the discriminators begin at random."""
    gan = made()
    vae, report = convert.gan_to_vae(gan)
    assert report.equality.passed
    assert report.coverage == 1.0
    options = {"model": "projected_gan", "whiten_posterior": False, **SMALL}
    options.pop("network")
    back, report = convert.vae_to_gan(vae, discriminator_init="random", **options)
    assert report.equality.passed
    latents = gan.sample_latents(5, seed=0)
    np.testing.assert_allclose(
        back.generate_from(latents), gan.generate_from(latents), atol=1e-5
    )  # fmt: skip
    with pytest.raises(ValueError, match="discriminator_init='random'"):
        convert.vae_to_gan(vae, **options)


@pytest.mark.slow
def test_larger_images_keep_the_features() -> None:
    source = made(network="conv-4")
    model, _ = start_from(source, starts([], [], {}), image_shape=(16, 16, 1))
    for role in ("feature_network", "discriminator"):
        pairs = zip(values_of(getattr(source, role)), values_of(getattr(model, role)), strict=True)
        assert all((one == other).all() for one, other in pairs)


def test_the_note_on_figures_over_the_same_features() -> None:
    model = made()
    model.features = "efficientnet_lite0"  # the weights take seconds
    note = note_on_features(model, "efficientnet_lite0")
    assert note is not None
    assert note.startswith("Note: a projected_gan trains on features of efficientnet_lite0")
    assert note_on_features(model, "fashion_mnist_classifier") is None
    assert note_on_features(zoo.create("gan", IMAGE_SHAPE, 2, network="mlp"), None) is None


# Bad input


def test_bad_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="projection_width=0: expected at least 1"):
        made(projection_width=0)
    with pytest.raises(ValueError, match="features='lite1': expected 'efficientnet_lite0'"):
        made(features="lite1")
    with pytest.raises(ValueError, match="feature_size=48: expected a multiple of 32.* Take 64"):
        made(feature_size=48)
    with pytest.raises(ValueError, match="regularizer='r1'.*normalization='spectral' has it"):
        made(regularizer="r1")
    with pytest.raises(ValueError, match="Images of 2 channels"):
        zoo.create("projected_gan", (8, 8, 2), LATENT_DIM, **SMALL)
    plain = zoo.create("gan", IMAGE_SHAPE, LATENT_DIM, network="mlp").discriminator
    with pytest.raises(ValueError, match=r"discriminator maps \[\(8, 8, 1\)\] to .*of features"):
        made(discriminator=plain)
    shutil.copytree(efficientnet_lite.FOLDER, tmp_path / "copy")
    (tmp_path / "copy" / efficientnet_lite.WEIGHTS).unlink()
    monkeypatch.setattr(efficientnet_lite, "FOLDER", tmp_path / "copy")
    with pytest.raises(FileNotFoundError, match=r"weights.npz.* is not there. Reinstall"):
        made(features="efficientnet_lite0")


def test_a_penalty_is_differentiated_through_the_features(images: np.ndarray) -> None:
    """R1 is quadratic in the last kernels, which the mean logit is linear in: Euler's theorem."""
    model = made(regularizer="r1", normalization="none", diff_augment=None)
    x = tf.constant(images[:4])
    with tf.GradientTape() as tape:
        penalty = model.gradient_penalty(
            lambda each: model.outputs_of(each, None, training=False)[0], x, x, {}, training=True
        )
        loss = tf.reduce_sum(penalty)
    kernels = [model.discriminator.get_layer(f"scale_{i}_logits").kernel for i in range(4)]
    slopes = tape.gradient(loss, kernels)
    along = sum(
        float(tf.reduce_sum(slope * kernel)) for slope, kernel in zip(slopes, kernels, strict=True)
    )
    assert loss > 0.0
    assert along == pytest.approx(2.0 * float(loss), rel=1e-4)


# With the pretrained features


@pytest.mark.slow
def test_the_pretrained_model_is_saved_whole(tmp_path: Path) -> None:
    """A file of it needs nothing beside it: the features' weights are in it."""
    model = zoo.create("projected_gan", (32, 32, 3), 8, network="conv-4", **NARROW)
    assert model.features == projected.PRETRAINED
    images = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    model.compile()
    model.fit(images, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded: Any = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.discriminate(images), loaded.discriminate(images))
    for one, other in zip(values_of(model), values_of(loaded), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_pretrained_features_survive_growth() -> None:
    source = zoo.create("projected_gan", (32, 32, 1), 8, network="conv-8", **NARROW)
    model, _ = start_from(source, starts([], [], {}), image_shape=(64, 64, 1))
    pairs = zip(
        values_of(source.feature_network), values_of(model.feature_network), strict=True
    )  # fmt: skip
    assert all((one == other).all() for one, other in pairs)


@pytest.mark.slow
def test_it_learns_from_500_images() -> None:
    """300 steps of 16 images at least halve the Fréchet distance of the untrained model.

    It fell from 512 to 176 with seed 0.
    """
    data = zoo.data.load("fashion_mnist_sample", batch_size=500)
    real = np.asarray(next(iter(data)))
    features = metrics.load_extractor("fashion_mnist_classifier")
    model = zoo.create(
        "projected_gan", (28, 28, 1), 32, network="conv-16", feature_size=64, projection_width=16
    )
    model.compile()

    def distance() -> float:
        return metrics.frechet_distance(features(real), features(model.generate(500, seed=0)))

    before = distance()
    batches = tf.data.Dataset.from_tensor_slices(real).shuffle(500, seed=0).repeat().batch(16)
    model.fit(batches, steps_per_epoch=300, verbose=0)
    assert distance() < before / 2.0
