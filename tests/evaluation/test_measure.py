"""What an evaluation measures when nothing is asked for."""

from __future__ import annotations

import numpy as np
import pytest

import zoo
from zoo.data import sprites
from zoo.evaluation.extractors import extractor_for


@pytest.mark.parametrize(
    ("data", "shape", "extractor"),
    [
        ("fashion_mnist", (28, 28, 1), "fashion_mnist_classifier"),
        ("fashion_mnist", (32, 32, 1), "efficientnet_lite0"),
        ("emoji", (28, 28, 1), "efficientnet_lite0"),
        ("emoji", (64, 64, 3), "efficientnet_lite0"),
        (sprites.NAME, (32, 32, 1), None),
    ],
)
def test_default_extractor(data: str, shape: tuple[int, int, int], extractor: str | None) -> None:
    assert extractor_for(data, None, shape) == extractor


def test_progress_is_told_of_all_that_takes_long() -> None:
    images = np.random.default_rng(0).random((300, 28, 28, 1)).astype(np.float32)
    told: list[tuple[str, int, int]] = []
    zoo.evaluate(
        zoo.create("vae", (28, 28, 1), 2, network="mlp"), images, samples=10, importance_samples=1,
        extractor="fashion_mnist_classifier", progress=lambda *each: told.append(each),
    )  # fmt: skip
    whole, few = [(0, 300), (250, 300), (300, 300)], [(0, 10), (10, 10)]
    steps = {"real images": whole, "samples": few, "likelihoods": whole, "reconstructions": whole}
    assert told == [(what, *each) for what, seen in steps.items() for each in seen]


@pytest.mark.slow
def test_colour_is_measured_without_a_network() -> None:
    images = np.random.default_rng(0).random((12, 8, 8, 3)).astype(np.float32)
    vae = zoo.create("vae", (8, 8, 3), 2, network="mlp")
    results = zoo.evaluate(vae, images, importance_samples=2)
    assert {"elbo", "mse", "frechet_distance", "recall"} <= results["metrics"].keys()
    assert results["extractor"] == "efficientnet_lite0"


def test_a_gan_needs_an_extractor() -> None:
    """It has no likelihood: there would be nothing to measure."""
    images = np.zeros((4, 8, 8, 1), np.float32)
    with pytest.raises(ValueError, match="A dcgan, .* by its samples alone: expected an extractor"):
        zoo.evaluate(zoo.create("dcgan", (8, 8, 1), 2, network="mlp"), images, extractor="none")
