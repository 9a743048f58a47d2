"""What is prepared is what was there, however often the preparation was cut short."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader

from tests.support.full_disk import full_disk
from tests.support.image_files import random_pixels, save_image
from tests.support.process import process_of
from zoo import data
from zoo.data import preparation, tfds_source
from zoo.data.folder import find
from zoo.data.images import Images
from zoo.data.trees import LocalTree

SHAPE = (6, 5, 3)


@pytest.fixture
def shards_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of four images, read two at once."""
    monkeypatch.setattr(preparation, "SHARD_BYTES", 4 * 90)
    monkeypatch.setattr(preparation, "CHUNK_BYTES", 2 * 90)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """18 images of two classes, in two splits."""
    pixels = random_pixels(18, (9, 7, 3))
    for number, image in enumerate(pixels):
        split = "train" if number < 14 else "test"
        save_image(tmp_path / "images" / split / "ab"[number % 2] / f"{number}.png", image)
    return tmp_path / "images"


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _all_equal(source: Any, folder: Path, shape: Any, splits: tuple[str, ...]) -> None:
    for split in splits:
        wanted = data.read(source, split=split, image_shape=shape)
        found = data.read(folder, split=split)
        assert found.pixels.dtype == wanted.pixels.dtype
        np.testing.assert_array_equal(found.pixels, wanted.pixels)
        assert found.class_names == wanted.class_names
        assert found.number_of_classes() == wanted.number_of_classes()
        if wanted.labels is not None:
            np.testing.assert_array_equal(found.labels, wanted.labels)
        assert (found.labels is None) == (wanted.labels is None)


@pytest.mark.usefixtures("shards_of_four")
@pytest.mark.parametrize("kind", ["folder", "array", "floats", "images", "npz"])
def test_every_kind_is_read_back(kind: str, folder: Path, tmp_path: Path) -> None:
    pixels = random_pixels(10, SHAPE)
    source: Any = {
        "folder": folder,
        "array": pixels,
        "floats": np.random.default_rng(0).random((9, 3, 8), np.float32),
        "images": Images(pixels, np.arange(10) % 3),
        "npz": tmp_path / "x.npz",
    }[kind]
    np.savez(tmp_path / "x.npz", x_train=pixels, y_train=np.arange(10) % 2, x_test=pixels[:3])
    shape = SHAPE if kind == "folder" else None
    told: list[Any] = []
    made = data.prepare(
        source, tmp_path / "out", image_shape=shape, progress=lambda *done: told.append(done)
    )
    _all_equal(source, tmp_path / "out", shape, ("train", "test"))
    assert told[-1][1] == told[-1][2]
    for marks in made["splits"].values():  # the published library reads what was written
        for name, shard in marks["shards"].items():
            records = ArrayRecordReader(str(tmp_path / "out" / name)).read_all()
            assert len(records) == shard["images"] <= 4
    assert not (tmp_path / "out" / "preparation.json").exists()


