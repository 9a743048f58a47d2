"""Pretrained models by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import FROZEN
from tests.support.command import fails, run_zoo
from zoo.cli import main
from zoo.hub import list_pretrained, measuring


def test_a_pretrained_model_by_name(presets: Path, tmp_path: Path, capsys) -> None:
    run_zoo("list", "--pretrained", "lit*")
    assert "little" in capsys.readouterr().out
    run_zoo("list", "--pretrained", "*_other")
    assert "little" not in capsys.readouterr().out
    run_zoo("sample", "little", "--n", 4, "--out", tmp_path / "x.npy")
    expected = np.load(FROZEN.parent / "dcgan.npy")
    np.testing.assert_allclose(np.load(tmp_path / "x.npy")[:4], expected[:4], atol=1e-6)
    run_zoo("info", "little")
    assert "dcgan" in capsys.readouterr().out
    assert "runs/dcgan does not exist" in fails(capsys, "info", "runs/dcgan")


@pytest.mark.slow
def test_the_walk_of_a_pretrained_model(presets: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in (presets / "little").iterdir()}
    run_zoo(
        "export", "little", "--format", "onnx", "--out", tmp_path / "onnx", "--function", "generate"
    )
    run_zoo("verify", tmp_path / "onnx", "--runtime", "ONNX Runtime")
    facts = json.loads((tmp_path / "onnx" / "zoo_export.json").read_text())
    assert (facts["preset"], facts["license"]) == ("little", "mit")
    assert facts["metrics"]["extractor"] == json.loads(before["metrics.json"])["extractor"]
    run_zoo("convert", "little", "--to", "vae", "--data", "x", "--out", tmp_path / "vae")
    assert {path.name: path.read_bytes() for path in (presets / "little").iterdir()} == before


def test_a_preset_whose_figures_have_changed(
    presets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The measuring itself is tested in test_pretrained.py."""
    monkeypatch.setattr("zoo.hub.measuring.check", lambda name: [])
    run_zoo("bench", "--pretrained")
    assert "little: as its card says" in capsys.readouterr().out
    monkeypatch.setattr("zoo.hub.measuring.check", lambda name: [f"{name}: mse is 3."])
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--pretrained", "little"])
    assert stop.value.code == 1
    assert "little: mse is 3." in capsys.readouterr().out

    def fail(error: Exception) -> None:
        raise error

    missing = measuring.NoTestDataError("Fetch them.")
    monkeypatch.setattr("zoo.hub.measuring.check", lambda _: fail(missing))
    run_zoo("bench", "--pretrained")
    assert "little: not measured. Fetch them." in capsys.readouterr().out
    # A preset that has lost a file is no such case.
    monkeypatch.setattr("zoo.hub.measuring.check", lambda _: fail(FileNotFoundError("h5")))
    assert "h5" in fails(capsys, "bench", "--pretrained")


def test_an_earlier_name_of_a_preset(capsys) -> None:
    """It loads, with a notice of one line; the list shows the present name alone."""
    run_zoo("info", "dcgan_fashion_mnist")
    shown = capsys.readouterr()
    notice = "The preset dcgan_fashion_mnist is now called dcgan_conditional_fashion_mnist.\n"
    assert shown.err == notice
    assert "dcgan_conditional_fashion_mnist" in shown.out
    run_zoo("list", "--pretrained", "*dcgan*")
    shown = capsys.readouterr()
    assert "dcgan_fashion_mnist" not in shown.out
    assert shown.out.count("dcgan_conditional_fashion_mnist") == 1
    assert "classes" in shown.out


def test_the_list_fits_in_a_terminal_of_80(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run_zoo("list", "--pretrained")
    lines = capsys.readouterr().out.splitlines()
    for preset in list_pretrained():
        (line,) = (line for line in lines if line.split()[:1] == [preset.name])
        assert line.split()[1:3] == [preset.data, str(preset.num_classes or "none")]


def test_wrong_pretrained_models(presets: Path, tmp_path: Path, capsys) -> None:
    (presets / "little" / "config.json").write_text("{}")
    assert "Install the package anew" in fails(capsys, "sample", "little")
    assert "expected hf://org/repo" in fails(capsys, "sample", "hf://nonsense")
    assert "sha256" in fails(capsys, "sample", "https://example.org/x.zip")
    assert "Did you mean little?" in fails(capsys, "sample", "litle")
    assert "Did you mean the model dcgan" in fails(capsys, "info", "dcgann")
    assert "runs/litle does not exist" in fails(capsys, "sample", "runs/litle")
    assert "by pattern" in fails(capsys, "list", "lit*")
