"""Models of codes with each quantizer: a step against PyTorch, the prior, and the options."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's custom)

import zoo
from tests.support import torch_quantized
from tests.support.networks import shake
from tests.support.torch_networks import Weights, channels_first
from tests.support.torch_patch import decoded, encoded, patches
from zoo.networks import pixelcnn

RNG = np.random.default_rng(0)
IMAGES = RNG.random((4, 8, 8, 1), np.float32)
SMALL: dict[str, Any] = {"network": "grid-4", "prior_width": 4, "prior_layers": 1}
VQGAN: dict[str, Any] = {
    "channels": (4, 8), "groups": 2, "num_codes": 6, "prior_width": 4, "prior_layers": 1,
    "perceptual_weight": 0.0, "discriminator_width": 4, "discriminator_layers": 1,
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "ema": {"num_codes": 6},
    "straight_through": {"num_codes": 6, "entropy_weight": 0.5},
    "fsq": {"levels": (4, 3, 2)},
    "residual": {"num_codes": 6, "depth": 2},
}


def _model(quantizer: str, **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    options = {**SMALL, **OPTIONS.get(quantizer, {}), **options}
    return zoo.create("vq_vae", (8, 8, 1), 3, quantizer=quantizer, **options)


def _spread(model: Any) -> Any:
    """Codes on features of the images, so that several take part."""
    features = model.encoder(IMAGES).numpy().reshape(-1, model.latent_dim)
    model.quantizer.codebook.assign(features[: model.num_codes] + 0.01)
    return model


def _batch(model: Any) -> dict[str, Any]:
    batch = {"images": tf.constant(IMAGES)}
    return batch | model.batch_noise(model.noise_source(batch["images"]))


@pytest.mark.slow
def test_a_step_of_vqgan_is_pytorchs() -> None:
    """Eq. 4 to 7: all losses, λ, and the gradients of the three networks and of the codebook."""
    model = zoo.create("vqgan", (8, 8, 1), 3, commitment=0.25, **VQGAN)
    model.compile()
    for i, network in enumerate((model.encoder, model.decoder, model.discriminator)):
        shake(network, seed=i)
    _spread(model)
    nets = {role: Weights(getattr(model, role)) for role in ("encoder", "decoder", "discriminator")}
    codebook = torch.tensor(model.quantizer.codebook.numpy(), requires_grad=True)
    scale = torch.tensor(float(model.pixels.log_scale)).exp()
    x = torch.tensor(channels_first(IMAGES))
    z = torch.cat(encoded(nets["encoder"], x, 2, 2), 1).permute(0, 2, 3, 1)
    quantized, codes, of_codes = torch_quantized.straight_through(z, codebook, 0.25)
    again = decoded(nets["decoder"], quantized.permute(0, 3, 1, 2), 2, 2)
    nll = -torch.distributions.Laplace(again, scale).log_prob(x).sum((1, 2, 3)).mean()
    real, fake = (patches(nets["discriminator"], each, 1, "batch") for each in (x, again))
    last = nets["decoder"]["output/kernel"]
    norms = [torch.autograd.grad(y, last, retain_graph=True)[0].norm() for y in (nll, -fake.mean())]
    weight = (norms[0] / (norms[1] + 1e-4)).clamp(0, 1e4).detach()
    loss = nll + of_codes.mean() - 0.8 * weight * fake.mean()
    told = (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2

    with tf.GradientTape(persistent=True) as tape:
        terms = model.terms(_batch(model), training=True)
        player, judge = (tf.reduce_mean(terms[name]) for name in ("loss", "discriminator_loss"))
    np.testing.assert_array_equal(terms["codes"], codes)
    assert len(np.unique(codes)) > 2
    found = player - tf.reduce_mean(terms["rate"])
    for ours, theirs in (
        (terms["distortion"], nll), (terms["adaptive_weight"], weight), (judge, told),
        (terms["codebook"] + 0.25 * terms["commitment"], of_codes.mean()), (found, loss),
    ):  # fmt: skip
        np.testing.assert_allclose(np.mean(ours), float(theirs.detach()), rtol=1e-4)
    for role, ours, theirs in (
        ("encoder", player, loss), ("decoder", player, loss), ("discriminator", judge, told),
    ):  # fmt: skip
        variables = getattr(model, role).trainable_variables
        own = [v for v in nets[role].values() if v.requires_grad]
        wanted = [g.numpy() for g in torch.autograd.grad(theirs, own, retain_graph=True)]
        largest = max(np.abs(g).max() for g in wanted)
        for variable, slope, expected in zip(
            variables, tape.gradient(ours, [v.value for v in variables]), wanted, strict=True
        ):
            bound = max(np.abs(expected).max(), 1e-3 * largest)
            assert np.abs(slope - expected).max() < 2e-4 * bound, variable.path
    (wanted,) = torch.autograd.grad(loss, [codebook])
    slope = tf.convert_to_tensor(tape.gradient(player, model.quantizer.codebook.value))
    np.testing.assert_allclose(slope, wanted, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_sum_of_its_terms() -> None:
    """With an entropy term, against PyTorch's on the same features; over positions, in nats."""
    model = _spread(_model("straight_through", likelihood="bernoulli", commitment=0.7))
    terms = model.terms(_batch(model), training=True)
    z = torch.tensor(model.encoder(IMAGES).numpy())
    codebook = torch.tensor(model.quantizer.codebook.numpy())
    wanted = 4 * torch_quantized.entropy(z, codebook, 0.01)
    np.testing.assert_allclose(np.mean(terms["entropy"]), wanted, rtol=1e-4, atol=1e-4)
    total = terms["distortion"] + terms["rate"] + terms["codebook"] + 0.5 * terms["entropy"]
    np.testing.assert_allclose(terms["loss"], total + 0.7 * terms["commitment"], rtol=1e-5)


