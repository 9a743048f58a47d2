"""Sources of images: what is read is what is there, and every fault is named."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import os
import shutil
import socket
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import zoo
from export.metadata import provenance
from zoo import data
from zoo.bench import run as bench
from zoo.cli import main
from zoo.data import folder as folders
from zoo.data import tfds_source, unchanged
from zoo.data.checked import TOLERANCE, checked_labels, checked_pixels, count_classes
from zoo.evaluation.report import write_report
from zoo.io.records import read_json, write_json
from zoo.training.runs import load_run, read_config
from zoo.training.train import train

RNG = np.random.default_rng(0)


def _array(n: int = 20, shape: tuple[int, int, int] = (6, 5, 1)) -> np.ndarray:
    return RNG.integers(0, 256, (n, *shape)).astype(np.uint8)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 grey PNGs of 6 × 5 pixels in two classes."""
    for i in range(20):
        _save(tmp_path / "images" / ("bag", "shoe")[i % 2] / f"{i:02}.png", _array()[0, :, :, 0])
    return tmp_path / "images"


# The embedded sample


@pytest.mark.parametrize(("split", "each"), [("train", 1000), ("test", 200)])
def test_the_sample(split: str, each: int) -> None:
    images, labels = data.to_array(data.DEFAULT_SOURCE, split=split, labels=True)
    assert images.shape == (10 * each, 28, 28, 1)
    assert (images.dtype, labels.dtype) == (np.float32, np.int32)
    assert (images.min(), images.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(np.bincount(labels), np.full(10, each))


def test_the_sample_is_small_and_licensed() -> None:
    files = [f for f in tfds_source.SAMPLE_FOLDER.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 8e6
    licence = (tfds_source.SAMPLE_FOLDER / "LICENSE").read_text()
    assert "MIT License" in licence
    assert "Zalando" in licence


needs_debian = pytest.mark.skipif(
    not tfds_source.DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)


def _idx(name: str, header: int) -> np.ndarray:
    with gzip.open(tfds_source.DEBIAN / f"{name}.gz") as file:
        return np.frombuffer(file.read()[header:], np.uint8)


@needs_debian
def test_the_sample_is_of_fashion_mnist() -> None:
    """Every image of the sample, with its label, is in Zalando's files."""
    whole = {
        (image.tobytes(), int(label))
        for image, label in zip(
            _idx("t10k-images-idx3-ubyte", 16).reshape(-1, 784),
            _idx("t10k-labels-idx1-ubyte", 8),
            strict=True,
        )
    }
    found = data.read(data.DEFAULT_SOURCE, split="test")
    sample = zip(found.pixels.reshape(-1, 784), found.labels, strict=True)
    assert {(image.tobytes(), int(label)) for image, label in sample} <= whole


@pytest.mark.slow
@needs_debian
def test_fashion_mnist_from_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TFDS's own builder, offline: all images, pixel for pixel (TFDS shuffles them)."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", _no_network)
    found = data.read("fashion_mnist", split="train")
    assert found.pixels.shape == (60_000, 28, 28, 1)
    images = _idx("train-images-idx3-ubyte", 16).reshape(-1, 784)
    labels = _idx("train-labels-idx1-ubyte", 8)
    wanted = np.concatenate([images, labels[:, None]], axis=1)
    read = np.concatenate([found.pixels.reshape(-1, 784), found.labels[:, None]], axis=1)
    order, read_order = np.lexsort(wanted.T), np.lexsort(read.T)
    np.testing.assert_array_equal(read[read_order], wanted[order])


def _no_network(*_: object, **__: object) -> None:
    raise OSError("Network is unreachable")


# Folders


def test_a_folder(folder: Path) -> None:
    train, labels = data.to_array(folder, split="train", labels=True)
    test = data.to_array(folder, split="test")
    assert train.shape == (18, 6, 5, 1)
    assert test.shape == (2, 6, 5, 1)
    assert set(labels) == {0, 1}
    every = {
        tuple(np.asarray(Image.open(f)).ravel() / np.float32(255)) for f in folder.rglob("*.png")
    }
    found = {tuple(image.ravel()) for image in np.concatenate([train, test])}
    assert found == every
    np.testing.assert_array_equal(data.to_array(str(folder), split="train"), train)


def test_the_held_out_files_stay_when_the_folder_moves(folder: Path, tmp_path: Path) -> None:
    before = data.to_array(folder, split="test")
    folder.rename(tmp_path / "moved")
    np.testing.assert_array_equal(data.to_array(tmp_path / "moved", split="test"), before)


def test_a_folder_with_splits(tmp_path: Path) -> None:
    for split, value in (("train", 10), ("test", 20)):
        for name in ("a", "b"):
            _save(tmp_path / split / name / "x.png", np.full((4, 4), value, np.uint8))
    for split, value in (("train", 10), ("test", 20)):
        images, labels = data.to_array(tmp_path, split=split, labels=True)
        assert np.all(images == np.float32(value / 255))
        np.testing.assert_array_equal(labels, [0, 1])


def test_odd_sizes_are_cropped_and_resized_with_antialiasing(tmp_path: Path) -> None:
    """Each pixel must hold the mean of the area it stands for: stripes of 1 pixel turn grey."""
    wide = np.zeros((64, 128), np.uint8)
    wide[:, ::2] = 255
    wide[:, :32] = wide[:, 96:] = 255  # cut off: the centre square is columns 32 to 95
    _save(tmp_path / "wide.png", wide)
    tall = np.zeros((160, 80, 3), np.uint8)
    tall[:, :, 0] = 255
    Image.fromarray(tall).save(tmp_path / "tall.jpg", quality=100)
    images = data.read(tmp_path, image_shape=(8, 8, 3)).pixels
    images = np.concatenate(
        [images, data.read(tmp_path, split="test", image_shape=(8, 8, 3)).pixels]
    )
    red, grey = sorted(images.astype(float), key=lambda image: np.ptp(image.mean(axis=(0, 1))))[
        ::-1
    ]
    assert np.abs(red - [255, 0, 0]).max() <= 3  # JPEG's rounding
    assert np.abs(grey[:, 1:-1] - 127.5).max() <= 2
    assert np.ptp(grey, axis=2).max() == 0


def test_alpha_is_composited_over_white(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)  # black, and transparent to varying degrees
    pixels[..., 3] = np.arange(16).reshape(4, 4) * 17
    for i in range(2):
        _save(tmp_path / f"{i}.png", pixels)
    assert "2 images with transparency: composited over white." in data.describe(tmp_path)
    found = data.read(tmp_path).pixels[0]
    np.testing.assert_array_equal(found, np.repeat(255 - pixels[..., 3:], 3, axis=2))


def test_a_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([200, 0, 0, 0, 0, 200])
    for i in range(2):
        image.save(tmp_path / f"{i}.png", transparency=0)
    assert np.all(data.read(tmp_path).pixels == 255)


def test_rotation_in_exif_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 4))
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter turn
    for i in range(2):
        image.save(tmp_path / f"{i}.jpg", exif=exif)
    assert data.image_shape(tmp_path) == (8, 4, 3)


