"""An export to serve, and applications of it."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

import zoo
from export import export_model
from export.serving import server
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.support.scalars import write_scalars
from tests.support.serving import Client, gated


@pytest.fixture(scope="session")
def model() -> keras.Model:
    """A conditional VAE of three classes."""
    return zoo.create("cvae", IMAGE_SHAPE, LATENT_DIM, num_classes=3)


@pytest.fixture(scope="session")
def exported(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export to ONNX, which nothing changes."""
    path = tmp_path_factory.mktemp("serve") / "onnx"
    return export_model(model, path, format="onnx", functions=("generate", "encode"))


@pytest.fixture(scope="module")
def client(exported: Path) -> Client:
    """An application of it with low limits."""
    return Client(server.app(exported, max_batch=8, max_bytes=20_000))


@pytest.fixture
def scalars(tmp_path: Path) -> Client:
    """An application of functions that take scalars."""
    return Client(server.app(write_scalars(tmp_path / "toy"), max_batch=8))


@pytest.fixture
def served(exported: Path) -> Client:
    """An application whose model computes when it is told to."""
    return gated(exported)
