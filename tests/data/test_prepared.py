"""A prepared folder is a source like any other, and is checked before it is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.support.command import fails, run_zoo
from tests.support.image_files import random_pixels
from zoo import data
from zoo.data import preparation, prepared
from zoo.data.images import Images

IMAGES = Images(random_pixels(30, (8, 8, 3)), np.arange(30) % 3, ["boot", "sandal", "shoe"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four shards of eight images, the last of six."""
    monkeypatch.setattr(preparation, "SHARD_BYTES", 8 * 8 * 8 * 3)
    data.prepare(IMAGES, tmp_path / "prepared")
    return tmp_path / "prepared"


def _shard(folder: Path, number: int) -> Path:
    return folder / f"all-{number:05d}-of-00004.array_record"


def test_images_in_any_order(folder: Path) -> None:
    records = data.open(folder)
    indices = np.array([29, 0, 7, 8, 8, 15, 3, 29, 16])
    np.testing.assert_array_equal(records.take(indices), IMAGES.pixels[indices])
    assert records.take(np.array([], np.int64)).shape == (0, 8, 8, 3)
    orders = [np.random.default_rng(i).permutation(30) for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for order, taken in zip(orders, pool.map(records.take, orders), strict=True):
            np.testing.assert_array_equal(taken, IMAGES.pixels[order])


def test_it_is_a_source_like_any_other(folder: Path) -> None:
    assert data.source_name(folder) == str(folder.resolve())
    assert data.image_shape(folder) == (8, 8, 3)
    assert data.image_shape(str(folder), 4) == (4, 4, 3)
    assert data.class_names(folder) == ["boot", "sandal", "shoe"]
    assert data.number_of_classes(folder) == 3
    assert data.describe(folder) == (
        f"Data: {folder}, train: 30 images of 8 × 8 × 3, "
        "3 classes: 0 = boot (10), 1 = sandal (10), 2 = shoe (10)."
    )
    stream, steps = data.training_stream(folder, batch_size=7, labels=True, seed=3, start_step=5)
    wanted, _ = data.training_stream(IMAGES, batch_size=7, labels=True, seed=3, start_step=5)
    assert steps == 4
    for mine, others in zip(stream.take(9), wanted, strict=False):
        np.testing.assert_array_equal(mine[0], others[0])
        np.testing.assert_array_equal(mine[1], others[1])


def test_batches_that_are_read_as_they_are_needed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those from memory; and a copied folder is known as the same."""
    options = {"batch_size": 7, "labels": True, "seed": 3, "start_step": 5}
    wanted, _ = data.training_stream(IMAGES, **options)
    monkeypatch.setattr("zoo.data.images.MEMORY_LIMIT", 0)
    stream, _ = data.training_stream(folder, **options)
    for mine, others in zip(stream.take(9), wanted, strict=False):
        np.testing.assert_array_equal(mine[0], others[0])
        np.testing.assert_array_equal(mine[1], others[1])
    marks = data.fingerprint(data.open(folder), labels=True)
    assert {"images", "shape", "index", "labels"} == marks.keys()
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert marks == data.fingerprint(data.open(copy), labels=True)


@pytest.mark.parametrize("shape", [(4, 4, 3), (4, 6, 3), (8, 8, 1)])
def test_trained_smaller_than_prepared(folder: Path, shape: tuple[int, int, int]) -> None:
    """As the prepared images are, so are they converted."""
    found = data.read(folder, image_shape=shape)
    np.testing.assert_array_equal(found.pixels, data.read(IMAGES, image_shape=shape).pixels)
    np.testing.assert_array_equal(found.labels, IMAGES.labels)


def test_training(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command; and by a damaged folder not begun."""
    run = tmp_path / "run"
    told = ["--data", folder, "--out", run, "--batch-size", 10, "--network", "mlp"]
    run_zoo("train", "vae", *told, "--epochs", 1, "--latent-dim", 2, "--image-size", 4)
    assert zoo.load(run).steps_done == 3
    shard = _shard(folder, 1)
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-50])
    said = fails(capsys, "train", "vae", "--data", folder, "--out", tmp_path / "new")
    assert f"{shard} has {len(whole) - 50:,} bytes; expected {len(whole):,}" in said
    assert not (tmp_path / "new").exists()


def _flip(path: Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 0xFF
    path.write_bytes(content)


def _swap(folder: Path) -> None:
    first, second = _shard(folder, 0), _shard(folder, 1)
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)


def _edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "dataset.json"
    dataset = json.loads(path.read_text())
    change(dataset["splits"]["all"])
    path.write_text(json.dumps(dataset))


