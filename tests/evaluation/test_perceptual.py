"""What is measured of reconstructions and of samples as pictures."""

from __future__ import annotations

import numpy as np
import pytest

import zoo
from zoo import metrics
from zoo.evaluation import perceptual, streams
from zoo.evaluation.perceptual import diversity_metrics, reconstruction_metrics


@pytest.mark.parametrize("classes", [0, 3])
def test_means_over_batches_are_those_of_all_images(classes: int) -> None:
    images = np.random.default_rng(0).random((300, 12, 12, 1)).astype(np.float32)
    labels = np.arange(300, dtype=np.int32) % 3 if classes else None
    vae = zoo.create("cvae" if classes else "vae", (12, 12, 1), 2, network="mlp",
                     **({"num_classes": classes} if classes else {}))  # fmt: skip
    given = (images,) if labels is None else (images, labels)
    reconstructed = np.asarray(vae.reconstruct(*given))
    means = reconstruction_metrics(vae, streams.of_arrays(*given))
    assert means == {
        "psnr": pytest.approx(metrics.psnr(images, reconstructed).mean(), rel=1e-5),
        "ssim": pytest.approx(metrics.ssim(images, reconstructed).mean(), rel=1e-4),
    }


def test_small_images_have_no_ssim() -> None:
    vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    assert reconstruction_metrics(vae, np.zeros((4, 8, 8, 1), np.float32)).keys() == {"psnr"}


@pytest.mark.slow
def test_perceptual_metrics_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    vae = zoo.create("vae", (16, 16, 3), 2, network="mlp")
    images = np.random.default_rng(0).random((2, 16, 16, 3)).astype(np.float32)
    measured = reconstruction_metrics(vae, images, perceptual=True)["perceptual_distance"]
    expected = metrics.perceptual_distance(images, np.asarray(vae.reconstruct(images)))
    assert measured == pytest.approx(float(expected.mean()), rel=1e-3)

    monkeypatch.setattr(perceptual, "DIVERSE", 5)
    monkeypatch.setattr(streams, "BATCH", 2)
    latents = vae.sample_latents(7, seed=0)
    diversity = metrics.perceptual_diversity(vae.generate_from(latents[:4]))
    assert diversity_metrics(vae, latents, seed=0) == {
        "perceptual_diversity": pytest.approx(diversity, rel=1e-3)
    }
    assert diversity_metrics(vae, latents[:1], seed=0) == {}
