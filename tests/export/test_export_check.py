"""An export is compared with the model before it is put in its place; what fails leaves nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

import export.web
import zoo
from export import export_model, metadata, saved_model, verification, verify
from export.onnx import files as onnx_files
from export.onnx import reduced
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from zoo.cli import main
from zoo.training.runs import save_run


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return zoo.create("gan", IMAGE_SHAPE, LATENT_DIM, network="mlp")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the runtime of browsers, which is downloaded."""
    monkeypatch.setattr(export.web, "fetch_runtime", lambda: None)
    monkeypatch.setattr(export.web, "write_runtime", lambda *_: None)


def _options(format_name: str) -> dict[str, Any]:
    """Of one function; a web page takes all."""
    options: dict[str, Any] = {} if format_name == "web" else {"functions": ["generate"]}
    return options | ({"warmup": False} if format_name == "saved_model" else {})


def _shifted(proto: onnx.ModelProto) -> onnx.ModelProto:
    """With other weights: what a wrong rewrite would write."""
    largest = max(proto.graph.initializer, key=lambda t: int(np.prod(t.dims)))
    values = onnx.numpy_helper.to_array(largest) + np.float32(0.01)
    largest.CopyFrom(onnx.numpy_helper.from_array(values, largest.name))
    return proto


def _break(format_name: str, model: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    if format_name != "saved_model":
        simplify = onnx_files.simplify
        monkeypatch.setattr(onnx_files, "simplify", lambda proto: _shifted(simplify(proto)))
        return
    bias, save = model.generator.weights[-1], tf.saved_model.save

    def save_another(*arguments: Any, **options: Any) -> None:
        before = bias.numpy()
        bias.assign(before + 0.01)
        save(*arguments, **options)
        bias.assign(before)

    monkeypatch.setattr(tf.saved_model, "save", save_another)


@pytest.mark.parametrize(
    "format_name", ["saved_model", "onnx", "triton", pytest.param("web", marks=pytest.mark.slow)]
)
@pytest.mark.usefixtures("offline")
def test_a_wrong_export_is_not_written(
    format_name: str, model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break(format_name, model, monkeypatch)
    path = tmp_path / "new" / "x"
    options = _options(format_name)
    with pytest.raises(
        ValueError, match=r"generate: image .* differs .* up to 0\.\d+ .*at most 5e-05"
    ):
        export_model(model, path, format=format_name, **options)
    assert not [p for p in tmp_path.rglob("*") if p.is_file() or p.name.startswith(".")]
    if format_name == "onnx":  # on demand
        path = export_model(model, path, format=format_name, verify=False, **options)
        assert not verify(path, model, runtimes=["ONNX Runtime"]).passed


@pytest.mark.parametrize("precision", [pytest.param("float16", marks=pytest.mark.slow), "int8"])
def test_a_reduced_precision_has_its_own_tolerance(
    precision: str, model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"format": "onnx", "precision": precision, "functions": ["generate"]}
    path = export_model(model, tmp_path / "x", **options)
    (row,) = verify(path, model, runtimes=["ONNX Runtime"]).rows
    assert row.max_error > 5e-5

    def darker(proto: onnx.ModelProto, *_: object) -> onnx.ModelProto:
        copy = onnx.ModelProto()
        copy.CopyFrom(proto)
        for node in copy.graph.node:
            node.output[:] = ["bright" if name == "image" else name for name in node.output]
        copy.graph.node.append(
            onnx.helper.make_node("Mul", ["bright", "factor"], ["image"], "dark")
        )
        factor = onnx.numpy_helper.from_array(np.array(0.5, np.float32), "factor")
        copy.graph.initializer.append(factor)
        return copy

    monkeypatch.setattr(reduced, f"_{precision}", darker)
    limit = {"float16": "0.003", "int8": "0.5"}[precision]
    with pytest.raises(ValueError, match=rf"generate: image .* at most {limit}"):
        export_model(model, tmp_path / "y", **options)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_file_that_no_runtime_loads_is_not_written(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = onnx_files.write_metadata

    def cut(folder: Path, *arguments: Any) -> None:
        (folder / "generate.onnx").write_bytes(b"cut")
        write(folder, *arguments)

    monkeypatch.setattr(onnx_files, "write_metadata", cut)
    with pytest.raises(ValueError, match="generate: ONNX Runtime fails on the export"):
        export_model(model, tmp_path / "x", format="onnx", functions=["generate"])
    assert not list(tmp_path.iterdir())


def test_a_model_of_nan_is_named(tmp_path: Path) -> None:
    model = zoo.create("gan", IMAGE_SHAPE, LATENT_DIM, network="mlp")
    weight = model.generator.weights[-1]
    weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(ValueError, match="generate: the model itself puts out image that is not"):
        export_model(model, tmp_path / "x", functions=["generate"], warmup=False)
    assert not list(tmp_path.iterdir())


def test_few_inputs_and_one_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three examples at once, and one by one, of every function; and without TensorFloat-32."""
    model = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, network="mlp")
    functions = ["generate", "encode"]
    path = export_model(model, tmp_path / "x", format="onnx", functions=functions, verify=False)
    seen: list[tuple[str, str, int]] = []
    opened = verification.opened

    def counting(runtime: str, found: dict[str, Any]) -> Any:
        load = opened(runtime, found)

        def loaded(endpoint: Any) -> Any:
            run = load(endpoint)

            def counted(**feeds: np.ndarray) -> Any:
                assert not tf.config.experimental.tensor_float_32_execution_enabled()
                (first, *_) = run(**feeds).values()
                seen.append((runtime, endpoint.name, len(first)))
                return run(**feeds)

            return counted

        return loaded

    monkeypatch.setattr(verification, "opened", counting)
    verification.check_export(path, model)
    assert seen == [("ONNX Runtime", name, n) for name in functions for n in (3, 1, 1, 1)]
    assert tf.config.experimental.tensor_float_32_execution_enabled()
    assert not (path / metadata.REPORT).exists()


def _run(model: keras.Model, folder: Path) -> Path:
    save_run(model, folder, {"data": "x", "epochs": 0, "batch_size": 8, "seed": 0})
    return folder


def test_the_command_verifies_unless_told_not_to(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    _break("onnx", model, monkeypatch)
    run = _run(model, tmp_path / "run")
    arguments = ["export", str(run), "--format", "onnx", "--function", "generate", "--out"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, str(tmp_path / "out")])
    assert stop.value.code == 1
    printed = " ".join(capsys.readouterr().err.split())
    assert "generate: " in printed
    assert "--no-verify" in printed
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, str(tmp_path / "out"), "--no-verify"])
    assert stop.value.code == 0
    assert (tmp_path / "out" / "generate.onnx").exists()


# A full disk, and a kill


def _no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _tensorflow_without_space(*_: object, **__: object) -> None:
    raise tf.errors.ResourceExhaustedError(None, None, "x.data; " + os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("format_name", "place", "name", "fault"),
    [
        ("saved_model", saved_model, "write_metadata", _no_space),
        ("saved_model", tf.saved_model, "save", _tensorflow_without_space),
        pytest.param("onnx", onnx, "save", _no_space, marks=pytest.mark.slow),
        pytest.param("onnx", metadata, "write_json", _no_space, marks=pytest.mark.slow),
        pytest.param("web", export.web.shutil, "copytree", _no_space, marks=pytest.mark.slow),
        pytest.param("triton", metadata, "write_json", _no_space, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("offline")
def test_a_full_disk_ends_in_a_sentence(
    format_name: str,
    place: Any,
    name: str,
    fault: Any,
    model: keras.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
) -> None:
    run = _run(model, tmp_path / "run")
    monkeypatch.setattr(place, name, fault)
    functions = [] if format_name == "web" else ["--function", "generate"]
    with pytest.raises(SystemExit) as stop:
        main(
            ["export", str(run), "--format", format_name, "--out", str(tmp_path / "o"), *functions]
        )
    assert stop.value.code == 1
    printed = " ".join(capsys.readouterr().err.split())
    assert "No space left on device" in printed
    assert str(tmp_path / "o") in printed
    assert "Traceback" not in printed
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("format_name", ["saved_model", "onnx", "triton"])
def test_what_a_killed_export_left_is_removed(
    format_name: str, model: keras.Model, tmp_path: Path
) -> None:
    left = tmp_path / (".1.scratch-abc" if format_name == "saved_model" else ".x.scratch-abc")
    left.mkdir()
    (left / "older.onnx").write_bytes(b"half")
    if format_name == "saved_model":
        (tmp_path / "x").mkdir()
        left = left.rename(tmp_path / "x" / left.name)  # where the versions are
    export_model(model, tmp_path / "x", format=format_name, verify=False, **_options(format_name))
    assert not left.exists()
