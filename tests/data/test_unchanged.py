"""Commands say what the data are, and a run goes on with the data that it was begun with."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zoo
from tests.support.image_files import image_tree, random_pixels, save_image
from zoo import data
from zoo.bench import run as bench
from zoo.cli import main
from zoo.data import unchanged
from zoo.data.contents import held_out
from zoo.io.records import read_json, write_json
from zoo.training.loop import train
from zoo.training.runs import load_run

CLASSES = ("class 2", "class 10", "[x]")  # in natural order "[x]" comes first


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 12 training and 3 test images of 8 × 8 pixels in three classes."""
    files = [f"train/{name}/{i}.png" for name in CLASSES for i in range(4)]
    files += [f"test/{name}/0.png" for name in CLASSES]
    return image_tree(tmp_path_factory.mktemp("data") / "images", *files, size=8)


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


@pytest.mark.slow
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

    for name in ("training.loop.train", "evaluation.measure.evaluate", "convert.convert_run"):
        monkeypatch.setattr(f"zoo.{name}", stop)
    other = classes / "x.svg"
    other.write_bytes(b"x")
    for command in (
        ["train", "vae", "--data", classes, "--out", tmp_path, "--network", "mlp"],
        ["convert", begun, "--to", "gan", "--out", tmp_path / "gan"],
        ["evaluate", begun],
    ):
        with pytest.raises(SystemExit):
            main([str(argument) for argument in command])
    other.unlink()
    names = "3 classes: 0 = [x] ({0}), 1 = class 2 ({0}), 2 = class 10 ({0}).\n"
    for text in spoken[:2]:
        said = f"Data: {classes}, train: 12 images of 8 × 8 × 1, {names.format(4)}"
        assert said + "  Skipped files of other formats: 1 .svg.\n" in text
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


def _change_a_pixel(root: Path) -> None:
    pixels = np.array(Image.open(root / "train" / "class 10" / "3.png"))
    pixels[0, 0] += 1
    save_image(root / "train" / "class 10" / "3.png", pixels)


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


@pytest.mark.slow
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
    data.check_classes(random_pixels(2), config)  # which names no classes


def test_labels_of_no_interest_may_change() -> None:
    images = random_pixels(8)
    one, other = (data.Images(images, np.arange(8) % n) for n in (2, 3))
    assert data.fingerprint(one, labels=False) == data.fingerprint(other, labels=False)
    assert data.fingerprint(one, labels=True) != data.fingerprint(other, labels=True)
    assert data.fingerprint(data.Images(images, [0.5] * 8), labels=False)["images"] == 8


def test_large_data_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image counts up to the limit; beyond, every k-th does, and their number."""
    images, changed = random_pixels(20), []
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


def test_a_file_that_changed_but_kept_its_size(tmp_path: Path) -> None:
    """In a folder that is streamed; runs of earlier versions have no mark that could tell."""
    files = [f"train/{i}.png" for i in range(20)]
    folder = image_tree(tmp_path / "images", *files, "test/0.png", size=8)
    before = data.fingerprint(data.open(folder), labels=False)
    assert before.keys() == {"images", "shape", "index", "bytes"}
    copy = shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert data.fingerprint(data.open(copy), labels=False, like=before) == before
    changed = bytearray((folder / "train" / "7.png").read_bytes())
    changed[-1] ^= 1
    (folder / "train" / "7.png").write_bytes(changed)
    after = data.fingerprint(data.open(folder), labels=False, like=before)
    assert after == {**before, "bytes": after["bytes"]} != before
    earlier = {name: before[name] for name in ("images", "shape", "index")}
    assert data.fingerprint(data.open(folder), labels=False, like=earlier) == earlier


def test_the_test_split_of_a_folder_is_found_once() -> None:
    names = [b"%d.png" % i for i in range(35)]
    held, _ = held_out(names, "x")
    assert held_out([*names], "x")[0] is held
    ranked = sorted(names, key=lambda name: hashlib.sha256(name).digest())
    assert [name for name, test in zip(names, held, strict=True) if test] == sorted(
        ranked[:3], key=names.index
    )
    assert held_out(names[1:], "x")[0].sum() == 3