def test_a_corrupt_file_is_named(folder: Path) -> None:
    (folder / "train").mkdir()
    (folder / "bag").rename(folder / "train" / "bag")
    broken = folder / "train" / "bag" / "00.png"
    for content in (broken.read_bytes()[:50], b"not an image", b""):
        broken.write_bytes(content)
        with pytest.raises(ValueError, match=r"bag/00\.png is not a readable image.*Remove or rep"):
            data.read(folder, image_shape=(6, 5, 1))
    with pytest.raises(ValueError, match=r"00\.png is not a readable image"):
        data.image_shape(folder)


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    for i in range(2):
        _save(tmp_path / f"{i}.jpg", _array(1, (64, 64, 3))[0])
        content = (tmp_path / f"{i}.jpg").read_bytes()
        (tmp_path / f"{i}.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(
        ValueError, match=r"\.jpg is not a readable image \(image file is truncated"
    ):
        data.read(tmp_path)


def test_wrong_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        data.read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no images \(\.png"):
        data.read(tmp_path / "empty")
    with pytest.raises(ValueError, match="has no split 'valid'"):
        data.read(folder, split="valid")
    _save(folder / "bag" / "large.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match=r"differ in size.*--image-size"):
        data.read(folder)
    assert data.image_shape(folder, size=4) == (4, 4, 1)
    assert " images of different sizes, 1 channel, " in data.describe(folder)
    _save(tmp_path / "one" / "x.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match="at least 2"):
        data.read(tmp_path / "one")
    for i in range(2):
        _save(tmp_path / "deep" / f"{i}.png", np.zeros((9, 9), np.uint16))
    with pytest.raises(ValueError, match="8 bits per channel"):
        data.read(tmp_path / "deep")
    (tmp_path / "half" / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no images"):
        data.read(tmp_path / "half", split="test")


def _tree(root: Path, *files: str, size: int = 4) -> Path:
    """A folder of grey images of as many values as there are files, in the order given."""
    for number, file in enumerate(files):
        _save(root / file, np.full((size, size), 10 + number, np.uint8))
    return root


def _values(root: Path, split: str) -> list[int]:
    """Of the images that `_tree` wrote: their numbers."""
    return sorted(int(image[0, 0, 0]) - 10 for image in data.read(root, split=split).pixels)


def _labels(root: Path, split: str) -> dict[int, int]:
    """Label of each image that `_tree` wrote."""
    images = data.read(root, split=split)
    assert images.labels is not None
    numbers = (images.pixels[:, 0, 0, 0].astype(int) - 10).tolist()
    return dict(zip(numbers, images.labels.tolist(), strict=True))


def _by_earlier_versions(folder: Path, split: str) -> tuple[list[Path], list[int]]:
    """The files and labels of a folder without splits, as the first version found them."""
    files = sorted(f for f in folder.rglob("*") if f.suffix in (".png", ".jpg", ".jpeg"))
    ranked = sorted(
        files, key=lambda f: hashlib.sha256(str(f.relative_to(folder)).encode()).digest()
    )
    held_out = set(ranked[: max(1, len(files) // 10)])
    chosen = [file for file in files if (file in held_out) == (split == "test")]
    names = sorted({file.relative_to(folder).parts[0] for file in files})
    return chosen, [names.index(file.relative_to(folder).parts[0]) for file in chosen]


def test_folders_are_split_and_numbered_as_by_earlier_versions(tmp_path: Path) -> None:
    """Whatever their names, if no number decides; and the files come in the same order."""
    rng = np.random.default_rng(1)
    letters = list("aZé-_ .~")
    for number in range(60):
        name = "".join(rng.choice(letters, rng.integers(1, 4))).strip(". ") or "x"
        kind = str(rng.choice([".png", ".jpg"]))
        deep = ["deeper"] if number % 5 == 0 else []
        path = Path(f"c{name}", *deep, f"{name}{number}{kind}")
        _save(tmp_path / path, np.full((2, 2), number, np.uint8))
    for split in ("train", "test"):
        listing = folders.find(tmp_path, split)
        files, labels = _by_earlier_versions(tmp_path, split)
        assert listing.paths() == files
        np.testing.assert_array_equal(listing.labels()[0], labels)
        assert len(set(labels)) > 2


def test_hidden_and_system_entries_are_no_images(tmp_path: Path) -> None:
    _tree(
        tmp_path, "a/0.png", "b/0.png", ".ipynb_checkpoints/a-checkpoint.png", "a/.trash/0.png",
        "__MACOSX/a/0.png", "b/._0.png", "a/@eaDir/0.png",
    )  # fmt: skip
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"x")
    assert sorted(_values(tmp_path, "train") + _values(tmp_path, "test")) == [0, 1]
    assert data.class_names(tmp_path) == ["a", "b"]
    assert "Skipped 7 hidden or system entries, such as" in data.describe(tmp_path)


def test_a_folder_may_lie_in_a_hidden_one(tmp_path: Path) -> None:
    root = _tree(tmp_path / ".cache" / "x", "train/a/0.png", "test/a/1.png")
    assert _values(root, "test") == [1]
    assert "hidden" not in data.describe(root)


def test_links_are_followed_and_loops_found(tmp_path: Path) -> None:
    _tree(tmp_path / "elsewhere", "0.png", "1.png")
    root = _tree(tmp_path / "images", "train/b/0.png", "test/b/0.png")
    for split in ("train", "test"):
        (root / split / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "elsewhere")
    (root / "train" / "b" / "link.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    (root / "train" / "b" / "broken.png").symlink_to("nowhere")
    (root / "train" / "self").symlink_to("self")
    os.mkfifo(root / "train" / "pipe.png")
    images = data.read(root)
    assert images.class_names == ("a", "b")
    np.testing.assert_array_equal(images.labels, [0, 0, 1, 1])
    text = data.describe(root)
    assert "Skipped 2 looping links, such as test/a/back." in text
    assert "Skipped 2 broken links, such as train/b/broken.png." in text
    assert "Skipped 1 special file, such as train/pipe.png." in text


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".TIFF", ".tif", ".ppm", ".pgm", ".JPG"])
def test_other_formats(suffix: str, tmp_path: Path) -> None:
    """Those that Pillow reads without loss give the pixels that PNG gives."""
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    lossless = {"lossless": True} if suffix == ".webp" else {}
    for name in ("a", "b"):
        Image.fromarray(pixels).save(tmp_path / f"{name}{suffix}", **lossless)
    found = data.read(tmp_path, image_shape=(8, 8, 1)).pixels[0, ..., 0]
    assert np.abs(found.astype(int) - pixels).max() <= (4 if suffix == ".JPG" else 0)


def test_what_is_skipped_is_said(tmp_path: Path) -> None:
    _tree(tmp_path, "a/0.png", "a/1.png", "b/0.png")
    for name in ("a/x.gif", "a/y.GIF", "b/z.txt", "README"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    text = data.describe(tmp_path)
    assert "Skipped files of other formats: 2 .gif, 1 .txt, 1 without a suffix." in text
    assert "No class, for lack of images: empty/." in text
    assert "1 image, a tenth, chosen by a hash of the names, is the test split." in text
    assert "2 images of 4 × 4 × 1, 2 classes: 0 = a (" in text
    only = tmp_path / "only"
    only.mkdir()
    (only / "x.gif").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"holds no images \(\.png.*other formats: 1 \.gif"):
        data.read(only)


def test_animations_give_their_first_frame_and_are_said(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]
    for name in ("0.png", "1.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    assert _values(tmp_path, "train") == [0]
    assert "The first frame is taken of 2 files with several." in data.describe(tmp_path)


def test_a_class_without_test_images_moves_no_other(tmp_path: Path) -> None:
    _tree(
        tmp_path, "train/a/0.png", "train/b/0.png", "train/c/0.png", "test/a/0.png",
        "test/c/0.png", "test/d/0.png",
    )  # fmt: skip
    assert _labels(tmp_path, "train") == {0: 0, 1: 1, 2: 2}
    assert _labels(tmp_path, "test") == {3: 0, 4: 2, 5: 3}
    assert data.number_of_classes(tmp_path) == 4
    assert "No images in train: 3 = d." in data.describe(tmp_path)
    assert "No images in test: 1 = b." in data.describe(tmp_path, split="test")


def test_classes_are_in_natural_order(tmp_path: Path) -> None:
    _tree(tmp_path, *(f"{name}/{i}.png" for name in ("10", "2", "1") for i in range(4)))
    assert data.read(tmp_path).class_names == ("1", "2", "10")
    assert set(_labels(tmp_path, "train").values()) <= {0, 1, 2}
    label = _labels(tmp_path, "train") | _labels(tmp_path, "test")
    assert [label[number] for number in (0, 4, 8)] == [2, 1, 0]
    names = ["x10y2", "x2", "x10y10", "x-1", "X3", "x02", "x1a", "9", "é1", "x"]
    wanted = ["9", "X3", "x", "x-1", "x1a", "x02", "x2", "x10y2", "x10y10", "é1"]
    assert sorted(names, key=folders.natural_order) == wanted


def test_a_class_called_train_is_one_beside_others(tmp_path: Path) -> None:
    _tree(tmp_path, *(f"{name}/{i}.png" for name in ("bus", "car", "train") for i in range(4)))
    assert data.class_names(tmp_path) == ["bus", "car", "train"]
    assert sorted(_values(tmp_path, "train") + _values(tmp_path, "test")) == list(range(12))
    assert "train/: a class, as there are other folders beside it." in data.describe(tmp_path)


def test_folders_beside_splits_are_skipped_and_said(tmp_path: Path) -> None:
    _tree(tmp_path, "train/a/0.png", "test/a/0.png", "extra/a/0.png", "preview.png")
    (tmp_path / "annotations").mkdir()
    assert (_values(tmp_path, "train"), _values(tmp_path, "test")) == ([0], [1])
    text = data.describe(tmp_path)
    assert "Skipped 2 images outside of test/, train/, such as extra/a/0.png." in text
    # Folders without images make no class of what is called train.
    other = _tree(tmp_path / "other", "train/a/0.png")
    (other / "annotations").mkdir()
    assert data.class_names(other) == ["a"]


def test_an_image_beside_class_folders(tmp_path: Path) -> None:
    """It takes no labels away, and is no class: who needs labels is told which image lacks one."""
    _tree(tmp_path, *(f"{name}/{i}.png" for name in "ab" for i in range(4)), "stray.png")
    message = r"1 image beside the class folders, such as stray\.png, without a class. Move"
    for split in ("train", "test"):
        images = data.read(tmp_path, split=split)
        if 8 in _values(tmp_path, split):
            with pytest.raises(ValueError, match=message):
                _ = images.labels
            assert "such as stray.png" in data.describe(tmp_path, split=split)
        else:
            assert images.labels is not None
    assert sorted(_values(tmp_path, "train") + _values(tmp_path, "test")) == list(range(9))
    (tmp_path / "stray.png").rename(tmp_path / "a" / "stray.png")
    assert data.number_of_classes(tmp_path) == 2


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_a_validation_split_stands_in_for_test(name: str, tmp_path: Path) -> None:
    _tree(tmp_path, "train/a/0.png", "train/b/0.png", f"{name}/b/0.png")
    assert _labels(tmp_path, "test") == {2: 1}
    assert _values(tmp_path, "validation") == _values(tmp_path, "val") == [2]
    assert f"There is no folder test/: {name}/ is the test split." in data.describe(tmp_path)
    _tree(tmp_path / "testing", "b/0.png")
    assert _values(tmp_path, "test") == [0]
    assert _values(tmp_path, "val") == [2]


def test_a_validation_split_stands_in_elsewhere_too(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x_train=_array(3), x_val=_array(5))
    assert len(data.read(path, split="test").pixels) == 5
    assert "There is no split test: val stands in." in data.describe(path, split="test")
    assert tfds_source.split_to_read("test[:5]", ["validation"])[0] == "validation[:5]"
    assert tfds_source.split_to_read("test", ["test", "validation"]) == ("test", [])


def test_a_split_that_a_folder_lacks(tmp_path: Path) -> None:
    only = _tree(tmp_path / "a", "test/a/0.png", "test/b/0.png")
    assert _labels(only, "test") == {0: 0, 1: 1}
    with pytest.raises(ValueError, match=r"no split 'train', only test/. Add a folder train/\."):
        data.read(only)
    only = _tree(tmp_path / "b", "train/a/0.png", "train/b/0.png")
    with pytest.raises(ValueError, match=r"Add a folder test/, or give .*b/train itself, of which"):
        data.read(only, split="test")
    assert len(data.read(only / "train", split="test").pixels) == 1
    both = _tree(tmp_path / "c", "train/a/0.png", "val/a/0.png", "valid/a/0.png")
    with pytest.raises(ValueError, match=r"has val/, valid/ for the split validation. Join them"):
        data.read(both)


def test_a_run_on_data_whose_name_is_no_utf_8(tmp_path: Path) -> None:
    """It can be read, resumed, exported and reported; its own folder must be UTF-8."""
    data = tmp_path / os.fsdecode(b"caf\xe9.npz")
    pixels = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    np.savez(data, images=pixels)
    model = zoo.create("vae", image_shape=(8, 8, 1), latent_dim=2, network="mlp")
    model.compile()
    for epochs in (1, 2):
        train(model, data, tmp_path / "run", epochs=epochs, batch_size=10, verbose=0)
        model = load_run(tmp_path / "run")
    assert read_config(tmp_path / "run")["data"] == str(data)
    write_report([tmp_path / "run"], tmp_path / "report.html")
    assert r"caf\udce9.npz" in (tmp_path / "report.html").read_text()
    assert provenance(tmp_path / "run")["data"] == r"caf\xe9.npz"
    with pytest.raises(ValueError, match=r"caf\\xe9: the name is not UTF-8"):
        train(model, data, data.with_suffix(""), epochs=3, batch_size=10, verbose=0)
    assert not data.with_suffix("").exists()


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    """They are read, and shown in what can be printed and stored; faults name the file."""
    root = os.fsencode(tmp_path) + b"/caf\xe9"
    try:
        os.makedirs(root)  # noqa: PTH103  (no path of pathlib)
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    for number in range(3):
        buffer = io.BytesIO()
        Image.fromarray(np.full((4, 4), 10 + number, np.uint8)).save(buffer, "PNG")
        with open(root + b"/%d\xff.png" % number, "wb") as file:  # noqa: PTH123
            file.write(buffer.getvalue())
    assert sorted(_values(tmp_path, "train") + _values(tmp_path, "test")) == [0, 1, 2]
    assert data.class_names(tmp_path) == ["caf\\xe9"]
    assert "0 = caf\\xe9 (2)" in data.describe(tmp_path)
    data.describe(tmp_path).encode("utf-8")
    with open(root + b"/0\xff.png", "wb") as file:  # noqa: PTH123
        file.write(b"x")
    with pytest.raises(ValueError, match=r"caf\\xe9/0\\xff\.png is not a readable") as caught:
        data.image_shape(tmp_path)
    str(caught.value).encode("utf-8")


def test_number_of_classes_of_images_of_several_sizes(tmp_path: Path) -> None:
    """Counting classes decodes nothing."""
    _tree(tmp_path, "a/0.png", "b/0.png")
    _tree(tmp_path, "a/1.png", "b/1.png", size=6)
    assert data.number_of_classes(tmp_path) == 2


# Arrays


def test_arrays() -> None:
    pixels = _array()
    for source in (pixels, pixels[..., 0], pixels / 255.0, data.Images(pixels, None)):
        np.testing.assert_array_equal(
            data.to_array(source, split="train"), pixels.astype(np.float32) / np.float32(255)
        )


def test_npz(tmp_path: Path) -> None:
    pixels, path = _array(), tmp_path / "x.npz"
    np.savez(path, x_train=pixels, y_train=np.arange(20), x_test=pixels[:5])
    images, labels = data.to_array(path, split="train", labels=True)
    assert len(images) == 20
    assert data.image_shape(path) == data.image_shape(str(path)) == (6, 5, 1)
    np.testing.assert_array_equal(labels, np.arange(20))
    assert len(data.to_array(str(path), split="test")) == 5
    with pytest.raises(ValueError, match="has no labels"):
        data.to_array(str(path), split="test", labels=True)
    with pytest.raises(ValueError, match="no array 'x_valid'"):
        data.read(path, split="valid")
    np.savez(path, images=pixels)
    assert len(data.to_array(path, split="anything")) == 20
    np.savez(path, images=pixels, labels=np.arange(3))
    with pytest.raises(ValueError, match="3 labels for 20 images"):
        data.to_array(path, split="train", labels=True)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(ValueError, match=r"x\.npz cannot be read"):
        data.read(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        data.read(tmp_path / "absent.npz")


def test_files_are_known_by_their_content(tmp_path: Path) -> None:
    pixels = _array(4)
    np.savez(tmp_path / "x.npz", x_train=pixels)
    for name in ("X.NPZ", "x.zip", "x.data"):
        (tmp_path / name).write_bytes((tmp_path / "x.npz").read_bytes())
        np.testing.assert_array_equal(data.read(str(tmp_path / name)).pixels, pixels)
    np.save(tmp_path / "x.npy", pixels)
    (tmp_path / "X.NPY").write_bytes((tmp_path / "x.npy").read_bytes())
    for name in ("x.npy", "X.NPY"):
        for split in ("train", "test"):
            np.testing.assert_array_equal(data.read(tmp_path / name, split=split).pixels, pixels)
    assert data.source_name(tmp_path / "X.NPY") == str(tmp_path / "X.NPY")
    # A folder may have such a name.
    assert _values(_tree(tmp_path / "folder.zip", "0.png", "1.png"), "train") in ([0], [1])


def test_archives_and_other_files_are_told_what_is_read(tmp_path: Path) -> None:
    image = _tree(tmp_path, "0.png") / "0.png"
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(image)
    for name, mode in (("x.tar", "w"), ("x.tar.gz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as archive:  # type: ignore[call-overload]
            archive.add(image)
    accepted = r".*Expected an \.npz file.* an \.npy file of images; or a folder of images"
    for name, what in (
        ("x.zip", "is an archive without arrays"),
        ("x.tar", "is an archive, which must be unpacked"),
        ("x.tar.gz", "is an archive, which must be unpacked"),
        ("0.png", "is no file of arrays"),
    ):
        with pytest.raises(ValueError, match=what + accepted):
            data.read(str(tmp_path / name))
    for name in ("no.NPZ", "no.npy", "no.zip", "no.tar.gz"):
        with pytest.raises(FileNotFoundError, match=rf"{name} does not exist"):
            data.read(name)
    for name in ("", "my data!"):
        with pytest.raises(ValueError, match=f"Unknown data set '{name}'"):
            data.read(name)


@pytest.mark.parametrize("name", ["x.npz", "x.npy", "deflated.npz"])
def test_damaged_files_are_named(name: str, tmp_path: Path) -> None:
    """Cut short anywhere, or with any byte changed: an error in words, or the same images."""
    rng = np.random.default_rng(2)
    path, pixels = tmp_path / name, rng.integers(0, 256, (5, 4, 4, 1)).astype(np.uint8)
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        write = np.savez_compressed if name.startswith("deflated") else np.savez
        write(path, x_train=pixels, y_train=np.arange(5))
    whole, faults = path.read_bytes(), []
    for length in range(0, len(whole), 1 + len(whole) // 60):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"{name} (cannot be read|is no file of arrays)"):
            data.read(path)
    for place in range(0, len(whole), 1 + len(whole) // 120):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            data.describe(path)
            _ = data.read(path).labels
        except ValueError as error:
            faults.append(str(error))
    assert faults
    assert all(name in fault for fault in faults)


def test_an_array_larger_than_memory_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "x.npy").open("wb") as file:
        shape = (10**14, 4, 4, 1)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match=r"x\.npy cannot be read"):
        data.read(tmp_path / "x.npy")


def test_a_source_is_named_for_reading_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = _array()
    np.savez(tmp_path / "x.npz", x_train=pixels)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    name = data.source_name("x.npz")
    assert name == data.source_name(Path("x.npz")) == data.source_name("~/x.npz")
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(data.read(name).pixels, pixels)
    np.testing.assert_array_equal(data.read("~/x.npz").pixels, pixels)
    assert data.source_name("fashion_mnist") == "fashion_mnist"
    assert data.source_name(pixels) == "array"


def test_resizing_an_array_is_antialiased() -> None:
    stripes = np.zeros((2, 64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    found = data.to_array(stripes, split="train", image_shape=(8, 8, 3))
    assert found.shape == (2, 8, 8, 3)
    assert np.abs(found[:, 1:-1] - 0.5).max() < 0.01


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 4), np.float32), r"shape \(4, 4\); expected \[n, height"),
        (np.zeros((0, 4, 4, 1), np.float32), "n ≥ 1"),
        (np.zeros((2, 4, 4, 2), np.uint8), ": 2 channels"),
        (np.full((2, 4, 4, 1), np.nan), "32 NaN values"),
        (np.full((2, 4, 4, 1), 255.0), r"from 255 to 255; expected \[0, 1\]. Divide by 255"),
        (np.full((2, 4, 4, 1), -1.0), r"Map \[−1, 1\]"),
        (np.full((2, 4, 4, 1), np.inf), "from inf to inf"),
        (np.zeros((2, 4, 4, 1), np.int64), "dtype int64; expected uint8"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"channels last, `np.moveaxis\(x, 1, -1\)`"),
        (np.zeros((2, 8, 8, 4), np.uint8), r"`x\[\.\.\., :3\]`"),
        (np.zeros((8, 8, 3), np.uint8), r"single image as `x\[None\]`"),
        ({"a": 1}, "source of type dict"),
    ],
)
def test_wrong_arrays(source: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.read(source)


def test_floats_are_not_resized() -> None:
    with pytest.raises(ValueError, match="give them as uint8"):
        data.read(np.zeros((2, 4, 4, 1), np.float32), image_shape=(8, 8, 1))


# Labels and pixels, converted exactly or refused


@pytest.mark.parametrize(
    "kind", ["int8", "uint8", "int32", "int64", "uint64", "float16", "float64"]
)
def test_labels_of_every_type_are_kept(kind: str) -> None:
    """Also as a column, as Keras's data sets have them."""
    labels = np.array([0, 3, 1, 2, 100]).astype(kind)
    for given in (labels, labels[:, None], labels.tolist()):
        found = checked_labels(given, 101, "The labels")
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, [0, 3, 1, 2, 100])
    np.testing.assert_array_equal(checked_labels([True, False], 2, "The labels"), [1, 0])
    np.testing.assert_array_equal(checked_labels([2**31 - 1], None, "The labels"), [2**31 - 1])


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 1, 0.5], None, "label 0.5 at index 2: expected a whole number"),
        ([0, np.nan], None, "label nan at index 1"),
        ([np.inf], None, "label inf at index 0"),
        ([0, 2**32 + 1], None, "label 4294967297 at index 1"),
        (np.float32([2**31]), None, "label 2147483648.0 at index 0"),
        (np.uint64([2**64 - 1]), None, "label 18446744073709551615"),
        ([0, -1], None, "label -1 at index 1"),
        ([0, 3], 3, "label 3 at index 1: expected a class from 0 to 2"),
        ([1, 2, 3], 3, "expected a class from 0 to 2.*numbered from 1: give `labels - 1`"),
        (["cat", "dog"], None, r"such as \['cat'\].*np.unique\(labels, return_inverse=True\)"),
        (np.array(["cat", None], object), None, r"np.unique\(labels, return_inverse=True\)"),
        (np.eye(4), None, r"shape \(4, 4\).*`labels.argmax\(axis=-1\)`"),
        (np.zeros((2, 2, 2)), None, r"shape \(2, 2, 2\); expected \[n\]"),
        (3, None, r"shape \(\); expected \[n\]"),
        ([1j], None, "dtype complex128"),
        ([[1], [1, 2]], None, "cannot be read as an array"),
    ],
)
def test_labels_that_are_no_classes(labels: Any, classes: int | None, message: str) -> None:
    """By the function; and by a source, as soon as the labels are asked for."""
    with pytest.raises(ValueError, match=f"The labels.*{message}"):
        checked_labels(labels, classes, "The labels")
    n = len(labels) if isinstance(labels, (list, np.ndarray)) else 1
    names = None if classes is None else [str(number) for number in range(classes)]
    images = data.Images(_array(n), labels, names)
    data.to_array(images, split="train")
    assert "No conditional model can take the labels: The labels" in data.describe(images)
    for ask in (data.load, data.training_stream):
        with pytest.raises(ValueError, match=message):
            ask(images, batch_size=1, labels=True)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [0, 1, 2, 3, 255],
            "5 values up to 255, which would be 256 classes, of which 4 to 254 have",
        ),
        ([0, 9, 10, 99], "which 1 to 8, 11 to 98 have no images. Number them without gaps"),
        ([0, 2**31 - 1], "2147483648 classes"),
        ([1, 2, 3], "classes 1 to 3; expected classes numbered from 0. Give `labels - 1`"),
        ([5, 6], "Give `labels - 5`, or say num_classes=7"),
    ],
)
def test_absurd_numbers_of_classes(labels: list[int], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        count_classes(np.array(labels), "The labels")
    np.savez(tmp_path / "x.npz", x_train=_array(len(labels)), y_train=labels)
    with pytest.raises(ValueError, match=rf"x\.npz: y_train: .*{message}"):
        data.number_of_classes(tmp_path / "x.npz")


@pytest.mark.parametrize("labels", [[0], [0, 1], [0, 2], [0, 1, 5], [*range(90), 99]])
def test_a_few_classes_may_lack_images(labels: list[int]) -> None:
    assert data.number_of_classes(data.Images(_array(len(labels)), labels)) == labels[-1] + 1


def test_labels_of_objects_in_a_file(tmp_path: Path) -> None:
    """They are pickled, which runs code: not loaded, and no matter to who asks for none."""
    np.savez(tmp_path / "x.npz", x_train=_array(2), y_train=np.array(["a", None], object))
    assert data.to_array(tmp_path / "x.npz", split="train").shape == (2, 6, 5, 1)
    with pytest.raises(ValueError, match=r"x\.npz: y_train are Python objects.*np.unique"):
        data.to_array(tmp_path / "x.npz", split="train", labels=True)


def test_an_unconditional_model_needs_no_labels(tmp_path: Path) -> None:
    """Whatever they are; a conditional one is refused before anything is written."""
    path, options = tmp_path / "x.npz", {"epochs": 1, "batch_size": 4, "verbose": 0}
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1)).astype(np.uint8)
    np.savez(path, x_train=images, y_train=np.linspace(0, 1, 8), x_test=images[:4])
    # Before its first step a run begins with whatever data there are.
    write_json(tmp_path / "vae" / "config.json", {"data_fingerprint": {"images": 5}})
    vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    vae.compile()
    assert train(vae, path, tmp_path / "vae", **options)
    assert read_json(tmp_path / "vae" / "config.json")["data_fingerprint"]["images"] == 8
    cvae = zoo.create("cvae", (8, 8, 1), 2, network="mlp", num_classes=2)
    cvae.compile()
    with pytest.raises(ValueError, match=r"y_train: label 0\.14\d+ at index 1"):
        train(cvae, path, tmp_path / "cvae", **options)
    assert not (tmp_path / "cvae").exists()


