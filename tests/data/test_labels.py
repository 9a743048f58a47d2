"""Labels from a file beside the images: as class folders would give them, or an error in words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.image_files import image_tree
from zoo import data
from zoo.data.labels import read_labels

FILES = ("a.png", "b/c d.png", "b/.x/é.PNG", "b/10.png")


def _of(root: Path) -> dict[int, int]:
    """Label of each image that `image_tree` wrote, of both splits."""
    found = {}
    for split in ("train", "test"):
        images = data.read(root, split=split)
        assert images.labels is not None
        assert images.labels.dtype == np.int32
        numbers = (images.pixels[:, 0, 0, 0].astype(int) - 10).tolist()
        found |= dict(zip(numbers, images.labels.tolist(), strict=True))
    return found


def test_names_are_numbered_as_class_folders_are(tmp_path: Path) -> None:
    folders = image_tree(tmp_path / "folders", *(f"c{i}/{j}.png" for i in (10, 9) for j in "abc"))
    flat = image_tree(tmp_path / "flat", *(f"{i} {j}.png" for i in (10, 9) for j in "abc"))
    rows = [f'"{i} {j}.png", c{i}' for i in (10, 9) for j in "abc"]
    (flat / "labels.csv").write_text("\n".join(["file,label", *rows]))
    assert data.class_names(flat) == data.class_names(folders) == ["c9", "c10"]
    assert data.number_of_classes(flat) == 2
    assert _of(flat) == _of(folders) == {0: 1, 1: 1, 2: 1, 3: 0, 4: 0, 5: 0}
    assert data.read(flat).class_names == ("c9", "c10")
    text = data.describe(flat)
    assert "2 classes: 0 = c9 (" in text
    assert "  The labels are those of labels.csv." in text
    assert "Skipped" not in text


def test_the_labels_of_a_file_count_and_not_the_folders(tmp_path: Path) -> None:
    """Paths with spaces, accents, suffixes and columns in capitals, Windows's separators."""
    files = ("train/x/a b.png", "train/é.PNG", "test/c.png", "test/y/d.png")
    root = image_tree(tmp_path, *files)
    table = '\ufeffWho,Label,FILE\r\n1,"bag, small",train/x/a b.png\r\n\r\n1,shoe,train/é.PNG\r\n'
    table += '1, "a ""b""",./test/c.png\r\n1,shoe,test\\y\\d.png\r\n'
    (root / "labels.csv").write_text(table, encoding="utf-8")
    assert data.class_names(root) == ['a "b"', "bag, small", "shoe"]
    assert _of(root) == {0: 1, 1: 2, 2: 0, 3: 2}
    assert "No images in test: 1 = bag, small." in data.describe(root, split="test")


def test_numbers_in_a_csv_and_in_stylegans_file_agree(tmp_path: Path) -> None:
    names = [f"0000{i}/img{i}.png" for i in range(6)]
    root = image_tree(tmp_path, *names)
    labels = [2, 0, 1, 2, 0, 1]
    stylegan = json.dumps({"labels": [list(pair) for pair in zip(names, labels, strict=True)]})
    table = "\n".join(
        ["file,label", *(f"{n},{label}" for n, label in zip(names, labels, strict=True))]
    )
    for name, content in (("dataset.json", stylegan), ("labels.csv", table)):
        (root / name).write_text(content)
        assert _of(root) == dict(enumerate(labels))
        assert data.number_of_classes(root) == 3
        assert data.class_names(root) is None
        assert "3 classes (0 to 2)" in data.describe(root)
        (root / name).unlink()
    (root / "dataset.json").write_text('{"labels": null}')
    assert data.number_of_classes(root) == 6  # of the folders


