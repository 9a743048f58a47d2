"""PSNR and SSIM against scikit-image and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from zoo import metrics

PAIRED = [metrics.psnr, metrics.ssim, metrics.perceptual_distance, metrics.lpips]


def pair(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.random(shape, np.float32)
    return images, np.clip(images + 0.1 * rng.standard_normal(shape), 0.0, 1.0).astype(np.float32)


def test_psnr_by_hand() -> None:
    images = np.zeros((3, 4, 4, 3))
    others = np.stack([np.full((4, 4, 3), value) for value in (1.0, 0.1, 0.0)])
    np.testing.assert_allclose(metrics.psnr(images, others), [0.0, 20.0, np.inf], atol=1e-5)


def test_ssim_by_hand() -> None:
    """Of constant images only the first factor is left: (2 a b + C₁) / (a² + b² + C₁)."""
    a, b, c = 0.2, 0.6, 0.01**2
    expected = (2 * a * b + c) / (a**2 + b**2 + c)
    images, others = np.full((2, 16, 12, 1), a), np.full((2, 16, 12, 1), b)
    np.testing.assert_allclose(metrics.ssim(images, others), [expected] * 2, rtol=1e-6)


@pytest.mark.parametrize("shape", [(120, 28, 28, 1), (2, 11, 24, 3)])
def test_ssim_against_tensorflow(shape: tuple[int, ...]) -> None:
    images, others = pair(*shape)
    expected = tf.image.ssim(images, others, max_val=1.0)  # in float32
    np.testing.assert_allclose(metrics.ssim(images, others), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(120, 28, 28, 1), (3, 64, 48, 3)])
def test_against_scikit_image(shape: tuple[int, ...]) -> None:
    reference = pytest.importorskip("skimage.metrics")
    images, others = pair(*shape)
    psnr = [
        reference.peak_signal_noise_ratio(a, b, data_range=1.0)
        for a, b in zip(images, others, strict=True)
    ]
    ssim = [
        reference.structural_similarity(
            a, b, data_range=1.0, channel_axis=-1, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(images, others, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(metrics.psnr(images, others), psnr, rtol=1e-6)
    np.testing.assert_allclose(metrics.ssim(images, others), ssim, atol=1e-7)


@pytest.mark.parametrize("metric", PAIRED, ids=lambda metric: metric.__name__)
def test_bad_pairs_are_refused(metric: Any) -> None:
    """Before any weights are loaded or downloaded."""
    images, others = pair(2, 16, 16, 3)
    for bad, message in [
        (others[:1], r"\(2, 16, 16, 3\) and \(1, 16, 16, 3\)"),
        (others[..., :1], "expected twice the same"),
        (255.0 * others, r"\[0, 1\]; these reach"),
        (others * np.nan, "finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            metric(images, bad)
    with pytest.raises(ValueError, match="n ≥ 1"):
        metric(images[:0], others[:0])


def test_small_images_are_refused() -> None:
    small = np.zeros((1, 10, 30, 1))
    with pytest.raises(ValueError, match=r"\(10, 30, 1\): SSIM needs 11 pixels"):
        metrics.ssim(small, small)
    with pytest.raises(ValueError, match=r"\(10, 30, 1\): LPIPS needs 16 pixels"):
        metrics.lpips(small, small)
