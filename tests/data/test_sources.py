"""A source's name, by which a run finds it again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import zoo
from export.metadata import provenance
from tests.support.image_files import random_pixels
from zoo import data
from zoo.evaluation.report import write_report
from zoo.training.loop import train
from zoo.training.run_files import read_config
from zoo.training.runs import load_run


@pytest.mark.slow
def test_a_run_on_data_whose_name_is_no_utf_8(tmp_path: Path) -> None:
    """It can be read, resumed, exported and reported; its own folder must be UTF-8."""
    data = tmp_path / os.fsdecode(b"caf\xe9.npz")
    pixels = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    np.savez(data, images=pixels)
    model = zoo.create("vae", image_shape=(8, 8, 1), latent_dim=2, network="mlp")
    model.compile()
    for epochs in (1, 2):
        train(model, data, tmp_path / "run", epochs=epochs, batch_size=10, verbose=0)
        model = load_run(tmp_path / "run")
    assert read_config(tmp_path / "run")["data"] == str(data)
    write_report([tmp_path / "run"], tmp_path / "report.html")
    assert r"caf\udce9.npz" in (tmp_path / "report.html").read_text()
    assert provenance(tmp_path / "run")["data"] == r"caf\xe9.npz"
    with pytest.raises(ValueError, match=r"caf\\xe9: the name is not UTF-8"):
        train(model, data, data.with_suffix(""), epochs=3, batch_size=10, verbose=0)
    assert not data.with_suffix("").exists()


def test_a_source_is_named_for_reading_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = random_pixels()
    np.savez(tmp_path / "x.npz", x_train=pixels)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    name = data.source_name("x.npz")
    assert name == data.source_name(Path("x.npz")) == data.source_name("~/x.npz")
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(data.read(name).pixels, pixels)
    np.testing.assert_array_equal(data.read("~/x.npz").pixels, pixels)
    assert data.source_name("fashion_mnist") == "fashion_mnist"
    assert data.source_name(pixels) == "array"
