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
    both = "likelihoods and reconstructions"  # in one pass
    steps = {"real images": whole, "samples": few, both: whole}
    assert told == [(what, *each) for what, seen in steps.items() for each in seen]


@pytest.mark.slow
def test_colour_is_measured_without_a_network() -> None:
    images = np.random.default_rng(0).random((12, 8, 8, 3)).astype(np.float32)
    vae = zoo.create("vae", (8, 8, 3), 2, network="mlp")
    results = zoo.evaluate(vae, images, importance_samples=2)
    assert {"elbo", "mse", "frechet_distance", "recall"} <= results["metrics"].keys()
    assert results["extractor"] == "efficientnet_lite0"


@pytest.mark.parametrize(
    ("shape", "n", "reason"),
    [
        ((8, 8, 4), 20, "images of 4 channels: efficientnet_lite0 takes 1 or 3"),
        ((8, 8, 1), 1, "1 images and 2 samples: distances need 6 of each"),
    ],
)
def test_what_can_be_measured_is(shape: tuple[int, int, int], n: int, reason: str) -> None:
    """And what cannot is named: of a GAN that is all."""
    images = np.random.default_rng(0).random((n, *shape)).astype(np.float32)
    extractor = None if shape[-1] == 4 else "fashion_mnist_classifier"
    vae, gan = (zoo.create(name, shape, 2, network="mlp") for name in ("vae", "dcgan"))
    with pytest.warns(UserWarning, match=f"The samples are not measured: {reason}"):
        results = zoo.evaluate(vae, images, extractor=extractor, importance_samples=1)
    assert results["extractor"] is None
    assert reason in results["not_measured"]["samples"]
    assert {"elbo", "mse", "psnr", "latent_r2"} <= results["metrics"].keys()
    assert "frechet_distance" not in results["metrics"]
    assert np.isfinite(list(results["metrics"].values())).all()
    with pytest.raises(ValueError, match=f"by its samples alone, and there are {reason}"):
        zoo.evaluate(gan, images, extractor=extractor)


def test_fewer_samples_than_features_warn() -> None:
    images = np.random.default_rng(0).random((70, 28, 28, 1)).astype(np.float32)
    gan = zoo.create("dcgan", (28, 28, 1), 2, network="mlp")
    with pytest.warns(UserWarning, match="frechet_distance: 9 samples for 64 features.*perfect"):
        zoo.evaluate(gan, images, samples=9, extractor="fashion_mnist_classifier")


def test_a_choice_of_the_extractor_is_checked_before_anything_is_measured() -> None:
    gan = zoo.create("dcgan", (28, 28, 1), 2, network="mlp")
    images = np.zeros((9, 28, 28, 1), np.float32)
    options = {"extractor": "fashion_mnist_classifier", "seed": 0}
    for given, message in (
        ({"resize": "clean"}, "resize='clean': the extractor fashion_mnist_classifier has no"),
        ({"extractor_weights": "x.pth"}, "weights='x.pth': the extractor"),
        ({"extractor": "inception_fid", "extractor_weights": 3}, "weights=3: expected a path"),
        ({"weights": "raw"}, "weights: expected with metrics="),
        ({"seed": None}, "seed=None: expected a whole number"),
        ({"samples": 2.5}, r"samples=2\.5: expected a whole number"),
        ({"importance_samples": None}, "importance_samples=None: expected a whole number"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            zoo.evaluate(gan, images, **{**options, **given})


def test_a_choice_of_no_extractor() -> None:
    vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    for given in ({"resize": "clean"}, {"extractor_weights": "x.pth"}):
        with pytest.raises(ValueError, match="no extractor compares the samples. Leave it out"):
            zoo.evaluate(vae, np.zeros((9, 8, 8, 1), np.float32), extractor="none", **given)


def test_a_gan_needs_an_extractor() -> None:
    """It has no likelihood: there would be nothing to measure."""
    images = np.zeros((4, 8, 8, 1), np.float32)
    with pytest.raises(ValueError, match="A dcgan, .* by its samples alone: expected an extractor"):
        zoo.evaluate(zoo.create("dcgan", (8, 8, 1), 2, network="mlp"), images, extractor="none")
