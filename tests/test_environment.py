"""What the processor and the user's settings may not change."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest

from zoo import environment, launch
from zoo.environment import ONEDNN


def run(code: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """Runs code with environment variables set, or of value None, absent."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", **variables}
    env = {name: value for name, value in env.items() if value is not None}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)


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


@pytest.mark.parametrize("module", ["zoo", "zoo.cli", "zoo.data", "export", "zoo.training.train"])
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
    shown = "from zoo.environment import onednn_is_on; print(onednn_is_on())"
    assert run(f"import zoo, keras; {shown}", **{ONEDNN: None}).stdout.strip() == "True"
    assert run(f"import zoo, keras; {shown}", **{ONEDNN: "0"}).stdout.strip() == "False"
    # As on a processor where TensorFlow leaves it off by itself.
    late = f"import os, keras; del os.environ['{ONEDNN}']; import zoo; {shown}"
    done = run(late, **{ONEDNN: "0"})
    assert done.stdout.strip() == "False"
    assert done.stderr.count("Import zoo before TensorFlow") == 1
