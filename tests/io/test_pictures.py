"""Grids of images of any number of channels."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.io.pictures import GAP, grid, pairs

IMAGES = np.random.default_rng(0).uniform(size=(3, 4, 5, 16)).astype(np.float32)


def _panel(images: np.ndarray) -> np.ndarray:
    """What is drawn of the first image, without the gaps around it."""
    return grid(images[:1])[GAP:-GAP, GAP:-GAP]


def test_each_number_of_channels() -> None:
    levels = np.round(IMAGES[0] * 255).astype(np.uint8)
    np.testing.assert_array_equal(_panel(IMAGES[..., :1]), np.repeat(levels[..., :1], 3, axis=-1))
    two = np.concatenate([levels[..., :1], levels[..., 1:2]], axis=1)
    np.testing.assert_array_equal(_panel(IMAGES[..., :2]), np.repeat(two, 3, axis=-1))
    for channels in (3, 4, 5, 16):
        np.testing.assert_array_equal(_panel(IMAGES[..., :channels]), levels[..., :3])


def test_images_lie_row_by_row() -> None:
    found = grid(IMAGES[..., :3], columns=2)
    assert found.shape == (2 * (4 + GAP) + GAP, 2 * (5 + GAP) + GAP, 3)
    third = found[GAP + 4 + GAP : -GAP, GAP : GAP + 5]
    np.testing.assert_array_equal(third, _panel(IMAGES[2:, ..., :3]))
    assert (found[GAP + 4 + GAP : -GAP, GAP + 5 :] == 255).all()
    np.testing.assert_array_equal(pairs(IMAGES, 1 - IMAGES)[:2], [IMAGES[0], 1 - IMAGES[0]])


def test_what_is_no_image() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 4, 5\): expected \[n, height, width, chann"):
        grid(IMAGES[..., 0])
