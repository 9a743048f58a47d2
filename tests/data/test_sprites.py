"""The sprites against Pillow's drawing, closed forms and what moving one factor must do."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from zoo import data
from zoo.data import sprites

ZOOM = 16  # of Pillow's drawing, which knows whole pixels only


def grid() -> np.ndarray:
    """float64 [shape, scale, orientation, x, y, height, width] in [0, 1]."""
    return sprites.images().reshape(*sprites.FACTOR_SIZES, 32, 32) / 255.0


def centroids(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) in pixels from the upper left corner."""
    middles = np.arange(32) + 0.5
    mass = images.sum(axis=(-1, -2))
    x = (images.sum(axis=-2) * middles).sum(axis=-1) / mass
    return x, (images.sum(axis=-1) * middles).sum(axis=-1) / mass


def test_every_combination_once() -> None:
    factors = sprites.factors()
    assert factors.dtype == np.int32
    assert factors.shape == (math.prod(sprites.FACTOR_SIZES), len(sprites.FACTOR_NAMES))
    assert [tuple(row) for row in factors] == list(
        itertools.product(*(range(size) for size in sprites.FACTOR_SIZES))
    )


def test_no_two_images_are_equal() -> None:
    images = sprites.images()
    assert images.dtype == np.uint8
    assert images.shape == (len(sprites.factors()), 32, 32, 1)
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_step_of_x_or_y_moves_the_image_by_two_pixels(axis: int) -> None:
    images = np.moveaxis(grid(), 3 + axis, 0)
    # `roll` wraps around, so equality also says that no sprite leaves the image.
    assert np.array_equal(images[1:], np.roll(images[:-1], 2, axis=-1 - axis))


def test_the_centroid_depends_on_x_and_y_only() -> None:
    x, y = centroids(grid())
    expected = 16.0 + 2.0 * (np.arange(8) - 3.5)
    # Half a subpixel: what counting subpixels can err by.
    assert np.abs(x - expected[:, None]).max() < 1 / 16
    assert np.abs(y - expected).max() < 1 / 16


def test_the_area_depends_on_scale_only() -> None:
    area = grid().sum(axis=(-1, -2))
    for scale, side in enumerate(sprites.SIDES):
        # Half a subpixel all along the edge of a square.
        assert np.abs(area[:, scale] - side**2).max() < 4 * side / 16
    assert (area[:, 1:] > area[:, :-1]).all()


@pytest.mark.parametrize("scale", range(len(sprites.SIDES)))
@pytest.mark.parametrize("shape", sprites.SHAPES)
def test_against_pillow(shape: str, scale: int) -> None:
    middle = 16 * ZOOM
    canvas = Image.new("L", (32 * ZOOM, 32 * ZOOM))
    draw = ImageDraw.Draw(canvas)
    side = sprites.SIDES[scale] * ZOOM
    if shape == "square":
        draw.rectangle([middle - side / 2, middle - side / 2, *[middle + side / 2] * 2], fill=255)
    elif shape == "ellipse":
        a, b = side * math.sqrt(2 / math.pi), side * math.sqrt(0.5 / math.pi)
        draw.ellipse([middle - a, middle - b, middle + a, middle + b], fill=255)
    else:
        # A square of side √8 c on its tip and two half discs: 8 c² + 2 π c² = side². The centroid
        # of a half disc of radius r is 4r / 3π from its straight edge, so the heart's is above the
        # square's by the discs' share of the area times c + 4c / 3π.
        c = side / math.sqrt(8 + 2 * math.pi)
        low = middle + 2 * math.pi / (8 + 2 * math.pi) * (c + 4 * c / (3 * math.pi))
        tips = [(0, 2), (2, 0), (0, -2), (-2, 0)]
        draw.polygon([(middle + dx * c, low + dy * c) for dx, dy in tips], fill=255)
        for disc in (middle - c, middle + c):
            draw.circle((disc, low - c), math.sqrt(2) * c, fill=255)
    for orientation in range(8):
        turned = canvas.rotate(90 / 8 * orientation)  # counter to the clock
        # The middle of the image lies between the positions 3 and 4, one pixel from each.
        expected = np.roll(np.asarray(turned.reduce(ZOOM), np.float64) / 255.0, 1, axis=(0, 1))
        found = grid()[sprites.SHAPES.index(shape), scale, orientation, 4, 4]
        # A pixel of Pillow's edge along a whole pixel is 1/16, and the subpixels add as much.
        assert np.abs(found - expected).max() < 1 / 8


def test_no_rounding_decides_a_pixel() -> None:
    kinds = itertools.product(sprites.SHAPES, sprites.SIDES, range(8))
    # Rounding errors of these levels, of size 1 to 1000, are below 1e-12 on any machine.
    assert min(np.abs(sprites._levels(*kind)).min() for kind in kinds) > 1e-9


def test_the_splits_part_all_rows() -> None:
    train, test = sprites.rows("train"), sprites.rows("test")
    assert len(test) == len(sprites.factors()) // 10
    assert sorted([*train, *test]) == list(range(len(sprites.factors())))


@pytest.mark.parametrize("split", sprites.SPLITS)
def test_the_first_rows_of_a_split_are_a_sample_of_all(split: str) -> None:
    factors = sprites.factors()[sprites.rows(split)[:100]]
    for column, size in zip(factors.T, sprites.FACTOR_SIZES, strict=True):
        assert set(column) == set(range(size))


@pytest.mark.parametrize("split", sprites.SPLITS)
def test_as_a_source(split: str) -> None:
    loaded = data.read("sprites", split=split)
    rows = sprites.rows(split)
    assert loaded.labels is not None
    assert loaded.labels.dtype == np.int32
    assert np.array_equal(loaded.pixels, sprites.images()[rows])
    assert np.array_equal(loaded.labels, sprites.factors()[rows, 0])
    assert data.image_shape("sprites") == (32, 32, 1)
    assert data.image_shape("sprites", size=28) == (28, 28, 1)
    assert data.source_name("sprites") == "sprites"


def test_batches_for_training() -> None:
    batch, labels = next(
        iter(data.load("sprites", batch_size=16, image_shape=(28, 28, 1), labels=True))
    )
    assert batch.shape == (16, 28, 28, 1)
    assert float(batch.numpy().max()) == 1.0
    assert np.array_equal(labels, sprites.factors()[sprites.rows("train")[:16], 0])


def test_a_split_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"sprites has no split 'validation'.*train.*test"):
        data.read("sprites", split="validation")


@pytest.mark.parametrize("array", [sprites.factors(), sprites.images(), sprites.rows("test")])
def test_what_is_shared_cannot_be_changed(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0
