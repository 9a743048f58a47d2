"""`zoo data`: from a folder of files to a prepared one, which is measured, verified, trained on."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.support.command import fails, run_zoo
from tests.support.image_files import save_image
from tests.support.odd_names import ODD
from zoo import data
from zoo.io import terminal


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    for console in (terminal.console, terminal.errors):
        monkeypatch.setattr(console, "_width", 1000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """60 colour images of several sizes, in two classes of 40 and 20; two are the same."""
    rng = np.random.default_rng(0)
    for number in range(60):
        colours = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
        pixels = colours.repeat(32 + number % 2, axis=0).repeat(32, axis=1)
        name = "boot" if number % 3 else "shoe"
        save_image(tmp_path / ODD / "train" / name / f"{number:02d}.png", pixels)
    save_image(tmp_path / ODD / "train" / "boot" / "copy.png", pixels)
    save_image(tmp_path / ODD / "test" / "boot" / "0.png", pixels)
    return tmp_path / ODD


def test_the_walk_of_a_folder(folder: Path, tmp_path: Path, capsys) -> None:
    out, sheet = tmp_path / "out [a]", tmp_path / "sheet.png"
    run_zoo("data", "prepare", folder, "--image-size", 16, "--out", out)
    told = capsys.readouterr().out
    assert "train: 61 images, 0." in told
    assert f"Prepared: {out}\n" in told
    run_zoo("data", "info", out, "--sheet", sheet)
    told = capsys.readouterr().out
    assert f"Data: {out}, train: 61 images of 16 × 16 × 3, 2 classes: 0 = boot (41)" in told
    assert [cell.strip() for cell in _row(told, "boot")] == ["0", "boot", "41", "67.2%"]
    assert "1 image equals an earlier one, pixel by pixel:\n  39 = 40\n" in told
    mean = data.read(out).pixels.mean() / 255
    table = told.partition("channel")[2]
    means = [float(_row(table, str(channel))[1]) for channel in range(3)]
    assert np.mean(means) == pytest.approx(mean, abs=1e-3)
    assert Image.open(sheet).width >= 480
    run_zoo("data", "info", folder, "--image-size", 16)
    assert "\n  train/boot/59.png = train/boot/copy.png\n" in capsys.readouterr().out
    run_zoo("data", "info", folder, "--split", "test")
    told = capsys.readouterr().out
    assert "Images of several sizes are read at 64 × 64.\n" in told
    assert "Images are 64 to 66 pixels high and 64 wide." in told
    for source in (out, folder):
        run_zoo("data", "verify", source)
        assert f"{source}: no fault.\n" in capsys.readouterr().out


def _row(table: str, first: str) -> list[str]:
    """The cells of the row that has a text in one of its first two."""
    rows = [line.strip("│").split("│") for line in table.splitlines() if line.startswith("│")]
    return next(row for row in rows if first in (row[0].strip(), row[1].strip()))


def test_faults_by_name(folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    bad = [folder / "train" / "boot" / "01.png", folder / "train" / "shoe" / "03.png"]
    for path in bad:
        path.write_bytes(path.read_bytes()[:60])
    said = fails(capsys, "data", "verify", folder, "--image-size", 8)
    assert all(f"Error: {path} is not a readable image" in said for path in bad)
    shown = ("data", "prepare", folder, "--image-size", 8, "--out", out)
    said = fails(capsys, *shown)
    assert f"{bad[0]} is not a readable image" in said
    assert "--on-error skip" in said
    run_zoo(*shown, "--on-error", "skip")
    assert f"train: 59 images, 0.1 MB; 2 could not be read: {out / 'skipped.txt'}\n" in (
        capsys.readouterr().out
    )
    (shard,) = out.glob("test-*.array_record")
    shard.write_bytes(b"")
    said = fails(capsys, "data", "verify", out)
    assert f"Error: {shard} has 0 bytes; expected " in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "sprites", "--sheet", "x.jpg"], "--sheet x.jpg: expected a .png file."),
        (["prepare", "sprites", "--out", "x", "--on-error", "stop"], "expected one of fail, skip"),
        (["prepare", "sprites", "--out", "x", "--split", "val"], "has no split 'val'"),
        (["prepare", "./none", "--out", "x"], "The folder none does not exist."),
        (["verify", "./none"], "none does not exist"),
    ],
)
def test_mistakes(
    arguments: list[str], words: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = fails(capsys, "data", *arguments)
    assert words in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_many_classes(tmp_path: Path, capsys) -> None:
    labels = np.repeat(np.arange(30), np.arange(30, 0, -1))
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", images=pixels, labels=labels)
    run_zoo("data", "info", tmp_path / "x.npz")
    table = capsys.readouterr().out
    assert _row(table, "9")[2].strip() == "21"
    assert _row(table, "20")[2].strip() == "10"
    assert "│ 10    │" not in table
    assert "│ 19    │" not in table
    assert "No image equals another." in table


def test_bars_are_drawn_on_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.stdout
    for is_terminal in (True, False):
        drawn = io.StringIO()
        console = Console(file=drawn, force_terminal=is_terminal, width=80, markup=False)
        monkeypatch.setattr(terminal, "errors", console)
        with terminal.bars() as show:
            assert sys.stdout is before  # what is printed before the first bar goes where it went
            assert not drawn.getvalue()
            show("[train]", 3, 10)
            show("[train]", 10, 10)
        assert ("[train]" in drawn.getvalue()) == is_terminal
        assert ("10/10" in drawn.getvalue()) == is_terminal
