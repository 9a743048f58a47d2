"""The public names: lazy, there, and nothing else; and `zoo.load`."""

from __future__ import annotations

import ast
import pkgutil
import pydoc
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import zoo
from zoo.core import model_files

if TYPE_CHECKING:
    from collections.abc import Callable

FROZEN = Path(__file__).parent / "frozen_preset" / "dcgan"
SHAPE = (8, 8, 1)


@pytest.mark.parametrize("name", ["zoo", "zoo.gan", "zoo.vae"])
def test_all_names_are_there_and_no_others(name: str) -> None:
    package = import_module(name)
    assert dir(package) == sorted(package.__all__)
    for each in package.__all__:
        assert getattr(package, each) is not None
    with pytest.raises(AttributeError, match=f"module {name!r} has no attribute 'no_such_name'"):
        _ = package.no_such_name


@pytest.mark.parametrize("family", model_files.FAMILIES)
def test_every_model_is_a_class_of_its_family(family: str) -> None:
    package = import_module(f"zoo.{family}")
    models = {getattr(package, name).model_name for name in dir(package) if name[:4] != "Base"}
    assert models == set(zoo.list_models(family))
    assert all(getattr(package, name).__name__ == name for name in dir(package))


@pytest.mark.parametrize("name", ["zoo", "zoo.gan", "zoo.vae"])
def test_editors_see_the_names_that_are_there(name: str) -> None:
    """By the imports under TYPE_CHECKING, which never run: they lead to the same objects."""
    package = import_module(name)
    tree = ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8"))
    seen = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            for imported in node.body:
                assert isinstance(imported, ast.ImportFrom)
                for alias in imported.names:
                    home = import_module(str(imported.module))
                    seen[alias.name] = getattr(home, alias.name)
    lazy = {each for each in package.__all__ if each not in ("create", "list_models")}
    assert seen.keys() == lazy - {"register_model"}
    assert all(getattr(package, each) is thing for each, thing in seen.items())


@pytest.mark.parametrize("name", ["zoo.evaluation", "zoo.sampling"])
def test_rooms_show_what_they_offer(name: str) -> None:
    room = import_module(name)
    assert len(dir(room)) > 2
    assert all(getattr(room, each).__name__ == each for each in dir(room))
    with pytest.raises(AttributeError, match=f"module {name!r} has no attribute 'no_such_name'"):
        _ = room.no_such_name


def test_a_lazy_name_is_no_file_of_its_room() -> None:
    """An import of a file `train.py` would put itself in the place of the function `train`."""
    rooms = [room for name in dir(zoo) if hasattr(room := getattr(zoo, name), "__path__")]
    lazy = [room for room in (zoo, *rooms) if hasattr(room, "_HOMES")]
    assert {zoo, zoo.training} <= {*lazy}
    for room in lazy:
        for file in {each.name for each in pkgutil.iter_modules(room.__path__)} & {*room._HOMES}:
            assert room._HOMES[file] == f"{room.__name__}.{file}"  # the module itself
    assert zoo.training.train is zoo.train


def test_importing_is_cheap() -> None:
    code = (
        "import sys, zoo, zoo.gan, zoo.vae, zoo.hub\n"
        "dir(zoo), dir(zoo.gan), zoo.list_models(), zoo.list_pretrained('*')\n"
        "from zoo.core.registry import describe_options\n"
        "[describe_options(name) for name in zoo.list_models()]\n"
        "heavy = ('tensorflow', 'keras', 'sklearn', 'scipy', 'onnx', 'typer')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "print(sorted(n for n in vars(zoo) if n in ('TYPE_CHECKING', 'numpy') and n in dir(zoo)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]
    # What reads exports and runs, as `zoo info` does, takes no TensorFlow.
    code = "import sys; from export import read_export, read_report; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    code = "import sys, zoo; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_class_makes_the_model_that_its_name_makes() -> None:
    model = zoo.gan.DCGAN(image_shape=SHAPE, latent_dim=2, network="mlp")
    assert type(model) is type(zoo.create("dcgan", SHAPE, 2, network="mlp"))


@pytest.mark.parametrize("name", ["zoo", "zoo.gan"])
def test_help_shows_the_public_names(name: str) -> None:
    package = import_module(name)
    text = pydoc.plain(pydoc.render_doc(package))
    for each in package.__all__:
        assert re.search(rf"^    (class )?{each}\b", text, re.MULTILINE), each
    for hidden in ("TYPE_CHECKING", "import_module", "turn_on_onednn", "_HOMES", "_MODULES"):
        assert not re.search(rf"^    {hidden}\b", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda _: zoo.load_run(None), "path"),
        (lambda _: zoo.resume(None, epochs=1), "run"),
        (lambda model: zoo.verify(None, model), "path"),
        (lambda model: zoo.export_model(model, None), "path"),
        (lambda model: zoo.train(model, "fashion_mnist_sample", None, epochs=1), "out"),
    ],
)
def test_what_is_no_path_is_refused(call: Callable[[Any], Any], argument: str) -> None:
    model = zoo.create("dcgan", SHAPE, 2, network="mlp")
    with pytest.raises(TypeError, match=f"{argument}=None: expected a path, as str or Path"):
        call(model)


@pytest.mark.parametrize("function", [zoo.evaluate, zoo.fit_sampler, zoo.save_preset])
def test_what_is_no_model_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="model=None: expected a model"):
        function(None, "fashion_mnist_sample")


# zoo.load


def test_load_takes_presets_by_folder_and_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert zoo.load(FROZEN).step == 9
    assert zoo.load("vae_fashion_mnist").model_name == "vae"
    monkeypatch.chdir(FROZEN.parent)
    assert zoo.load("dcgan").step == 9  # no preset has that name, but a folder has it
    with pytest.raises(ValueError, match="sha256 is given"):
        zoo.load("dcgan", sha256="0" * 64)


def test_load_takes_runs_and_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.training.runs import save_run

    model = zoo.create("dcgan", SHAPE, 2, network="mlp")
    model.compile()
    save_run(model, tmp_path / "run", {"data": "fashion_mnist_sample"})
    monkeypatch.chdir(tmp_path / "run")
    for handle in (tmp_path / "run", str(tmp_path / "run"), "model.keras", "."):
        loaded = zoo.load(handle)
        assert (loaded.model_name, loaded.compiled) == ("dcgan", True)
    with pytest.raises(FileNotFoundError, match=r"best.keras does not exist"):
        zoo.load("./best.keras")


def test_load_says_what_it_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "lone.keras").write_bytes(b"x")
    expected = r"Expected a run folder, a checkpoint .* a preset, hf://org/repo, or https://"
    for handle, fault in (
        ("runs/vae", "runs/vae does not exist"),
        (tmp_path / "gone", "gone does not exist"),
        ("empty", "empty is no run, no checkpoint and no preset"),
    ):
        with pytest.raises(FileNotFoundError, match=f"{fault}. {expected}"):
            zoo.load(handle)
    with pytest.raises(FileNotFoundError, match=r"lone.keras is in no run folder. .*load_model"):
        zoo.load("lone.keras")
    with pytest.raises(ValueError, match=r"'vae_fashion_mnits'. Did you mean vae_fashion_mnist"):
        zoo.load("vae_fashion_mnits")
    with pytest.raises(ValueError, match="There is no file or folder of that name either"):
        zoo.load("nothing_of_the_kind")
    with pytest.raises(ValueError, match="expected hf://org/repo"):
        zoo.load("hf://nonsense")
