"""Whatever a user gets wrong, a command ends with a sentence and an exit status."""

from __future__ import annotations

import errno
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.support.odd_names import ODD
from zoo.cli import app, console, faults, main, options
from zoo.io import names
from zoo.training import launch

if TYPE_CHECKING:
    from collections.abc import Callable

# Each command with a RUN that may be wrong; OUT does not exist.
COMMANDS: dict[str, list[str]] = {
    "list": ["RUN"],
    "train": ["RUN"],
    "launch": ["2", "RUN"],
    "info": ["RUN"],
    "sample": ["RUN", "--n", "2", "--out", "OUT.npy"],
    "interpolate": ["RUN", "--rows", "1", "--steps", "2", "--out", "OUT.npy"],
    "evaluate": ["RUN", "--extractor", "none"],
    "neighbours": ["RUN", "--out", "OUT.png"],
    "convert": ["RUN", "--to", "gan", "--dry-run"],
    "export": ["RUN", "--out", "OUT"],
    "verify": ["EXPORT", "--against", "RUN"],
    "serve": ["RUN", "--port", "0"],
    "bench": ["--pretrained", "RUN"],
    "push": ["RUN", "hf://nonsense"],
    "import": ["RUN", "--out", "OUT"],
    "report": ["RUN", "--out", "OUT.html"],
    "doctor": ["RUN"],
    "sweep": ["RUN", "--out", "OUT"],
    "stats": ["RUN", "--out", "OUT.npz"],
    "train-classifier": ["RUN", "--out", "OUT"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a run of a VAE and an export of it; nothing here may change them."""
    root = tmp_path_factory.mktemp("errors")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    np.savez(root / "data.npz", x_train=pixels, x_test=pixels[:10])
    _ends(
        0, "train", "vae", "--data", root / "data.npz", "--out", root / "run", "--epochs", 1,
        "--batch-size", 20, "--latent-dim", 3, "--network", "mlp",
    )  # fmt: skip
    _ends(0, "export", root / "run", "--out", root / "export", "--function", "generate")
    return root


def _ends(status: int, *arguments: object) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == status


def _wrong(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """What a command says on standard error, which must be a sentence."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert stop.value.code in (1, 2), (arguments, printed)
    assert "Traceback" not in printed.out + printed.err, printed
    assert "fault of the program" not in printed.err, (arguments, printed.err)
    assert printed.err.strip(), arguments
    return printed.err


# Wrong runs


def _config(run: Path) -> dict[str, Any]:
    return json.loads((run / "config.json").read_text())


def _replaced(name: str, content: bytes | Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        whole = (run / name).read_bytes()
        (run / name).write_bytes(content(whole) if callable(content) else content)

    return change


def _edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edit(run: Path) -> None:
        config = _config(run)
        change(config)
        (run / "config.json").write_text(json.dumps(config))

    return edit


def _flipped(whole: bytes) -> bytes:
    """With the middle of it damaged."""
    middle = len(whole) // 2
    return whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 64]) + whole[
        middle + 64 :
    ]  # fmt: skip


def _of_run(change: Callable[[Path], None]) -> Callable[[Path, Path], None]:
    def make(path: Path, run: Path) -> None:
        shutil.copytree(run, path)
        change(path)

    return make


WRONG_RUNS: dict[str, Callable[[Path, Path], Any]] = {
    "missing": lambda path, run: None,
    "file for a folder": lambda path, run: path.write_text("no run"),
    "empty folder": lambda path, run: path.mkdir(),
    "empty config.json": _of_run(_replaced("config.json", b"")),
    "config.json cut short": _of_run(_replaced("config.json", lambda whole: whole[:40])),
    "binary config.json": _of_run(_replaced("config.json", b"\xff\xfe\x00\x80" * 20)),
    "config.json of another kind": _of_run(_replaced("config.json", b"[1]")),
    "deep config.json": _of_run(_replaced("config.json", b"[" * 5000 + b"]" * 5000)),
    "config.json without a model": _of_run(_edited(lambda config: config.pop("model"))),
    "config.json with a seed of Infinity": _of_run(
        _edited(lambda config: config.update(seed=1e999))
    ),
    "config.json with a huge number": _of_run(
        _replaced(
            "config.json", lambda whole: whole.replace(b'"seed": 0', b'"seed": ' + b"9" * 5000)
        )
    ),
    "empty model.keras": _of_run(_replaced("model.keras", b"")),
    "model.keras cut short": _of_run(_replaced("model.keras", lambda whole: whole[:500])),
    "damaged model.keras": _of_run(_replaced("model.keras", _flipped)),
}
# Commands that do not read model.keras.
WITHOUT_WEIGHTS = ("info", "report")
# One that is not there, one that cannot be parsed, one whose weights are damaged; others are slow.
FAST_RUNS = ("missing", "config.json cut short", "damaged model.keras")


def test_every_command_is_tested() -> None:
    names = {each.name or each.callback.__name__ for each in app.registered_commands}  # type: ignore[union-attr]
    assert {name.replace("_", "-") for name in names} == COMMANDS.keys()


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=[] if k in FAST_RUNS else pytest.mark.slow) for k in WRONG_RUNS],
)
def test_wrong_runs(kind: str, folder: Path, tmp_path: Path, capsys) -> None:
    """In a folder whose name is full of markup."""
    run = tmp_path / ODD
    WRONG_RUNS[kind](run, folder / "run")
    words = {"RUN": str(run), "EXPORT": str(folder / "export")}
    for name, arguments in COMMANDS.items():
        if "model.keras" in kind and name in WITHOUT_WEIGHTS:
            continue
        given = [words.get(text, text.replace("OUT", str(tmp_path / "out"))) for text in arguments]
        said = _wrong(capsys, name, *given)
        if name not in ("push", "launch"):  # they find fault with another argument first
            assert str(run) in said, (name, said)
    assert not (tmp_path / "out").exists()


