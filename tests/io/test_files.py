"""Files: whole or absent, JSON of a known kind, locks and scratch of processes that were killed."""

from __future__ import annotations

import copy
import errno
import io
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from export import export_model
from zoo.cli import main
from zoo.evaluation.report import write_report
from zoo.io import files, schemas
from zoo.io.files import locked, parse_json, read_json, replacing, to_json, write_json
from zoo.presets import save_preset
from zoo.training.runs import load_run, read_config, read_metrics, required, save_run
from zoo.training.train import train

ROOT = Path(__file__).parents[2]
KINDS = {name: kind for name, kind in vars(schemas).items() if isinstance(kind, schemas.Kind)}


def _strict(text: str) -> Any:
    """As every other reader takes JSON: without NaN and Infinity."""

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


# Reading


@pytest.mark.parametrize("kind", [None, *KINDS.values()], ids=["any", *KINDS])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"\xff\xfe{}", "is not valid JSON .*utf-8"),
        (b"[" * 5000 + b"]" * 5000, "more than 200 levels deep"),
        (b"[" * 500 + b"]" * 500, "more than 200 levels deep"),
        (b'{"a": ' * 5000 + b"1" + b"}" * 5000, "more than 200 levels deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a whole number of 5000 digits"),
        (b'{"a": [1, 36893488147419103232]}', "a/1 is a whole number beyond 64 bits"),
        (b'{"a": "\\ud800"}', "half of a character"),
        (b'{"not_finite": 1}', "not_finite names no null of the file"),
        (b'{"a": 1, "not_finite": {"/a": "inf"}}', "not_finite names no null of the file"),
        (b'{"a": null, "not_finite": {"/a": "1"}}', "not_finite names no null of the file"),
    ],
    ids=range(12),
)
def test_what_is_no_json(content: bytes, message: str, kind: Any, tmp_path: Path) -> None:
    place = tmp_path / "x.json"
    place.write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.json.*{message}"):
        read_json(place, kind)


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_JSON_BYTES", 10)
    (tmp_path / "x.json").write_text("[" + " " * 10 + "]")
    with pytest.raises(ValueError, match=r"x\.json has more than 0 MB"):
        read_json(tmp_path / "x.json")


