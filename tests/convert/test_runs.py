"""A run is converted into a run that trains on; tests/cli/test_convert.py has more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import zoo
from zoo.convert import convert_run
from zoo.io.records import read_json
from zoo.training.run_files import read_config


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, x_train=np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32))
    return str(path)


@pytest.fixture(scope="module")
def vae(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that knows its 30 images, which are too few for a batch of the default."""
    run = tmp_path_factory.mktemp("runs") / "vae"
    model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    model.compile()
    facts = {"data": data, "epochs": 0, "batch_size": 10, "class_names": ["a", "b"]}
    zoo.training.save_run(model, run, facts | {"data_fingerprint": {"images": 30}})
    return run


def test_the_new_run(vae: Path, data: str, tmp_path: Path) -> None:
    """It draws the same images, knows the data, and fits its batches to them."""
    gan, report = convert_run(
        vae, "gan", tmp_path / "gan", seed=3, name="hf://someone/vae", whiten_posterior=False
    )
    found = zoo.load(tmp_path / "gan")
    np.testing.assert_array_equal(found.generate(4, seed=1), gan.generate(4, seed=1))
    np.testing.assert_allclose(
        found.generate(4, seed=1), zoo.load(vae).generate(4, seed=1), atol=5e-6
    )
    config = read_config(tmp_path / "gan")
    wanted = {
        "data": data, "epochs": 0, "seed": 3, "batch_size": 10, "class_names": ["a", "b"],
        "converted_from": "hf://someone/vae",
    }  # fmt: skip
    assert {name: config[name] for name in wanted} == wanted
    assert read_json(tmp_path / "gan" / "conversion.json")["passed"] == report.equality.passed


def test_what_is_refused(vae: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for arguments, error, words in [
        ((vae, "autoencoder", out), ValueError, "to='autoencoder': expected one of 'vae', 'gan'."),
        ((vae, "gan"), ValueError, "out=None: expected a folder"),
        ((vae, "vae", out), ValueError, "holds a vae, a VAE already."),
        ((vae, "gan", vae), FileExistsError, "holds a run already"),
        ((tmp_path / "none", "gan", out), FileNotFoundError, "does not exist"),
    ]:
        with pytest.raises(error, match=words):
            convert_run(*arguments)
    assert not out.exists()


def test_a_dry_run_needs_no_folder(vae: Path, tmp_path: Path) -> None:
    gan, report = convert_run(vae, "gan", tmp_path / "out", dry_run=True)
    assert gan is None
    assert report.equivalence == "distributional"
    assert not (tmp_path / "out").exists()
