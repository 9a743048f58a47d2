"""FastGAN's gates and R3GAN's grouped convolutions are converted unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import zoo
from tests.support.conversions import assert_same_images
from tests.support.networks import shake
from zoo import convert

SHAPE, LATENT = (8, 8, 1), 3


def _gan(name: str, network: str, **options: Any) -> Any:
    gan = zoo.create(name, SHAPE, LATENT, network=network, ema=None, **options)
    if name == "r3gan":
        shake(gan.generator)  # its blocks are the identity at first
    for seed in range(3):
        gan.generator(gan.sample_latents(16, seed=seed), training=True)  # norms and statistics
    return gan


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "network"),
    [("fastgan", "fastgan-2"), ("r3gan", "r3gan-16")],
)
def test_a_vae_draws_the_gans_images(name: str, network: str) -> None:
    gan = _gan(name, network)
    vae, report = convert.gan_to_vae(gan)
    assert_same_images(vae, gan)
    assert report.equality.passed
    assert report.coverage == 1.0
    kinds = {type(layer).__name__ for layer in vae.decoder.layers}
    assert ("GatedLinearUnit" if name == "fastgan" else "GroupedConv2D") in kinds
    assert not any("BatchNorm" in kind for kind in kinds)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["fastgan-2", "r3gan-16"])
def test_a_gan_draws_the_vaes_images(network: str) -> None:
    vae = zoo.create("vae", SHAPE, LATENT, network=network)
    shake(vae.decoder)
    gan, report = convert.vae_to_gan(vae, whiten_posterior=False)
    assert report.equality.passed
    latents = vae.sample_latents(20, seed=0)
    np.testing.assert_allclose(gan.generate_from(latents), vae.generate_from(latents), atol=5e-6)


@pytest.mark.slow
def test_the_trunk_of_a_discriminator_that_judges_patches_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 Dense layers"):
        convert.gan_to_vae(_gan("fastgan", "fastgan-2"), encoder_init="discriminator")
    vae, _ = convert.gan_to_vae(_gan("r3gan", "r3gan-16"), encoder_init="discriminator")
    assert vae.encoder.get_layer("basis").kernel.shape[:2] == (4, 4)
