"""`zoo import`, and what the other commands say of weights that are not imported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import fails, run_zoo
from zoo.io.safetensor_files import SafeTensors

FROZEN = Path(__file__).parents[1] / "frozen_autoencoder"


@pytest.mark.slow
def test_an_imported_preset(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    shutil.copytree(FROZEN, theirs)
    run_zoo("import", theirs, "--out", mine)
    shown = capsys.readouterr()
    assert shown.err.count("states no licence. Ask its publisher") == 1
    assert "decoder.conv_in.weight" in shown.out
    assert "each used once, for all 124" in " ".join(shown.out.split())
    assert "exists already" in fails(capsys, "import", theirs, "--out", mine)
    run_zoo("info", mine)
    assert "imported_from" in capsys.readouterr().out
    run_zoo("sample", mine, "--n", 2, "--out", tmp_path / "x.png")
    said = fails(capsys, "sample", theirs, "--out", tmp_path / "y.png")
    assert "is an autoencoder of diffusers: zoo.load reads it." in said
    assert f"zoo import {theirs} --out NAME" in " ".join(said.split())
    assert "zoo import" in fails(capsys, "info", theirs)


@pytest.mark.slow
def test_a_folder_for_diffusers(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Written of a preset, verified, shown and imported again."""
    run_zoo("import", FROZEN, "--out", tmp_path / "mine", "--precision", "float32")
    run_zoo("export", tmp_path / "mine", "--format", "diffusers", "--out", tmp_path / "back")
    facts = json.loads((tmp_path / "back" / "zoo_export.json").read_text())
    assert (facts["license"], facts["imported_from"]["tensors"]) == ("unknown", 124)
    name = "diffusion_pytorch_model.safetensors"
    wanted, written = (SafeTensors(folder / name) for folder in (FROZEN, tmp_path / "back"))
    assert wanted.keys() == written.keys()
    for key, array in wanted.items():
        np.testing.assert_array_equal(written[key], array, err_msg=key)
    run_zoo("info", tmp_path / "back")
    assert "Not verified yet" in capsys.readouterr().out
    said = fails(
        capsys, "export", "vae_fashion_mnist", "--format", "diffusers", "--out", tmp_path / "no"
    )
    assert "a layout for an autoencoder_kl, and this is a vae. Export it in another" in said
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_a_folder_for_diffusers_is_verified(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """By what is read again, and by the package where it is installed; a change is found."""
    run_zoo("import", FROZEN, "--out", tmp_path / "mine", "--image-size", 8)
    run_zoo("export", tmp_path / "mine", "--format", "diffusers", "--out", tmp_path / "back")
    run_zoo("verify", tmp_path / "back")
    shown = capsys.readouterr().out
    assert "Keras" in shown
    try:
        import diffusers  # noqa: F401
    except ImportError:
        pass
    else:
        assert "diffusers  encode.log_variance" in shown
    config = tmp_path / "back" / "config.json"
    config.write_text(config.read_text().replace("0.25", "0.5"))
    assert "does not compute" in fails(capsys, "verify", tmp_path / "back")
