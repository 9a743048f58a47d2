"""Sources of images: what is read is what is there, and every fault is named."""

from __future__ import annotations

import gzip
import itertools
import socket
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zoo import data
from zoo.data import tfds_source

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
    _save(tmp_path / "one" / "x.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match="at least 2"):
        data.read(tmp_path / "one")
    for i in range(2):
        _save(tmp_path / "deep" / f"{i}.png", np.zeros((9, 9), np.uint16))
    with pytest.raises(ValueError, match="8 bits a channel"):
        data.read(tmp_path / "deep")
    (tmp_path / "half" / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match="has no folder 'test'"):
        data.read(tmp_path / "half", split="test")


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
    with pytest.raises(ValueError, match=r"labels has shape \(3,\); expected \(20,\)"):
        data.read(path)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(ValueError, match=r"x\.npz cannot be read"):
        data.read(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        data.read(tmp_path / "absent.npz")


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
        (np.zeros((2, 4, 4, 2), np.uint8), "has 2 channels"),
        (np.full((2, 4, 4, 1), np.nan), "32 NaN values"),
        (np.full((2, 4, 4, 1), 255.0), r"from 255 to 255; expected \[0, 1\]. Divide by 255"),
        (np.full((2, 4, 4, 1), -1.0), r"map \[−1, 1\]"),
        (np.full((2, 4, 4, 1), np.inf), "from inf to inf"),
        (np.zeros((2, 4, 4, 1), np.int64), "dtype int64; expected uint8"),
        ({"a": 1}, "source of type dict"),
    ],
)
def test_wrong_arrays(source: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.read(source)


def test_floats_are_not_resized() -> None:
    with pytest.raises(ValueError, match="give them as uint8"):
        data.read(np.zeros((2, 4, 4, 1), np.float32), image_shape=(8, 8, 1))


# TFDS


def test_unknown_names_get_suggestions() -> None:
    with pytest.raises(ValueError, match="Did you mean fashion_mnist"):
        data.read("fashion_mnits")


def test_a_split_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"no split 'valid'; it has \['train', 'test'\]"):
        data.read(data.DEFAULT_SOURCE, split="valid")


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
