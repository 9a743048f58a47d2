"""The decoder of grids of latents as the generator of a GAN: autoencoder_kl, of one size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from export import export_model, verify
from tests.support.command import run_zoo
from tests.support.exports import shaken
from zoo.convert import gan_to_vae, vae_to_gan

RNG = np.random.default_rng(0)


def _vae(**options: Any) -> Any:
    keras.utils.set_random_seed(0)
    options = {"channels": (4, 8), "groups": 2, **options}
    return zoo.create("autoencoder_kl", (8, 12, 1), 2, **options)


def test_an_encoder_of_grids_is_no_discriminator() -> None:
    with pytest.raises(ValueError, match="gives grids, .* discriminator_init='random'"):
        vae_to_gan(_vae(), whiten_posterior=False)


@pytest.mark.slow
def test_no_gan_becomes_one() -> None:
    gan = zoo.create("dcgan", (8, 12, 1), 48, network="mlp")
    with pytest.raises(ValueError, match="autoencoder_kl cannot be converted: .*sigmoid"):
        gan_to_vae(gan, _vae())
    with pytest.raises(ValueError, match="autoencoder_kl cannot be converted: .*takes grids"):
        gan_to_vae(gan, _vae(likelihood="bernoulli"))


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["laplace_linear", "bernoulli"])
@pytest.mark.parametrize("whiten", [False, True])
def test_it_draws_what_the_decoder_does(likelihood: str, whiten: bool) -> None:
    vae = shaken(_vae(likelihood=likelihood))
    before = [weight.numpy() for weight in vae.weights]
    images = RNG.random((20, 8, 12, 1), np.float32)
    options = {"images": images} if whiten else {"whiten_posterior": False}
    gan, report = vae_to_gan(vae, discriminator_init="random", **options)
    assert report.equality.passed
    cut = likelihood == "laplace_linear"  # else a tanh in place of the sigmoid, which rounds
    same = "bitwise" if cut else "tolerance"
    assert report.equivalence == ("distributional" if whiten else same)
    statuses = {row.status for row in report.rows if row.target.startswith("generator/")}
    assert "REINITIALISED" not in statuses
    assert gan.latent_dim == vae.noise_dim == 48
    latents = RNG.normal(size=(5, 48)).astype(np.float32)
    carried = latents
    if whiten:
        mean, covariance = zoo.sampling.aggregate_moments(vae, images)
        carried = (latents @ np.linalg.cholesky(covariance).T + mean).astype(np.float32)
    wanted = vae.decode(carried.reshape(5, 4, 6, 2))
    np.testing.assert_allclose(gan.generate_from(latents), wanted, atol=5e-6)
    for weight, value in zip(vae.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    gan.compile()
    logs = gan.fit(images, batch_size=10, epochs=1, verbose=0).history
    assert np.isfinite(logs["generator_loss"]).all()


@pytest.mark.slow
def test_the_walk(tmp_path: Path) -> None:
    """A run, the run of its GAN, the GAN's export, and the comparison of both."""
    np.savez(tmp_path / "images.npz", x_train=RNG.random((30, 8, 12, 1), np.float32))
    vae = shaken(_vae())
    vae.compile()
    zoo.training.save_run(
        vae, tmp_path / "vae", {"data": str(tmp_path / "images.npz"), "epochs": 0}
    )
    to_gan = ("--to", "gan", "--discriminator-init", "random", "--no-whiten")
    run_zoo("convert", tmp_path / "vae", *to_gan, "--out", tmp_path / "gan")
    images = zoo.load(tmp_path / "gan").generate(4, seed=1)
    np.testing.assert_array_equal(images, vae.generate(4, seed=1))
    run_zoo("export", tmp_path / "gan", "--format", "onnx", "--out", tmp_path / "onnx")
    run_zoo("verify", tmp_path / "onnx", "--runtime", "ONNX Runtime")
    gan = zoo.load(tmp_path / "gan")
    path = export_model(gan, tmp_path / "saved_model", functions=["generate"], warmup=False)
    assert verify(path, gan).passed
