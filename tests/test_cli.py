"""The command line, as a user types it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.cli import main


def _zoo(*arguments: object) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0


def _fails(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code != 0
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    rng = np.random.default_rng(0)
    images = np.kron(rng.random((150, 2, 2, 1)), np.ones((1, 14, 14, 1))).astype(np.float32)
    np.savez(path, x_train=images, x_test=images[:40])
    return path


@pytest.fixture(scope="module")
def gan(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "gan"
    _zoo(
        "train", "dcgan", "--data", source, "--out", run, "--epochs", 2, "--batch-size", 20,
        "--latent-dim", 4, "--option", "ema=0.9",
    )  # fmt: skip
    return run


def test_progress_is_readable(source: Path, tmp_path: Path, capsys) -> None:
    """Off a terminal, a line an epoch; negative values too as plain numbers."""
    _zoo(
        "train", "vae", "--data", source, "--out", tmp_path / "x", "--epochs", 2,
        "--batch-size", 20, "--network", "mlp",
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"epoch 1/2  distortion -?[\d.]+  loss -?[\d.]+  rate [\d.]+", lines[0])
    assert lines[1].startswith("epoch 2/2  distortion ")


def test_train_wrote_a_run(gan: Path) -> None:
    config = json.loads((gan / "config.json").read_text())
    assert (config["model"], config["epochs"], config["batch_size"]) == ("dcgan", 2, 20)
    assert len(json.loads((gan / "history.json").read_text())) == 2


def test_the_walk(gan: Path, tmp_path: Path) -> None:
    """evaluate → convert → train the encoder → export → verify → report."""
    vae = tmp_path / "vae"
    extractor = ["--extractor", "fashion_mnist_classifier"]
    _zoo("evaluate", gan, *extractor)
    assert "frechet_distance" in json.loads((gan / "metrics.json").read_text())["metrics"]
    _zoo("convert", gan, "--to", "vae", "--out", vae)
    assert json.loads((vae / "conversion.json").read_text())["passed"]
    _zoo("train", "vae", "--out", vae, "--epochs", 1, "--resume")
    _zoo("evaluate", vae, *extractor, "--importance-samples", 3)
    found = json.loads((vae / "metrics.json").read_text())
    assert found["extractor"] == "fashion_mnist_classifier"
    assert {"elbo", "iwae_bound", "mse", "bits_per_dim"} <= set(found["metrics"])
    for format_ in ("saved_model", "onnx"):
        _zoo("export", vae, "--format", format_, "--out", vae / "export" / format_)
        _zoo("verify", vae / "export" / format_)
    _zoo("info", vae)
    _zoo("report", gan, vae, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png") == 3
    assert page.count(": equal") == 2


def test_pictures(gan: Path, tmp_path: Path) -> None:
    _zoo("sample", gan, "--out", tmp_path / "a.png", "--n", 9)
    assert Image.open(tmp_path / "a.png").width >= 480
    _zoo("sample", gan, "--out", tmp_path / "a.npy", "--n", 9, "--seed", 1)
    assert np.load(tmp_path / "a.npy").shape == (9, 28, 28, 1)
    _zoo("interpolate", gan, "--out", tmp_path / "b.png", "--rows", 2, "--steps", 5)
    assert (tmp_path / "b.png").exists()


def test_a_wrong_export_exits_with_1(gan: Path, tmp_path: Path, capsys) -> None:
    """Verified against another run, the export must fail."""
    other = tmp_path / "other"
    data = json.loads((gan / "config.json").read_text())["data"]
    _zoo(
        "train", "dcgan", "--data", data, "--out", other, "--epochs", 1, "--batch-size", 20,
        "--latent-dim", 4,
    )  # fmt: skip
    _zoo("export", gan, "--format", "onnx", "--out", tmp_path / "onnx")
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["verify", str(tmp_path / "onnx"), "--against", str(other)])
    assert stop.value.code == 1


def test_a_run_killed_before_its_first_step_starts_anew(gan: Path, tmp_path: Path, capsys) -> None:
    config = json.loads((gan / "config.json").read_text())
    arguments = ["train", "dcgan", "--data", config["data"], "--out", tmp_path, "--epochs", 1]
    (tmp_path / "config.json").write_text(json.dumps(config))  # all that such a kill leaves
    assert "no run to resume" in _fails(capsys, *arguments, "--resume")
    _zoo(*arguments, "--batch-size", 50)
    assert json.loads((tmp_path / "config.json").read_text())["batch_size"] == 50


def test_options_of_scale(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """All at once, resumed, and the best checkpoint evaluated and exported."""
    run = tmp_path / "run"
    _zoo(
        "train", "dcgan", "--data", source, "--out", run, "--epochs", 2, "--batch-size", 30,
        "--network", "mlp", "--latent-dim", 4, "--strategy", "mirrored", "--replicas", 2,
        "--precision", "mixed_float16", "--accumulate", 3, "--steps-per-execution", 5,
        "--clip-norm", 1, "--validation", "test", "--best", "val_generator_loss", "--keep", 1,
    )  # fmt: skip
    assert "30 images an update: 15 on each of 2 replicas." in capsys.readouterr().out
    _zoo("train", "dcgan", "--out", run, "--epochs", 3, "--resume")
    history = json.loads((run / "history.json").read_text())
    assert [entry["step"] for entry in history] == [5, 10, 15]
    config = json.loads((run / "config.json").read_text())
    wanted = {
        "precision": "mixed_float16", "accumulate": 3, "steps_per_execution": 5, "keep": 1,
        "best": "val_generator_loss", "validation": "test", "strategy": "none", "replicas": 1,
    }  # fmt: skip
    assert {name: config[name] for name in wanted} == wanted
    best = min(history, key=lambda entry: entry["val_generator_loss"])
    _zoo("info", run / "best.keras")
    _zoo("evaluate", run / "best.keras", "--extractor", "fashion_mnist_classifier")
    assert (run / "best.metrics.json").exists()
    _zoo("export", run / "best.keras", "--format", "onnx", "--out", run / "onnx")
    _zoo("verify", run / "onnx")
    from zoo.runs import load_run

    assert int(load_run(run / "best.keras").step) == best["step"]
    assert len(list((run / "checkpoints").iterdir())) == 1


def test_errors_are_sentences(gan: Path, tmp_path: Path, capsys) -> None:
    assert "holds a run already" in _fails(capsys, "train", "dcgan", "--out", gan)
    assert "holds a dcgan" in _fails(capsys, "train", "vae", "--out", gan, "--resume")
    assert "no run to resume" in _fails(capsys, "train", "vae", "--out", tmp_path / "x", "--resume")
    assert "--precision half: expected one of float32" in _fails(
        capsys, "train", "vae", "--out", tmp_path / "x", "--precision", "half"
    )
    assert "strategy='two'" in _fails(
        capsys, "train", "vae", "--out", tmp_path / "x", "--strategy", "two"
    )
    assert "Expected a train command" in _fails(capsys, "launch", 2, "evaluate", gan)
    assert "'vea'" in _fails(capsys, "train", "vea", "--out", tmp_path / "x")
    assert "not a run folder" in _fails(capsys, "info", tmp_path)
    assert "--option ema" in _fails(
        capsys, "train", "dcgan", "--out", tmp_path / "x", "--option", "ema"
    )
    assert "expected a decay" in _fails(
        capsys, "train", "dcgan", "--out", tmp_path / "x", "--option", "ema=2"
    )
    assert "a .png or .npy" in _fails(capsys, "sample", gan, "--out", tmp_path / "x.jpg")
    assert "batch_size=64 × 5 minibatches a step: expected 1 to the 150" in _fails(
        capsys, "train", "wgan_gp", "--out", tmp_path / "x",
        "--data", json.loads((gan / "config.json").read_text())["data"],
    )  # fmt: skip
    assert "--to gan" in _fails(capsys, "convert", gan, "--to", "gan", "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()
