"""What README.md shows runs as shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo.cli import main
from zoo.convert.rules import RULES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONVERSION = (ROOT / "docs" / "conversion.md").read_text(encoding="utf-8")


def test_the_walk_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Line by line, on a tenth of the sample for one epoch."""
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"## The walk in Python\n\n```python\n(.*?)```", README, re.DOTALL)
    short = re.sub(r"epochs=\d+", "epochs=1", code)
    load = zoo.data.load
    monkeypatch.setattr(
        zoo.data, "load", lambda source, **options: load(source, **options, split="train[:10%]")
    )
    exec(compile(short, "README.md", "exec"), {})  # noqa: S102
    lines = capsys.readouterr().out.splitlines()
    assert any("frechet_distance" in line for line in lines)
    assert lines[-1] == "True"


def test_the_scope_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"## More than one device\n.*?```python\n(.*?)```", README, re.DOTALL)
    load = zoo.data.load
    monkeypatch.setattr(
        zoo.data, "load", lambda source, **options: load(source, **options, split="train[:5%]")
    )
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102
    assert int(names["gan"].step) == 7


def test_the_commands_exist() -> None:
    """Every `zoo` line's options are known to the command."""
    lines = [
        line.partition("#")[0].split()[1:]
        for block in re.findall(r"```sh\n(.*?)```", README + CONVERSION, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("zoo ")
    ]
    assert len(lines) > 15
    for arguments in lines:
        with pytest.raises(SystemExit) as stop:
            main([*arguments, "--help"] if arguments[0] != "launch" else [*arguments[2:], "--help"])
        assert stop.value.code == 0, arguments


def test_the_models_table_is_complete() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == set(zoo.list_models())


def test_the_rules_table_is_complete() -> None:
    rows = re.findall(
        r"^\| (.+) \| (.+) \|$", CONVERSION.partition("<!-- rules -->")[2], re.MULTILINE
    )
    told = dict(rows[2 : 2 + len(RULES)])
    assert set(told) == {rule.name for rule in RULES.values()}
    assert all(told[rule.name].startswith(rule.summary) for rule in RULES.values())


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
    for path in re.findall(r"`((?:tests|benchmarks|zoo|export)/[\w/.]+\.py)`", README):
        assert (ROOT / path).exists(), path


def test_the_recipe_for_a_model_is_a_model() -> None:
    """The file that it shows is there as shown, and so is the line in tests/cases.py."""
    recipe = README.partition("## Add a model")[2].partition("## Layout")[0]
    (code,) = re.findall(r"```python\n(.*?)```", recipe, re.DOTALL)
    assert code == (ROOT / "zoo" / "gan" / "lsgan.py").read_text(encoding="utf-8")
    (line,) = re.findall(r"`(Case\(.*?\))`", recipe)
    assert line in (ROOT / "tests" / "cases.py").read_text(encoding="utf-8")


def test_a_combination_of_parts() -> None:
    (code,) = re.findall(r"## Models\n.*?```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102
    assert names["ankle_boots"].shape == (16, 28, 28, 1)
