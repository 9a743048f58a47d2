"""The house: folders and layers, no circles of imports, files and functions that one can hold."""

from __future__ import annotations

import ast
import importlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import grimp
import networkx as nx
import yaml

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]
FILES = sorted(file for room in ("zoo", "export") for file in (ROOT / room).rglob("*.py"))
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAX_LINES = 450
MAX_FUNCTION_LINES = 90
# Commands, whose signature is one long table of options, each with its help.
TABLES = ("zoo/cli/train.py:train", "zoo/cli/convert.py:convert", "zoo/training/loop.py:train")
_OF_A = re.compile(r"(?:^|[.;:|] )Of (?:a|an|the) [^.\n]{0,40}", re.MULTILINE)


def _name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def test_zoo_holds_folders() -> None:
    loose = {file.name for file in (ROOT / "zoo").glob("*.py")}
    assert loose == {"__init__.py", "__main__.py"}


def test_tests_mirror_the_packages() -> None:
    rooms = {
        folder.name for folder in (ROOT / "zoo").iterdir() if (folder / "__init__.py").exists()
    }
    tested = {file.parent.name for file in (ROOT / "tests").glob("*/test_*.py")}
    assert tested == {*rooms, "export", "conformance"}


def test_every_room_has_a_layer() -> None:
    """import-linter takes no note of a room that the contract does not name."""
    config = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = config.partition("layers = [")[2].partition("]")[0]
    named = set(re.findall(r"[\w.]+", layers))
    children = grimp.build_graph("zoo", cache_dir=None).find_children("zoo")
    assert named == {*children, "export"}


def test_no_circle_of_imports() -> None:
    """Imports within functions count; those for type checkers alone do not."""
    graph = grimp.build_graph("zoo", "export", exclude_type_checking_imports=True, cache_dir=None)
    arrows = nx.DiGraph(
        (file, imported)
        for file in graph.modules
        for imported in graph.find_modules_directly_imported_by(file)
    )
    assert arrows.number_of_edges() > 400
    circles = [sorted(c) for c in nx.strongly_connected_components(arrows) if len(c) > 1]
    assert not circles


def test_tests_share_helpers_by_support() -> None:
    """A test file imports from no other test file."""
    files = [file for file in (ROOT / "tests").rglob("*.py") if file.parent.name != "servers"]
    imported = {
        _name(file): node.module
        for file in files
        for node in ast.walk(_parsed(file))
        if isinstance(node, ast.ImportFrom) and ".test_" in (node.module or "")
    }
    assert not imported


def test_benchmarks_and_examples_import_what_is_there() -> None:
    """The type checker does not see them, and no fast test runs them all."""
    files = [file for room in ("benchmarks", "examples") for file in (ROOT / room).rglob("*.py")]
    imports = [
        (_name(file), importlib.import_module(node.module), name.name)
        for file in files
        for node in ast.walk(_parsed(file))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").partition(".")[0] in ("zoo", "export")
        for name in node.names
    ]
    assert len(imports) > 80

    def there(module: ModuleType, name: str) -> bool:
        if hasattr(module, name):
            return True
        return hasattr(module, "__path__") and bool(find_spec(f"{module.__name__}.{name}"))

    missing = [
        f"{file}: from {module.__name__} import {name}"
        for file, module, name in imports
        if not there(module, name)
    ]
    assert not missing


def test_files_are_short() -> None:
    lines = {_name(file): file.read_text(encoding="utf-8").count("\n") for file in FILES}
    long = {name: n for name, n in lines.items() if n > MAX_LINES}
    assert not long, f"over {MAX_LINES} lines"


def test_functions_are_short() -> None:
    lines = {
        f"{_name(file)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for file in FILES
        for node in ast.walk(_parsed(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    long = {name: n for name, n in lines.items() if n > MAX_FUNCTION_LINES and name not in TABLES}
    assert not long, f"over {MAX_FUNCTION_LINES} lines"


def _texts(file: Path) -> list[str]:
    """The prose of a document; the docstrings, help texts and messages of a source file."""
    if file.suffix == ".md":
        return [file.read_text(encoding="utf-8")]
    constants = (node for node in ast.walk(_parsed(file)) if isinstance(node, ast.Constant))
    return [node.value for node in constants if isinstance(node.value, str)]


def test_sentences_open_with_their_subject() -> None:
    """Not with "Of a GAN: …"."""
    openings = {
        _name(file): [opening for text in _texts(file) for opening in _OF_A.findall(text)]
        for file in (*DOCS, *FILES)
    }
    assert not {name: texts for name, texts in openings.items() if texts}


def test_hooks_run_what_ci_runs() -> None:
    """Before a commit `make lint`, line by line; before a push `make test`."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    lint = recipe[1].replace("$(BIN)", ".venv/bin").split("\n\t")
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    assert hooks == [*(line.strip() for line in lint), "make test"]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in ci if line.startswith("make ")] == ["make lint", "make test"]
