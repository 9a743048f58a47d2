"""Resizings against those of the references, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from tests.support.torch_inception import reference
from zoo.metrics.resizing import RESIZES, check_resize

SIZES = [(1, 1), (8, 8), (28, 28), (32, 32), (33, 57), (64, 64), (299, 299), (300, 300), (512, 384)]


def _pixels(height: int, width: int, n: int = 2) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (n, height, width, 3), np.uint8)


def _torch(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32).transpose(0, 3, 1, 2).copy())


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_tf1_bilinear_is_that_of_torch_fidelity(size: tuple[int, int]) -> None:
    module = reference("torch_fidelity.interpolate_compat_tensorflow")
    pixels = _pixels(*size)
    wanted = module.interpolate_bilinear_2d_like_tensorflow1x(
        _torch(pixels), size=(299, 299), align_corners=False
    )
    found = np.asarray(RESIZES["tf1-bilinear"](pixels, 299))
    np.testing.assert_allclose(found, wanted.permute(0, 2, 3, 1), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_clean_is_that_of_clean_fid(size: tuple[int, int]) -> None:
    resize = reference("cleanfid.resize").build_resizer("clean")
    pixels = _pixels(*size)
    found = RESIZES["clean"](pixels, 299)
    np.testing.assert_array_equal(found, np.stack([resize(image) for image in pixels]))


def test_clean_is_pillow_on_float_channels() -> None:
    """It overshoots at edges, and is clipped; where it shrinks, it averages."""
    pixels = np.zeros((1, 40, 40, 3), np.uint8)
    pixels[:, :, 20:, 1] = 255
    found = RESIZES["clean"](pixels, 10)
    channel = Image.fromarray(pixels[0, :, :, 1].astype(np.float32))
    wanted = np.asarray(channel.resize((10, 10), Image.Resampling.BICUBIC))
    assert wanted.min() < 0.0
    assert wanted.max() > 255.0
    np.testing.assert_array_equal(found[0, :, :, 1], np.clip(wanted, 0.0, 255.0))
    assert not found[..., [0, 2]].any()


@pytest.mark.parametrize("size", [(8, 8), (33, 57), (400, 350)])
def test_pytorch_bilinear_is_that_of_pytorch(size: tuple[int, int]) -> None:
    pixels = _pixels(*size)
    wanted = functional.interpolate(_torch(pixels), (299, 299), mode="bilinear")
    found = np.asarray(RESIZES["pytorch-bilinear"](pixels, 299))
    # Places in the image are float32, and from one pixel to the next there may be 255 levels.
    noise = 255.0 * max(size) * np.finfo(np.float32).eps
    np.testing.assert_allclose(found, wanted.permute(0, 2, 3, 1), rtol=0, atol=noise)


def test_tf1_bilinear_by_hand() -> None:
    """Pixel k of 4 lies at k / 2 of 2: the last one repeats."""
    pixels = np.array([0, 100], np.uint8).reshape(1, 1, 2, 1)
    found = np.asarray(RESIZES["tf1-bilinear"](pixels, 4))[0, 0, :, 0]
    np.testing.assert_array_equal(found, [0.0, 50.0, 100.0, 100.0])


@pytest.mark.parametrize("name", sorted(RESIZES))
def test_what_has_the_size_stays_as_it_is(name: str) -> None:
    pixels = _pixels(21, 21)
    np.testing.assert_array_equal(np.asarray(RESIZES[name](pixels, 21)), pixels)
    check_resize(name)