# Wrong data


def _damaged_npz(path: Path) -> None:
    """A member whose checksum is wrong."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x_train.npy", np.random.default_rng(0).bytes(5000))
    path.write_bytes(_flipped(path.read_bytes()))


WRONG_DATA: dict[str, Callable[[Path], Any]] = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "a folder": lambda path: path.mkdir(),
    "cut short": lambda path: path.write_bytes(path.with_name("whole.npz").read_bytes()[:900]),
    "damaged": lambda path: path.write_bytes(_flipped(path.with_name("whole.npz").read_bytes())),
    "damaged member": _damaged_npz,
    "other arrays": lambda path: np.savez(path, a=np.zeros(3)),
    "objects": lambda path: np.savez(path, x_train=np.array([{}, {}])),
}


@pytest.mark.parametrize("kind", WRONG_DATA)
def test_wrong_data(kind: str, folder: Path, tmp_path: Path, capsys) -> None:
    shutil.copy(folder / "data.npz", tmp_path / "whole.npz")
    data, out = tmp_path / "d [x] :smile:.npz", tmp_path / "out"
    WRONG_DATA[kind](data)
    for arguments in (
        ("train", "vae", "--out", out),
        ("evaluate", folder / "run", "--split", "train", "--extractor", "none"),
        ("convert", folder / "run", "--to", "gan", "--out", out),
        ("bench", "vae", "--out", out),
    ):
        assert str(data) in _wrong(capsys, *arguments, "--data", data), arguments
    assert not out.exists()


# Wrong values


@pytest.mark.parametrize(
    "arguments",
    [
        *(("sample", "run", "--n", n) for n in ("0", "-1", "2.5", "abc", "1e400", "9" * 30)),
        *(("sample", "run", "--seed", n) for n in ("-1", "Infinity", "1e400", "nan", "9" * 20)),
        ("sample", "run", "--label", "3"),
        ("sample", "run", "--sampler", "[nope]"),
        ("interpolate", "run", "--steps", "1"),
        ("evaluate", "run", "--extractor", "[nope]"),
        ("evaluate", "run", "--split", "[nope]"),
        ("evaluate", "run", "--samples", "1"),
        pytest.param(
            ("train", "vae", "--latent-dim", str(10**9), "--data", "data.npz", "--network", "mlp"),
            marks=pytest.mark.slow,  # TensorFlow tries for 10 s to get the memory
            id="train a billion latents",
        ),
        ("train", "vae", "--latent-dim", "9" * 30, "--data", "data.npz"),
        ("train", "vae", "--epochs", "0"),
        ("train", "vae", "--clip-norm", "nan", "--data", "data.npz", "--network", "mlp"),
        ("train", "vae", "--strategy", "[nope]"),
        ("train", "vae", "--precision", "[nope]"),
        ("train", "vae", "--network", "[nope]", "--data", "data.npz"),
        (
            "train",
            "vae",
            "--validation",
            "[nope]",
            "--data",
            "data.npz",
            "--network",
            "mlp",
            "--batch-size",
            "9",
        ),
        ("train", "vae", "--best", "[nope]", "--data", "data.npz", "--network", "mlp"),
        ("train", "vae", "--replicas", "99", "--data", "data.npz"),
        ("train", "vae", "--batch-size", "99999999999999999999", "--data", "data.npz"),
        ("train", "run", "--recipe", "[nope]"),
        ("launch", "1", "train"),
        ("convert", "run", "--to", "[nope]", "--out", "x"),
        ("convert", "run", "--to", "gan", "--mode", "[nope]", "--out", "x"),
        ("convert", "run", "--to", "gan", "--mapping", "[", "--out", "x"),
        ("convert", "run", "--to", "gan", "--mapping", "[=a", "--out", "x"),
        ("convert", "run", "--to", "gan", "--model", "[nope]", "--out", "x"),
        ("convert", "run", "--to", "gan", "--option", "mode=partial", "--out", "x"),
        ("convert", "run", "--to", "gan", "--option", "emma=0.9", "--out", "x"),
        ("convert", "run", "--to", "gan", "--into", "export", "--out", "x"),
        ("export", "run", "--format", "[nope]", "--out", "x"),
        ("export", "run", "--out", "run"),
        ("info", "[nope]/x"),
        ("train", "run/model.keras"),
        ("train", "vae", "--option", "decoder=3", "--data", "data.npz", "--out", "x"),
        ("export", "run", "--function", "[nope]", "--out", "x"),
        ("export", "run", "--opset", "1", "--format", "onnx", "--out", "x"),
        ("verify", "export", "--runtime", "[nope]"),
        ("serve", "export", "--port", "99999"),
        ("bench", "[nope]", "--data", "data.npz"),
        ("bench", "vae", "--seeds", "0,-1"),
        ("bench", "vae", "--seeds", "1e400"),
        ("bench", "--table", "--out", "x"),
        ("push", "run", "hf://[nope]"),
        ("nope",),
        ("--nope",),
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)
def test_wrong_values(arguments: tuple[str, ...], folder: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    said = _wrong(capsys, *arguments)
    if "[nope]" in arguments:
        assert "[nope]" in said
    assert sorted(folder.rglob("*")) == before


# Where to write is looked at before anything is computed.


def _forbidden(*_: object, **__: object) -> None:
    raise AssertionError("computed before it looked at --out")


@pytest.mark.parametrize(
    ("arguments", "place", "words"),
    [
        (("sample", "RUN", "--out"), "folder.png", "is a folder"),
        (("sample", "RUN", "--out"), "file/x.png", "is no folder"),
        (("sample", "RUN", "--out"), "x.jpg", "expected a .png or .npy file"),
        (("interpolate", "RUN", "--out"), "folder.png", "is a folder"),
        (("neighbours", "RUN", "--out"), "x.jpg", "expected a .png file"),
        (("report", "RUN", "--out"), "folder.png", "is a folder"),
        (("report", "RUN", "--out"), "file/x.html", "is no folder"),
        (("convert", "RUN", "--to", "gan", "--out"), "run", "holds a run already"),
        (("convert", "RUN", "--to", "gan", "--out"), "file", "is no folder"),
        (("export", "RUN", "--format", "onnx", "--out"), "folder.png", "exists"),
        (("export", "RUN", "--format", "web", "--out"), "file", "is no folder"),
        (("export", "RUN", "--out"), "file", "is no folder"),
        (("export", "RUN", "--format", "triton", "--out"), "run", "exists"),
        (("train", "vae", "--out"), "file", "is no folder"),
        (("train", "vae", "--out"), "file/x", "is no folder"),
        (("data", "prepare", "sprites", "--out"), "file", "file cannot be written: "),
        (("bench", "--out"), "file", "is no folder"),
    ],
    ids=str,
)
def test_out_is_looked_at_first(
    arguments: tuple[str, ...], place: str, words: str, folder: Path, tmp_path: Path, capsys,
    monkeypatch,
) -> None:  # fmt: skip
    root = tmp_path / "[out]"
    (root / "folder.png").mkdir(parents=True)
    (root / "file").write_text("")
    (root / "run").mkdir()
    (root / "run" / "model.keras").write_text("")
    monkeypatch.setattr("zoo.training.runs.load_run", _forbidden)
    monkeypatch.setattr("zoo.training.run_files.read_config", _forbidden)
    monkeypatch.setattr("zoo.data.read", _forbidden)
    before = sorted(root.rglob("*"))
    given = [str(folder / "run") if text == "RUN" else text for text in arguments]
    said = _wrong(capsys, *given, root / place)
    assert words in said
    assert str(root / place) in said
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize(
    "command",
    [
        "train vae", "convert x --to vae", "export x", "sample x", "neighbours x",
        "data prepare x", "stats x", "train-classifier x",
    ],
)  # fmt: skip
def test_names_that_are_no_place_to_write(command: str, capsys) -> None:
    """An empty one is not the current folder, and a store's address no folder `gs:`."""
    for name, words in (("", "'' names no file or folder"), ("gs://b/x", "is no place on a disk")):
        _ends(2, *command.split(), "--out", name)
        assert words in capsys.readouterr().err


