"""Arrays and files of arrays as sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.image_files import image_tree, random_pixels
from zoo import data
from zoo.data import arrays


def test_arrays() -> None:
    pixels = random_pixels()
    for source in (pixels, pixels[..., 0], pixels / 255.0, data.Images(pixels, None)):
        np.testing.assert_array_equal(
            data.to_array(source, split="train"), pixels.astype(np.float32) / np.float32(255)
        )


def test_npz(tmp_path: Path) -> None:
    pixels, path = random_pixels(), tmp_path / "x.npz"
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
    pixels = random_pixels(4)
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
    assert len(data.read(image_tree(tmp_path / "folder.zip", "0.png", "1.png")).pixels) == 1


def test_other_files_are_told_what_is_read(tmp_path: Path) -> None:
    image_tree(tmp_path, "0.png")
    accepted = (
        r"no file of arrays, and no archive.*Expected an \.npz file.* an \.npy file of images"
    )
    with pytest.raises(ValueError, match=accepted):
        data.read(str(tmp_path / "0.png"))
    for name in ("no.NPZ", "no.npy", "no.zip", "no.tar.gz"):
        with pytest.raises(FileNotFoundError, match=rf"{name} does not exist"):
            data.read(name)
    for name in ("", "my data!"):
        with pytest.raises(ValueError, match=f"Unknown data set '{name}'"):
            data.read(name)


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is small enough for memory."""
    monkeypatch.setattr("zoo.data.images.MEMORY_LIMIT", 0)


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, bool])
@pytest.mark.parametrize("order", ["C", "F"])
def test_large_arrays_are_mapped(dtype: type, order: str, tmp_path: Path) -> None:
    pixels = np.asarray(random_pixels(20) / (1 if dtype is np.uint8 else 255), dtype, order=order)
    np.save(tmp_path / "x.npy", pixels)
    np.savez(tmp_path / "x.npz", x_train=pixels, y_train=np.arange(20), x_test=pixels[:5, :, :, 0])
    wanted = data.Images(pixels).pixels
    for name in ("x.npy", "x.npz"):
        records = data.open(tmp_path / name)
        assert isinstance(records, arrays.Mapped)
        taken = records.take([7, 3, 3, 19])
        assert taken.dtype == records.dtype == wanted.dtype
        np.testing.assert_array_equal(taken, wanted[[7, 3, 3, 19]])
        np.testing.assert_array_equal(data.read(tmp_path / name).pixels, wanted)
    np.testing.assert_array_equal(records.labels, np.arange(20))
    assert data.open(tmp_path / "x.npz", split="test").shape == (6, 5, 1)
    np.savez_compressed(tmp_path / "deflated.npz", x_train=pixels)
    assert isinstance(data.open(tmp_path / "deflated.npz"), data.Images)


@pytest.mark.usefixtures("streamed")
def test_mapped_arrays_are_checked_as_others(tmp_path: Path) -> None:
    path, images = tmp_path / "x.npy", np.zeros((300, 2, 2, 1), np.float32)
    for bad, message in ((np.nan, "1 NaN"), (2.0, r"expected \[0, 1\]")):
        images[299, 0, 0, 0] = bad
        np.save(path, images)
        records = data.open(path)
        records.take([0, 298])
        with pytest.raises(ValueError, match=rf"x\.npy: .*{message}"):
            records.take([298, 299])
    masks = np.zeros((300, 2, 2, 1), np.uint8)
    masks[299] = 1
    np.save(path, masks)
    with pytest.raises(ValueError, match="Give 0/1 masks as"):
        data.open(path)
    masks[299] = 2
    np.save(path, masks)
    assert data.open(path).take([299]).max() == 2
    np.save(path, np.zeros((3, 2, 2, 1), np.int64))
    with pytest.raises(ValueError, match="dtype int64; expected uint8"):
        data.open(path)
    np.save(path, masks)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"x\.npy cannot be read"):
        data.open(path)


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
        (np.zeros((2, 4, 4, 17), np.uint8), r": 17 channels .*; expected 1 to 16\."),
        (np.full((2, 4, 4, 1), np.nan), "32 NaN values"),
        (np.full((2, 4, 4, 1), 255.0), r"from 255 to 255; expected \[0, 1\]. Divide by 255"),
        (np.full((2, 4, 4, 1), -1.0), r"Map \[−1, 1\]"),
        (np.full((2, 4, 4, 1), np.inf), "from inf to inf"),
        (np.zeros((2, 4, 4, 1), np.int64), "dtype int64; expected uint8"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"channels last, `np.moveaxis\(x, 1, -1\)`"),
        (np.zeros((8, 8, 3), np.uint8), r"single image as `x\[None\]`"),
        ({"a": 1}, "source of type dict"),
    ],
)
def test_wrong_arrays(source: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.read(source)


def test_floats_are_resized_as_bytes_are() -> None:
    pixels = random_pixels(3, (9, 7, 3))
    floats = (pixels / 255).astype(np.float32)
    for shape in ((5, 5, 3), (5, 5, 1), (12, 12, 4)):
        found = data.read(floats, image_shape=shape).pixels
        wanted = data.read(pixels, image_shape=shape).pixels / 255
        assert found.dtype == np.float32
        assert np.abs(found - wanted).max() < 1.1 / 255


def test_arrays_of_any_number_of_channels() -> None:
    for channels in (2, 4, 5, 16):
        pixels = random_pixels(3, (6, 5, channels))
        np.testing.assert_array_equal(data.read(pixels).pixels, pixels)
    with pytest.raises(ValueError, match="Images of 16 channels cannot be made images of 3: only"):
        data.read(pixels, image_shape=(6, 5, 3))