def test_pixels_of_bfloat16() -> None:
    """NumPy does not count it among its floats."""
    pixels = tf.constant([0.0, 0.5, 1.0], tf.bfloat16)
    found = checked_pixels(pixels, "The images")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.float32([0, 0.5, 1]))
    with pytest.raises(ValueError, match="values from 0 to 2"):
        checked_pixels(pixels * 2, "The images")


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_floats_that_rounding_put_outside_are_ends(kind: str) -> None:
    """Up to `TOLERANCE`, 8 ulp of float32; what lies within is not touched."""
    inside = np.linspace(0, 1, 7).astype(kind)
    found = checked_pixels(inside, "The images")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, inside.astype(np.float32))
    if kind == "float16":
        return
    outside = np.array([1 + TOLERANCE, -TOLERANCE, 1.0000002, -1e-9, 0.5], kind)
    np.testing.assert_array_equal(checked_pixels(outside, "x"), np.float32([1, 0, 1, 0, 0.5]))
    for value in (1 + 2 * TOLERANCE, -2 * TOLERANCE):
        with pytest.raises(ValueError, match=r"values from .*; expected \[0, 1\].*np\.clip"):
            checked_pixels(np.array([value], kind), "The images")
    with pytest.raises(ValueError, match="1.00000191"):  # the value that is refused can be read
        checked_pixels(np.array([1 + 2 * TOLERANCE], kind), "The images")


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.float32([0, 255]), "values from 0 to 255; expected .*Divide by 255"),
        (np.float32([-1, 1]), r"from -1 to 1; expected .*Map \[−1, 1\] by `\(x \+ 1\) / 2`"),
        (np.float32([-0.05, 1.02]), r"`np\.clip\(x, 0, 1\)`"),
        (np.float32([-3, 300]), "Divide by the largest value"),
        (np.float32([0, np.nan]), "1 NaN values"),
        (np.float32([0, -np.inf]), "from -inf to 0"),
        (np.uint8([0, 1]), r"uint8 without a value above 1.*`x\.astype\(bool\)`"),
        (np.int64([0, 1]), r"dtype int64; .*`x\.astype\(bool\)`"),
        (np.int32([0, 255]), r"dtype int32; .*`x\.astype\(np\.uint8\)`"),
        (np.uint16([0, 65535]), "dtype uint16; .*from 0 to 65535: map them to floats"),
        (np.array(["a"]), "dtype <U1; expected uint8"),
        ([[0.0], [0.0, 1.0]], "cannot be read as an array"),
    ],
)
def test_pixels_that_are_no_images(pixels: Any, message: str) -> None:
    """By the function, and by every source of arrays."""
    with pytest.raises(ValueError, match=f"The images.*{message}"):
        checked_pixels(pixels, "The images")
    if isinstance(pixels, np.ndarray):
        images = np.broadcast_to(pixels.reshape(1, -1, 1, 1), (2, pixels.size, 4, 1))
        for read in (data.read, data.Images):
            with pytest.raises(ValueError, match=message.replace("1 NaN", "8 NaN")):
                read(images)


