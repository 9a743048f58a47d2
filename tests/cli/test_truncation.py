"""`zoo sample --truncation`: of a model that has one, and in its range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import zoo
from tests.support.command import fails, run_zoo
from zoo.training.runs import save_run


def saved(name: str, run: Path, **options: object) -> Path:
    model = zoo.create(name, (8, 8, 1), 2, network="mlp", **options)
    model.compile()
    save_run(model, run, {"data": "fashion_mnist_sample", "epochs": 0})
    return run


def test_samples_are_truncated(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = saved("biggan", tmp_path / "run", ema=None)
    model, out = zoo.load(run), tmp_path / "x.npy"
    run_zoo("sample", run, "--out", out, "--n", 5, "--seed", 3, "--truncation", 0.5)
    free = model.generate(5, seed=3)
    model.truncation = 0.5
    np.testing.assert_array_equal(np.load(out), model.generate(5, seed=3))
    assert np.abs(np.load(out) - free).max() > 1e-3
    wrong = tmp_path / "wrong.npy"
    error = fails(capsys, "sample", run, "--out", wrong, "--truncation", 3)
    assert "truncation=3.0: expected a threshold of more than 0 and at most 2" in " ".join(
        error.split()
    )
    vae = saved("vae", tmp_path / "vae")
    error = fails(capsys, "sample", vae, "--out", wrong, "--truncation", 0.5)
    assert "--truncation 0.5: a vae has none" in " ".join(error.split())
    assert not wrong.exists()