ROW = "file,label\n"
FAULTS = [
    ("labels.csv", ROW + "a.png,x\nb.png,y\n", r"labels\.csv: 1 image without a label, such as c"),
    ("labels.csv", ROW + "a.png,x\nb.png,y\nc.png\n", r"line 4: \['c\.png'\]; expected 2 values"),
    ("labels.csv", ROW + "a.png,x\nb.png,y\nc.png,\n", r"line 4: .* and a label"),
    ("labels.csv", ROW + "a.png,x\nb.png,y\nc.png,x,y\n", r'need quotes, "like, this"'),
    (
        "labels.csv",
        ROW + "a.png,x\nb.png,y\nd.png,z\nc.png,x\n",
        r"line 4: 'd\.png' is no image that is there\. Correct .* Did you mean",
    ),
    ("labels.csv", ROW + "a.png,x\nb.png,y\na.png,x\n", r"line 2 and line 4 both label 'a\.png'"),
    ("labels.csv", ROW + "a.png,x\nb.png,7\nc.png,x\n", "line 2 has the name 'x', line 3 the numb"),
    (
        "labels.csv",
        ROW + "a.png,1.0\nb.png,0\nc.png,0\n",
        r"line 2: label 1\.0: expected a name, or",
    ),
    ("labels.csv", ROW + "a.png,01\nb.png,0\nc.png,0\n", "line 2: label 01: expected a name, or"),
    ("labels.csv", ROW + "a.png,-1\nb.png,0\nc.png,0\n", "line 2: label -1: expected a name, or"),
    (
        "labels.csv",
        ROW + "a.png,1\nb.png,2\nc.png,1\n",
        "classes 1 to 2; expected classes numbered",
    ),
    ("labels.csv", ROW + 'a.png,"x\n', r"up to line 2: unexpected end of data\. Is a quote not"),
    ("labels.csv", "file;label\na.png;1\n", "columns 'file;label'; expected file and label"),
    ("labels.csv", "", "columns none; expected file and label"),
    ("labels.csv", b"file,label\n\xff.png,x\n", "it is not UTF-8"),
    ("dataset.json", '{"labels": [["a.png", "3"]]}', r"entry 0: .*'3'.*Write the number without q"),
    ("dataset.json", '{"labels": [["a.png", [0, 1]]]}', r"expected \[\[\"PATH\", CLASS NUMBER\]"),
    ("dataset.json", '{"labels": {"a.png": 3}}', "labels are of type dict; expected"),
    ("dataset.json", '{"labels": [["a.png", 3], ["b.png"', "is not valid JSON"),
    ("dataset.json", '{"labels": [["x/a.png", 3]]}', r"'x/a\.png' is no .*Did you mean 'a\.png'"),
    (
        "dataset.json",
        '{"labels": [["a.png", -3], ["b.png", 0], ["c.png", 0]]}',
        r"dataset\.json: label -3 at index",
    ),
]


@pytest.mark.parametrize(("name", "content", "message"), FAULTS)
def test_faults(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    """They matter to who asks for labels, and to nobody else."""
    root = image_tree(tmp_path / "x", "a.png", "b.png", "c.png")
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        data.number_of_classes(root)
    images = data.read(root)
    with pytest.raises(ValueError, match=message):
        _ = images.labels, images.number_of_classes()
    assert "No conditional model can take the labels: " in data.describe(root)
    assert len(images.pixels) == 2


def test_two_files_of_labels(tmp_path: Path) -> None:
    root = image_tree(tmp_path, "a.png", "b.png")
    (root / "labels.csv").write_text("file,label\na.png,x\nb.png,x\n")
    (root / "dataset.json").write_text('{"labels": [["a.png", 0], ["b.png", 0]]}')
    with pytest.raises(ValueError, match=r"in .*labels\.csv and in .*dataset\.json. Remove one"):
        data.number_of_classes(root)
    (root / "dataset.json").write_text('{"images": 3}')  # another program's
    assert data.number_of_classes(root) == 1


def test_class_folders_stay_classes_where_no_file_has_labels() -> None:
    assert read_labels({}, [("a.png",)], "x") is None
    assert read_labels({"dataset.json": b'{"version": "labels"}'}, [("a.png",)], "x") is None