def test_pixels_that_need_no_conversion() -> None:
    black = np.zeros((2, 2), np.uint8)
    assert checked_pixels(black, "x") is black
    bools = checked_pixels([True, False], "x")
    assert bools.dtype == np.uint8
    np.testing.assert_array_equal(bools, [255, 0])
    masks = np.random.default_rng(0).random((3, 4, 4)) < 0.5
    np.testing.assert_array_equal(data.to_array(masks, split="train")[..., 0], masks)
    assert checked_pixels(np.zeros((0, 4)), "x").shape == (0, 4)


# What commands say, and what runs keep


CLASSES = ("class 2", "class 10", "[x]")  # in natural order "[x]" comes first


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 12 training and 3 test images of 8 × 8 pixels in three classes."""
    files = [f"train/{name}/{i}.png" for name in CLASSES for i in range(4)]
    files += [f"test/{name}/0.png" for name in CLASSES]
    return _tree(tmp_path_factory.mktemp("data") / "images", *files, size=8)


@pytest.fixture(scope="module")
def begun(classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional run of one epoch on these images; a test takes a copy of both."""
    out = tmp_path_factory.mktemp("runs") / "cvae"
    model = zoo.create("cvae", (8, 8, 1), 2, network="mlp", num_classes=3)
    model.compile()
    train(model, classes, out, epochs=1, batch_size=4, verbose=0)
    return out


