"""A folder is listed once, and its heads are read once, for as long as nothing in it changes."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from tests.support.image_files import image_tree, save_image
from zoo import data
from zoo.data import folder as folders
from zoo.data.trees import LocalTree


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """12 images in two classes, written long ago."""
    image_tree(tmp_path / "x", *(f"{name}/{i}.png" for name in "ab" for i in range(6)))
    _made_old(tmp_path / "x")
    return tmp_path / "x"


def _made_old(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        if path.exists():  # a link may lead nowhere
            os.utime(path, ns=(10**18, 10**18))


def _asked(folder: Path) -> tuple[int, int]:
    """(walks through the folder, heads that were read) by all that a command asks."""
    heads = mock.Mock(side_effect=folders.read_header)
    with (
        mock.patch.object(folders, "read_header", heads),
        mock.patch.object(LocalTree, "_walk", autospec=True, side_effect=LocalTree._walk) as walk,
    ):
        data.describe(folder)
        data.image_shape(folder)
        data.number_of_classes(folder)
        data.class_names(folder)
        data.open(folder)
        data.open(folder, split="test", image_shape=(2, 2, 1))
    return walk.call_count, heads.call_count


def test_once(folder: Path) -> None:
    assert _asked(folder) == (1, 12)
    assert _asked(folder) == (0, 0)


def test_what_changed_is_found(folder: Path) -> None:
    """A file that came, went, got another name, or other bytes in its old place."""
    assert _asked(folder) == (1, 12)
    save_image(folder / "b" / "new.png", np.zeros((4, 4), np.uint8))
    assert len(_every(folder)) == 13
    _made_old(folder)
    (folder / "b" / "new.png").unlink()
    assert len(_every(folder)) == 12
    _made_old(folder)
    (folder / "a").rename(folder / "c")
    assert data.class_names(folder) == ["b", "c"]
    _made_old(folder)
    assert data.open(folder).dtype == np.uint8
    before = folder.stat().st_mtime_ns, (folder / "b").stat().st_mtime_ns
    save_image(folder / "b" / "0.png", np.full((4, 4), 1000, np.uint16))
    assert (folder.stat().st_mtime_ns, (folder / "b").stat().st_mtime_ns) == before
    assert data.open(folder).dtype == np.float32
    assert "1 image with 16 bits" in data.describe(folder)


def _every(folder: Path) -> list[int]:
    return [i for split in ("train", "test") for i in range(len(data.open(folder, split=split)))]


def test_a_folder_that_was_just_written_is_listed_anew(folder: Path) -> None:
    """Its time may not tell a second change from the first."""
    save_image(folder / "b" / "new.png", np.zeros((4, 4), np.uint8))
    time = (folder / "b").stat().st_mtime_ns
    assert len(_every(folder)) == 13
    save_image(folder / "b" / "newer.png", np.zeros((4, 4), np.uint8))
    os.utime(folder / "b", ns=(time, time))
    assert len(_every(folder)) == 14


def test_links_are_followed_anew(folder: Path, tmp_path: Path) -> None:
    image_tree(tmp_path / "elsewhere", "0.png")
    _made_old(tmp_path / "elsewhere")
    (folder / "c").symlink_to(tmp_path / "elsewhere" / "later")
    _made_old(folder)
    assert len(_every(folder)) == 12
    (tmp_path / "elsewhere" / "later").symlink_to(tmp_path / "elsewhere")
    assert data.class_names(folder) == ["a", "b", "c"]