def test_metrics_that_cannot_be_written(folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    run = shutil.copytree(folder / "run", tmp_path / "run")
    (run / "metrics.json").mkdir()
    monkeypatch.setattr("zoo.evaluation.measure.evaluate", _forbidden)
    assert "metrics.json is a folder" in _wrong(capsys, "evaluate", run)


def test_a_folder_without_permission(tmp_path: Path, capsys, monkeypatch) -> None:
    """Root may write everywhere, so what the system says is replaced."""
    monkeypatch.setattr(options.os, "access", lambda path, mode: False)
    said = _wrong(capsys, "train", "vae", "--out", tmp_path / "x")
    assert f"you may not write into {tmp_path}" in said


# Exceptions as sentences


def _raised(error: BaseException) -> BaseException:
    """As a library raises it: with a traceback that does not end in the zoo."""
    try:
        raise error  # noqa: TRY301
    except BaseException as raised:  # noqa: BLE001
        return raised


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/[a]"), "The disk is full (/x/[a])"),
        (
            tf.errors.ResourceExhaustedError(None, None, "x; No space left on device"),
            "disk is full",
        ),
        (tf.errors.ResourceExhaustedError(None, None, "OOM, shape [3]"), "memory: OOM, shape [3]."),
        (tf.errors.DataLossError(None, None, "cut {x}"), "TensorFlow failed with DataLossError"),
        (MemoryError("Unable to allocate 7 GiB"), "Unable to allocate 7 GiB. Take smaller"),
        (zipfile.BadZipFile("no zip"), "is damaged, cut short or of another kind (no zip)."),
        (zlib.error("Error -3"), "is damaged"),
        (EOFError("No data left in file"), "is damaged"),
        (RecursionError("maximum"), "nested too deeply"),
        (OverflowError("int too large"), "a number that is too large (int too large)."),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "is no text in UTF-8"),
        (json.JSONDecodeError("Expecting value", "", 0), "is no valid JSON"),
        (FileNotFoundError(2, "No such file or directory", "/x/[a]"), "/x/[a]: No such file"),
        (ValueError("in [0, 1]"), "in [0, 1]"),
        (KeyError("images"), "fault of the program: KeyError: no entry 'images'"),
        (ValueError(""), "fault of the program: ValueError"),
        (AttributeError("'X' has no y {z}"), "`zoo --debug …`"),
        (ValueError("x" * 10_000), "x …"),
    ],
    ids=repr,
)
def test_sentences(error: BaseException, words: str) -> None:
    said = faults.sentence(_raised(error))
    assert words in said
    assert len(said) < 1500