def test_a_data_set_is_never_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TFRecord files are read in order, also from the middle on."""
    name, split = tfds_source.SAMPLE, "test[:300]"
    wanted = data.read(name, split=split, image_shape=(14, 14, 1))
    monkeypatch.setattr(tfds_source, "MAX_BYTES", 0)
    monkeypatch.setattr(preparation, "SHARD_BYTES", 120 * 14 * 14)
    data.prepare(name, tmp_path / "out", image_shape=(14, 14, 1), splits=[split])
    found = data.read(tmp_path / "out", split="test")
    np.testing.assert_array_equal(found.pixels, wanted.pixels)
    np.testing.assert_array_equal(found.labels, wanted.labels)
    assert found.class_names == wanted.class_names
    records = data.sources.open_in_order(name, split, (14, 14, 1))
    np.testing.assert_array_equal(records.take(np.arange(70, 90)), wanted.pixels[70:90])
    np.testing.assert_array_equal(records.take(np.arange(80, 83)), wanted.pixels[80:83])
    with pytest.raises(ValueError, match="numbers that follow one another"):
        records.take([3, 5])


class _CutShort(BaseException):
    """As a signal that ends a process."""


def _cut_short_at(monkeypatch: pytest.MonkeyPatch, image: int) -> None:
    taken = preparation._taken

    def dying(records: Any, numbers: range, *rest: Any) -> Any:
        if image in numbers:
            raise _CutShort
        return taken(records, numbers, *rest)

    monkeypatch.setattr(preparation, "_taken", dying)


@pytest.mark.usefixtures("shards_of_four")
def test_it_goes_on_where_it_was_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = Images(random_pixels(15, SHAPE), np.arange(15) % 2)
    data.prepare(images, tmp_path / "whole")
    out = tmp_path / "out"
    for at in (0, 7, 13):
        with monkeypatch.context() as patch:
            _cut_short_at(patch, at)
            with pytest.raises(_CutShort):
                data.prepare(images, out)
        shards = sorted(out.glob("*.array_record"))
        assert len(shards) == at // 4
        assert not list(out.glob(".*"))
        left = "not prepared to its end" if shards else "does not exist"
        with pytest.raises(FileNotFoundError, match=left):
            data.open(out)
    written = {path: path.stat().st_mtime_ns for path in shards[1:]}
    shards[0].write_bytes(b"x")  # what is no longer as it was written is remade
    data.prepare(images, out)
    assert {path: path.stat().st_mtime_ns for path in shards[1:]} == written
    assert _files(out) == _files(tmp_path / "whole")
    (out / "preparation.json").write_bytes(b"{}")  # killed before this was removed
    data.prepare(images, out)
    assert _files(out) == _files(tmp_path / "whole")


PREPARING = """
import sys, numpy as np
from zoo import data
from zoo.data import preparation
preparation.SHARD_BYTES = 40 * 300
pixels = np.random.default_rng(0).integers(0, 256, (8_000, 10, 10, 3)).astype(np.uint8)
print("there", flush=True)
data.prepare(pixels, sys.argv[1])
"""


@pytest.mark.slow
def test_killed_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PREPARING]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, stdout=subprocess.DEVNULL)
    for seconds in (0.05, 0.2, 0.4):
        with process_of(PREPARING, tmp_path / "out") as process:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
    subprocess.run([*command, str(tmp_path / "out")], check=True, stdout=subprocess.DEVNULL)
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_two_processes_do_not_write_into_one_folder(tmp_path: Path) -> None:
    pixels = random_pixels(3)

    def second(*_: Any) -> None:
        with pytest.raises(BlockingIOError, match=f"is being written by process {os.getpid()}"):
            data.prepare(pixels, tmp_path / "out")

    data.prepare(pixels, tmp_path / "out", progress=second)
    assert len(data.open(tmp_path / "out")) == 3


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    images = random_pixels(30, (64, 64, 3))
    data.prepare(images, tmp_path / "whole")
    with (
        full_disk(200_000),
        pytest.raises(OSError, match=r"of-00001\.array_record could not be written, and nothing"),
    ):
        data.prepare(images, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    data.prepare(images, tmp_path / "out")
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


@pytest.mark.usefixtures("shards_of_four")
def test_files_that_are_no_images(folder: Path, tmp_path: Path) -> None:
    bad = [folder / "train" / "a" / "2.png", folder / "train" / "b" / "9.png"]
    wanted = data.read(folder, image_shape=SHAPE)
    broken = [path.read_bytes()[:100] for path in bad]
    for path, content in zip(bad, broken, strict=True):
        path.write_bytes(content)
    names = [file[-1] for file in find(LocalTree(folder), "train").files]
    kept = [i for i, name in enumerate(names) if name not in ("2.png", "9.png")]
    with pytest.raises(ValueError, match=r"a/2\.png is not a readable image.*--on-error skip"):
        data.prepare(folder, tmp_path / "out", image_shape=SHAPE)
    made = data.prepare(folder, tmp_path / "out", image_shape=SHAPE, on_error="skip")  # goes on
    found = data.read(tmp_path / "out")
    np.testing.assert_array_equal(found.pixels, wanted.pixels[kept])
    np.testing.assert_array_equal(found.labels, wanted.labels[kept])
    assert made["splits"]["train"]["images"] == 12
    lines = (tmp_path / "out" / "skipped.txt").read_text().splitlines()
    assert [str(path) in line for path, line in zip(bad, lines, strict=True)] == [True, True]


def test_damaged_files_are_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is whole stays, and the folder gets the bytes that it had."""
    monkeypatch.setattr(preparation, "SHARD_BYTES", 4 * 30)
    pixels = Images(random_pixels(10), np.arange(10) % 3)
    out = tmp_path / "out"
    data.prepare(pixels, out)
    before = _files(out)
    shards = sorted(out.glob("*.array_record"))
    shards[0].write_bytes(before[shards[0].name][:-9])
    shards[1].unlink()
    (out / "all-labels.npy").write_bytes(b"x")
    whole = shards[2].stat().st_ino
    assert len(data.verify(out)) == 3
    data.prepare(pixels, out)
    assert _files(out) == before
    assert shards[2].stat().st_ino == whole
    assert data.verify(out) == []


