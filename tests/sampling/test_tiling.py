"""Tiled encoding and decoding: what is blended, what a tile is, and diffusers' own tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from tests.support.exports import shaken
from zoo.hub import diffusers
from zoo.sampling import tiled_decode, tiled_encode
from zoo.sampling.tiling import _tiled

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model() -> Any:
    keras.utils.set_random_seed(0)
    return shaken(zoo.create("autoencoder_kl", (8, 8, 1), 2, channels=(4, 8), groups=2))


@pytest.mark.parametrize("sides", [(8, 8), (9, 20), (13, 6), (5, 17)])
@pytest.mark.parametrize("overlap", [0, 2, 5])
def test_a_function_of_each_pixel_is_that_of_the_whole(
    sides: tuple[int, int], overlap: int
) -> None:
    """The weights of a blend have the sum 1, and every pixel is there once."""
    values = RNG.random((2, *sides, 3), np.float32)

    def doubled(part: np.ndarray) -> np.ndarray:
        return np.kron(2 * part, np.ones((1, 2, 2, 1), np.float32))

    found = _tiled(doubled, values, 8, overlap, lambda n: 2 * n)
    np.testing.assert_allclose(found, doubled(values), rtol=1e-6)


def test_the_blend_is_linear() -> None:
    """Of tiles that hold their own number: they begin at 0, 4 and 8."""
    numbers = iter(range(3))

    def numbered(part: np.ndarray) -> np.ndarray:
        return np.full(part.shape, next(numbers), np.float32)

    found = _tiled(numbered, np.zeros((1, 1, 10, 1)), 6, 2, int)
    assert found[0, 0, :, 0].tolist() == [0, 0, 0, 0, 0, 0.5, 1, 1, 1, 1.5]


def test_one_tile_is_the_whole(model: Any) -> None:
    images = RNG.random((1, 8, 12, 1), np.float32)
    for found, wanted in zip(tiled_encode(model, images, 16), model.encode(images), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        (
            {"tile": 7},
            (1, 8, 8, 1),
            "tile=7: expected a multiple of the model's factor 2, such as 8",
        ),
        ({"tile": 8, "overlap": 8}, (1, 8, 8, 1), "overlap=8: expected a multiple .* from 0 to 6"),
        ({"tile": 8}, (1, 9, 8, 1), r"images of shape \(1, 9, 8, 1\): .* that 2 divides"),
        ({"tile": 8}, (8, 8, 1), r"images of shape \(8, 8, 1\): expected \[n, height"),
    ],
)
def test_bad_sizes(model: Any, options: dict[str, int], shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiled_encode(model, np.zeros(shape, np.float32), **options)


def test_a_model_of_one_size() -> None:
    vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    with pytest.raises(ValueError, match="'vae': expected a model whose decode takes every size"):
        tiled_decode(vae, np.zeros((1, 4, 4, 2), np.float32))


@pytest.mark.slow
def test_how_far_from_the_whole(model: Any) -> None:
    """The figures of the docstrings."""
    latents = RNG.normal(size=(1, 32, 24, 2)).astype(np.float32)
    whole, tiled = np.asarray(model.decode(latents)), tiled_decode(model, latents, tile=32)
    error = np.abs(tiled - whole)
    print("decode", error.mean(), error.max(), whole.std())
    assert 0 < error.mean() < 0.4 * whole.std()
    images = RNG.random((1, 64, 48, 1), np.float32)
    for found, wanted in zip(tiled_encode(model, images, 32), model.encode(images), strict=True):
        error = np.abs(found - wanted)
        print("encode", error.mean(), error.max(), np.std(wanted))
        assert 0 < error.mean() < 0.1 * np.std(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("sides", [(48, 48), (40, 76)])
def test_the_tiles_of_diffusers(sides: tuple[int, int], tmp_path: Path) -> None:
    """Same tiles, same weights: random weights of the package, and its own tiled functions."""
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    theirs = package.AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[8, 16, 16], layers_per_block=1, norm_num_groups=4, sample_size=32,
        latent_channels=4,
    ).eval()  # fmt: skip
    theirs.save_pretrained(tmp_path / "theirs")
    model = diffusers.read_autoencoder(tmp_path / "theirs")
    theirs.enable_tiling()
    images = RNG.random((1, *sides, 3), np.float32)
    with torch.no_grad():
        posterior = theirs.encode(torch.tensor(2 * images - 1).permute(0, 3, 1, 2)).latent_dist
        values = theirs.decode(posterior.mean).sample.permute(0, 2, 3, 1).numpy()
    mean, log_variance = tiled_encode(model, images, tile=32)
    for found, wanted in ((mean, posterior.mean), (log_variance, posterior.logvar)):
        np.testing.assert_allclose(found, wanted.permute(0, 2, 3, 1).numpy(), atol=2e-5)
    latents = posterior.mean.permute(0, 2, 3, 1).numpy()
    wanted = np.clip((values + 1) / 2, 0, 1)
    np.testing.assert_allclose(tiled_decode(model, latents, tile=32), wanted, atol=2e-5)
