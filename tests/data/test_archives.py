"""Archives of images hold what the folder that was packed holds."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.support.image_files import image_tree, random_pixels, save_image
from zoo import data
from zoo.data import archives

FILES = [f"train/{name}/{i}.png" for name in ("class 2", "class 10") for i in range(4)]
FILES += ["test/class 2/0.png", "train/.hidden/0.png", "train/class 2/notes.txt"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file, pixels in zip(FILES, random_pixels(len(FILES)), strict=True):
        if file.endswith(".png"):
            save_image(tmp_path / "shoes" / file, pixels[..., 0])
    (tmp_path / "shoes" / FILES[-1]).write_text("notes")
    return tmp_path / "shoes"


def _packed(folder: Path, name: str, *, within: bool) -> Path:
    """The folder as an archive; with itself as the folder around everything, if `within`."""
    kind = "zip" if name.endswith("zip") else "tar"
    base = {"root_dir": folder.parent, "base_dir": folder.name} if within else {"root_dir": folder}
    made = shutil.make_archive(str(folder.with_name("packed")), kind, **base)
    return Path(made).rename(folder.with_name(name))


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.data"])
def test_an_archive_is_as_its_folder(name: str, within: bool, folder: Path) -> None:
    archive = _packed(folder, name, within=within)
    for split in ("train", "test"):
        for shape in (None, (4, 4, 3)):
            one, other = (
                data.open(source, split=split, image_shape=shape) for source in (archive, folder)
            )
            order = np.arange(len(other))[::-1]
            np.testing.assert_array_equal(one.take(order), other.take(order))
            np.testing.assert_array_equal(one.labels, other.labels)
            assert one.class_names == other.class_names == ("class 2", "class 10")
            assert one.index() == other.index()
    assert data.image_shape(archive) == (6, 5, 1)
    assert data.number_of_classes(str(archive)) == 2
    assert data.source_name(archive) == str(archive)
    assert data.describe(archive).split("train:")[1] == data.describe(folder).split("train:")[1]


def test_labels_inside(tmp_path: Path) -> None:
    root = image_tree(tmp_path / "x", *(f"{i}.png" for i in range(6)))
    (root / "labels.csv").write_text(
        "file,label\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(6))
    )
    archive = _packed(root, "x.zip", within=True)
    np.testing.assert_array_equal(data.open(archive).labels, data.open(root).labels)


def test_a_folder_called_after_a_split_is_one(tmp_path: Path) -> None:
    root = image_tree(tmp_path / "x", "train/a/0.png", "train/b/0.png")
    archive = _packed(root, "x.zip", within=False)
    assert data.class_names(archive) == ["a", "b"]
    with pytest.raises(ValueError, match=r"x\.zip has no split 'test', only train/"):
        data.open(archive, split="test")


def test_archives_that_cannot_be_read(folder: Path) -> None:
    with tarfile.open(folder.with_name("x.tar.gz"), "w:gz") as archive:
        archive.add(folder)
    with pytest.raises(ValueError, match=r"x\.tar\.gz is compressed as a whole.*Unpack it"):
        data.open(folder.with_name("x.tar.gz"))
    with zipfile.ZipFile(folder.with_name("empty.zip"), "w") as archive_:
        archive_.writestr("a.txt", "x")
    with pytest.raises(ValueError, match=r"empty\.zip holds no images.*other formats: 1 \.txt"):
        data.open(folder.with_name("empty.zip"))
    for name in ("x.zip", "x.tar"):
        path = _packed(folder, name, within=False)
        whole = path.read_bytes()
        content = len(whole.rstrip(b"\0"))  # a tar archive is filled up with zeros
        for length in range(0, content, content // 12):
            path.write_bytes(whole[:length])
            with pytest.raises(ValueError, match=rf"{name}\S* (cannot be read|is no)"):
                data.read(path)


def test_a_damaged_member_is_named(folder: Path) -> None:
    for name in ("x.zip", "x.tar"):
        path = _packed(folder, name, within=False)
        content = bytearray(path.read_bytes())
        at = content.index(b"train/class 2/1.png") + (512 if name == "x.tar" else 0)
        content[at + 45 : at + 60] = b"\xff" * 15
        path.write_bytes(content)
        records = data.open(path)
        message = rf"{name}/train/class 2/1\.png (is not a readable image|cannot be read)"
        with pytest.raises(ValueError, match=message):
            records.take(np.arange(len(records)))


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
@pytest.mark.parametrize("member", [".", "..", "/", "../.."])
def test_names_that_are_no_files(name: str, member: str, folder: Path) -> None:
    path = _packed(folder, name, within=False)
    before = data.read(path)
    if name == "x.zip":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(member, b"x")
    else:
        with tarfile.open(path, "a") as archive_:
            archive_.addfile(tarfile.TarInfo(member))
    np.testing.assert_array_equal(data.read(path).pixels, before.pixels)


def test_links_in_an_archive_are_said_to_be_skipped(folder: Path) -> None:
    path = _packed(folder, "x.tar", within=False)
    with tarfile.open(path, "a") as archive:
        for name, kind in (("train/class 2/l.png", tarfile.SYMTYPE), ("z.png", tarfile.LNKTYPE)):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "train/class 2/1.png"
            archive.addfile(link)
    assert "Skipped 2 links, such as train/class 2/l.png: pack" in data.describe(path)


def test_a_member_that_swells_is_not_decompressed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _packed(folder, "x.zip", within=False)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/class 2/big.png", bytes(100_000))
    monkeypatch.setattr(archives, "MOST", 50_000)
    message = r"class 2/big\.png cannot be read: 100,000 bytes once .* at most 50,000"
    with pytest.raises(ValueError, match=message):
        data.read(path, image_shape=(4, 4, 1))


def test_it_is_listed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _packed(folder, "x.zip", within=False)
    listed = []
    made = archives.ArchiveTree
    monkeypatch.setattr(archives, "ArchiveTree", lambda p: listed.append(p) or made(p))
    for _ in range(2):
        data.describe(path)
        data.open(path, split="test")
    assert len(listed) == 1
    (folder / "test" / "class 2" / "1.png").write_bytes((folder / FILES[0]).read_bytes())
    assert len(data.open(_packed(folder, "x.zip", within=False), split="test")) == 2