@pytest.mark.parametrize(
    ("quantizer", "names"),
    [
        ("ema", ["commitment", "perplexity"]),
        ("straight_through", ["commitment", "codebook", "entropy", "perplexity"]),
        ("fsq", ["perplexity"]),
        ("residual", ["commitment", "perplexity"]),
    ],
)
def test_codes_go_to_images_and_back(quantizer: str, names: list[str]) -> None:
    model = _model(quantizer)
    assert model.log_names == ("loss", "distortion", "rate", *names)
    assert model.num_codes == {"fsq": 24}.get(quantizer, 6)
    shape = (2, 2, 2) if quantizer == "residual" else (2, 2)
    codes = model.encode(IMAGES)
    assert codes.shape == (4, *shape)
    np.testing.assert_array_equal(model.decode(codes), model.reconstruct(IMAGES))
    drawn = model.codes_from_latents(model.sample_latents(9, seed=0))
    assert drawn.shape == (9, *shape)
    assert 0 <= np.min(drawn) < np.max(drawn) < model.num_codes
    np.testing.assert_array_equal(model.decode(drawn), model.generate(9, seed=0))
    again = type(model).from_config(model.get_config())
    assert again.get_config() == model.get_config()


def test_the_prior_has_a_position_s_codes_side_by_side() -> None:
    """The rate of depth 2 is that of rows of 4 codes, first and second in turn."""
    model = _spread(_model("residual"))
    codes = model.encode(IMAGES).numpy()
    row = np.stack([codes[:, :, 0, 0], codes[:, :, 0, 1], codes[:, :, 1, 0], codes[:, :, 1, 1]], -1)
    wanted = -pixelcnn.log_probability(model.code_prior, row)
    np.testing.assert_allclose(model.terms(_batch(model), training=False)["rate"], wanted)


