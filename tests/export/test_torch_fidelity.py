"""torch-fidelity measures an ONNX generator, and gets the figure that the zoo gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import torch

import zoo
from export import export_model, read_export, verify
from tests.support.exports import shaken
from tests.support.torch_inception import random_weights, reference
from zoo import metrics
from zoo.io.files import sha256
from zoo.metrics import inception
from zoo.metrics.features import quantise

if TYPE_CHECKING:
    from pathlib import Path

NCHW = "generate_nchw_uint8"


def test_a_grey_generator_draws_bytes_in_three_channels(tmp_path: Path) -> None:
    model = shaken(zoo.create("gan", (8, 6, 1), 3, network="mlp"))
    path = export_model(model, tmp_path / "x", format="onnx", functions=[NCHW])
    session = onnxruntime.InferenceSession(path / f"{NCHW}.onnx")
    latents = model.sample_latents(50, seed=0)
    (images,) = session.run(None, {"latent": latents})
    assert images.dtype == np.uint8
    assert images.shape == (50, 3, 8, 6)
    wanted = quantise(model.generate_from(latents)).transpose(0, 3, 1, 2)
    assert np.ptp(wanted) > 100
    for channel in range(3):
        differing = images[:, channel] != wanted[:, 0]
        assert np.mean(differing) < 1e-3  # halves
        assert not np.any(np.abs(images[:, channel].astype(int) - wanted[:, 0]) > 1)


def test_other_channels_have_no_such_function() -> None:
    from export.functions import names_of

    assert NCHW in names_of(zoo.create("gan", (8, 8, 3), 3, network="mlp"))
    assert NCHW not in names_of(zoo.create("gan", (8, 8, 2), 3, network="mlp"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_bytes_in_reduced_precision(precision: str, tmp_path: Path) -> None:
    model = shaken(zoo.create("dcgan", (16, 16, 3), 8))
    path = export_model(
        model, tmp_path / "x", format="onnx", functions=[NCHW], precision=precision, verify=False
    )
    report = verify(path, model)
    assert report.passed, report.problems
    quality = read_export(path)["quality"]
    levels, plain = (quality[name]["image"] for name in (NCHW, "generate"))
    assert levels["rms_error"] / 255.0 <= plain["rms_error"] + 1.0 / 255.0  # both are rounded
    rms = levels["rms_error"] / 255.0
    assert levels["psnr"] == (pytest.approx(-20.0 * np.log10(rms)) if rms else None)


@pytest.mark.slow
@pytest.mark.parametrize("export_format", ["saved_model", "triton"])
def test_other_formats_have_it_too(export_format: str, tmp_path: Path) -> None:
    model = shaken(zoo.create("cvae", (8, 8, 3), 3, network="mlp", num_classes=4))
    path = export_model(model, tmp_path / "x", format=export_format, functions=["sample", NCHW])
    report = verify(path, model)
    assert report.passed, report.problems
    assert NCHW in {row.function for row in report.rows}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "channels"), [("gan", 3), ("gan", 1), ("cvae", 3)])
def test_torch_fidelity_gets_our_figure(
    name: str, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random Inception weights in both."""
    fidelity = reference("torch_fidelity")
    weights = random_weights(tmp_path / "inception.pth")
    monkeypatch.setattr(inception, "SHA256", sha256(weights))
    monkeypatch.setattr(np, "int", np.int32, raising=False)  # it draws labels of this type
    n, batch, latent_dim = 24, 8, 3
    classes = {"num_classes": 4} if name == "cvae" else {}
    shape = (16, 16, channels)
    model = shaken(zoo.create(name, shape, latent_dim, network="mlp", **classes))
    path = export_model(model, tmp_path / "x", format="onnx", functions=[NCHW])
    report = verify(path, model)
    assert report.passed, report.problems
    real = np.random.default_rng(0).random((n, 16, 16, channels), np.float32)
    bytes_in_colour = np.broadcast_to(quantise(real), (*real.shape[:-1], 3))
    dataset = [torch.from_numpy(x.transpose(2, 0, 1).copy()) for x in bytes_in_colour]
    wanted = fidelity.calculate_metrics(
        input1=str(path / f"{NCHW}.onnx"),
        input1_model_z_size=latent_dim,
        input1_model_z_type="normal",
        input1_model_num_classes=model.num_classes or 0,
        input1_model_num_samples=n,
        input2=_Dataset(dataset),
        feature_extractor_weights_path=str(weights),
        batch_size=batch,
        rng_seed=7,
        fid=True,
        isc=True,
        cuda=False,
        cache=False,
        save_cpu_ram=True,  # no forks of this process, whose TensorFlow has threads
        verbose=False,
    )
    rng = np.random.RandomState(7)
    drawn = [_draw(rng, batch, latent_dim, model.num_classes) for _ in range(n // batch)]
    latents = np.concatenate([latents for latents, _ in drawn])
    labels = np.concatenate([labels for _, labels in drawn]) if model.num_classes else None
    fake = model.generate_from(latents, labels)
    extractor = metrics.load_extractor("inception_fid", weights=weights)
    found = metrics.frechet_distance(extractor(real), extractor(fake))
    assert found == pytest.approx(wanted["frechet_inception_distance"], rel=1e-3)
    score, _ = metrics.inception_score(extractor.predict(fake), seed=7)
    assert score == pytest.approx(wanted["inception_score_mean"], rel=1e-3)


class _Dataset(torch.utils.data.Dataset):
    def __init__(self, images: list[torch.Tensor]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.images[i]


def _draw(
    rng: np.random.RandomState, n: int, latent_dim: int, classes: int | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """What torch-fidelity draws for a batch."""
    latents = rng.randn(n, latent_dim).astype(np.float32)
    return latents, rng.randint(0, classes, n, np.int32) if classes else None
