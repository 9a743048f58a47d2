"""Labels and pixels are converted exactly, or refused with a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.support.image_files import image_tree, random_pixels
from zoo import data
from zoo.data.checked import TOLERANCE, checked_labels, checked_pixels, count_classes
from zoo.io.records import read_json, write_json
from zoo.training.loop import train


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
    images = data.Images(random_pixels(n), labels, names)
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
    np.savez(tmp_path / "x.npz", x_train=random_pixels(len(labels)), y_train=labels)
    with pytest.raises(ValueError, match=rf"x\.npz: y_train: .*{message}"):
        data.number_of_classes(tmp_path / "x.npz")


@pytest.mark.parametrize("labels", [[0], [0, 1], [0, 2], [0, 1, 5], [*range(90), 99]])
def test_a_few_classes_may_lack_images(labels: list[int]) -> None:
    assert data.number_of_classes(data.Images(random_pixels(len(labels)), labels)) == labels[-1] + 1


def test_labels_of_objects_in_a_file(tmp_path: Path) -> None:
    """They are pickled, which runs code: not loaded, and no matter to who asks for none."""
    np.savez(tmp_path / "x.npz", x_train=random_pixels(2), y_train=np.array(["a", None], object))
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


CLASSES = ("class 2", "class 10", "[x]")  # in natural order "[x]" comes first


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 12 training and 3 test images of 8 × 8 pixels in three classes."""
    files = [f"train/{name}/{i}.png" for name in CLASSES for i in range(4)]
    files += [f"test/{name}/0.png" for name in CLASSES]
    return image_tree(tmp_path_factory.mktemp("data") / "images", *files, size=8)