TENSOR = {"shape": ["batch", 3], "dtype": "float32"}
ROW = {"target": "a/kernel", "source": "b/kernel", "rule": "copy", "shape": [3], "status": "COPIED"}
EQUALITY = dict.fromkeys(
    ("max_error", "rms_error", "noise_floor", "batch_error", "tolerance"), 0.5
) | {"latents": 9}
CHECKED = dict.fromkeys(("max_error", "rms_error", "noise_floor", "tolerance"), 0.5)
MACHINE = {"processor": "Abacus", "cores": 1, "gpus": [], "tensorflow": "2.21.0"}
BENCH_ROW = {"row": "vae", "family": "vae", "note": "", "seed": 0}
# What no file of the repository is; each with all that its readers need and no more.
EXAMPLES: dict[str, Any] = {
    "HISTORY": [{"epoch": 1, "step": 3}],
    "CONVERSION": {
        "source": "dcgan", "target": "vae", "weights": "ema", "equivalence": "tolerance",
        "equality": EQUALITY, "rows": [ROW], "coverage": 1.0,
    },
    "EXPORT": {
        "format": "onnx", "run": None, "model": "vae", "latent_dim": 3, "image_shape": [8, 8, 1],
        "endpoints": {"generate": {"inputs": {"z": TENSOR}, "outputs": {"image": TENSOR}}},
        "files": {"generate.onnx": "0" * 64},
    },
    "VERIFICATION": {
        "path": "x", "format": "onnx", "problems": [], "passed": True,
        "rows": [{"runtime": "a", "function": "b", "output": "c", "passed": True, **CHECKED}],
    },
    "TIMED": {"seconds": 1.5},
    "CURVE": [{"step": 0, "seconds": 0.0}],
    "TIMING": [{"images": 10, "seconds": 0.5}],
    "FAILURE": {"error": "It failed.", "bench": BENCH_ROW},
    "RUN": {
        "format": 1, "model": "vae", "image_shape": [8, 8, 1], "latent_dim": 3, "versions": {},
    },
    "PRESET": {
        "format": 1, "model": "vae", "family": "vae", "image_shape": [8, 8, 1], "latent_dim": 3,
        "options": {}, "parameters": 9, "data": None, "facts": {}, "files": {},
    },
    "METRICS": {
        "data": "x", "split": "test", "images": 9, "samples": 9, "extractor": None,
        "metrics": {"elbo": 1.5},
        "bench": {
            **BENCH_ROW, "epochs": 1, "parameters": 9, "images_per_second": None,
            "machine": MACHINE,
        },
    },
    "REGISTRY": {
        "format": 1,
        "presets": {
            "a": {
                "family": "vae", "model": "vae", "data": None, "image_shape": [8, 8, 1], "size": 9,
                "sha256": "0" * 64, "headline": ["elbo", 1.5], "num_classes": 10,
            },
        },
    },
    "CLASSIFIER": {"image_shape": [28, 28, 1], "classes": 10, "sha256": "0" * 64},
}  # fmt: skip


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of all entries, at every depth."""
    if not isinstance(value, (dict, list)):
        return
    for key in value if isinstance(value, dict) else range(len(value)):
        yield (*place, key)
        yield from _places(value[key], (*place, key))


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def _changed(value: Any, place: tuple[Any, ...], *new: Any) -> Any:
    """A copy with something else at a place; without a new value, with nothing there."""
    value = copy.deepcopy(value)
    parent = _at(value, place[:-1])
    if new:
        parent[place[-1]] = new[0]
    else:
        del parent[place[-1]]
    return value


# What may be absent: what has a name of its own.
FREE = {
    ("EXPORT", "endpoints", "generate"),
    ("EXPORT", "endpoints", "generate", "inputs", "z"),
    ("EXPORT", "endpoints", "generate", "outputs", "image"),
    ("EXPORT", "files", "generate.onnx"),
    ("METRICS", "metrics", "elbo"),
    ("METRICS", "bench"),
    ("REGISTRY", "presets", "a"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_checks_every_entry(name: str) -> None:
    """No entry may be missing or of another type; further ones are kept."""
    kind, example = KINDS[name], json.loads(json.dumps(EXAMPLES[name]))  # without shared parts

    def read(value: Any) -> Any:
        return parse_json(json.dumps(value).encode(), "x.json", kind)

    assert read(example) == example
    for place in _places(example):
        keys = "/".join(map(str, place))
        if isinstance(place[-1], str) and (name, *place) not in FREE:
            with pytest.raises(ValueError, match=rf"^x\.json: {keys} is missing. The file should"):
                read(_changed(example, place))
        another = {"another": "type"} if isinstance(_at(example, place), list) else ["another"]
        with pytest.raises(ValueError, match=rf"^x\.json: {keys}.* is .*another.*: expected"):
            read(_changed(example, place, another))
    with pytest.raises(ValueError, match=r"^x\.json: .*: expected a valid"):
        read({} if isinstance(example, list) else [])
    more = [{**example[0], "later": 1}] if isinstance(example, list) else {**example, "later": 1}
    assert read(more) == more


@pytest.mark.parametrize("name", KINDS)
def test_only_figures_may_be_infinite(name: str) -> None:
    kind, example = KINDS[name], EXAMPLES[name]
    entry = example[0] if isinstance(example, list) else example
    for text in ("NaN", "-Infinity", "1e999"):
        content = json.dumps({**entry, "later": "HERE"}).replace('"HERE"', text)
        content = f"[{content}]" if isinstance(example, list) else content
        if kind.figures:
            parse_json(content.encode(), "x.json", kind)
        else:
            with pytest.raises(ValueError, match=r"x\.json: .*later is .*expected a finite"):
                parse_json(content.encode(), "x.json", kind)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.format])
def test_a_later_format(name: str) -> None:
    """It is named, whatever else it has: its entries are those of another version."""
    with pytest.raises(ValueError, match="x is of format 2, but this version reads up to 1. Upgr"):
        parse_json(b'{"format": 2}', "x", KINDS[name])


def test_every_json_of_the_repository_is_read() -> None:
    """Those of presets, classifiers and benchmarks, which all were written by older versions."""
    kinds = {
        "saved_models/registry.json": "REGISTRY",
        "saved_models/*/config.json": "PRESET",
        "saved_models/*/metrics.json": "METRICS",
        "tests/frozen_preset/*/config.json": "PRESET",
        "tests/frozen_preset/*/metrics.json": "METRICS",
        "zoo/metrics/classifiers/*/config.json": "CLASSIFIER",
        "benchmarks/results/*_config.json": "RUN",
        "benchmarks/results/*_metrics.json": "METRICS",
        "benchmarks/results/peers/*.json": "METRICS",
        "benchmarks/results/*_machine.json": "TIMED",
    }
    for pattern, kind in kinds.items():
        places = sorted(ROOT.glob(pattern))
        assert places
        for place in places:
            assert read_json(place, KINDS[kind]) == _strict(place.read_text())
    for place in [*ROOT.glob("benchmarks/results/*.json"), *ROOT.glob("saved_models/*/*.json")]:
        assert read_json(place) == _strict(place.read_text())


# Writing


def _random(draw: random.Random, depth: int) -> Any:
    """Plain JSON, but for numbers that are not finite."""
    if depth == 0 or draw.random() < 0.3:
        return draw.choice([
            None, True, "inf", "/a~b", 1, 0.5, float("nan"), float("inf"), float("-inf"),
        ])  # fmt: skip
    if draw.random() < 0.5:
        return [_random(draw, depth - 1) for _ in range(draw.randrange(4))]
    keys = ["", "a", "a/b", "~1", "~", "é", "0"]
    return {key: _random(draw, depth - 1) for key in draw.sample(keys, draw.randrange(4))}


def test_what_is_written_is_valid_and_read_back() -> None:
    for seed in range(300):
        draw = random.Random(seed)  # noqa: S311
        value: Any = {str(i): _random(draw, 4) for i in range(3)}
        value = [value, {"x": _random(draw, 2)}] if seed % 2 else value
        text = to_json(value)
        _strict(text)
        assert repr(parse_json(text.encode(), "x")) == repr(value)  # NaN is not NaN


def test_infinite_numbers_are_null_with_a_note(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"metrics": {"elbo": float("-inf"), "mse": 0.5}})
    assert _strict((tmp_path / "x.json").read_text()) == {
        "metrics": {"elbo": None, "mse": 0.5},
        "not_finite": {"/metrics/elbo": "-inf"},
    }
    with pytest.raises(ValueError, match="there is no object to note it in"):
        to_json([float("nan")])


# Scratch and locks


@contextmanager
def _process(code: str, *arguments: Any) -> Iterator[subprocess.Popen[str]]:
    """Runs code up to its first line of output; killed in the end."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield process
    finally:
        process.kill()
        process.wait()


