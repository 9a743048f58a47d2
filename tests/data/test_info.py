"""What is measured of a split, against NumPy; and faults by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.image_files import image_tree, random_pixels
from zoo import data
from zoo.data import info, records
from zoo.data.images import Images


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_statistics(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "CHUNK", 900)  # a few images at once
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (50, 9, 7, 3)).astype(np.uint8)
    pixels[..., 1] //= 3
    pixels[[7, 30, 49]] = pixels[3]
    pixels[20] = pixels[11]
    given = pixels if dtype == np.uint8 else (pixels / 255.0).astype(np.float32)
    told: list[int] = []
    found = data.statistics(data.open(given), lambda done, of: told.append(done))
    values = given.astype(np.float64) / (255.0 if dtype == np.uint8 else 1.0)
    np.testing.assert_allclose(found.mean, values.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, values.std(axis=(0, 1, 2)), rtol=1e-9)
    assert [group.tolist() for group in found.duplicates] == [[3, 7, 30, 49], [11, 20]]
    assert found.repeated == 4
    assert len(told) > 5
    assert told[-1] == 50


def test_images_that_are_all_the_same_or_none() -> None:
    same = np.zeros((6, 4, 4, 1), np.uint8)
    (group,) = data.statistics(same).duplicates  # a source is opened
    assert group.tolist() == list(range(6))
    assert data.statistics(data.open(same)).deviation.tolist() == [0.0]
    assert data.statistics(data.open(random_pixels(6))).duplicates == []
    assert data.statistics(data.open(random_pixels(1))).duplicates == []


def test_verify_names_every_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "CHUNK", 40)  # three images at once
    folder = image_tree(
        tmp_path, *(f"{split}/{n}.png" for split in ("train", "test") for n in range(9))
    )
    assert data.verify(folder) == []
    bad = [folder / "test" / "3.png", folder / "train" / "0.png", folder / "train" / "8.png"]
    for path in bad:
        path.write_bytes(path.read_bytes()[:-30])
    faults = data.verify(folder, image_shape=(4, 4, 1))
    assert sorted(fault.partition(" is not a readable image")[0] for fault in faults) == [
        str(path) for path in bad
    ]
    faults = data.verify(folder, splits=["train"], image_shape=(4, 4, 1))
    assert len(faults) == 2


def test_contact_sheet(tmp_path: Path) -> None:
    """Of 1,000 images a hundred, from the first to the last."""
    values = np.arange(1000) // 4
    images = Images(np.broadcast_to(values[:, None, None, None], (1000, 2, 2, 1)).astype(np.uint8))
    data.contact_sheet(images, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[0] == sheet.shape[1] >= 480
    shown = set(np.unique(sheet)) - {255}  # the gaps
    assert {0, 249} <= shown
    assert 90 <= len(shown) <= 100
    data.contact_sheet(data.open(random_pixels(3)), tmp_path / "small.png")
