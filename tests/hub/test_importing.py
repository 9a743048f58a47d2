"""Presets made of others' weights: the same numbers, with licence and origin, or nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import zoo
from export.metadata import provenance
from zoo.hub import huggingface, importing
from zoo.io.safetensor_files import SafeTensors, write_safetensors
from zoo.presets import read_config

FROZEN = Path(__file__).parents[1] / "frozen_autoencoder"
WEIGHTS = "diffusion_pytorch_model.safetensors"
SHA256 = hashlib.sha256((FROZEN / WEIGHTS).read_bytes()).hexdigest()


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A copy without what diffusers computed."""
    ignored = shutil.ignore_patterns("outputs.npz")
    return Path(shutil.copytree(FROZEN, tmp_path / "theirs", ignore=ignored))


def _card(folder: Path) -> tuple[dict[str, Any], str]:
    text = (folder / "README.md").read_text(encoding="utf-8")
    _, header, body = text.split("---\n", 2)
    return yaml.safe_load(header), body


def test_a_preset_of_a_folder(theirs: Path, tmp_path: Path) -> None:
    """It computes what they compute. Report, card and provenance agree: no licence is stated."""
    with pytest.warns(UserWarning, match="theirs states no licence. Ask its publisher before"):
        report = zoo.import_model(theirs, tmp_path / "mine", precision="float32")
    model = zoo.load(tmp_path / "mine")
    outputs = np.load(FROZEN / "outputs.npz")
    mean, log_variance = model.encode(outputs["images_0"])
    np.testing.assert_allclose(mean, outputs["mean_0"], atol=1e-5)
    np.testing.assert_allclose(log_variance, outputs["log_variance_0"], atol=1e-5)
    assert (model.scaling_factor, model.shift_factor) == (0.5, 0.25)

    keys = [row.source.partition("/")[2] for row in report.rows]
    assert sorted(keys) == sorted(SafeTensors(FROZEN / WEIGHTS))
    assert len({row.target for row in report.rows}) == len(keys) == 124
    assert report.summary() == (
        f"124 keys of {WEIGHTS}, each used once, for all 124 weights. Licence: not stated."
    )
    facts = read_config(tmp_path / "mine")["facts"]
    origin = {
        "source": str(theirs), "file": WEIGHTS, "sha256": SHA256, "class": "AutoencoderKL",
        "tensors": 124,
    }  # fmt: skip
    assert (facts["license"], facts["imported_from"]) == ("unknown", origin)
    known = provenance(tmp_path / "mine")
    assert (known["license"], known["imported_from"]) == ("unknown", origin)
    header, body = _card(tmp_path / "mine")
    assert header["license"] == "unknown"
    assert "pipeline_tag" not in header
    not_stated = "**None is stated where the weights come from.** Ask their publisher"
    for text in (str(theirs), SHA256, not_stated, "model.encode("):
        assert text in body
    assert "samples.png" not in body


@pytest.mark.slow
def test_a_repository(theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Revision and repository are noted; a link to its licence leads there; float16 is stored."""
    (theirs / "README.md").write_text(
        "---\nlicense: other\nlicense_name: flux-dev\nlicense_link: LICENSE.md\n---\n"
    )
    shutil.copytree(theirs, tmp_path / "root" / "vae")
    (tmp_path / "root" / "vae" / "README.md").rename(tmp_path / "root" / "README.md")
    found = huggingface.Snapshot(tmp_path / "root", tmp_path / "root" / "vae", "c0ffee")
    monkeypatch.setattr(huggingface, "download", lambda _: found)
    report = zoo.import_model("hf://me/x/vae", tmp_path / "mine", image_size=12)
    assert report.origin["revision"] == "c0ffee"
    assert report.origin["file"] == f"vae/{WEIGHTS}"
    header, body = _card(tmp_path / "mine")
    link = "https://huggingface.co/me/x/blob/c0ffee/LICENSE.md"
    assert (header["license"], header["license_name"]) == ("other", "flux-dev")
    assert (header["license_link"], header["base_model"]) == (link, "me/x")
    assert "`hf://me/x/vae`, revision `c0ffee`" in body
    assert f"other (flux-dev, {link}), as their publisher states it." in body
    config = read_config(tmp_path / "mine")
    assert config["image_shape"] == [12, 12, 1]
    size = (tmp_path / "mine" / "model.weights.h5").stat().st_size
    zoo.import_model("hf://me/x/vae", tmp_path / "whole", precision="float32")
    whole = (tmp_path / "whole" / "model.weights.h5").stat().st_size
    assert whole - size > config["parameters"]


def _config(folder: Path, **entries: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **entries}))


def _weights(folder: Path, change: Any) -> None:
    arrays = dict(SafeTensors(folder / WEIGHTS))
    change(arrays)
    write_safetensors(folder / WEIGHTS, arrays)


FAULTS: dict[str, tuple[Any, str]] = {
    "missing": (
        lambda x: _weights(x, lambda arrays: arrays.pop("quant_conv.bias")),
        "Keys 1 that are missing: quant_conv.bias",
    ),
    "not finite": (
        lambda x: _weights(x, lambda arrays: arrays["quant_conv.bias"].fill(np.nan)),
        "is not finite",
    ),
    "cut short": (
        lambda x: (x / WEIGHTS).write_bytes((x / WEIGHTS).read_bytes()[:-100]),
        "is no file of safetensors that can be read: .*Copy or download it again",
    ),
    "no weights": (lambda x: (x / WEIGHTS).unlink(), "has no weights. Expected one of diffusion"),
    "no config": (
        lambda x: (x / "config.json").unlink(),
        "has no config.json. Expected a folder with the config.json of an AutoencoderKL",
    ),
    "other class": (lambda x: _config(x, _class_name="VQModel"), "is of the class VQModel; expec"),
    "a run": (
        lambda x: (x / "config.json").write_text('{"format": 1, "model": "vae"}'),
        "is no model of diffusers. .*a run needs no import",
    ),
    "not there": (shutil.rmtree, "theirs does not exist"),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n == "not finite" else n for n in FAULTS],
)
def test_all_or_nothing(name: str, theirs: Path, tmp_path: Path) -> None:
    spoil, message = FAULTS[name]
    spoil(theirs)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        zoo.import_model(theirs, tmp_path / "new" / "mine")
    assert not (tmp_path / "new").exists()


def test_arguments(theirs: Path, tmp_path: Path) -> None:
    """They are looked at before the weights are."""
    with pytest.raises(FileExistsError, match="exists already. Choose another folder, or remove"):
        zoo.import_model("hf://me/gone", tmp_path)
    with pytest.raises(ValueError, match="precision='int8': expected 'float16' or 'float32'"):
        zoo.import_model("hf://me/gone", tmp_path / "mine", precision="int8")
    with pytest.raises(ValueError, match="vae_fashion_mnist is a preset already, which zoo.load"):
        zoo.import_model("vae_fashion_mnist", tmp_path / "mine")
    with pytest.raises(ValueError, match=r"image_shape=\(9, 9, 1\).*2 must divide|9.*2"):
        zoo.import_model(theirs, tmp_path / "mine", image_size=9)
    assert not (tmp_path / "mine").exists()
    assert importing.Imported("x", {"file": "y"}, {"license": "mit"}, []).table().row_count == 0