def test_a_failure_before_the_first_shard_leaves_nothing(tmp_path: Path) -> None:
    """So that it can be tried with other options, or the faulty image be replaced."""
    for number, image in enumerate(random_pixels(4, (9, 7, 3))):
        save_image(tmp_path / "images" / f"{number}.png", image)
    whole = (tmp_path / "images" / "2.png").read_bytes()
    (tmp_path / "images" / "2.png").write_bytes(whole[:100])
    with pytest.raises(ValueError, match=r"2\.png is not a readable image"):
        data.prepare(tmp_path / "images", tmp_path / "out", splits=["train"])
    assert not (tmp_path / "out").exists()
    (tmp_path / "images" / "2.png").write_bytes(whole)
    made = data.prepare(tmp_path / "images", tmp_path / "out", image_shape=(4, 4, 3))
    assert made["image_shape"] == [4, 4, 3]


def test_nothing_is_left_of_a_split(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "test").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"No image of the split test .* Or take --split train, a"):
        data.prepare(folder, tmp_path / "out", image_shape=SHAPE, on_error="skip")


def test_other_folders_and_options_are_refused(folder: Path, tmp_path: Path) -> None:
    pixels, out = random_pixels(4), tmp_path / "out"
    with pytest.raises(FileExistsError, match=r"images holds other files: test, train\. Choose"):
        data.prepare(pixels, folder)
    data.prepare(pixels, out)
    before = _files(out)
    data.prepare(pixels, out)  # nothing to do
    with pytest.raises(
        FileExistsError, match=r"other prepared data.*image_shape \(\[6, 5, 1\], now"
    ):
        data.prepare(pixels, out, image_shape=(3, 3, 1))
    with pytest.raises(FileExistsError, match="differ: the images, their labels or their number"):
        data.prepare(pixels[::-1], out)
    assert _files(out) == before
    with pytest.raises(ValueError, match="on_error='ignore': expected one of fail, skip"):
        data.prepare(pixels, out, on_error="ignore")
    with pytest.raises(ValueError, match="The split train was given twice"):
        data.prepare(folder, out, image_shape=SHAPE, splits=["train", "train"])
    with pytest.raises(ValueError, match="gs://bucket/x is no place on a disk"):
        data.prepare(pixels, "gs://bucket/x")
    with pytest.raises(ValueError, match="has no split 'val'"):
        data.prepare(folder, tmp_path / "new", image_shape=SHAPE, splits=["val"])
    assert not (tmp_path / "new").exists()


def test_splits_of_several_sizes(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x_train=random_pixels(3), x_test=random_pixels(3, (4, 4, 1)))
    with pytest.raises(ValueError, match=r"The splits of .*x\.npz differ.*--image-size"):
        data.prepare(tmp_path / "x.npz", tmp_path / "out")
    data.prepare(tmp_path / "x.npz", tmp_path / "out", image_shape=(4, 4, 1))
    assert data.open(tmp_path / "out").shape == (4, 4, 1)


def test_labels_are_judged_before_anything_is_decoded(tmp_path: Path) -> None:
    """Of all splits together: a small one may lack the first class."""
    pixels = random_pixels(6)
    train, test = np.array([0, 1, 0, 1, 0, 1]), np.array([1, 1])
    np.savez(tmp_path / "x.npz", x_train=pixels, y_train=train, x_test=pixels[:2], y_test=test)
    data.prepare(tmp_path / "x.npz", tmp_path / "out")
    np.testing.assert_array_equal(data.open(tmp_path / "out", split="test").labels, test)
    assert data.number_of_classes(tmp_path / "out") == 2
    for wrong, words in ((train + 1, "classes 1 to 2"), (train * 700, "values up to 700")):
        with pytest.raises(ValueError, match=f"{words}.* no num_classes: number the classes bef"):
            data.prepare(Images(pixels, wrong), tmp_path / "new")
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("out", "kind"), [(None, TypeError), (3, TypeError), ("", ValueError)])
def test_what_is_no_place(
    out: Any, kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match="out=.*: expected a path"):
        data.prepare(random_pixels(2), out)
    assert not list(tmp_path.iterdir())