@pytest.fixture
def copies(classes: Path, begun: Path, tmp_path: Path) -> tuple[Path, Path]:
    """(images, run), to change."""
    return (
        shutil.copytree(classes, tmp_path / "images"),
        shutil.copytree(begun, tmp_path / "run"),
    )


def test_commands_say_what_the_data_are(
    classes: Path,
    begun: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """At their start: before training, measuring and converting, which take no time here."""
    spoken: list[str] = []

    def stop(*_: Any, **__: Any) -> None:
        spoken.append(capsys.readouterr().out)
        raise ValueError("enough seen")

    for name in ("training.train.train", "evaluation.evaluate", "convert.vae_to_gan"):
        monkeypatch.setattr(f"zoo.{name}", stop)
    gif = classes / "x.gif"
    gif.write_bytes(b"x")
    for command in (
        ["train", "vae", "--data", classes, "--out", tmp_path, "--network", "mlp"],
        ["convert", begun, "--to", "gan", "--out", tmp_path / "gan"],
        ["evaluate", begun],
    ):
        with pytest.raises(SystemExit):
            main([str(argument) for argument in command])
    gif.unlink()
    names = "3 classes: 0 = [x] ({0}), 1 = class 2 ({0}), 2 = class 10 ({0}).\n"
    for text in spoken[:2]:
        said = f"Data: {classes}, train: 12 images of 8 × 8 × 1, {names.format(4)}"
        assert said + "  Skipped files of other formats: 1 .gif.\n" in text
    assert f"test: 3 images of 8 × 8 × 1, {names.format(1)}" in spoken[2]


def test_a_run_keeps_the_names_of_its_classes(begun: Path, capsys: pytest.CaptureFixture) -> None:
    assert read_json(begun / "config.json")["class_names"] == ["[x]", "class 2", "class 10"]
    with pytest.raises(SystemExit):
        main(["info", str(begun)])
    assert "class 10" in capsys.readouterr().out


def test_bench_says_what_the_data_are(classes: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    write_json(tmp_path / "vae" / "seed_0" / "failed.json", {})  # nothing is trained
    bench.bench(["vae"], classes, tmp_path, epochs=1, say=lines.append)
    assert lines[0].startswith(f"Data: {classes}, train: 12 images")


def test_conversions_are_said(classes: Path) -> None:
    assert "Converted to 16 × 16 × 3" in data.describe(classes, image_shape=(16, 16, 3))
    assert "Converted" not in data.describe(classes, image_shape=(8, 8, 1))


def test_many_classes_are_shortened() -> None:
    images = data.Images(_array(100), np.arange(100), [f"c{i}" for i in range(100)])
    text = data.describe(images)
    assert "100 classes: 0 = c0 (1), 1 = c1 (1)," in text
    assert text.endswith("9 = c9 (1), …, 99 = c99 (1).")
    assert "3 classes (0 to 2)." in data.describe(data.Images(_array(3), np.arange(3)))


def _change_a_pixel(root: Path) -> None:
    pixels = np.array(Image.open(root / "train" / "class 10" / "3.png"))
    pixels[0, 0] += 1
    _save(root / "train" / "class 10" / "3.png", pixels)


def _move_an_image(root: Path) -> None:
    (root / "train" / "class 10" / "3.png").rename(root / "train" / "[x]" / "9.png")


def _remove_an_image(root: Path) -> None:
    (root / "train" / "class 2" / "0.png").unlink()


def _rename_a_class(root: Path) -> None:
    for split in ("train", "test"):
        (root / split / "class 10").rename(root / split / "class 11")


def _add_a_class(root: Path) -> None:
    shutil.copytree(root / "train" / "class 10", root / "train" / "class 3")


def _restore(source: Path, classes: Path) -> None:
    shutil.rmtree(source)
    shutil.copytree(classes, source)


def test_resume_on_changed_data_is_refused(classes: Path, copies: tuple[Path, Path]) -> None:
    """And the run is left as it was. What the error advises works."""
    source, out = copies
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    model = load_run(out)

    def go_on() -> None:
        train(model, source, out, epochs=2, batch_size=4, verbose=0)

    for change, message in (
        (_move_an_image, "differ: pixels, labels. Restore"),
        (_remove_an_image, r"differ: images \(12, now 11\), pixels, labels. Restore"),
        (_rename_a_class, "has the classes .*class 11; .*class 10. Number 2 would mean another"),
        (_add_a_class, "has the classes .*class 3, .* Number 2 would mean another"),
        (_change_a_pixel, r"differ: pixels. Restore.*remove data_fingerprint from .*run/config\.j"),
    ):
        _restore(source, classes)
        change(source)
        with pytest.raises(ValueError, match=message):
            go_on()
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    config = read_json(out / "config.json")
    fingerprint = config.pop("data_fingerprint")
    write_json(out / "config.json", config)  # as of an earlier version
    go_on()
    config = read_json(out / "config.json")
    assert config["epochs"] == 2
    assert config["data_fingerprint"]["pixels"] != fingerprint["pixels"]


def test_a_folder_that_was_moved(copies: tuple[Path, Path], capsys: pytest.CaptureFixture) -> None:
    """The run that was begun with it is told its new place as the error says."""
    source, out = copies
    config = read_json(out / "config.json")
    write_json(out / "config.json", {**config, "data": str(source)})
    moved = source.rename(source.with_name("moved"))
    with pytest.raises(SystemExit, match="1"):
        main(["train", str(out), "--epochs", "2"])
    assert f"change data in {out / 'config.json'}" in capsys.readouterr().err
    write_json(out / "config.json", {**config, "data": str(moved)})
    with pytest.raises(SystemExit, match="0"):
        main(["train", str(out), "--epochs", "2"])
    assert read_json(out / "config.json")["epochs"] == 2


def test_earlier_runs_numbered_classes_as_text(
    copies: tuple[Path, Path], capsys: pytest.CaptureFixture
) -> None:
    """Where that differs from now, neither training nor evaluation goes on with other classes."""
    source, out = copies
    config = read_json(out / "config.json")
    for name in ("class_names", "data_fingerprint"):
        del config[name]
    write_json(out / "config.json", config)
    for split in ("train", "test"):
        (source / split / "[x]").rename(source / split / "x")
    message = "trained with class 10, class 2, x. Number 0 would mean another class"
    with pytest.raises(ValueError, match=message):
        train(load_run(out), source, out, epochs=2, batch_size=4, verbose=0)
    with pytest.raises(SystemExit):
        main(["evaluate", str(out), "--data", str(source), "--extractor", "none"])
    assert message in capsys.readouterr().err
    for split in ("train", "test"):
        (source / split / "class 10").rename(source / split / "class 3")
    data.check_classes(source, config)
    data.check_classes(_array(2), config)  # which names no classes


def test_labels_of_no_interest_may_change() -> None:
    images = _array(8)
    one, other = (data.Images(images, np.arange(8) % n) for n in (2, 3))
    assert data.fingerprint(one, labels=False) == data.fingerprint(other, labels=False)
    assert data.fingerprint(one, labels=True) != data.fingerprint(other, labels=True)
    assert data.fingerprint(data.Images(images, [0.5] * 8), labels=False)["images"] == 8


def test_large_data_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image counts up to the limit; beyond, every k-th does, and their number."""
    images, changed = _array(20), []
    for number in range(20):
        other = images.copy()
        other[number, 0, 0, 0] ^= 1
        changed.append(data.Images(other))

    def seen() -> list[bool]:
        whole = data.fingerprint(data.Images(images), labels=False)
        return [data.fingerprint(other, labels=False) != whole for other in changed]

    assert all(seen())
    monkeypatch.setattr(unchanged, "HASHED", images.nbytes // 4)
    assert [number for number, found in enumerate(seen()) if found] == [0, 4, 8, 12, 16]


# TFDS


def test_unknown_names_get_suggestions() -> None:
    with pytest.raises(ValueError, match="Did you mean fashion_mnist"):
        data.read("fashion_mnits")


def test_a_split_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"no split 'valid'; it has \['train', 'test'\]"):
        data.read(data.DEFAULT_SOURCE, split="valid")


def _tfds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: np.ndarray, labels: Any, **label: Any
) -> str:
    """The name of a data set with the splits train and validation, whose builder is a stand-in."""
    feature = SimpleNamespace(shape=np.shape(labels)[1:], **label)
    dataset = tf.data.Dataset.from_tensor_slices({"image": images, "label": labels})
    info = SimpleNamespace(
        features={"image": SimpleNamespace(shape=images.shape[1:]), "label": feature},
        splits=dict.fromkeys(("train", "validation"), SimpleNamespace(num_examples=len(images))),
    )
    builder = SimpleNamespace(
        name="x", data_path=tmp_path, info=info, as_dataset=lambda split: dataset
    )
    monkeypatch.setattr(tfds_source, "_builder", lambda name: builder)
    return "x"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, -1, 0], "x: label: label -1 at index 2"),
        ([0, 1, 0.5, 0], "x: label: label 0.5 at index 2"),
        ([2**32 + 1] * 4, "x: label: label 4294967297"),
        (np.eye(4), r"feature `label` has shape \(4,\); expected one number"),
        (["a", "b", "c", "d"], r"x: label: dtype object.*np\.unique"),
    ],
)
def test_labels_of_tfds_are_checked_as_others(
    labels: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = _array(4)
    name = _tfds(tmp_path, monkeypatch, images, np.array(labels))
    np.testing.assert_array_equal(data.read(name).pixels, images)
    with pytest.raises(ValueError, match=message):
        data.to_array(name, split="train", labels=True)
    with pytest.raises(ValueError, match=message):
        data.number_of_classes(name)


def test_class_names_of_tfds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = _array(4), np.array([0, 1, 0, 1])
    name = _tfds(tmp_path, monkeypatch, images, labels, num_classes=3, names=["a", "b", "c"])
    assert data.read(name).class_names == ("a", "b", "c")
    assert data.number_of_classes(name) == 3
    assert "x, train: 4 images of 6 × 5 × 1, 3 classes: 0 = a, 1 = b, 2 = c." in data.describe(name)
    assert "There is no split test: validation stands in." in data.describe(name, split="test")
    assert len(data.read(name, split="test").pixels) == 4
    numbered = _tfds(tmp_path, monkeypatch, images, labels, num_classes=2, names=["0", "1"])
    assert data.class_names(numbered) is None
    deep = _tfds(tmp_path, monkeypatch, images.astype(np.uint16), labels)
    with pytest.raises(ValueError, match="x: dtype uint16; expected uint8"):
        data.read(deep)


def test_a_slice() -> None:
    whole = data.to_array(data.DEFAULT_SOURCE, split="train")
    part = data.to_array(data.DEFAULT_SOURCE, split="train[:10%]")
    np.testing.assert_array_equal(part, whole[:1000])


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", _no_network)
    # TFDS retries for minutes; the retries run here, their waits do not.
    monkeypatch.setattr("urllib3.util.retry.Retry._sleep_backoff", lambda _: None)
    with pytest.raises(ConnectionError, match="cifar10 is not prepared in .*fashion_mnist_sample"):
        data.read("cifar10")
    left = [f for f in tmp_path.rglob("*") if f.is_file() and "downloads" not in f.parts]
    assert not left


def test_memory_is_counted_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfds_source, "MAX_BYTES", 1_000_000)
    with pytest.raises(ValueError, match="GiB of memory. Choose a smaller"):
        data.read(data.DEFAULT_SOURCE)


# Batches


def _numbered(n: int) -> np.ndarray:
    """Image i is filled with i."""
    return np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 2, 2, 1)).copy()


def _numbers(batches: object) -> list[list[int]]:
    return [[round(float(image[0, 0, 0]) * 255) for image in batch] for batch in batches]


def test_load_in_order_and_whole() -> None:
    dataset = data.load(_numbered(10), batch_size=4)
    assert dataset.element_spec == tf.TensorSpec([None, 2, 2, 1], tf.float32)
    assert _numbers(dataset) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert data.load(_numbered(10)).element_spec == tf.TensorSpec([2, 2, 1], tf.float32)


def test_load_for_training() -> None:
    dataset = data.load(_numbered(10), batch_size=4, training=True, seed=3)
    first, second = _numbers(dataset), _numbers(dataset)
    assert [len(batch) for batch in first] == [4, 4]
    assert len({i for batch in first for i in batch}) == 8
    assert first != second
    again = data.load(_numbered(10), batch_size=4, training=True, seed=3)
    assert _numbers(again) == first
    assert _numbers(data.load(_numbered(10), batch_size=4, training=True, seed=4)) != first


def test_labels_stay_with_their_images() -> None:
    source = data.Images(_numbered(50), np.arange(50, dtype=np.int32))
    stream, _ = data.training_stream(source, batch_size=10, labels=True)
    for images, labels in stream.take(10):
        assert images.dtype == tf.float32
        np.testing.assert_array_equal(np.round(images[:, 0, 0, 0] * 255), labels)


def test_every_epoch_of_the_stream_is_a_new_permutation() -> None:
    stream, steps = data.training_stream(_numbered(12), batch_size=4, seed=1)
    assert steps == 3
    batches = _numbers(stream.take(9))
    epochs = [[*itertools.chain(*batches[i : i + 3])] for i in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("start", [1, 2, 3, 7])
def test_a_stream_goes_on_where_it_was_left(start: int) -> None:
    """10 images in batches of 4: two an epoch, across epochs too."""
    whole, _ = data.training_stream(_numbered(10), batch_size=4, seed=1)
    rest, _ = data.training_stream(_numbered(10), batch_size=4, seed=1, start_step=start)
    assert _numbers(rest.take(4)) == _numbers(whole.take(start + 4))[start:]


def test_options_of_a_pipeline() -> None:
    """Replicas share batches by their rows; and `fit` has no tuner to wait for."""
    stream, _ = data.training_stream(_numbered(10), batch_size=4)
    for dataset in (stream, data.load(_numbered(10))):
        options = dataset.options()
        assert options.autotune.enabled is False
        policy = options.experimental_distribute.auto_shard_policy
        assert policy == tf.data.experimental.AutoShardPolicy.DATA


def test_another_seed_is_another_order() -> None:
    one, other = (data.training_stream(_numbered(50), batch_size=50, seed=s)[0] for s in (0, 1))
    assert _numbers(one.take(1)) != _numbers(other.take(1))


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_that_cannot_be_filled(batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size={batch_size}: expected 1 to 10"):
        data.training_stream(_numbered(10), batch_size=batch_size)
    with pytest.raises(ValueError, match="has no labels"):
        data.load(_numbered(10), batch_size=2, labels=True)


def test_two_processes_may_prepare_a_data_set_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slower one finds the folder there when it wants to rename its own."""

    class Slower:
        name = "digits"
        data_path = tmp_path / "digits"

        def download_and_prepare(self, download_config: object) -> None:
            self.data_path.mkdir()
            raise FileExistsError(self.data_path)

    monkeypatch.setattr(tfds_source, "_builder", lambda name: f"{name}, read anew")
    assert tfds_source._prepared("digits", Slower()) == "digits, read anew"
