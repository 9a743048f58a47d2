"""A split that is read where it is sliced is the array that it stands for."""

from __future__ import annotations

import numpy as np
import pytest

import zoo
from tests.support.image_files import random_pixels
from zoo import data
from zoo.data.floats import Floats
from zoo.data.records import GivenLabels, Records
from zoo.sampling.samplers import training_images


class _Counted(Records):
    """Images that are not in memory; keeps how many were read at once."""

    def __init__(self, pixels: np.ndarray) -> None:
        super().__init__(
            len(pixels), pixels.shape[1:], given=GivenLabels(np.arange(len(pixels)) % 2)
        )
        self.pixels = pixels
        self.read: list[int] = []

    def take(self, indices: np.ndarray) -> np.ndarray:
        self.read.append(len(indices))
        return self.pixels[indices]


def test_it_is_what_the_array_is(monkeypatch: pytest.MonkeyPatch) -> None:
    source = _Counted(random_pixels())
    array = data.to_array(source, split="train")
    np.testing.assert_array_equal(data.to_floats(source, split="train"), array)
    monkeypatch.setattr("zoo.data.images.MEMORY_LIMIT", 0)
    source.read.clear()
    lazy, labels = data.to_floats(source, split="train", labels=True)
    assert isinstance(lazy, Floats)
    assert (lazy.shape, lazy.ndim, len(lazy)) == (array.shape, array.ndim, len(array))
    mask = labels == 1
    for chosen in (slice(3, 9), slice(None, None, 4), slice(18, 99)):
        np.testing.assert_array_equal(lazy[chosen], array[chosen])
        np.testing.assert_array_equal(lazy[mask][chosen], array[mask][chosen])
    assert max(source.read) == 6


def test_a_sampler_is_fitted_without_holding_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class at a time and a batch at a time, to the same mixtures."""
    monkeypatch.setattr("zoo.sampling.posterior.BATCH", 7)
    source = _Counted(random_pixels(40))
    model = zoo.create("cvae", (6, 5, 1), 2, network="mlp", num_classes=2)

    def fitted() -> dict[str, np.ndarray]:
        images, labels = training_images(model, source)
        return zoo.fit_sampler(model, images, labels=labels, components=4).arrays

    held = fitted()
    monkeypatch.setattr("zoo.data.images.MEMORY_LIMIT", 0)
    source.read.clear()
    streamed = fitted()
    assert max(source.read) == 7
    for name, values in held.items():
        np.testing.assert_array_equal(streamed[name], values)
