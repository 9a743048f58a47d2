"""What the processor and the user's settings may not change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import keras
import pytest

import zoo
from zoo.core import environment, onednn_faults, registry
from zoo.core.environment import ONEDNN
from zoo.training import launch


def run(code: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """Runs code with environment variables set, or of value None, absent."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", **variables}
    env = {name: value for name, value in env.items() if value is not None}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ONEDNN, "")  # so that what the function sets is taken back
    monkeypatch.delenv(ONEDNN)
    monkeypatch.setattr(environment.platform, "machine", lambda: "x86_64")


# oneDNN


@pytest.mark.parametrize(
    ("machine", "given", "wanted"),
    [
        ("x86_64", None, "1"),
        ("AMD64", None, "1"),  # Windows
        ("x86_64", "0", "0"),
        ("arm64", None, None),
    ],
)
@pytest.mark.usefixtures("unset")
def test_onednn_is_on_unless_the_user_decided(
    monkeypatch: pytest.MonkeyPatch, machine: str, given: str | None, wanted: str | None
) -> None:
    monkeypatch.setattr(environment.platform, "machine", lambda: machine)
    monkeypatch.delitem(sys.modules, "tensorflow")
    if given is not None:
        monkeypatch.setenv(ONEDNN, given)
    environment.turn_on_onednn()
    assert os.environ.get(ONEDNN) == wanted


@pytest.mark.parametrize(
    ("channels", "options", "on", "refused"),
    [
        (3, {"strides": 2}, True, True),
        (15, {"strides": (1, 2)}, True, True),
        (3, {"strides": 2}, False, False),
        (16, {"strides": 2}, True, False),
        (3, {"strides": 1}, True, False),
        (3, {"strides": 2, "trainable": False}, True, False),
    ],
)
def test_convolutions_with_wrong_gradients_are_refused(
    monkeypatch: pytest.MonkeyPatch, channels: int, options: dict[str, Any], on: bool, refused: bool
) -> None:
    """They were seen to be off by more than their size (oneDNN's issue 6035)."""
    monkeypatch.setattr(onednn_faults, "onednn_is_on", lambda: on)
    layers = [keras.layers.Conv2D(4, 1, name="thin", **options), keras.layers.Flatten()]
    within = keras.Sequential([keras.Input((8, 8, channels)), *layers])
    head = keras.Sequential([keras.Input((8, 8, channels)), within, keras.layers.Dense(1)])
    model = zoo.create("dcgan", (8, 8, channels), 2, network="mlp", discriminator=head)
    if refused:
        with pytest.raises(ValueError, match="thin: oneDNN computes wrong gradients"):
            model.compile()
    else:
        model.compile()


@pytest.mark.usefixtures("unset")
def test_says_so_where_tensorflow_came_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "onednn_is_on", lambda: False)
    with pytest.warns(UserWarning, match="Import zoo before TensorFlow.*TF_ENABLE_ONEDNN_OPTS=1"):
        environment.turn_on_onednn()
    assert os.environ[ONEDNN] == "1"  # for processes that this one starts
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        environment.turn_on_onednn()  # it is said once


@pytest.mark.usefixtures("unset")
def test_says_nothing_where_tensorflow_turned_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "onednn_is_on", lambda: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        environment.turn_on_onednn()


@pytest.mark.skipif(
    environment.platform.machine().lower() not in environment.X86_64, reason="has no oneDNN"
)
def test_these_tests_run_as_the_user_decided() -> None:
    assert environment.onednn_is_on() == (os.environ[ONEDNN] not in ("0", "false"))


@pytest.mark.parametrize("module", ["zoo", "zoo.cli", "zoo.data", "export", "zoo.training.loop"])
def test_no_module_imports_tensorflow_first(module: str) -> None:
    """With a TensorFlow that says what it finds and goes no further, for time's sake."""
    code = f"""
import os, sys
from importlib.abc import MetaPathFinder
class Finder(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras"):
            print(os.environ.get("{ONEDNN}"))
            sys.stdout.flush()
            os._exit(0)
sys.meta_path.insert(0, Finder())
import {module}
print(os.environ.get("{ONEDNN}"))
"""
    assert run(code, **{ONEDNN: None}).stdout == "1\n"


def test_workers_inherit_it(capsys: pytest.CaptureFixture[str]) -> None:
    code = f"import os; print('found', os.environ['{ONEDNN}'])"
    assert launch.launch(2, [sys.executable, "-c", code]) == 0
    assert capsys.readouterr().out.count(f"found {os.environ[ONEDNN]}") == 2


@pytest.mark.slow
def test_onednn_in_new_processes() -> None:
    shown = "from zoo.core.environment import onednn_is_on; print(onednn_is_on())"
    assert run(f"import zoo, keras; {shown}", **{ONEDNN: None}).stdout.strip() == "True"
    assert run(f"import zoo, keras; {shown}", **{ONEDNN: "0"}).stdout.strip() == "False"
    # As on a processor where TensorFlow leaves it off by itself.
    late = f"import os, keras; del os.environ['{ONEDNN}']; import zoo; {shown}"
    done = run(late, **{ONEDNN: "0"})
    assert done.stdout.strip() == "False"
    assert done.stderr.count("Import zoo before TensorFlow") == 1


# Keras's settings


@pytest.mark.parametrize("floatx", ["float64", "float16"])
def test_another_floatx_is_refused(monkeypatch: pytest.MonkeyPatch, floatx: str) -> None:
    """`fit` casts images to it, and losses would mix it with float32."""
    monkeypatch.setattr(keras.config, "floatx", lambda: floatx)
    with pytest.raises(ValueError, match=f"floatx is '{floatx}'.*need 'float32'.*keras.json"):
        zoo.create("vae", (8, 8, 1), 3, network="mlp", dtype="float32")


# Keras's backend

SENTENCE = (
    "Keras's backend is 'jax', but the models of the zoo need 'tensorflow': set KERAS_BACKEND="
)


@pytest.mark.parametrize("code", ["import zoo, keras", "import zoo; zoo.networks.build('mlp', '')"])
@pytest.mark.parametrize("by", ["variable", "file"])
def test_another_backend_is_refused(code: str, by: str, tmp_path: Path) -> None:
    """In one sentence, before anything heavy is imported, by whichever way Keras is asked for."""
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    variables = {"KERAS_BACKEND": "jax"} if by == "variable" else {"KERAS_BACKEND": None}
    done = run(code, **variables, KERAS_HOME=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {SENTENCE}tensorflow")


def test_the_variable_counts_more_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Keras itself."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "keras")
    for text in ('{"backend": "jax"}', "{", "[]"):
        (tmp_path / "keras.json").write_text(text)
        monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
        environment.check_backend()
    monkeypatch.delenv("KERAS_BACKEND")
    environment.check_backend()  # "[]": Keras takes TensorFlow
    (tmp_path / "keras.json").unlink()
    environment.check_backend()


def test_a_backend_in_use_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Keras was imported first."""
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ImportError, match=SENTENCE):
        registry.import_models_with_keras()


def test_the_command_says_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from zoo.cli import main

    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    monkeypatch.setattr(registry, "describe_models", environment.check_backend)
    with pytest.raises(SystemExit) as stop:
        main(["list"])
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f"Error: {SENTENCE}")
    assert "Traceback" not in error


@pytest.mark.slow
def test_the_command_under_another_backend() -> None:
    done = run("from zoo.cli import main; main(['sample', 'nowhere'])", KERAS_BACKEND="jax")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"Error: {SENTENCE}tensorflow")
    assert "Traceback" not in done.stderr
