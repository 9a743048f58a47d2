"""What `benchmarks/tables.py` writes into documents."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from zoo.hub import catalog, list_pretrained

ROOT = Path(__file__).resolve().parents[2]
FROZEN = ROOT / "tests" / "frozen_preset" / "dcgan"
FIRST, LAST = "<!-- x -->", "<!-- /x -->"


def _benchmark(name: str) -> ModuleType:
    """By its path: in its folder lies an export.py, which must not pass for the package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    return _benchmark("tables")


def test_every_preset_has_a_recipe() -> None:
    assert set(_benchmark("pretrained").RECIPES) == {each.name for each in list_pretrained()}


def test_lines_replace_what_is_between_the_markers(tables: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{FIRST}\nold\n{LAST}\nafter\n")
    for _ in range(2):
        tables.write_between(page, FIRST, LAST, ["a", "b"])
        assert page.read_text() == f"before\n{FIRST}\n\na\nb\n\n{LAST}\nafter\n"


@pytest.mark.parametrize("text", ["none", FIRST, LAST + FIRST, FIRST * 2])
def test_a_document_needs_both_markers(tables: ModuleType, text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="once each"):
        tables.write_between(page, FIRST, LAST, ["a"])
    assert page.read_text() == text


def test_a_section_is_in_one_document(
    tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "README", tmp_path / "README.md")
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(ValueError, match="expected one of README.md and docs/"):
        tables.write_section(FIRST, LAST, ["a"])
    (tmp_path / "docs" / "page.md").write_text(f"{FIRST}{LAST}")
    tables.write_section(FIRST, LAST, ["a"])
    assert (tmp_path / "docs" / "page.md").read_text() == f"{FIRST}\n\na\n\n{LAST}"
    (tmp_path / "README.md").write_text(f"{FIRST}{LAST}")
    with pytest.raises(ValueError, match=r"README\.md.*page\.md.*expected one of"):
        tables.write_section(FIRST, LAST, ["a"])


def test_tables_of_presets(
    tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frozen preset states 1.5 ± 0.1 and no classes; beside it one that has ten."""
    for name in ("plain", "conditional"):
        shutil.copytree(FROZEN, tmp_path / name)
    config = json.loads((FROZEN / "config.json").read_text())
    config["options"]["num_classes"] = 10
    config["data"] = "sprites"
    (tmp_path / "conditional" / "config.json").write_text(json.dumps(config))
    config["options"]["num_classes"], epochs = 0, config["facts"].get("epochs", "")
    (tmp_path / "plain" / "config.json").write_text(json.dumps(config))
    for module in (catalog, tables):
        monkeypatch.setattr(module, "saved_models", lambda: tmp_path)
    monkeypatch.setattr(tables, "README", tmp_path / "README.md")
    monkeypatch.setattr(tables, "FIGURES", tmp_path / "figures.md")
    for page in (tables.README, tables.FIGURES):
        page.write_text("<!-- presets -->\n<!-- /presets -->")
    tables.write_presets()
    short, full = tables.README.read_text(), tables.FIGURES.read_text()
    title = "Sprites, 8 × 8"
    distance = "1.5, over `none`"  # the name of its features, which are not the usual ones
    assert f"| plain | {title} | none | {distance} | MIT |" in short
    assert f"MIT |\n| conditional | {title} | 10 | {distance} |" in short
    assert f"| plain | GAN | sprites | none | {epochs} | none | 1.5 ± 0.1 |" in full
    assert f"| conditional | GAN | sprites | 10 | {epochs} | none | 1.5 ± 0.1 |" in full
    peers = full.partition("Unconditional models")[2]
    assert "conditional |" not in peers
    assert "| torch_dcgan | PyTorch | fashion_mnist | 10 | 19.48 |" in peers
    assert "| dcgan | this project | fashion_mnist | 10 | 17.34 |" in peers
    assert (tmp_path / "plain" / "README.md").read_text().startswith("---\nlicense")
    assert [preset.num_classes for preset in list_pretrained()] == [10, 0]
