"""DiffAugment against the authors' equations written in NumPy, on their range [−1, 1]."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import LATENT_DIM
from tests.support.watched import images_judged
from zoo.layers.diff_augment import POLICIES, diff_augment, parse_policy

RNG = np.random.default_rng(0)
SHAPE = (16, 24, 3)
IMAGES = RNG.random((6, *SHAPE)).astype(np.float32)
NEUTRAL = np.full((6, 7), 0.5, np.float32)
# Float32's roundings of sums over an image.
ATOL = 1e-6


def _noise(n: int, **columns: np.ndarray) -> np.ndarray:
    noise = np.full((n, 7), 0.5, np.float32)
    names = ("brightness", "saturation", "contrast", "down", "right", "row", "column")
    for name, values in columns.items():
        noise[:, names.index(name)] = values
    return noise


def test_neutral_noise_changes_nothing() -> None:
    found = diff_augment(IMAGES, NEUTRAL, ("color", "translation"))
    np.testing.assert_allclose(found, IMAGES, atol=ATOL)
    np.testing.assert_array_equal(diff_augment(IMAGES, NEUTRAL, ()), IMAGES)


def test_color_is_the_authors() -> None:
    """Brightness in ± 0.5, saturation in [0, 2) and contrast in [0.5, 1.5), one after the other."""
    noise = RNG.random((6, 7)).astype(np.float32)
    x = 2.0 * IMAGES.astype(np.float64) - 1.0
    b, s, c = (noise[:, i, None, None, None].astype(np.float64) for i in range(3))
    x = x + (b - 0.5)
    grey = x.mean(axis=3, keepdims=True)
    x = (x - grey) * (2.0 * s) + grey
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    x = (x - mean) * (c + 0.5) + mean
    np.testing.assert_allclose(diff_augment(IMAGES, noise, ("color",)), (x + 1.0) / 2.0, atol=ATOL)


def test_translation_moves_by_whole_pixels_and_fills_with_zeros() -> None:
    """By every number up to 1/8 of the side each way, all equally likely."""
    height, width, _ = SHAPE
    n = 300
    images = np.broadcast_to(IMAGES[0], (n, *SHAPE))
    down, right = np.linspace(0, 1, n, endpoint=False), RNG.random(n)
    found = diff_augment(images, _noise(n, down=down, right=right), ("translation",)).numpy()
    counts = np.zeros((height, width), int)
    for image in found:
        candidates = [
            (dy, dx)
            for dy in range(-(height // 8), height // 8 + 1)
            for dx in range(-(width // 8), width // 8 + 1)
            if np.array_equal(image, _moved(IMAGES[0], dy, dx))
        ]
        assert len(candidates) == 1
        counts[candidates[0]] += 1
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    np.testing.assert_array_equal(rows[rows > 0], np.full(5, n // 5))
    assert (columns > 0).sum() == 7


def _moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    moved = np.roll(image, (down, right), axis=(0, 1))
    for axis, shift in ((0, down), (1, right)):
        rows = np.moveaxis(moved, axis, 0)
        rows[: max(shift, 0)] = 0.0
        rows[len(rows) + min(shift, 0) :] = 0.0
    return moved


def test_cutout_blackens_half_the_side_around_any_point() -> None:
    """The square may reach over the edge: its centre is anywhere from edge to edge."""
    n = 17
    images = np.ones((n, 16, 16, 1), np.float32)
    row = (np.arange(n) + 0.5) / n
    found = diff_augment(images, _noise(n, row=row), ("cutout",)).numpy()[..., 0]
    for centre, image in enumerate(found):
        wanted = np.ones((16, 16))
        wanted[max(centre - 4, 0) : centre + 4, 4:12] = 0.0  # noise ½ is column 8
        np.testing.assert_array_equal(image, wanted)


@pytest.mark.parametrize("policy", POLICIES)
def test_gradients_flow(policy: str) -> None:
    """Each augmentation is affine in the images: gradients are its differences."""
    noise = RNG.random((6, 7)).astype(np.float32)
    weights = RNG.normal(size=IMAGES.shape).astype(np.float32)
    direction = RNG.normal(size=IMAGES.shape).astype(np.float32)
    images = tf.constant(IMAGES)

    def value(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(weights * diff_augment(x, noise, (policy,)), axis=[1, 2, 3])

    with tf.GradientTape() as tape:
        tape.watch(images)
        found = value(images)
    gradient = tape.gradient(found, images)
    difference = value(images + direction) - found
    assert np.abs(difference).min() > 0.1
    # Sums of 1152 float32 terms, of size 1
    np.testing.assert_allclose(
        tf.reduce_sum(gradient * direction, axis=[1, 2, 3]), difference, atol=1e-3
    )


def test_policies() -> None:
    assert parse_policy("color, translation,cutout") == POLICIES
    assert parse_policy(None) == parse_policy("") == ()
    with pytest.raises(ValueError, match="'colour': expected some of color, translation, cutout"):
        zoo.create("gan", (8, 8, 1), LATENT_DIM, diff_augment="colour,cutout")


def test_both_players_see_augmented_images() -> None:
    """Real and fake by draws of their own; the generator learns through the augmentation."""
    model = zoo.create("gan", (8, 8, 1), LATENT_DIM, network="mlp", diff_augment="cutout")
    model.compile()
    batch = {"images": tf.ones([20, 8, 8, 1])}
    batch |= model.batch_noise(model.noise_source(batch["images"]))
    assert np.abs(batch["augment_real"] - batch["augment_fake"]).min() > 0
    with images_judged(model) as seen:
        for real in (True, False):
            model.judge(batch["images"], batch, real=real, training=True)
            noise = batch["augment_real" if real else "augment_fake"]
            wanted = diff_augment(batch["images"], noise, ("cutout",))
            np.testing.assert_array_equal(seen[-1], wanted)
    assert np.abs(seen[0] - seen[1]).max() == 1.0
    before = model.generator.get_weights()
    model.train_step(batch["images"])
    after = model.generator.get_weights()
    assert all(np.abs(a - b).max() > 0 for a, b in zip(after, before, strict=True))
