"""Random access: what `take` returns is what a whole reading has at those places."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from tests.support.image_files import random_pixels, save_image
from zoo import data
from zoo.data import images
from zoo.data.records import stacked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, pixels in enumerate(random_pixels(30)):
        save_image(tmp_path / ("bag", "shoe")[i % 2] / f"{i:02}.png", pixels[..., 0])
    return tmp_path


@pytest.mark.parametrize("shape", [None, (4, 4, 3)])
def test_any_images_in_any_order(folder: Path, shape: tuple[int, int, int] | None) -> None:
    for source in (folder, random_pixels(), "sprites", data.DEFAULT_SOURCE):
        records = data.open(source, split="test", image_shape=shape)
        whole = data.read(source, split="test", image_shape=shape)
        order = np.random.default_rng(0).permutation(len(whole))[:50]
        taken = records.take(order)
        assert (taken.shape[1:], taken.dtype) == (records.shape, records.dtype)
        np.testing.assert_array_equal(taken, whole.pixels[order])
        np.testing.assert_array_equal(
            np.zeros(0) if whole.labels is None else whole.labels,
            np.zeros(0) if records.labels is None else records.labels,
        )
        assert records.nbytes == whole.pixels.nbytes
        assert records.contents().images == len(records) == len(whole)


def test_chunks_are_all_images_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.data.records.CHUNK", 100)
    records, whole = data.open(folder), data.read(folder).pixels
    chunks = list(records.chunks())
    assert [len(chunk) for chunk in chunks] == [3] * 9
    np.testing.assert_array_equal(np.concatenate(chunks), whole)
    assert [len(chunk) for chunk in records.chunks(limit=7)] == [3, 3, 1]


def test_small_records_are_kept_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = data.open(folder)
    assert isinstance(data.cached(records), data.Images)
    monkeypatch.setattr(images, "MEMORY_LIMIT", records.nbytes - 1)
    assert data.cached(records) is records


def test_threads_share_the_work_and_keep_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    names = set()

    def read(index: int) -> np.ndarray:
        names.add(threading.current_thread().name)
        if index == 99:
            msg = "image 99"
            raise ValueError(msg)
        return np.full((1, 1, 1), index, np.uint8)

    indices = np.random.default_rng(0).permutation(99)
    monkeypatch.setattr("zoo.data.records._cores", lambda: 4)
    found = stacked(read, indices, (1, 1, 1), np.uint8)
    np.testing.assert_array_equal(found[:, 0, 0, 0], indices)
    assert all(name.startswith("zoo.data") for name in names)
    with pytest.raises(ValueError, match="image 99"):
        stacked(read, [1, 99], (1, 1, 1), np.uint8)
    assert stacked(read, [], (1, 1, 1), np.uint8).shape == (0, 1, 1, 1)