def test_the_file_at_hand_is_named(tmp_path: Path) -> None:
    """zipfile and NumPy name none."""
    from zoo.io.records import read_json

    path = tmp_path / "x.json"
    path.write_text("[" * 100_000)
    with pytest.raises((RecursionError, ValueError)) as caught:
        read_json(path)
    assert str(path) in faults.sentence(caught.value)


def test_a_message_of_the_zoo_is_left_as_it_is() -> None:
    """Even of a type that is else a fault of the program."""
    from zoo.convert import vae_to_gan

    with pytest.raises(TypeError) as caught:
        vae_to_gan("no model")
    assert faults.sentence(caught.value) == str(caught.value)
    with pytest.raises(TypeError) as caught:
        names.nearest("x", None)  # type: ignore[arg-type]
    assert "fault of the program" in faults.sentence(caught.value)


def test_a_fault_of_the_program(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fail() -> None:
        raise KeyError("[x]")

    monkeypatch.setattr("zoo.core.registry.describe_models", fail)
    _ends(1, "list")
    printed = capsys.readouterr()
    assert printed.err == (
        "Error: This is a fault of the program: KeyError: no entry '[x]'. Run it again as "
        "`zoo --debug …` to see where it comes from, and report that.\n"
    )
    for arguments, variable in ((["--debug", "list"], ""), (["list"], "1")):
        monkeypatch.setenv("ZOO_TRACEBACK", variable)
        _ends(1, *arguments)
        assert "in fail" in capsys.readouterr().err


def test_a_full_disk_during_export(folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "x/variables; No space left on device")

    monkeypatch.setattr("export.export_model", full)
    said = _wrong(capsys, "export", folder / "run", "--out", tmp_path / "[x]")
    assert f"The disk is full ({tmp_path / '[x]'}). Free some space" in said


def test_a_reader_that_has_gone(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """`zoo list | head -1`: no word."""

    def gone(*_: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("zoo.core.registry.describe_models", gone)
    stdout, stderr = sys.stdout, sys.stderr
    _ends(1, "list")
    sys.stdout, sys.stderr = stdout, stderr
    assert capsys.readouterr().err == ""


def test_warnings_of_the_package_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(), console.notices_in_one_line():
        warnings.simplefilter("always")
        warnings.warn_explicit("Few samples.", UserWarning, zoo.__file__, 7)
    assert capsys.readouterr().err == "Few samples.\n"


# Signals


@pytest.mark.parametrize(
    ("number", "status", "words"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "nterr")]
)
def test_a_signal(number: int, status: int, words: str, monkeypatch, capsys) -> None:
    """Sent while the command is at work, it is as an exception: scratch is removed."""

    def at_work() -> None:
        os.kill(os.getpid(), number)
        time.sleep(10)

    monkeypatch.setattr("zoo.core.registry.describe_models", at_work)
    # A shell starts what is in its background with SIGINT ignored.
    first = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        before = signal.getsignal(number)
        _ends(status, "list")
        assert words in capsys.readouterr().err
        assert signal.getsignal(number) is before
    finally:
        signal.signal(signal.SIGINT, first)


def test_sigterm_while_the_commands_are_made(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def made(_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr("typer.main.get_command", made)
    _ends(143, "list")
    assert capsys.readouterr().err == "Ended by SIGTERM.\n"


def test_a_signal_that_is_ignored(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        monkeypatch.setattr(
            "zoo.core.registry.describe_models", lambda: os.kill(os.getpid(), 15) or []
        )
        _ends(0, "list")
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_ends_the_workers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which `zoo launch` has started, and which a signal to it alone does not reach."""
    workers = []

    class Ended(queue.Queue):
        def get(self, *_: object) -> None:  # type: ignore[override]
            raise console.TerminatedError

    class Worker(subprocess.Popen):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            workers.append(self)

    monkeypatch.setattr(launch.queue, "Queue", Ended)
    monkeypatch.setattr(launch.subprocess, "Popen", Worker)
    with pytest.raises(console.TerminatedError):
        launch.launch(2, [sys.executable, "-c", "import time; time.sleep(600)"])
    assert [worker.returncode for worker in workers] == [-signal.SIGTERM] * 2


def test_off_the_main_thread(capsys) -> None:
    thread = threading.Thread(target=lambda: _ends(0, "list"))
    thread.start()
    thread.join()
    assert "vae" in capsys.readouterr().out


@pytest.mark.slow
def test_sigterm_while_tensorflow_is_imported(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo", "train", "vae", "--out", str(tmp_path / "x")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    maps = Path(f"/proc/{process.pid}/maps")
    while process.poll() is None and "tensorflow" not in maps.read_text():
        time.sleep(0.02)
    process.terminate()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 143
    assert err == "Ended by SIGTERM.\n"
    assert not (tmp_path / "x").exists()
