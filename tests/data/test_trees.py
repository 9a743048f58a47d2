"""Folders and archives in a store that TensorFlow reads: here `ram://`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.support.image_files import random_pixels, save_image
from zoo import data
from zoo.data import trees


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, pixels in enumerate(random_pixels(30)):
        save_image(tmp_path / "x" / ("bag", "shoe")[i % 2] / f"{i:02}.png", pixels[..., 0])
    (tmp_path / "x" / "bag" / ".hidden.png").write_bytes(b"")
    (tmp_path / "x" / "bag" / "x.txt").write_bytes(b"x")
    return tmp_path / "x"


def _stored(path: Path, address: str) -> str:
    """What lies at a path, copied to a store."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            place = "/".join([address, *file.relative_to(path).parts])
            tf.io.gfile.makedirs(place.rpartition("/")[0])
            with tf.io.gfile.GFile(place, "wb") as copy:
                copy.write(file.read_bytes())
    return address


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_a_store_holds_what_a_disk_holds(kind: str, folder: Path) -> None:
    local = folder
    if kind != "folder":
        local = Path(shutil.make_archive(str(folder), kind, folder))
    address = _stored(local, f"ram://{kind}/images{local.suffix}")
    for split in ("train", "test"):
        one, other = (data.open(source, split=split) for source in (address, local))
        np.testing.assert_array_equal(one.take(range(len(other))), other.take(range(len(other))))
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.index() == other.index()
    assert data.source_name(address) == address
    here, there = (data.describe(source).replace(str(source), "") for source in (address, local))
    assert here == there
    stream, _ = data.training_stream(address, batch_size=4)
    assert next(iter(stream)).shape == (4, 6, 5, 1)


def test_a_store_is_asked_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the list of its files and for the head of each, however often a command asks."""
    address = _stored(folder, "ram://asked/images")
    asked: list[str] = []
    for place, name in ((trees, "read_remote"), (tf.io.gfile, "walk")):
        whole = getattr(place, name)
        monkeypatch.setattr(place, name, lambda at, whole=whole: (asked.append(at), whole(at))[1])
    for _ in range(2):
        assert "train: 27 images" in data.describe(address)
        data.open(address)
        data.number_of_classes(address)
    assert len(asked) == len(set(asked)) == 1 + 30
    shutil.copy(next(folder.rglob("*.png")), folder / "new.png")
    _stored(folder, address)
    monkeypatch.setattr(trees, "LISTED_FOR", 0.0)
    assert "train: 28 images" in data.describe(address)


def test_what_a_store_lacks() -> None:
    with pytest.raises(FileNotFoundError, match=r"s3://bucket/x cannot be read .*copy what it hol"):
        data.open("s3://bucket/x")
    with pytest.raises(FileNotFoundError, match="folder ram://nowhere/images does not exist"):
        data.open("ram://nowhere/images")
