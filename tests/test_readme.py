"""What README.md shows runs as shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import zoo
from tests.support.documents import ROOT, arxiv, model_rows, shorter

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short() -> None:
    assert len(README.encode()) <= 8000


def test_the_first_images() -> None:
    (code,) = re.findall(r"## Install\n.*?```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102
    assert names["images"].shape == (16, 28, 28, 1)


def test_the_walk_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Line by line, on a tenth of the sample for one epoch, at a quarter of the width."""
    monkeypatch.chdir(tmp_path)
    create = zoo.create
    monkeypatch.setattr(
        zoo, "create", lambda name, **options: create(name, **options, network="conv-16")
    )
    (code,) = re.findall(r"## The walk in Python\n\n```python\n(.*?)```", README, re.DOTALL)
    load = zoo.data.load
    monkeypatch.setattr(
        zoo.data, "load", lambda source, **options: load(source, **options, split="train[:10%]")
    )
    exec(compile(shorter(code), "README.md", "exec"), {})  # noqa: S102
    lines = capsys.readouterr().out.splitlines()
    assert any("frechet_distance" in line for line in lines)
    assert lines[-1] == "True"


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
