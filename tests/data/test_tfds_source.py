"""Data sets of TensorFlow Datasets, and the embedded sample."""

from __future__ import annotations

import gzip
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.support.image_files import random_pixels
from zoo import data
from zoo.data import tfds_source

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
    loaded = data.read(data.DEFAULT_SOURCE, split="test")
    sample = zip(loaded.pixels.reshape(-1, 784), loaded.labels, strict=True)
    assert {(image.tobytes(), int(label)) for image, label in sample} <= whole


@pytest.mark.slow
@needs_debian
def test_fashion_mnist_from_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TFDS's own builder, offline: all images, pixel for pixel (TFDS shuffles them)."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", _no_network)
    loaded = data.read("fashion_mnist", split="train")
    assert loaded.pixels.shape == (60_000, 28, 28, 1)
    images = _idx("train-images-idx3-ubyte", 16).reshape(-1, 784)
    labels = _idx("train-labels-idx1-ubyte", 8)
    wanted = np.concatenate([images, labels[:, None]], axis=1)
    read = np.concatenate([loaded.pixels.reshape(-1, 784), loaded.labels[:, None]], axis=1)
    order, read_order = np.lexsort(wanted.T), np.lexsort(read.T)
    np.testing.assert_array_equal(read[read_order], wanted[order])


def _no_network(*_: object, **__: object) -> None:
    raise OSError("Network is unreachable")


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
    images = random_pixels(4)
    name = _tfds(tmp_path, monkeypatch, images, np.array(labels))
    np.testing.assert_array_equal(data.read(name).pixels, images)
    with pytest.raises(ValueError, match=message):
        data.to_array(name, split="train", labels=True)
    with pytest.raises(ValueError, match=message):
        data.number_of_classes(name)


def test_class_names_of_tfds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = random_pixels(4), np.array([0, 1, 0, 1])
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


@pytest.mark.slow
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
    with pytest.raises(ValueError, match="GiB of memory.*choose a smaller"):
        data.read(data.DEFAULT_SOURCE)


# Batches


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


# ArrayRecord


class Digits(tfds.core.GeneratorBasedBuilder):
    """Random images of 6 × 5 pixels in two classes."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(names=["bag", "shoe"])
        features = {"image": tfds.features.Image(shape=(6, 5, 1)), "label": label}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager: object) -> dict[str, Any]:
        return {"train": self._generate_examples(20), "test": self._generate_examples(4)}

    def _generate_examples(self, n: int = 0) -> Any:
        for i, pixels in enumerate(np.random.default_rng(n).integers(0, 256, (n, 6, 5, 1))):
            yield i, {"image": pixels.astype(np.uint8), "label": i % 2}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of a data set that TFDS has prepared, by the format of its files."""
    found = {}
    for file_format in ("array_record", "tfrecord"):
        folder = tmp_path_factory.mktemp(file_format)
        builder = Digits(data_dir=folder, file_format=file_format)
        builder.download_and_prepare()
        found[file_format] = Path(builder.data_path)
    return found


@pytest.mark.parametrize("shape", [None, (4, 4, 3)])
@pytest.mark.parametrize("split", ["train", "test", "train[5:50%]"])
def test_array_records_are_what_tf_records_are(
    prepared: dict[str, Path], split: str, shape: tuple[int, int, int] | None
) -> None:
    one = data.open(prepared["array_record"], split=split, image_shape=shape)
    other = data.open(prepared["tfrecord"], split=split, image_shape=shape)
    assert isinstance(one, tfds_source.ArrayRecords)
    order = np.random.default_rng(0).permutation(len(other))
    np.testing.assert_array_equal(one.take(order), other.take(order))
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.class_names == other.class_names == ("bag", "shoe")
    np.testing.assert_array_equal(data.in_memory(one).pixels, data.in_memory(other).pixels)


def test_array_records_by_name_are_streamed(
    prepared: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.data.images.MEMORY_LIMIT", 0)
    monkeypatch.setattr(tfds_source, "MAX_BYTES", 0)
    monkeypatch.setattr(
        tfds, "builder", lambda _: tfds.builder_from_directory(prepared["array_record"])
    )
    for images, labels in data.load("digits", batch_size=6, labels=True):
        assert images.shape[1:] == (6, 5, 1)
        assert len(images) == len(labels)
    with pytest.raises(ValueError, match="TFRecord files.* Run `zoo data prepare /"):
        data.load(prepared["tfrecord"], batch_size=6)


def test_a_truncated_array_record_is_named(prepared: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(prepared["array_record"], tmp_path / "digits" / "1.0.0")
    shard = next(folder.glob("*train.array_record*"))
    shard.write_bytes(shard.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"digits/1\.0\.0.* damaged .*Prepare it again"):
        data.open(folder).take([0])


@pytest.mark.parametrize("content", ["{", "{}"])
def test_a_damaged_folder_is_named(tmp_path: Path, content: str) -> None:
    for name in ("dataset_info.json", "features.json"):
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{tmp_path}: .* cannot be read .*Prepare it again"):
        data.open(tmp_path)
