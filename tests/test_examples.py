"""Every public name has an `Example:` in its docstring, and every example gives what it says.

An example begins with nothing but Python, in an empty folder, and imports what it needs.
"""

from __future__ import annotations

import doctest
import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from zoo.core import registry
from zoo.metrics import features

ROOMS = (
    *("zoo", "zoo.gan", "zoo.vae", "zoo.core", "zoo.losses", "zoo.metrics", "zoo.layers"),
    *("zoo.networks", "zoo.data", "zoo.training", "zoo.sampling", "zoo.convert"),
    *("zoo.evaluation", "zoo.hub", "zoo.presets", "export"),
)
# Of the core, what those use who write a model; the rest of it is for the models here.
CORE = {
    "zoo.core.adam": ["Adam"],
    "zoo.core.contracts": ["check_values", "range_of", "unchecked"],
    "zoo.core.model": ["EndpointSpec", "ZooModel"],
    "zoo.core.network_tools": ["check_network", "copy_network", "with_labels"],
    "zoo.core.registry": ["describe_models", "describe_options"],
    "zoo.core.replicas": [
        *("all_reduce_sum", "draw_for_replica", "global_count", "global_mean", "in_turn"),
        *("on_each_replica", "on_global_batch"),
    ],
    "zoo.core.replicated_step": ["Player"],
}
# Their examples are not run: one needs a network, and one writes into the package.
NOT_RUN = {"zoo.hub.push", "zoo.hub.write_registry"}


def _public(room: str) -> dict[str, Any]:
    """The functions and classes of a room: what `__all__` lists, or else what its files define."""
    if room == "zoo.core":
        return {
            f"{module}.{name}": getattr(import_module(module), name)
            for module, names in CORE.items()
            for name in names
        }
    package = import_module(room)
    names = getattr(package, "__all__", None)
    if names is not None:
        things = {f"{room}.{name}": getattr(package, name) for name in names}
    else:
        things = {f"{m.__name__}.{k}": v for m in _files(package) for k, v in _defined(m)}
    return {name: thing for name, thing in things.items() if inspect.isroutine(thing) or
            inspect.isclass(thing)}  # fmt: skip


def _files(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not module.name.rpartition(".")[2].startswith("_"):
            yield import_module(module.name)


def _defined(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, thing in vars(module).items():
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__:
            yield name, thing


def _of_another_room(thing: Any, room: str) -> bool:
    """Whether an object of `zoo` is tested in the room that it comes from."""
    home = ".".join(thing.__module__.split(".")[:2]).removesuffix(".__init__")
    if room != "zoo" or home not in ROOMS or home == room:
        return False
    return any(each is thing for each in _public(home).values())


def _examples(name: str, thing: Any) -> list[doctest.DocTest]:
    """The examples of a function, or of a class and its methods."""
    found = doctest.DocTestFinder(exclude_empty=True).find(thing, name, globs={})
    return [test for test in found if test.examples]


def _runs(example: doctest.Example) -> bool:
    """Whether an example does something, and does it in this test."""
    imports = example.source.startswith(("import ", "from "))
    return not imports and not example.options.get(doctest.SKIP)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_an_example(room: str) -> None:
    without = []
    for name, thing in _public(room).items():
        own = [test for test in _examples(name, thing) if test.name == name]
        if not any(_runs(example) or name in NOT_RUN for test in own for example in test.examples):
            without.append(name)
    assert not without, f"no runnable `Example:` in the docstrings of {', '.join(without)}"


# What `help(zoo)` shows, and rooms whose examples are quick.
FAST = ("zoo", "zoo.core", "zoo.data", "zoo.layers", "zoo.losses", "zoo.training")


@pytest.mark.parametrize(
    "room",
    [room if room in FAST else pytest.param(room, marks=pytest.mark.slow) for room in ROOMS],
)
def test_examples_give_what_they_say(
    room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What an example registers is forgotten with it.
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    monkeypatch.setattr(features, "_factories", dict(features._factories))
    tests = doctest.DocTestFinder(recurse=False).find(import_module(room), room, globs={})
    for name, thing in _public(room).items():
        if not _of_another_room(thing, room):
            tests += _examples(name, thing)
    _run(tests, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("package", ["zoo", "export"])
def test_examples_of_all_files_give_what_they_say(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of functions that are not public too; these may use what their file imports."""
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    monkeypatch.setattr(features, "_factories", dict(features._factories))
    tests: list[doctest.DocTest] = []
    for file in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
        if not file.name.endswith("__main__"):  # which is the command
            module = import_module(file.name)
            tests += doctest.DocTestFinder(exclude_empty=True).find(module)
    not_run = {name.rpartition(".")[2] for name in NOT_RUN}
    tests = [test for test in tests if test.name.rpartition(".")[2] not in not_run]
    assert len(tests) > 40
    _run(tests, tmp_path, monkeypatch)


def _run(tests: list[doctest.DocTest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in an empty folder."""
    faults: list[str] = []
    for number, test in enumerate(tests):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        runner.run(test, out=faults.append)
    assert not faults, "".join(faults)
