"""What README.md shows runs as shown."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zoo
from tests.support.command import run_zoo
from tests.support.documents import ROOT, arxiv, model_rows, shorter
from tests.support.image_files import save_image

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short() -> None:
    assert len(README.encode()) <= 8000


def test_the_first_images() -> None:
    (code,) = re.findall(r"## Install\n.*?```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102
    assert names["images"].shape == (16, 28, 28, 1)


@pytest.mark.slow
def test_the_walk_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Line by line, on a tenth of the sample for one epoch, at an eighth of the width."""
    monkeypatch.chdir(tmp_path)
    create = zoo.create
    monkeypatch.setattr(
        zoo, "create", lambda name, **options: create(name, **options, network="conv-8")
    )
    (code,) = re.findall(r"## The walk in Python\n\n```python\n(.*?)```", README, re.DOTALL)
    load, to_array = zoo.data.load, zoo.data.to_array
    monkeypatch.setattr(
        zoo.data,
        "load",
        lambda source, **options: load(source, **{"split": "train[:10%]", **options}),
    )
    monkeypatch.setattr(
        zoo.data, "to_array", lambda source, **options: to_array(source, **options, limit=200)
    )
    exec(compile(shorter(code), "README.md", "exec"), {})  # noqa: S102
    lines = capsys.readouterr().out.splitlines()
    assert any("frechet_distance" in line for line in lines)
    assert lines[-1] == "True"


@pytest.mark.slow
def test_your_own_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From colour files to samples of a GAN in three commands, on 60 files and small networks."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for number in range(60):
        colours = random.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        pixels = colours.repeat(20, axis=0).repeat(16 + number % 2, axis=1)
        save_image(tmp_path / "icons" / f"{number}.png", pixels)
    (block,) = re.findall(r"Your own images.*?```sh\n(.*?)```", README, re.DOTALL)
    prepare, train, sample = (line.partition("#")[0].split()[1:] for line in block.splitlines())
    run_zoo(*prepare)
    run_zoo(*shorter(" ".join(train)).split(), "--batch-size", 20, "--network", "conv-8")
    run_zoo(*sample)
    assert zoo.load("runs/icons").image_shape == (64, 64, 3)
    assert Image.open("icons.png").mode == "RGB"


def test_it_shows_eight_commands() -> None:
    """tests/test_docs.py has that they exist, with the options shown."""
    (block,) = re.findall(r"## The walk on the command line\n\n```sh\n(.*?)```", README, re.DOTALL)
    commands = " ".join(line.split()[1] for line in block.splitlines())
    assert commands == "train evaluate convert sample export verify serve report"


def test_the_models_table_is_complete() -> None:
    """Each model of `zoo list` has its row, with the papers that docs/models.md names."""
    rows = model_rows(README)
    assert set(rows) == set(zoo.list_models())
    long = model_rows((ROOT / "docs" / "models.md").read_text(encoding="utf-8"))
    assert {name: arxiv(row) for name, row in rows.items()} == {
        name: arxiv(row) for name, row in long.items()
    }


def test_the_presets_table_is_complete() -> None:
    table = README.partition("<!-- presets -->")[2].partition("<!-- /presets -->")[0]
    rows = re.findall(r"^\| (\w+)", table, re.MULTILINE)[1:]
    assert set(rows) == {preset.name for preset in zoo.list_pretrained()}
    assert len(table.strip().splitlines()[0].strip("|").split("|")) == 5
