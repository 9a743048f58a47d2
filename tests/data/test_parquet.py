"""Folders of parquet files as `datasets` saves them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.image_files import random_pixels
from zoo import data
from zoo.data import parquet

NAMES = ["bag", "shoe"]


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(buffer, "PNG")
    return buffer.getvalue()


def _write(path: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    """As `Dataset.to_parquet` does: a struct of bytes and path, and the features as metadata."""
    images = [{"bytes": _png(image), "path": f"{i}.png"} for i, image in enumerate(pixels)]
    features = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"image": images, "label": labels}).replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=4)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """(folder, pixels, labels) of 20 training images in two files."""
    pixels, labels = random_pixels(20), np.arange(20) % 2
    for i, part in enumerate((slice(0, 11), slice(11, 20))):
        _write(tmp_path / "data" / f"train-0000{i}-of-00002.parquet", pixels[part], labels[part])
    _write(tmp_path / "data" / "validation-00000-of-00001.parquet", pixels[:3], labels[:3])
    return tmp_path, pixels, labels


def test_rows_are_images(saved: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, pixels, labels = saved
    records = data.open(folder)
    order = np.random.default_rng(0).permutation(20)
    np.testing.assert_array_equal(records.take(order), pixels[order])
    np.testing.assert_array_equal(records.labels, labels)
    assert records.class_names == tuple(NAMES)
    resized = data.open(folder, image_shape=(4, 4, 3)).take(order)
    np.testing.assert_array_equal(resized, data.open(pixels, image_shape=(4, 4, 3)).take(order))
    assert len(data.open(folder, split="test")) == 3  # validation stands in
    assert data.image_shape(folder) == (6, 5, 1)
    assert data.number_of_classes(folder) == 2
    assert "20 images of 6 × 5 × 1, 2 classes: 0 = bag (10)" in data.describe(folder)


def test_a_tenth_is_held_out_where_there_is_only_train(tmp_path: Path) -> None:
    """As in folders without splits: the images, their labels, and what is said of it."""
    pixels, labels = random_pixels(25), np.arange(25) % 2
    _write(tmp_path / "train-00000-of-00001.parquet", pixels, labels)
    train, test = (data.open(tmp_path, split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (23, 2)
    found = np.concatenate([train.take_all(), test.take_all()])
    order = [int(np.flatnonzero((pixels == image).all((1, 2, 3)))[0]) for image in found]
    assert sorted(order) == list(range(25))
    assert order[:23] == sorted(order[:23])
    assert train.labels is not None
    assert test.labels is not None
    np.testing.assert_array_equal([*train.labels, *test.labels], labels[order])
    np.testing.assert_array_equal(test.take([1, 0]), pixels[order[:22:-1]])
    assert parquet.splits(tmp_path) == ["train", "test"]
    note = "There is no split but train: 2 images, a tenth, chosen by a hash of the rows, are the"
    assert note in data.describe(tmp_path)
    with pytest.raises(ValueError, match=r"has no split 'validation'; it has \['train'\]"):
        data.open(tmp_path, split="validation")
    _write(tmp_path / "train-00000-of-00001.parquet", pixels[:1], labels[:1])
    with pytest.raises(ValueError, match="has 1 image; expected at least 2"):
        data.open(tmp_path)


def test_groups_that_were_read_last_are_kept(
    saved: tuple[Path, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, pixels, _ = saved
    read: list[int] = []
    encoded = parquet._encoded
    records = data.open(folder)
    monkeypatch.setattr(parquet, "_encoded", lambda *each: read.append(each[1]) or encoded(*each))
    records.take([0, 1, 2])
    records.take([3, 0])
    assert read == [0]
    monkeypatch.setattr(parquet, "KEPT", 0)
    np.testing.assert_array_equal(records.take([0, 4, 0, 19]), pixels[[0, 4, 0, 19]])
    records.take([0])
    assert len(read) == 4


def test_what_is_wrong_is_named(
    saved: tuple[Path, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, *_ = saved
    with pytest.raises(ValueError, match="has no split 'extra'; it has"):
        data.open(folder, split="extra")
    first = folder / "data" / "train-00000-of-00002.parquet"
    whole = first.read_bytes()
    first.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"train-00000-of-00002\.parquet cannot be read"):
        data.open(folder)
    first.write_bytes(whole)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow.parquet", None)
        with pytest.raises(ValueError, match=r"pip install 'vaegan-zoo\[parquet\]'"):
            data.open(folder)
    second = folder / "data" / "train-00001-of-00002.parquet"
    other = second.read_bytes()
    pq.write_table(pa.table({"image": [b"x"]}), second)
    with pytest.raises(ValueError, match=r"00001-of.*columns \['image'\]; expected also label"):
        data.open(folder)
    second.write_bytes(other)
    pq.write_table(pa.table({"text": ["a"]}), first)
    with pytest.raises(ValueError, match=r"columns \['text'\]; expected one of image"):
        data.open(folder)
    pq.write_table(pa.table({"image": [b"x", _png(random_pixels(1)[0])]}), first)
    with pytest.raises(ValueError, match="row 0 is not a readable image"):
        data.open(folder).take([0])


def test_text_is_no_name_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data from elsewhere name no files of this machine."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.png").write_bytes(_png(random_pixels(1)[0]))
    (tmp_path / "x").mkdir()
    images: list[list[Any]] = [["secret.png"] * 3, [{"bytes": None, "path": "secret.png"}] * 3]
    for column in images:
        pq.write_table(pa.table({"image": column}), tmp_path / "x" / "train.parquet")
        with pytest.raises(ValueError, match="is not a readable image"):
            data.open(tmp_path / "x")


@pytest.mark.parametrize(
    "metadata", ["{", "[]", "{}", '{"info": {"features": null}}', '{"info": {"features": {}}}']
)
def test_metadata_of_others(tmp_path: Path, metadata: str) -> None:
    table = pa.table({"image": [_png(image) for image in random_pixels(4)], "label": [0, 1, 0, 1]})
    written = table.replace_schema_metadata({"huggingface": metadata})
    pq.write_table(written, tmp_path / "train.parquet")
    assert data.class_names(tmp_path) is None
    assert data.number_of_classes(tmp_path) == 2


def test_labels_beyond_the_names(saved: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, pixels, labels = saved
    _write(folder / "data" / "train-00000-of-00002.parquet", pixels[:11], labels[:11] + 1)
    with pytest.raises(ValueError, match="label 2 at index 1: expected a class from 0 to 1"):
        data.number_of_classes(folder)


def test_heads_are_read_once(
    saved: tuple[Path, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often a command asks, until a file changes."""
    folder, pixels, labels = saved
    read: list[int] = []
    encoded = parquet._encoded

    def counted(path: Path, group: int, column: str) -> list[bytes]:
        read.append(group)
        return encoded(path, group, column)

    monkeypatch.setattr(parquet, "_encoded", counted)
    for _ in range(2):
        data.describe(folder)
        data.open(folder)
    assert len(read) == 7  # groups of four of 11, 9 and 3 rows
    _write(folder / "data" / "train-00000-of-00002.parquet", pixels[:8], labels[:8])
    assert len(data.open(folder)) == 17
    assert len(read) == 13


def test_a_folder_without_images(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=r"has the columns \['text'\]; expected one of image"):
        data.describe(tmp_path)
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="holds no images: its files have no rows"):
        data.describe(tmp_path)