def _swap_hashes(split: dict[str, Any]) -> None:
    first, second, *_ = split["shards"].values()
    first["sha256"], second["sha256"] = second["sha256"], first["sha256"]


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut": (lambda f: _shard(f, 2).write_bytes(_shard(f, 2).read_bytes()[:-9]), "Is it cut short"),
    "flipped": (lambda f: _flip(_shard(f, 3), 0.5), r"00003-of-00004.* is not the file that"),
    "swapped shards": (_swap, r"00000-of-00004.* (is not the file|has .* bytes; expected)"),
    "swapped hashes": (lambda f: _edit(f, _swap_hashes), r"00000-of-00004.* \(SHA-256\)"),
    "missing": (lambda f: _shard(f, 1).unlink(), r"00001-of-00004\.array_record is missing\."),
    "count": (lambda f: _edit(f, lambda s: s.update(images=31)), "31 images .* but 30 in its"),
    "counts": (lambda f: _edit(f, lambda s: s["labels"].update(counts=[1, 2, 3])), "but 6 in"),
    "labels": (lambda f: _flip(f / "all-labels.npy", 0.9), r"all-labels\.npy is not the file"),
    "no labels": (lambda f: (f / "all-labels.npy").unlink(), r"all-labels\.npy is missing"),
    "unfinished": (lambda f: (f / "dataset.json").rename(f / "preparation.json"), "to its end"),
    "no JSON": (lambda f: (f / "dataset.json").write_text('{"image_shape"'), "not valid JSON"),
    "no shards": (lambda f: _edit(f, lambda s: s.pop("shards")), "shards is missing"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_before_training(folder: Path, kind: str) -> None:
    damage, words = DAMAGE[kind]
    damage(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as found:
        data.open(folder)
    assert str(folder) in str(found.value)
    if kind not in ("unfinished", "no JSON", "no shards"):
        assert str(found.value) in data.verify(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_shape": [3, 8, 1]}, r"shape \(3, 8, 1\), uint8, have 24 bytes, but .* SIZE\. Was"),
        ({"dtype": "float32"}, r"float32, have \d+ bytes, but those in the shards SIZE\. Was"),
        ({"class_names": ["a"]}, r"1 names for the \d classes of the split all\. Was it edited"),
    ],
)
def test_what_does_not_fit_the_shards(folder: Path, change: dict[str, Any], words: str) -> None:
    dataset = data.prepared.read_dataset(folder)
    words = words.replace("SIZE", str(int(np.prod(dataset["image_shape"]))))
    (folder / "dataset.json").write_text(json.dumps({**dataset, **change}))
    for read in (data.open, data.verify, data.read):
        with pytest.raises(ValueError, match=rf"dataset\.json: .*{words}"):
            read(folder)


@pytest.mark.parametrize("kind", ["cut", "swapped shards", "missing", "count", "labels"])
def test_damage_to_large_folders(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their shards are not hashed as a whole, which would take minutes."""
    monkeypatch.setattr(prepared, "HASHED", 0)
    monkeypatch.setattr(prepared, "ENDS", 200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "_sha256_of", lambda path, *_: pytest.fail(f"{path} was hashed"))
        _edit(folder, lambda split: [
            shard.update(ends_sha256=prepared.ends_sha256(folder / name))
            for name, shard in split["shards"].items()
        ])  # fmt: skip
        labels = (folder / "all-labels.npy").rename(folder / "labels")
        with pytest.raises(ValueError, match="all-labels"):
            data.open(folder)
        labels.rename(folder / "all-labels.npy")
    data.open(folder).take(np.arange(30))
    DAMAGE[kind][0](folder)
    with pytest.raises(ValueError, match=DAMAGE[kind][1]):
        data.open(folder)


def test_damage_within_a_large_shard(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checksum of ArrayRecord's own finds it once the image is read."""
    monkeypatch.setattr(prepared, "HASHED", 0)
    monkeypatch.setattr(prepared, "ENDS", 1)
    _edit(folder, lambda split: [
        shard.update(ends_sha256=prepared.ends_sha256(folder / name))
        for name, shard in split["shards"].items()
    ])  # fmt: skip
    _flip(_shard(folder, 2), 0.01)  # behind the images the file is padded
    records = data.open(folder)
    records.take(np.arange(16))
    with pytest.raises(ValueError, match=r"00002-of-00004\.array_record is damaged \("):
        records.take(np.arange(30))
    (fault,) = data.verify(folder)
    assert "00002-of-00004" in fault


def test_splits(tmp_path: Path) -> None:
    data.prepare("sprites", tmp_path / "train", splits=["train"], image_shape=(8, 8, 1))
    with pytest.raises(ValueError, match=r"no split 'test'; it has \['train'\]"):
        data.open(tmp_path / "train", split="test")
    images = np.full((4, 8, 8), 9, np.uint8)
    np.savez(tmp_path / "x.npz", x_train=images, x_val=images[:3])
    data.prepare(tmp_path / "x.npz", tmp_path / "both")
    assert len(data.open(tmp_path / "both", split="test")) == 3
    assert "There is no split test: val" in data.describe(tmp_path / "both", split="test")


def test_a_prepared_folder_in_a_store(folder: Path) -> None:
    """It is copied first."""
    with tf.io.gfile.GFile("ram://prepared/dataset.json", "wb") as file:
        file.write((folder / "dataset.json").read_bytes())
    with pytest.raises(ValueError, match="ram://prepared is a prepared folder.* Copy it to one"):
        data.open("ram://prepared")


def test_shards_alone_are_no_source(folder: Path, tmp_path: Path) -> None:
    shard = next(folder.glob("*.array_record"))
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / shard.name).write_bytes(shard.read_bytes())
    for source in (shard, alone):
        with pytest.raises(ValueError, match=r"Give the folder that `zoo data prepare` or TFDS"):
            data.describe(source)


def test_other_files_of_that_name(tmp_path: Path) -> None:
    """Such as StyleGAN's, beside images."""
    from tests.support.image_files import image_tree

    image_tree(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "dataset.json").write_text('{"labels": null}')
    assert not prepared.is_prepared(tmp_path)
    assert data.read(tmp_path).pixels.shape == (2, 4, 4, 1)
