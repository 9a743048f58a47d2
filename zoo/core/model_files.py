"""What the files of the models say, read without importing them.

One file in `zoo/vae/` or `zoo/gan/` is one model. A file whose name opens with an underscore is
none, nor is `base.py`.
"""

from __future__ import annotations

import ast
import functools
import inspect
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FAMILIES = ("vae", "gan")
ROOT = Path(__file__).parents[1]


class ModelFile(NamedTuple):
    """The file of a model."""

    family: str
    name: str
    path: Path


class Option(NamedTuple):
    """An option of a model."""

    name: str
    default: str | None  # as Python text; None: it must be given
    meaning: str  # one paragraph


class Level(NamedTuple):
    """What one class of a model, or of its bases, says of options."""

    defaults: dict[str, str | None]  # of its constructor's arguments
    meanings: dict[str, str]  # from the Args of its docstring


# As of any Keras model: no class of the zoo has a text of its own for them.
OF_KERAS = Level(
    {"name": "None", "dtype": "None"},
    {
        "name": "Name of the Keras model; None makes one of the class's.",
        "dtype": "float32, mixed_bfloat16 or mixed_float16; None takes Keras's own setting. "
        "Weights, output layers, losses and penalties are float32 under each.",
    },
)


def model_files() -> list[ModelFile]:
    """The file of each model, VAEs first, sorted by name."""
    return [
        ModelFile(family, module.name, ROOT / family / f"{module.name}.py")
        for family in FAMILIES
        for module in pkgutil.iter_modules([str(ROOT / family)])
        if module.name != "base" and not module.name.startswith("_")
    ]


def summary(path: Path) -> str:
    """The first line of a file's docstring: what the model is, and its paper."""
    with path.open(encoding="utf-8") as file:  # to parse every model's file takes 0.1 s
        return file.readline().strip().strip('"')


def class_name(path: Path) -> str:
    """The name of the class that a model's file registers."""
    return next(
        node.name
        for node in _parse(path).body
        if isinstance(node, ast.ClassDef)
        and any("register_model" in ast.dump(decorator) for decorator in node.decorator_list)
    )


def classes(family: str) -> dict[str, str]:
    """The module of each public class of a family: of its models, and of their base.

    Args:
        family: `"vae"` or `"gan"`.
    """
    names = {class_name(file.path): file.name for file in model_files() if file.family == family}
    return dict(sorted({**names, f"Base{family.upper()}": "base"}.items()))


def levels_of_file(file: ModelFile) -> list[Level]:
    """What the class of a file and its bases say of their options, the class first."""
    module = f"zoo.{file.family}.{file.name}"
    return [_level_of_node(node) for node in _lineage(module, class_name(file.path))]


def levels_of_class(cls: type) -> list[Level]:
    """As `levels_of_file`, of a class without a file here: one of the user's own."""
    return [
        Level(_defaults(base), _meanings(vars(base).get("__doc__") or ""))
        for base in cls.__mro__
        if hasattr(base, "model_name") or base.__module__.startswith("zoo.")
    ]


def options(levels: Iterable[Level]) -> list[Option]:
    """Each option once, those of the class before those of its bases.

    The default is the one in the class nearest to the model, and so is the meaning: a class may
    change a default and leave the meaning to its base.
    """
    defaults: dict[str, str | None] = {}
    meanings: dict[str, str] = {}
    for level in (*levels, OF_KERAS):
        for option, default in level.defaults.items():
            defaults.setdefault(option, default)
        meanings = {**level.meanings, **meanings}
    return [Option(name, value, meanings.get(name, "")) for name, value in defaults.items()]


def _lineage(module: str, name: str) -> Iterator[ast.ClassDef]:
    """A class of the zoo and its bases in the zoo, as far as the files' imports lead."""
    for node in _parse(_path(module)).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield node
            for base in node.bases:
                if isinstance(base, ast.Name):
                    yield from _lineage(module, base.id)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zoo."):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    yield from _lineage(str(node.module), alias.name)


def _path(module: str) -> Path:
    path = ROOT.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _level_of_node(node: ast.ClassDef) -> Level:
    constructor = [f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"]
    defaults: dict[str, str | None] = {}
    for function in constructor:
        arguments = function.args
        given = [None] * (len(arguments.args) - len(arguments.defaults))
        pairs = [
            *zip(arguments.args, [*given, *arguments.defaults], strict=True),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
        for argument, default in pairs[1:]:  # without self
            defaults[argument.arg] = None if default is None else ast.unparse(default)
    return Level(defaults, _meanings(ast.get_docstring(node) or ""))


def _defaults(cls: type) -> dict[str, str | None]:
    parameters = inspect.signature(vars(cls).get("__init__", object)).parameters.values()
    return {
        each.name: None if each.default is each.empty else repr(each.default)
        for each in parameters
        if each.name != "self" and each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)
    }


def _meanings(docstring: str) -> dict[str, str]:
    """The paragraph of each argument in a docstring of Google's form."""
    meanings: dict[str, str] = {}
    name = ""
    _, _, section = f"\n{inspect.cleandoc(docstring)}".partition("\nArgs:\n")
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break  # the next section
        entry = re.match(r" {4}(\*{0,2}\w+): (.*)", line)
        if entry:
            name, meanings[entry[1]] = entry[1], entry[2]
        elif line:
            meanings[name] += f" {line.strip()}"
    return {name: text for name, text in meanings.items() if not name.startswith("*")}
