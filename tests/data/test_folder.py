"""Folders of images: what is read is what is there, and every fault is named."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.image_files import image_tree, random_pixels, save_image
from zoo import data
from zoo.data import folder as folders
from zoo.data import tfds_source
from zoo.data.labels import natural_order
from zoo.data.trees import LocalTree


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 grey PNGs of 6 × 5 pixels in two classes."""
    for i in range(20):
        save_image(
            tmp_path / "images" / ("bag", "shoe")[i % 2] / f"{i:02}.png",
            random_pixels()[0, :, :, 0],
        )
    return tmp_path / "images"


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
            save_image(tmp_path / split / name / "x.png", np.full((4, 4), value, np.uint8))
    for split, value in (("train", 10), ("test", 20)):
        images, labels = data.to_array(tmp_path, split=split, labels=True)
        assert np.all(images == np.float32(value / 255))
        np.testing.assert_array_equal(labels, [0, 1])


def test_odd_sizes_are_cropped_and_resized_with_antialiasing(tmp_path: Path) -> None:
    """Each pixel must hold the mean of the area it stands for: stripes of 1 pixel turn grey."""
    wide = np.zeros((64, 128), np.uint8)
    wide[:, ::2] = 255
    wide[:, :32] = wide[:, 96:] = 255  # cut off: the centre square is columns 32 to 95
    save_image(tmp_path / "wide.png", wide)
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
        save_image(tmp_path / f"{i}.png", pixels)
    assert "2 images with transparency: composited over white, unless 4" in data.describe(tmp_path)
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
    assert data.image_shape(folder) == (6, 5, 1)  # that of the others
    assert "1 file cannot be read, such as train/bag/00.png. `zoo data ver" in data.describe(folder)
    for file in (folder / "train" / "bag").iterdir():
        file.write_bytes(b"")
    shutil.rmtree(folder / "shoe")
    with pytest.raises(ValueError, match=r"\.png is not a readable image"):
        data.image_shape(folder)


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    for i in range(2):
        save_image(tmp_path / f"{i}.jpg", random_pixels(1, (64, 64, 3))[0])
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
    save_image(folder / "bag" / "large.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match=r"differ in size.*--image-size"):
        data.read(folder)
    assert data.image_shape(folder, size=4) == (4, 4, 1)
    assert " images of different sizes, 1 channel, " in data.describe(folder)
    save_image(tmp_path / "one" / "x.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match="at least 2"):
        data.read(tmp_path / "one")
    for i in range(2):
        save_image(tmp_path / "deep" / f"{i}.tif", np.zeros((9, 9), np.float32))
    with pytest.raises(ValueError, match=r"0\.tif .*32 bits per channel; expected 8 or 16"):
        data.read(tmp_path / "deep")
    (tmp_path / "half" / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no images"):
        data.read(tmp_path / "half", split="test")


def _values(root: Path, split: str) -> list[int]:
    """The numbers of the images that `image_tree` wrote."""
    return sorted(int(image[0, 0, 0]) - 10 for image in data.read(root, split=split).pixels)


def _labels(root: Path, split: str) -> dict[int, int]:
    """Label of each image that `image_tree` wrote."""
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
        save_image(tmp_path / path, np.full((2, 2), number, np.uint8))
    for split in ("train", "test"):
        listing = folders.find(LocalTree(tmp_path), split)
        files, labels = _by_earlier_versions(tmp_path, split)
        assert [tmp_path.joinpath(*file) for file in listing.files] == files
        np.testing.assert_array_equal(listing.labels()[0], labels)
        assert len(set(labels)) > 2


def test_hidden_and_system_entries_are_no_images(tmp_path: Path) -> None:
    image_tree(
        tmp_path, "a/0.png", "b/0.png", ".ipynb_checkpoints/a-checkpoint.png", "a/.trash/0.png",
        "__MACOSX/a/0.png", "b/._0.png", "a/@eaDir/0.png",
    )  # fmt: skip
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"x")
    assert sorted(_values(tmp_path, "train") + _values(tmp_path, "test")) == [0, 1]
    assert data.class_names(tmp_path) == ["a", "b"]
    assert "Skipped 7 hidden or system entries, such as" in data.describe(tmp_path)


def test_a_folder_may_lie_in_a_hidden_one(tmp_path: Path) -> None:
    root = image_tree(tmp_path / ".cache" / "x", "train/a/0.png", "test/a/1.png")
    assert _values(root, "test") == [1]
    assert "hidden" not in data.describe(root)


def test_links_are_followed_and_loops_found(tmp_path: Path) -> None:
    image_tree(tmp_path / "elsewhere", "0.png", "1.png")
    root = image_tree(tmp_path / "images", "train/b/0.png", "test/b/0.png")
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
    image_tree(tmp_path, "a/0.png", "a/1.png", "b/0.png")
    for name in ("a/x.svg", "a/y.SVG", "b/z.txt", "README"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    text = data.describe(tmp_path)
    assert "Skipped files of other formats: 2 .svg, 1 .txt, 1 without a suffix." in text
    assert "No class, for lack of images: empty/." in text
    assert "1 image, a tenth, chosen by a hash of the names, is the test split." in text
    assert "2 images of 4 × 4 × 1, 2 classes: 0 = a (" in text
    only = tmp_path / "only"
    only.mkdir()
    (only / "x.svg").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"holds no images \(\.png.*other formats: 1 \.svg"):
        data.read(only)


def test_animations_give_their_first_frame_and_are_said(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]
    for name in ("0.png", "1.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    assert _values(tmp_path, "train") == [0]
    assert "The first frame is taken of 2 files with several." in data.describe(tmp_path)


def test_a_class_without_test_images_moves_no_other(tmp_path: Path) -> None:
    image_tree(
        tmp_path, "train/a/0.png", "train/b/0.png", "train/c/0.png", "test/a/0.png",
        "test/c/0.png", "test/d/0.png",
    )  # fmt: skip
    assert _labels(tmp_path, "train") == {0: 0, 1: 1, 2: 2}
    assert _labels(tmp_path, "test") == {3: 0, 4: 2, 5: 3}
    assert data.number_of_classes(tmp_path) == 4
    assert "No images in train: 3 = d." in data.describe(tmp_path)
    assert "No images in test: 1 = b." in data.describe(tmp_path, split="test")


def test_classes_are_in_natural_order(tmp_path: Path) -> None:
    image_tree(tmp_path, *(f"{name}/{i}.png" for name in ("10", "2", "1") for i in range(4)))
    assert data.read(tmp_path).class_names == ("1", "2", "10")
    assert set(_labels(tmp_path, "train").values()) <= {0, 1, 2}
    label = _labels(tmp_path, "train") | _labels(tmp_path, "test")
    assert [label[number] for number in (0, 4, 8)] == [2, 1, 0]
    names = ["x10y2", "x2", "x10y10", "x-1", "X3", "x02", "x1a", "9", "é1", "x"]
    wanted = ["9", "X3", "x", "x-1", "x1a", "x02", "x2", "x10y2", "x10y10", "é1"]
    assert sorted(names, key=natural_order) == wanted


def test_a_class_called_train_is_one_beside_others(tmp_path: Path) -> None:
    image_tree(tmp_path, *(f"{name}/{i}.png" for name in ("bus", "car", "train") for i in range(4)))
    assert data.class_names(tmp_path) == ["bus", "car", "train"]
    assert sorted(_values(tmp_path, "train") + _values(tmp_path, "test")) == list(range(12))
    assert "train/: a class, as there are other folders beside it." in data.describe(tmp_path)


def test_folders_beside_splits_are_skipped_and_said(tmp_path: Path) -> None:
    image_tree(tmp_path, "train/a/0.png", "test/a/0.png", "extra/a/0.png", "preview.png")
    (tmp_path / "annotations").mkdir()
    assert (_values(tmp_path, "train"), _values(tmp_path, "test")) == ([0], [1])
    text = data.describe(tmp_path)
    assert "Skipped 2 images outside of test/, train/, such as extra/a/0.png." in text
    # Folders without images make no class of what is called train.
    other = image_tree(tmp_path / "other", "train/a/0.png")
    (other / "annotations").mkdir()
    assert data.class_names(other) == ["a"]


def test_an_image_beside_class_folders(tmp_path: Path) -> None:
    """It takes no labels away, and is no class: who needs labels is told which image lacks one."""
    image_tree(tmp_path, *(f"{name}/{i}.png" for name in "ab" for i in range(4)), "stray.png")
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
    image_tree(tmp_path, "train/a/0.png", "train/b/0.png", f"{name}/b/0.png")
    assert _labels(tmp_path, "test") == {2: 1}
    assert _values(tmp_path, "validation") == _values(tmp_path, "val") == [2]
    assert f"There is no folder test/: {name}/ is the test split." in data.describe(tmp_path)
    image_tree(tmp_path / "testing", "b/0.png")
    assert _values(tmp_path, "test") == [0]
    assert _values(tmp_path, "val") == [2]


def test_a_validation_split_stands_in_elsewhere_too(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x_train=random_pixels(3), x_val=random_pixels(5))
    assert len(data.read(path, split="test").pixels) == 5
    assert "There is no split test: val stands in." in data.describe(path, split="test")
    assert tfds_source.split_to_read("test[:5]", ["validation"])[0] == "validation[:5]"
    assert tfds_source.split_to_read("test", ["test", "validation"]) == ("test", [])


def test_a_split_that_a_folder_lacks(tmp_path: Path) -> None:
    only = image_tree(tmp_path / "a", "test/a/0.png", "test/b/0.png")
    assert _labels(only, "test") == {0: 0, 1: 1}
    with pytest.raises(ValueError, match=r"no split 'train', only test/. Add a folder train/\."):
        data.read(only)
    only = image_tree(tmp_path / "b", "train/a/0.png", "train/b/0.png")
    with pytest.raises(ValueError, match=r"Add a folder test/, or give .*b/train itself, of which"):
        data.read(only, split="test")
    assert len(data.read(only / "train", split="test").pixels) == 1
    both = image_tree(tmp_path / "c", "train/a/0.png", "val/a/0.png", "valid/a/0.png")
    with pytest.raises(ValueError, match=r"has val/, valid/ for the split validation. Join them"):
        data.read(both)


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
        _ = [data.read(tmp_path, split=split) for split in ("train", "test")]
    str(caught.value).encode("utf-8")


def test_number_of_classes_of_images_of_several_sizes(tmp_path: Path) -> None:
    """Counting classes decodes nothing."""
    image_tree(tmp_path, "a/0.png", "b/0.png")
    image_tree(tmp_path, "a/1.png", "b/1.png", size=6)
    assert data.number_of_classes(tmp_path) == 2
