"""From evaluation to the report: the commands that use a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zoo
from tests.support.command import config_of, copy_of, fails, run_zoo
from zoo.cli import main


def test_the_walk(gan: Path, tmp_path: Path) -> None:
    """evaluate → convert → train the encoder → export → verify → report."""
    vae = tmp_path / "vae"
    extractor = ["--extractor", "fashion_mnist_classifier"]
    run_zoo("evaluate", gan, *extractor)
    assert "frechet_distance" in json.loads((gan / "metrics.json").read_text())["metrics"]
    run_zoo("convert", gan, "--to", "vae", "--out", vae)
    assert json.loads((vae / "conversion.json").read_text())["passed"]
    run_zoo("train", "vae", "--out", vae, "--epochs", 1, "--resume")
    run_zoo("evaluate", vae, *extractor, "--importance-samples", 3)
    record = json.loads((vae / "metrics.json").read_text())
    assert record["extractor"] == "fashion_mnist_classifier"
    assert {"elbo", "iwae_bound", "mse", "bits_per_dim"} <= set(record["metrics"])
    for format_ in ("saved_model", "onnx"):
        out = vae / "export" / format_
        run_zoo("export", vae, "--format", format_, "--function", "encode", "--out", out)
        run_zoo("verify", out)
    run_zoo("info", vae)
    run_zoo("report", gan, vae, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png") == 3
    assert page.count(": equal in ") == 2


def test_pictures(gan: Path, tmp_path: Path) -> None:
    run_zoo("sample", gan, "--out", tmp_path / "a.png", "--n", 9)
    assert Image.open(tmp_path / "a.png").width >= 480
    run_zoo("sample", gan, "--out", tmp_path / "a.npy", "--n", 9, "--seed", 1)
    assert np.load(tmp_path / "a.npy").shape == (9, 28, 28, 1)
    run_zoo("interpolate", gan, "--out", tmp_path / "b.png", "--rows", 2, "--steps", 5)
    assert (tmp_path / "b.png").exists()


@pytest.mark.slow
def test_a_class_by_its_name(tiny: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """Names come first: a class may be called 1 and be the first."""
    from zoo.core.model import ZooModel

    asked = []
    monkeypatch.setattr(
        ZooModel, "checked_labels", lambda self, labels, n: asked.append((labels, n))
    )
    run = copy_of(tiny / "gan", tmp_path)
    config = config_of(run) | {"class_names": ["1", "trouser", "ankle boot"]}
    (run / "config.json").write_text(json.dumps(config))
    for label in ("trouser", "1", "2"):
        run_zoo("sample", run, "--n", 2, "--label", label, "--out", tmp_path / "x.npy")
    assert asked == [(1, 2), (0, 2), (2, 2)]
    said = fails(capsys, "sample", run, "--label", "boot", "--out", tmp_path / "x.npy")
    assert "--label boot: no such class. Take one of 1, trouser, ankle boot." in said
    assert "--label -1: no such class." in fails(capsys, "sample", run, "--label", "-1")


@pytest.mark.slow
def test_a_wrong_export_exits_with_1(tiny: Path, tmp_path: Path, capsys) -> None:
    """Verified against another run, the export must fail."""
    other = copy_of(tiny / "gan", tmp_path)
    model = zoo.load_run(other)
    model.generator.set_weights([1.01 * weight for weight in model.generator.get_weights()])
    model.save(other / "model.keras")
    run_zoo(
        "export", tiny / "gan", "--format", "onnx", "--out", tmp_path / "onnx", "--no-verify",
        "--function", "generate",
    )  # fmt: skip
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["verify", str(tmp_path / "onnx"), "--against", str(other)])
    assert stop.value.code == 1


@pytest.mark.slow
def test_errors_are_sentences(gan: Path, tmp_path: Path, capsys) -> None:
    assert "holds a run already" in fails(capsys, "train", "dcgan", "--out", gan)
    assert "holds a dcgan" in fails(capsys, "train", "vae", "--out", gan, "--resume")
    assert "no run to resume" in fails(capsys, "train", "vae", "--out", tmp_path / "x", "--resume")
    assert "--precision half: expected one of float32" in fails(
        capsys, "train", "vae", "--out", tmp_path / "x", "--precision", "half"
    )
    assert "strategy='two'" in fails(
        capsys, "train", "vae", "--out", tmp_path / "x", "--strategy", "two"
    )
    assert "Expected a train command" in fails(capsys, "launch", 2, "evaluate", gan)
    assert "'vea'" in fails(capsys, "train", "vea", "--out", tmp_path / "x")
    assert "not a run folder" in fails(capsys, "info", tmp_path)
    assert "vae is a model: `zoo train vae` trains one" in fails(capsys, "sample", "vae")
    assert "--option ema" in fails(
        capsys, "train", "dcgan", "--out", tmp_path / "x", "--option", "ema"
    )
    assert "expected a decay" in fails(
        capsys, "train", "dcgan", "--out", tmp_path / "x", "--option", "ema=2"
    )
    assert "a .png or .npy" in fails(capsys, "sample", gan, "--out", tmp_path / "x.jpg")
    assert "batch_size=64 × 5 minibatches per step: expected 1 to the 150" in fails(
        capsys, "train", "wgan_gp", "--out", tmp_path / "x",
        "--data", json.loads((gan / "config.json").read_text())["data"],
    )  # fmt: skip
    assert "holds a dcgan, a GAN already" in fails(
        capsys, "convert", gan, "--to", "gan", "--out", tmp_path / "x"
    )
    assert not (tmp_path / "x").exists()


def test_nothing_left_to_measure(tiny: Path, tmp_path: Path, capsys) -> None:
    run = copy_of(tiny / "gan", tmp_path)
    said = fails(capsys, "evaluate", run, "--extractor", "none")
    assert "measured by its samples alone: expected an extractor" in said
    assert not (run / "metrics.json").exists()


@pytest.mark.slow
def test_data_of_another_shape_are_said_to_be_converted(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    data, vae = tmp_path / "large.npz", copy_of(tiny / "vae", tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 12, 10, 3)).astype(np.uint8)
    np.savez(data, x_train=pixels, x_test=pixels[:10])
    found = {"data": "x", "samples": 1, "images": 1, "extractor": None, "metrics": {"mse": 1.0}}
    monkeypatch.setattr("zoo.evaluation.measure.evaluate", lambda *_, **__: found)
    capsys.readouterr()

    def said(*arguments: object) -> str:
        run_zoo(*arguments)
        return capsys.readouterr().out

    for arguments in (("evaluate", vae), ("convert", vae, "--to", "gan", "--dry-run")):
        told = said(*arguments, "--data", data)
        assert str(data) in told
        assert re.search("12 × 10 × 3.*onverted", told, re.DOTALL)
        assert "8 × 8 × 1" in told
    assert "onverted" not in said("evaluate", vae)
    folder = tmp_path / "of several sizes"
    folder.mkdir()
    for i, image in enumerate(pixels[:20]):
        Image.fromarray(image[: 8 + i % 2]).save(folder / f"{i}.png")
    told = said("evaluate", vae, "--data", folder)
    assert str(folder) in told
    assert re.search("onverted.*8 × 8 × 1", told)


def test_a_range_shows_what_is_wrong_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not "0 to 1; expected [0, 1]"."""
    import keras

    from export.functions import as_model
    from zoo.convert import sources

    latent = keras.Input((3,))
    pixels = keras.layers.Dense(64, "sigmoid", bias_initializer=keras.initializers.Constant(99.0))
    images = keras.layers.Reshape((8, 8, 1))(pixels(latent))
    with pytest.raises(ValueError, match=r"in \[0, 1\.0002\d*\]; expected \[0, 1\]"):
        as_model(keras.Model(latent, keras.layers.Rescaling(1.0002)(images)))
    drawn = np.array([0.0, 1.0002], np.float32)
    monkeypatch.setattr(sources, "run", lambda *_: drawn)
    parts: Any = ("x", None, None, "standard_normal", "raw", (0.0, 1.0), 3, (8, 8, 1))
    generator = sources.Generator(*parts)
    with pytest.raises(ValueError, match=r"to 1\.0002; expected|to 1\.00020003; expected"):
        sources._range_of(generator)
