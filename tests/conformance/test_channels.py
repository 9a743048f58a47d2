"""Images of any number of channels go through every stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import zoo
from export import endpoints
from tests.cases import LATENT_DIM
from tests.support.command import run_zoo

slow = pytest.mark.slow
CASES = [
    pytest.param(model, channels, id=f"{model}-{channels}", marks=marks)
    for model, channels, marks in (
        ("vae", 5, []), ("dcgan", 2, slow), ("vae", 2, slow), ("vae", 4, slow), ("dcgan", 4, slow),
        ("dcgan", 5, slow), ("dcgan", 16, slow),
    )
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "channels"), CASES)
def test_from_an_array_to_pictures(name: str, channels: int, tmp_path: Path) -> None:
    """Trained, saved, loaded, measured; the functions of an export compute what the model does."""
    shape = (8, 8, channels)
    images = np.random.default_rng(0).integers(0, 256, (24, *shape)).astype(np.uint8)
    np.save(tmp_path / "x.npy", images)
    run = tmp_path / "run"
    run_zoo(
        "train", name, "--data", tmp_path / "x.npy", "--out", run, "--epochs", 1, "--batch-size", 8,
        "--latent-dim", LATENT_DIM, "--network", "mlp", "--mirror",
    )  # fmt: skip
    model = zoo.load(run)
    assert model.image_shape == shape
    assert (run / "samples" / "epoch_0001.png").exists()
    if name == "vae":
        assert zoo.evaluate(model, images, extractor="none")["metrics"]["mse"] > 0.0
    latents = model.sample_latents(3, seed=0)
    found = endpoints(model, functions=["generate"])[0].function(latents)["image"]
    np.testing.assert_allclose(found, model.generate_from(latents), atol=1e-5)


@slow
@pytest.mark.parametrize("channels", [2, 4, 5])
@pytest.mark.parametrize("format_", ["saved_model", "onnx", "triton"])
@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_exports_are_equal(name: str, format_: str, channels: int, tmp_path: Path) -> None:
    """An export is compared with the model before it gets its name."""
    model = zoo.create(name, (8, 8, channels), LATENT_DIM, network="conv-4")
    assert zoo.export_model(model, tmp_path / "x", format=format_).is_dir()