WRITING = """
import sys, time
from zoo.io.files import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.mkdir()
    (temporary / "half").write_bytes(b"1")
    print("there", flush=True)
    time.sleep(600)
"""
HOLDING = """
import sys, time
from zoo.io.files import locked
with locked(sys.argv[1]):
    print("there", flush=True)
    time.sleep(600)
"""


def _scratch(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if files.SCRATCH in path.name]


def test_scratch_of_killed_processes_is_removed(tmp_path: Path) -> None:
    """And of no living one, nor anything else of such a name."""
    (tmp_path / ".file.scratch-x").write_bytes(b"1")
    (tmp_path / ".link.scratch-x").symlink_to(tmp_path)
    (tmp_path / ".old.scratch-x").mkdir()  # of a version without locks
    (tmp_path / ".old.scratch-x" / "old").write_bytes(b"1")
    with _process(WRITING, tmp_path / "export") as process:
        write_json(tmp_path / "x.json", {})
        (living,) = [path for path in _scratch(tmp_path) if path.name.startswith(".export")]
        assert (living / "export" / "half").exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert living.exists()
    write_json(tmp_path / "x.json", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".file.scratch-x", ".link.scratch-x", "x.json",
    ]  # fmt: skip


def test_many_write_one_file(tmp_path: Path) -> None:
    """Each sees the others' scratch while it comes and goes, and removes none of it."""
    faults: list[Exception] = []

    def write(number: int) -> None:
        try:
            for _ in range(25):
                write_json(tmp_path / "x.json", [number] * 100)
                assert len(read_json(tmp_path / "x.json")) == 100
        except Exception as error:  # noqa: BLE001  (whatever it is)
            faults.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_folder_that_another_wrote_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="x was written by another process meanwhile"):  # noqa: PT012, SIM117
        with replacing(tmp_path / "x") as temporary:
            temporary.mkdir()
            (tmp_path / "x").mkdir()
            (tmp_path / "x" / "theirs").write_bytes(b"1")
    assert [path.name for path in tmp_path.rglob("*")] == ["x", "theirs"]


