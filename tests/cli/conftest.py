"""Data and run folders that the tests of commands share; none may change them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import run_zoo

FROZEN = Path(__file__).parents[1] / "frozen_preset" / "dcgan"


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    rng = np.random.default_rng(0)
    images = np.kron(rng.random((150, 2, 2, 1)), np.ones((1, 14, 14, 1))).astype(np.float32)
    np.savez(path, x_train=images, x_test=images[:40])
    return path


@pytest.fixture(scope="session")
def gan(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "gan"
    run_zoo(
        "train", "dcgan", "--data", source, "--out", run, "--epochs", 2, "--batch-size", 20,
        "--latent-dim", 4, "--option", "ema=0.9", "--network", "conv-8",
    )  # fmt: skip
    return run


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images of 8 × 8 pixels."""
    path = tmp_path_factory.mktemp("data") / "small.npz"
    rng = np.random.default_rng(0)
    images = np.kron(rng.random((60, 2, 2, 1)), np.ones((1, 4, 4, 1))).astype(np.float32)
    np.savez(path, x_train=images, x_test=images[:10])
    return path


@pytest.fixture(scope="session")
def tiny(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GAN of one epoch; and a VAE made of it, which has not been trained."""
    folder = tmp_path_factory.mktemp("tiny")
    run_zoo(
        "train", "dcgan", "--data", small, "--out", folder / "gan", "--epochs", 1,
        "--batch-size", 20, "--latent-dim", 3, "--network", "mlp",
    )  # fmt: skip
    run_zoo("convert", folder / "gan", "--to", "vae", "--out", folder / "vae")
    return folder


@pytest.fixture
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with one preset, `little`."""
    from zoo.hub import catalog, write_registry

    shutil.copytree(FROZEN, tmp_path / "saved_models" / "little")
    monkeypatch.setattr(catalog, "saved_models", lambda: tmp_path / "saved_models")
    write_registry()
    return tmp_path / "saved_models"
