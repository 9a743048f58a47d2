"""Files of a run: entries that lack, figures that are infinite, checkpoints that are damaged."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from tests.support.json_files import EXAMPLES, changed, strict_json
from zoo.cli import main
from zoo.evaluation.report import write_report
from zoo.io import files, schemas
from zoo.io.records import read_json, write_json
from zoo.training.run_files import read_config, read_metrics, required
from zoo.training.runs import load_run, save_run


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
        write_json(run / "config.json", changed(config, (key,)))
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
    strict_json((run / "metrics.json").read_text())
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
        "network": changed(config, ("config", "network"), 6),
        "options": changed(config, ("config", "latent_dim")),
        "class": changed(config, ("registered_name",), 3),
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
        strict_json(place.read_text())
        assert read_json(place, kind) == json.loads(place.read_text())
    assert not [path for path in tmp_path.rglob("*") if files.SCRATCH in path.name]