@pytest.mark.slow
@pytest.mark.parametrize("quantizer", [*OPTIONS])
def test_training_learns_codes_and_prior(quantizer: str) -> None:
    """Images of two kinds: to their entropy, log 2, and samples of these kinds.

    The rate jumps where codes change: while the codebook is trained, and where unused codes go to
    features anew, every 230 updates. The training is long enough for the prior to follow.
    """
    kinds = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 1]]], np.float32)
    chosen = kinds[np.random.default_rng(0).integers(0, 2, 128)]
    images = np.kron(chosen, np.ones((1, 4, 4), np.float32))[..., None]
    options: dict[str, Any] = {"network": "grid-16", "prior_width": 16}
    if quantizer == "straight_through":
        options["entropy_weight"] = 0.1
    model = _model(quantizer, **options)
    model.compile(keras.optimizers.Adam(5e-3))
    model.fit(images, batch_size=32, epochs=120, verbose=0)
    results = model.evaluate(images, verbose=0, return_dict=True)
    assert results["rate"] < np.log(2.0) + 0.3
    samples = model.generate(100, seed=0).reshape(100, 1, -1)
    patterns = np.unique(images, axis=0).reshape(1, 2, -1)
    assert (np.abs(samples - patterns).max(-1).min(-1) < 0.3).mean() > 0.85


def test_the_levels_of_fsq_say_how_many_codes() -> None:
    """Whatever the model's default is, which nobody gave."""
    options = {k: v for k, v in VQGAN.items() if k != "num_codes"} | {"discriminator_weight": 0.0}
    for name, others in (("vq_vae", SMALL), ("vqgan", options)):
        model = zoo.create(name, (8, 8, 1), 3, quantizer="fsq", levels=(4, 3, 2), **others)
        assert model.num_codes == 24
        with pytest.raises(ValueError, match="num_codes=25: the levels make 24 codes"):
            zoo.create(
                name, (8, 8, 1), 3, quantizer="fsq", levels=(4, 3, 2), **{**others, "num_codes": 25}
            )
        assert zoo.create(name, (8, 8, 1), 3, **others).num_codes == type(model).default_codes


def test_the_prior_knows_one_size() -> None:
    model = zoo.create("vqgan", (8, 8, 1), 3, discriminator_weight=0.0, **VQGAN)
    noise = np.zeros([2, 4, 16], np.float32)
    assert model.log_weights(IMAGES, noise).shape == (2, 4)
    with pytest.raises(ValueError, match=r"Images are 4 × 8: the prior is of codes of \(8, 8, 1\)"):
        model.log_weights(IMAGES[:, :4], noise)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantizer": "vq"}, "quantizer='vq': expected one of .'ema', 'straight_through', 'fsq'"),
        ({"quantizer": "ema", "depth": 2}, "depth=2: 'ema' has none. Leave it out, or take quanti"),
        ({"quantizer": "ema", "levels": (4, 3, 2)}, "levels=.*: 'ema' has none"),
        ({"quantizer": "residual", "entropy_weight": 0.1}, "entropy_weight=0.1: 'residual' has no"),
        ({"quantizer": "straight_through", "decay": 0.5}, "decay=0.5: 'straight_through' has none"),
        ({"quantizer": "straight_through", "entropy_weight": -1.0}, "=-1.0: expected at least 0"),
        ({"quantizer": "fsq"}, r"levels=\[\] with latent_dim=3: expected a level per dimension"),
        ({"quantizer": "fsq", "levels": (4, 3)}, r"levels=\[4, 3\] with latent_dim=3"),
        ({"quantizer": "fsq", "levels": (4, 3, 1)}, r"levels=\[4, 3, 1\]: expected one number"),
        ({"quantizer": "fsq", "levels": (4, 3, 2), "num_codes": 64}, "levels make 24 codes. Leave"),
        ({"quantizer": "fsq", "levels": (4, 3, 2), "commitment": 1.0}, "commitment=1.0: 'fsq' has"),
        ({"quantizer": "residual", "depth": 0}, "depth=0: expected at least 1"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zoo.create("vq_vae", (8, 8, 1), 3, **SMALL, **options)
