"""`zoo evaluate --metric`, `zoo stats`, `zoo train-classifier` and `zoo train --metric`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command import config_of, copy_of, fails, run_zoo
from zoo.io import schemas
from zoo.io.records import read_json

FROZEN = Path(__file__).parents[1] / "frozen_preset" / "dcgan"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright left halves, and bright right halves."""
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    images = np.random.default_rng(0).integers(0, 120, (80, 8, 8, 1)).astype(np.uint8)
    labels = np.arange(80) % 2
    images[labels == 0, :, :4] += 120
    images[labels == 1, :, 4:] += 120
    np.savez(path, x_train=images[:60], y_train=labels[:60], x_test=images[60:], y_test=labels[60:])
    return path


@pytest.mark.slow
def test_named_metrics_from_a_classifier_to_a_report(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    judge, run, stats = tmp_path / "judge", tmp_path / "run", tmp_path / "stats.npz"
    run_zoo("train-classifier", labelled, "--out", judge, "--epochs", 1)
    assert json.loads((judge / "config.json").read_text())["classes"] == 2
    run_zoo("stats", labelled, "--out", stats, "--extractor", judge)
    with np.load(stats) as file:
        assert file["mu"].shape == (64,)
        assert file["sigma"].shape == (64, 64)
    run_zoo(
        "train", "cvae", "--data", labelled, "--out", run, "--epochs", 2, "--batch-size", 30,
        "--latent-dim", 2, "--network", "mlp", "--metric", "fid70_full", "--metric", "accuracy70",
        "--metric-every", 2, "--metric-extractor", judge, "--best", "accuracy70",
    )  # fmt: skip
    said = capsys.readouterr().out.replace("\n", "")
    assert "Measured every 2 epochs: fid70_full, accuracy70 (features: " in said
    assert "best_accuracy70" in said
    assert config_of(run)["metrics"] == ["fid70_full", "accuracy70"]
    history = json.loads((run / "history.json").read_text())
    assert ["accuracy70" in entry for entry in history] == [False, True]

    run_zoo("train", run, "--epochs", 4, "--metric", "is50")
    assert "--metric is50 is ignored: the run has fid70_full, accuracy70" in capsys.readouterr().out
    history = json.loads((run / "history.json").read_text())
    assert ["accuracy70" in entry for entry in history] == [False, True, False, True]

    options = ("--extractor", judge)
    run_zoo("evaluate", run, "--metric", "fid70_full", "--metric", "ifid70_test", *options)
    said, warned = capsys.readouterr()
    assert f"Measuring fid70_full, ifid70_test (features: {judge}) …" in said.replace("\n", "")
    assert "fid70_full: 60 real images for 64 features. The figure is biased upwards" in warned
    assert "UserWarning" not in warned  # in one line, without the code that said so
    run_zoo("evaluate", run, "--metric", "fid70_train", "--reference", stats, *options)
    found = {each["name"]: each for each in read_json(run / "protocols.json", schemas.PROTOCOLS)}
    assert list(found) == ["fid70_full", "ifid70_test", "fid70_train"]  # nothing is lost

    sheet = tmp_path / "sheet.png"
    run_zoo("neighbours", run, "--samples", 20, "--shown", 3, "--out", sheet, *options)
    assert "Memorization score 0." in capsys.readouterr().out
    with Image.open(sheet) as picture:  # three rows of a sample and four neighbours, ten times
        assert picture.size == (10 * (5 * 10 + 2), 10 * (3 * 10 + 2))
    plain, given = (found[name]["metrics"][name] for name in ("fid70_full", "fid70_train"))
    assert given == pytest.approx(plain, rel=1e-6)
    assert plain == pytest.approx(history[-1]["fid70_full"], rel=1e-4)
    assert found["fid70_full"]["images"] == 60
    assert found["fid70_full"]["step"] == 8


def test_wrong_names_and_options(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run, new = copy_of(tiny / "gan", tmp_path), tmp_path / "new"
    assert "Did you mean fid50k_full" in fails(capsys, "evaluate", run, "--metric", "fid50k_ful")
    for option, value in (("--samples", 9), ("--split", "train"), ("--sampler", "gmm")):
        said = fails(capsys, "evaluate", run, "--metric", "fid9_test", option, value)
        assert f"{option} {value}" in said
    assert "--raw is for --metric" in fails(capsys, "evaluate", run, "--raw")
    said = fails(capsys, "evaluate", run, "--resize", "clean")
    assert "resize='clean': the extractor efficientnet_lite0 has no choice of it" in said
    said = fails(
        capsys, "evaluate", run, "--metric", "fid9_test", "--extractor", "fashion_mnist_classifier"
    )
    assert "Images of shape (8, 8, 1)" in said
    assert not (run / "protocols.json").exists()
    train = ("train", "dcgan", "--out", new)
    assert "Did you mean fid5k_test" in fails(capsys, *train, "--metric", "fid5k_tset")
    for option, value in (("--metric-every", 2), ("--metric-resize", "clean")):
        assert f"{option} is for --metric" in fails(capsys, *train, option, value)
    assert not new.exists()
    assert "fashion_mnist_sampl" in fails(capsys, "stats", "fashion_mnist_sampl", "--out", new)
    unlabelled = tmp_path / "unlabelled.npy"
    np.save(unlabelled, np.zeros((9, 8, 8), np.float32))
    said = fails(capsys, "train-classifier", unlabelled, "--out", new)
    assert "no labels of two or more classes" in said
    said = fails(capsys, "train-classifier", unlabelled, "--out", run)
    assert "holds no classifier" in said
    preset = shutil.copytree(FROZEN, tmp_path / "preset")
    before = {path: path.read_bytes() for path in preset.iterdir()}
    said = fails(capsys, "train-classifier", unlabelled, "--out", preset)
    assert "holds no classifier" in said
    assert before == {path: path.read_bytes() for path in preset.iterdir()}
    content = unlabelled.read_bytes()
    said = fails(capsys, "stats", unlabelled, "--out", unlabelled)
    assert "holds no statistics" in said
    assert unlabelled.read_bytes() == content
    assert not new.exists()
