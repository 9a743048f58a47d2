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

import numpy as np
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


def test_what_has_a_name_in_zoo_has_no_second_one_in_its_room() -> None:
    assert not {*dir(zoo)} & {*dir(zoo.training)}


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


# What takes a path or a model, with the name of the argument; its other arguments are right.
PATHS: dict[str, Callable[[Any, Any], Any]] = {
    "run doctor": lambda x, _: zoo.doctor(x),
    "path load_run": lambda x, _: zoo.load_run(x),
    "run resume": lambda x, _: zoo.resume(x, epochs=1),
    "path verify": zoo.verify,
    "path export_model": lambda x, model: zoo.export_model(model, x),
    "folder import_model": lambda x, _: zoo.import_model(
        FROZEN.parents[1] / "frozen_autoencoder", x
    ),
    "folder save_preset": lambda x, model: zoo.save_preset(model, x),
    "out train": lambda x, model: zoo.train(model, "fashion_mnist_sample", x, epochs=1),
    "run convert_run": lambda x, _: zoo.convert.convert_run(x, "vae", "new"),
    "path load_file": lambda x, _: zoo.convert.load_file(x),
}
HANDLES: dict[str, Callable[[Any, Any], Any]] = {
    "load": lambda x, _: zoo.load(x),
    "load_pretrained": lambda x, _: zoo.load_pretrained(x),
    "import_model": lambda x, _: zoo.import_model(x, "new"),
    "finetune": lambda x, _: zoo.finetune(x, "fashion_mnist_sample"),
}
MODELS: dict[str, Callable[[Any, Any], Any]] = {
    "model evaluate": lambda x, _: zoo.evaluate(x, "fashion_mnist_sample"),
    "model fit_sampler": lambda x, _: zoo.fit_sampler(x, np.zeros((9, 8, 8, 1))),
    "model save_preset": lambda x, _: zoo.save_preset(x, "new"),
    "model standing_statistics": lambda x, _: zoo.standing_statistics(x, 2),
    "model train": lambda x, _: zoo.train(x, "fashion_mnist_sample", "new", epochs=1),
    "model fold_batch_norm": lambda x, _: zoo.convert.fold_batch_norm(x),
    "model in_float32": lambda x, _: zoo.convert.in_float32(x),
    "model in_float64": lambda x, _: zoo.convert.in_float64(x),
    "vae vae_to_gan": lambda x, _: zoo.convert.vae_to_gan(x),
    "model export_model": lambda x, _: zoo.export_model(x, "new"),
    "gan gan_to_vae": lambda x, _: zoo.convert.gan_to_vae(x or None),  # "" is a path there
}


@pytest.fixture(scope="module")
def gan() -> Any:
    return zoo.create("dcgan", SHAPE, 2, network="mlp")


@pytest.mark.parametrize("value", [None, 3, ""])
@pytest.mark.parametrize("kind", ["path", "handle", "model"])
def test_what_is_no_path_or_model_is_answered_in_a_sentence(
    kind: str, value: Any, gan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the argument, its value and what was expected. Nothing is written."""
    monkeypatch.chdir(tmp_path)
    calls = {"path": PATHS, "handle": HANDLES, "model": MODELS}[kind]
    for name, call in calls.items():
        argument = "The handle of a model is " if kind == "handle" else f"{name.split()[0]}="
        wrong = (None if name == "gan gan_to_vae" else "") if value == "" else value
        with pytest.raises((TypeError, ValueError)) as error:
            call(value, gan)
        text = str(error.value)
        assert text.startswith(f"{argument}{wrong!r}"), (name, text)
        assert "xpected a" in text, (name, text)
    assert not [*tmp_path.iterdir()]


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
