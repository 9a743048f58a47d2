"""VQGAN: its loss by hand, images of every size, and diffusers' VQModel."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.support.networks import shake
from zoo.hub import diffusers

SHAPE = (8, 12, 3)
RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, *SHAPE), np.float32)
OPTIONS: dict[str, Any] = {
    "channels": (4, 8),
    "groups": 2,
    "num_codes": 5,
    "prior_width": 4,
    "prior_layers": 1,
    "perceptual_weight": 0.0,
    "discriminator_width": 4,
    "discriminator_layers": 1,
}


def create(**options: Any) -> Any:
    keras.utils.set_random_seed(0)
    return zoo.create("vqgan", SHAPE, 2, **{**OPTIONS, **options})


@pytest.mark.slow
def test_the_loss_is_that_of_both_papers() -> None:
    """VQ-VAE's eq. 3 with the prior, and VQGAN's eq. 6: each term as its own test has it."""
    model = create(commitment=0.5, discriminator_weight=0.75, quantizer="ema")
    model.compile()
    for i, network in enumerate((model.encoder, model.decoder, model.discriminator)):
        shake(network, seed=i)
    batch = {"images": tf.constant(IMAGES), "candidates": tf.zeros([3, 5, 2])}
    with tf.GradientTape(persistent=True) as tape:
        terms = model.terms(dict(batch), training=True)
        features = model.encoder(IMAGES, training=True)
        quantized, codes = model.quantizer(features)
        values = model.decoder(quantized, training=True)
        commitment = tf.reduce_sum(tf.square(features - tf.stop_gradient(quantized)), [1, 2, 3])
        distortion = model.pixels.nll(IMAGES, values, None)
        rate = -zoo.networks.pixelcnn.log_probability(model.code_prior, codes)
        adversarial = -tf.reduce_mean(model.discriminator(values, training=True), [1, 2, 3])
        loss = distortion + rate + 0.5 * commitment
        means = [tf.reduce_mean(x) for x in (distortion, adversarial)]
    last = model.decoder.get_layer("output").kernel.value
    norms = [np.linalg.norm(tape.gradient(mean, last)) for mean in means]
    weight = norms[0] / (norms[1] + 1e-4)
    np.testing.assert_allclose(terms["adaptive_weight"], np.full(3, weight), rtol=1e-4)
    wanted = loss + 0.75 * weight * adversarial
    for found, value in (
        (terms["loss"], wanted), (terms["rate"], rate), (terms["commitment"], commitment),
        (terms["distortion"], distortion), (terms["adversarial"], adversarial),
    ):  # fmt: skip
        np.testing.assert_allclose(found, value, rtol=1e-5)
    # Straight through: the encoder's first kernel learns from the reconstruction too.
    first = model.encoder.get_layer("input").kernel.value
    assert np.abs(tape.gradient(distortion, first)).max() > 0
    assert not model.quantizer.trainable_variables


def test_codes_of_every_size() -> None:
    model = create()
    images = RNG.random((2, 4, 14, 3), np.float32)
    codes = model.encode(images)
    assert codes.shape == (2, 2, 7)
    assert codes.dtype == tf.int32
    again = model.decode(codes)
    assert again.shape == images.shape
    np.testing.assert_array_equal(model.reconstruct(images), again)
    assert model.grid == (4, 6)
    assert model.noise_dim == 24
    with pytest.raises(ValueError, match="cannot take 5 × 14 images: .* divisible by 2. Resize"):
        model.encode(images[:, :3].repeat(2, axis=1)[:, :5])
    for options, message in (
        ({"num_classes": 3}, "num_classes=3: vqgan takes none"),
        ({"free_bits": 1.0}, "free_bits=1.0: vqgan has none"),
        ({"network": "conv"}, "network='conv': expected 'autoencoder_kl'"),
        ({"commitment": -1.0}, "commitment=-1.0: expected at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            create(**options)


@pytest.mark.slow
def test_a_step_moves_every_part() -> None:
    """Both players, the prior, and the codebook by its gradient."""
    model = create()
    model.compile()
    parts = ("encoder", "decoder", "code_prior", "discriminator", "quantizer")
    before = {part: [np.array(v) for v in getattr(model, part).weights] for part in parts}
    model.fit(IMAGES, batch_size=3, verbose=0)
    for part, values in before.items():
        moved = [
            np.abs(np.array(v) - old).max() > 0
            for v, old in zip(getattr(model, part).weights, values, strict=True)
        ]
        assert any(moved), part


@pytest.mark.slow
@pytest.mark.parametrize("sides", [(16, 16), (12, 20)])
def test_it_computes_what_diffusers_computes(sides: tuple[int, int]) -> None:
    """Features, codes and images of the package's VQModel with random weights."""
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    theirs = package.VQModel(
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[8, 16, 16], layers_per_block=1, norm_num_groups=4, sample_size=16,
        latent_channels=3, num_vq_embeddings=7, vq_embed_dim=3,
    ).eval()  # fmt: skip
    model = zoo.create(
        "vqgan", (16, 16, 3), 3, channels=(8, 16, 16), groups=4, num_codes=7, prior_width=8,
        perceptual_weight=0.0, discriminator_weight=0.0,
    )  # fmt: skip
    weights = {key: value.numpy() for key, value in theirs.state_dict().items()}
    model.quantizer.codebook.assign(weights.pop("quantize.embedding.weight"))
    diffusers.assign(model, weights)
    images = RNG.random((2, *sides, 3), np.float32)
    with torch.no_grad():
        features = theirs.encode(torch.tensor(2 * images - 1).permute(0, 3, 1, 2)).latents
        _, _, (_, _, indices) = theirs.quantize(features)
        values = theirs.decode(features).sample.permute(0, 2, 3, 1).numpy()
    found = model.encoder(images)
    np.testing.assert_allclose(found, features.permute(0, 2, 3, 1).numpy(), atol=2e-5)
    np.testing.assert_array_equal(np.ravel(model.encode(images)), indices.numpy().ravel())
    wanted = np.clip((values + 1) / 2, 0, 1)
    np.testing.assert_allclose(model.reconstruct(images), wanted, atol=2e-5)