def test_a_lock_is_of_one_living_process(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    with _process(HOLDING, folder) as process:
        with pytest.raises(  # noqa: SIM117
            BlockingIOError, match=rf"run is being written by process {process.pid} on"
        ):
            with locked(folder):
                pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with locked(folder):
        assert f"process {os.getpid()} on " in (folder / files.LOCK).read_text()
    assert not list(folder.iterdir())


def test_a_lock_leaves_no_folder_behind(tmp_path: Path) -> None:
    with locked(tmp_path / "new" / "run"):
        pass
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file/run cannot be written: it or a folder of it is a file"):  # noqa: SIM117
        with locked(tmp_path / "file" / "run"):
            pass
    with pytest.raises(OSError, match=r"file/x\.json cannot be written: it or a folder"):
        write_json(tmp_path / "file" / "x.json", {})


def test_a_second_training_is_refused_before_it_writes(
    images: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = _model()
    model.compile()
    with locked(tmp_path / "run"):
        with pytest.raises(
            BlockingIOError, match=rf"run is being written by process {os.getpid()}"
        ):
            train(model, images, tmp_path / "run", epochs=1, batch_size=20, verbose=0)
        with pytest.raises(BlockingIOError, match="run is being written by"):
            save_run(model, tmp_path / "run", {})
        np.savez(tmp_path / "x.npz", x_train=images, x_test=images[:9])
        with pytest.raises(SystemExit):
            main([
                "train", "vae", "--data", str(tmp_path / "x.npz"), "--out", str(tmp_path / "run"),
                "--epochs", "1", "--batch-size", "20", "--option", "network=mlp",
            ])  # fmt: skip
        assert f"is being written by process {os.getpid()}" in capsys.readouterr().err
        assert [path.name for path in (tmp_path / "run").iterdir()] == [files.LOCK]
    assert train(model, images, tmp_path / "run", epochs=0, batch_size=20)  # nothing is to be done
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


# Runs


def _model() -> Any:
    keras.utils.set_random_seed(0)
    return zoo.create("vae", (8, 8, 1), 3, network="mlp")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    model = _model()
    model.compile()
    save_run(model, tmp_path / "run", {"data": "x", "epochs": 0})
    return tmp_path / "run"


def test_a_run_without_an_entry(run: Path) -> None:
    config = read_json(run / "config.json", schemas.RUN)
    assert required(config, "data", run) == "x"
    with pytest.raises(ValueError, match=r"run/config\.json has no 'seed', which is needed here"):
        required(config, "seed", run)
    for key in ("model", "image_shape", "latent_dim", "versions", "format"):
        write_json(run / "config.json", _changed(config, (key,)))
        for read in (read_config, load_run):
            with pytest.raises(ValueError, match=rf"run/config\.json: {key} is missing"):
                read(run)
    for key in ("data_fingerprint", "class_names"):
        write_json(run / "config.json", {**config, key: 1.5})
        with pytest.raises(ValueError, match=rf"run/config\.json: {key}"):
            read_config(run)
    write_json(run / "config.json", {**config, "later": {"x": 1}})
    assert read_config(run)["later"] == {"x": 1}
    assert load_run(run).latent_dim == 3


def test_metrics_of_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Older versions wrote -Infinity, which is no JSON; such files are read as before."""
    assert read_metrics(run) is None
    text = json.dumps({**EXAMPLES["METRICS"], "metrics": {"elbo": float("-inf")}})
    assert "-Infinity" in text
    (run / "metrics.json").write_text(text)
    found = read_metrics(run)
    assert found is not None
    assert found["metrics"]["elbo"] == float("-inf")
    write_json(run / "metrics.json", found)
    _strict((run / "metrics.json").read_text())
    assert read_metrics(run) == found
    write_report([run], run / "x.html")
    assert "<td>-inf</td>" in (run / "x.html").read_text()
    with pytest.raises(SystemExit):
        main(["info", str(run)])
    assert "-inf" in capsys.readouterr().out
    (run / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match=r"metrics\.json: data is missing.*Measure again"):
        read_metrics(run)


def _repacked(archive: Path, method: int, **changed: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(made, "w", method) as sink:
        for name in source.namelist():
            sink.writestr(name, changed.get(name.partition(".")[0], source.read(name)))
    return made.getvalue()


def test_damaged_checkpoints(run: Path) -> None:
    """Whatever zipfile, zlib and Keras raise is a sentence that names the file."""
    place = run / "model.keras"
    with zipfile.ZipFile(place) as archive:
        config = json.loads(archive.read("config.json"))
    deflated = _repacked(place, zipfile.ZIP_DEFLATED)
    (at,) = [m.start() for m in re.finditer(b"model.weights.h5", deflated)][:1]
    contents = {
        "deflated": deflated[: at + 100] + b"\xff" * 1000 + deflated[at + 1100 :],
        "network": _changed(config, ("config", "network"), 6),
        "options": _changed(config, ("config", "latent_dim")),
        "class": _changed(config, ("registered_name",), 3),
        "deep": b"[" * 5000 + b"]" * 5000,
        "text": b"\xff",
    }
    whole = place.read_bytes()
    for name, content in contents.items():
        place.write_bytes(whole)
        if name != "deflated":
            new = content if isinstance(content, bytes) else json.dumps(content).encode()
            content = _repacked(place, zipfile.ZIP_STORED, config=new)  # noqa: PLW2901
        place.write_bytes(content)
        with pytest.raises(ValueError, match=r"run/model\.keras "):
            load_run(run)


# A full disk


@contextmanager
def _full_disk(size: int) -> Iterator[None]:
    """A limit on the size of files, which fails a write as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_nothing_half_written(images: np.ndarray, tmp_path: Path) -> None:
    model = _model()
    model.compile()
    out, preset, table = (tmp_path / name for name in ("run", "preset", "table.json"))
    with _full_disk(3000):
        with pytest.raises(OSError, match=r"run/model\.keras could not be written, and nothing"):
            save_run(model, out, {})
        with pytest.raises(OSError, match=r"step_00000000\.keras could not be written"):
            train(model, images, out, epochs=1, batch_size=20, verbose=0)
        with pytest.raises(OSError, match="preset could not be written, and nothing"):
            save_preset(model, preset)
        with pytest.raises(OSError, match=r"table\.json could not be written.*Free some space"):
            write_json(table, list(range(1000)))
        with pytest.raises(OSError, match="saved/1 could not be written, and nothing"):
            export_model(model, tmp_path / "saved", format="saved_model", functions=["generate"])
        # NumPy says only how much it wrote.
        with (
            pytest.raises(OSError, match=r"x\.npy could not be written.*No space left"),
            replacing(tmp_path / "x.npy") as scratch,
        ):
            np.save(scratch, np.zeros(2000))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "scratch"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Can't close file (errno = 28, error message = 'No space left on device')"),
    ],
)
def test_whoever_says_that_the_disk_is_full(error: Exception, tmp_path: Path) -> None:
    """HDF5 raises RuntimeError, TensorFlow its own; nested folders are named by the outermost."""
    with pytest.raises(  # noqa: PT012, SIM117
        OSError, match="a could not be written, and nothing of it was kept"
    ) as found:
        with replacing(tmp_path / "a") as outer:
            outer.mkdir()
            with replacing(outer / "b"):
                raise error
    assert files.SCRATCH not in str(found.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_the_walk_writes_is_of_its_kind(images: np.ndarray, tmp_path: Path) -> None:
    """A run, its metrics, a conversion and its export, verified; each file read by its kind."""
    source = tmp_path / "images.npz"
    np.savez(source, x_train=images, x_test=images[:20])
    vae, gan = tmp_path / "vae", tmp_path / "gan"
    for command in (
        ["train", "vae", "--data", str(source), "--out", str(vae), "--epochs", "2",
         "--latent-dim", "3", "--option", "network=mlp", "--batch-size", "20"],
        ["evaluate", str(vae), "--extractor", "none"],
        ["convert", str(vae), "--to", "gan", "--out", str(gan), "--data", str(source)],
        ["export", str(gan), "--format", "onnx", "--out", str(gan / "onnx")],
        ["verify", str(gan / "onnx")],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 0, command
    for place, kind in {
        vae / "config.json": schemas.RUN,
        vae / "history.json": schemas.HISTORY,
        vae / "metrics.json": schemas.METRICS,
        gan / "config.json": schemas.RUN,
        gan / "conversion.json": schemas.CONVERSION,
        gan / "onnx" / "zoo_export.json": schemas.EXPORT,
        gan / "onnx" / "verification.json": schemas.VERIFICATION,
    }.items():
        _strict(place.read_text())
        assert read_json(place, kind) == json.loads(place.read_text())
    assert not [path for path in tmp_path.rglob("*") if files.SCRATCH in path.name]
