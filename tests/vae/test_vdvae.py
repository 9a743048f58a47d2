"""The Very Deep VAE computes what its paper says, and skips what explodes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import torch

import zoo
from zoo import convert
from zoo.networks import vdvae

SHAPE = (8, 12, 3)
SMALL = {"network": "vdvae-8", "decoder_blocks": (1, 2, 1), "encoder_blocks": (1, 1, 2)}
TINY = {"network": "vdvae-4", "decoder_blocks": (1, 1, 1), "encoder_blocks": (1, 1, 1)}
PAPER = {"decoder_blocks": (1, 3, 6, 11, 22), "encoder_blocks": (3, 4, 7, 7, 12)}  # CIFAR-10
SIDES = ((1, 1), (4, 6), (8, 12))


@pytest.fixture(scope="module")
def model() -> Any:
    """With weights that are not those of the start, of which some are 0."""
    keras.utils.set_random_seed(0)
    model = zoo.create("vdvae", SHAPE, 2, **SMALL)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.15 * rng.normal(size=variable.shape))
    return model


def _batch(model: Any, n: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    images = np.float32(rng.integers(0, 256, (n, *model.image_shape)) / 255)
    return {"images": images, "posterior": np.float32(rng.normal(size=(n, model.noise_dim)))}


class InTorch:
    """Figure 3 and equations 1 and 2 in float64, channels first, with the weights of a model."""

    def __init__(self, model: Any) -> None:
        layers = [*model.encoder.layers, *model.posterior_network.layers]
        self.weights = {
            variable.path: torch.tensor(np.float64(variable), requires_grad=True)
            for layer in layers
            for variable in layer.weights
        }
        self.paths = {layer.name: [v.path for v in layer.weights] for layer in layers}

    def of(self, name: str) -> list[torch.Tensor]:
        return [self.weights[path] for path in self.paths[name]]

    def conv(self, x: torch.Tensor, name: str) -> torch.Tensor:
        kernel, bias = self.of(name)
        return torch.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=kernel.shape[0] // 2)

    def block(self, x: torch.Tensor, name: str) -> torch.Tensor:
        for i in range(4):
            x = self.conv(torch.nn.functional.gelu(x), f"{name}_conv_{i}")
        return x

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Features of 1 × 1, 4 × 6 and 8 × 12."""
        x = self.conv(2 * images.permute(0, 3, 1, 2) - 1, "input")
        x = large = x + self.block(x, "8x12_block_0")
        x = x + self.block(x, "8x12_block_1")
        x = middle = torch.nn.functional.avg_pool2d(x, 2)
        x = x + self.block(x, "4x6_block_0")
        x = torch.nn.functional.avg_pool2d(x, (4, 6))
        return [x + self.block(x, "1x1_block_0"), middle, large]

    def forward(
        self, numbers: torch.Tensor, features: list[torch.Tensor] | None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits and the KL of each layer. Numbers are ε, or without features the prior's u."""
        x, layer, rates = torch.zeros(1, 1, 1, 1), 0, []
        rows = iter(numbers.split([2, 48, 48, 192], dim=1))
        for i, (size, n) in enumerate(zip(SIDES, (1, 2, 1), strict=True)):
            x = torch.nn.functional.interpolate(x, size=size)  # nearest
            x = x + self.of(f"bias_{size[0]}x{size[1]}")[0].permute(2, 0, 1)[None]
            x = x.expand(len(numbers), -1, -1, -1)
            for _ in range(n):
                mean, log_deviation, more = self.block(x, f"prior_{layer}").split([2, 2, 8], dim=1)
                prior = torch.distributions.Normal(mean, log_deviation.exp())
                noise = next(rows).reshape(-1, *size, 2).permute(0, 3, 1, 2)
                law = prior
                if features is not None:
                    seen = torch.cat([x, features[i]], dim=1)
                    q_mean, q_log = self.block(seen, f"posterior_{layer}").split(2, dim=1)
                    law = torch.distributions.Normal(q_mean, q_log.exp())
                    kl = torch.distributions.kl_divergence(law, prior)
                    rates.append(kl.sum(dim=(1, 2, 3)))
                z = law.mean + law.stddev * noise
                x = x + more + self.conv(z, f"latent_{layer}")
                x = x + self.block(x, f"block_{layer}")
                layer += 1
        return self.conv(x, "logits").permute(0, 2, 3, 1), rates

    def nll(self, images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """The mixture of arXiv 1701.05517, eq. 1 to 3, by differences of sigmoids."""
        weights, red, green, blue, *rest = logits.split(10, dim=-1)
        scales, (on_green, on_blue, green_on_blue) = rest[:3], (x.tanh() for x in rest[3:])
        x = (2 * images - 1)[..., None].unbind(dim=3)
        green = green + on_green * x[0]
        blue = blue + on_blue * x[0] + green_on_blue * x[1]
        log_mass = torch.log_softmax(weights, dim=-1)
        for value, mean, log_scale in zip(x, (red, green, blue), scales, strict=True):
            scale = log_scale.clamp(min=-7).exp()
            upper = torch.sigmoid((value - mean + 1 / 255) / scale)
            lower = torch.sigmoid((value - mean - 1 / 255) / scale)
            upper = torch.where(value > 0.999, 1.0, upper)
            lower = torch.where(value < -0.999, 0.0, lower)
            log_mass = log_mass + (upper - lower).log()
        return -log_mass.logsumexp(dim=-1).sum(dim=(1, 2))


def test_the_bound_and_its_gradients_are_those_of_the_paper(model: Any) -> None:
    """KL per layer, distortion and gradients of all weights: PyTorch's, on the same noise."""
    batch = _batch(model)
    reference = InTorch(model)
    images, noise = (torch.tensor(np.float64(x)) for x in batch.values())
    logits, rates = reference.forward(noise, reference.encode(images))
    distortion = reference.nll(images, logits)
    loss = distortion + sum(rates)
    loss.sum().backward()
    with tf.GradientTape() as tape:
        terms = model.terms(batch, training=True)
        total = tf.reduce_sum(terms["loss"])
    rates = [rates[0], rates[1] + rates[2], rates[3]]
    for i, rate in enumerate(rates):
        np.testing.assert_allclose(terms[f"rate_{i + 1}"], rate.detach(), rtol=1e-4)
    np.testing.assert_allclose(terms["distortion"], distortion.detach(), rtol=1e-4)
    np.testing.assert_allclose(terms["loss"], loss.detach(), rtol=1e-4)
    gradients = tape.gradient(total, model.trainable_variables)
    assert len(gradients) == len(reference.weights)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        wanted = reference.weights[variable.path].grad.numpy()
        error = np.abs(gradient - wanted).max()
        assert error < 2e-4 * np.abs(wanted).max(), variable.path


def test_samples_are_those_of_the_paper(model: Any) -> None:
    """z = μ_p + σ_p u from the top down; a temperature scales u. Inference draws the same z."""
    latents = 0.7 * model.sample_latents(3, seed=0)
    reference = InTorch(model)
    wanted, _ = reference.forward(torch.tensor(np.float64(latents)), None)
    wanted = wanted.detach().numpy()
    np.testing.assert_allclose(model.logits(latents), wanted, rtol=1e-4, atol=1e-4)
    outputs = model.forward(_batch(model), training=False)
    np.testing.assert_allclose(
        model.logits(outputs["latents"]), outputs["logits"], rtol=1e-4, atol=1e-4
    )


@pytest.mark.slow
def test_the_rate_is_that_of_samples(model: Any) -> None:
    """KL in closed form, given the layers above, and log q(u) − log p(u) of samples."""
    batch = _batch(model, 1)
    rng = np.random.default_rng(2)
    noise = np.float32(rng.normal(size=(2000, model.noise_dim)))
    many = {"images": np.repeat(batch["images"], len(noise), axis=0), "posterior": noise}
    outputs = model.forward(many, training=False)
    mean, log_variance, u = (
        np.float64(outputs[name]) for name in ("mean", "log_variance", "latents")
    )
    sampled = scipy.stats.norm.logpdf(u, mean, np.exp(log_variance / 2)).sum(axis=1)
    sampled -= scipy.stats.norm.logpdf(u).sum(axis=1)
    rate = np.float64(model.rate(mean, log_variance, u))
    error = (rate - sampled).std() / np.sqrt(len(noise))
    assert abs((rate - sampled).mean()) < 4 * error
    assert error < 0.01 * rate.mean()
    weights = model.log_weights(batch["images"], noise[:4, None])[:, 0]
    nll = model.pixels.nll(many["images"], outputs["logits"], None)
    np.testing.assert_allclose(weights, -nll[:4] - sampled[:4], rtol=1e-4)


@pytest.mark.slow
def test_encoding_follows_the_means(model: Any) -> None:
    batch = _batch(model)
    outputs = model.forward({**batch, "posterior": 0 * batch["posterior"]}, training=False)
    mean, log_variance = model.encode(batch["images"])
    np.testing.assert_array_equal(mean, outputs["mean"])
    np.testing.assert_array_equal(log_variance, outputs["log_variance"])
    wanted = model.pixels.mean(outputs["logits"])
    np.testing.assert_allclose(model.reconstruct(batch["images"]), wanted, atol=1e-5)


@pytest.mark.slow
def test_an_update_is_skipped_from_the_norm_on() -> None:
    """The norm in nats per dimension. Skipped, it leaves weights and optimizer, not the step."""
    model = zoo.create("vdvae", (8, 8, 1), 1, **TINY)
    model.compile(run_eagerly=True)
    images = _batch(model)["images"]
    batch = model.batch_of((images,))
    batch |= model.batch_noise(model.noise_source(batch["images"]))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model.terms(batch, training=True)["loss"])
    gradients = tape.gradient(loss, model.trainable_variables)
    norm = float(tf.linalg.global_norm(gradients)) / 64
    first = [variable.numpy().copy() for variable in model.trainable_variables]
    for factor, updates in ((0.99, 0), (1.01, 1)):
        model.skip_norm = factor * norm
        model.step.assign(0)  # the same noise
        logs = model.train_step((images,))
        same = all(
            np.array_equal(a, b.numpy())
            for a, b in zip(first, model.trainable_variables, strict=True)
        )
        assert (same, int(model.optimizer.iterations), int(model.step)) == (not updates, updates, 1)
        model.reset_metrics()
        assert float(logs["skipped"]) == 1 - updates


@pytest.mark.slow
def test_less_precision_leaves_the_bound_in_float32() -> None:
    model = zoo.create("vdvae", (8, 8, 1), 1, **TINY, dtype="mixed_bfloat16")
    assert model.decoder.get_layer("block_0_conv_0").compute_dtype == "bfloat16"
    outputs = model.forward(_batch(model), training=True)
    assert {x.dtype for x in outputs.values()} == {tf.float32}
    terms = model.terms(_batch(model), training=True)
    assert all(np.isfinite(x).all() for x in terms.values())


@pytest.mark.parametrize(
    ("shape", "sides"),
    [
        ((28, 28, 1), [(1, 1), (7, 7), (14, 14), (28, 28)]),
        ((32, 32, 3), [(1, 1), (4, 4), (8, 8), (16, 16), (32, 32)]),
        ((24, 48, 1), [(1, 1), (6, 12), (12, 24), (24, 48)]),
        ((256, 256, 3), [(1, 1), *((4 << i, 4 << i) for i in range(7))]),
    ],
)
def test_sides(shape: tuple[int, ...], sides: list[tuple[int, int]]) -> None:
    assert vdvae.sides(shape) == sides


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape", [(28, 28, 1), (24, 48, 1), (64, 64, 3), (128, 128, 1), (256, 256, 3)]
)
def test_images_of_every_size(shape: tuple[int, ...]) -> None:
    ones = len(vdvae.sides(shape)) * (1,)
    model = zoo.create(
        "vdvae", shape, 1, network="vdvae-4", decoder_blocks=ones, encoder_blocks=ones
    )
    assert model.reconstruct(model.generate(1, seed=0)).shape == (1, *shape)


@pytest.mark.slow
def test_the_size_of_the_paper() -> None:
    """39 M weights for CIFAR-10 (table 2)."""
    model = zoo.create("vdvae", (32, 32, 3), 16, network="vdvae-384", **PAPER)
    sizes = [int(np.prod(variable.shape)) for variable in model.trainable_variables]
    assert round(sum(sizes) / 1e6) == 39


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder_blocks": (1, 2)}, r"decoder_blocks=\[1, 2\]: expected 3 .* 1 × 1, 4 × 4, 8 × 8"),
        ({"encoder_blocks": (1, 0, 2)}, r"encoder_blocks=\[1, 0, 2\]: expected 3 whole numbers of"),
        ({"decoder_blocks": 3}, "decoder_blocks=3: expected a list of whole numbers"),
        ({"skip_norm": -1.0}, r"skip_norm=-1.0: expected a number above 0, or 0"),
        ({"network": "mlp"}, r"network='mlp': expected 'vdvae', or with a width, such as"),
        ({"num_classes": 3}, "num_classes=3: vdvae takes none"),
        ({"transfer": (1.0, 1.0, 1.0, 1.0)}, "transfer"),
        ({"image_shape": (30, 30, 1)}, r"30 × 30 .*Resize to 32 × 32, or take another size \("),
        ({"image_shape": (8, 8)}, r"image_shape=\(8, 8\)"),
        ({"latent_dim": 0}, "latent_dim=0: expected at least 1"),
    ],
)
def test_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zoo.create("vdvae", **{"image_shape": (8, 8, 1), "latent_dim": 1, **options})


def test_it_does_not_convert() -> None:
    with pytest.raises(ValueError, match="no plain function of one decoder"):
        convert.vae_to_gan(zoo.create("vdvae", (8, 8, 1), 1, **TINY))


@pytest.mark.slow
def test_it_beats_the_ladder_at_equal_size() -> None:
    """A higher ELBO of unseen clothes after equally many steps, with no more weights."""
    train, test = (
        zoo.data.to_array("fashion_mnist_sample", split=split, image_shape=(14, 14, 1))
        for split in ("train", "test")
    )
    train, test = (np.round(255 * x) / 255 for x in (train, test))

    def elbo(name: str, latent_dim: int, **options: Any) -> tuple[float, int]:
        keras.utils.set_random_seed(0)
        model = zoo.create(name, (14, 14, 1), latent_dim, likelihood="gaussian", **options)
        model.compile(learning_rate=1e-3)
        model.fit(train, batch_size=32, epochs=10, verbose=0)
        found = model.evaluate(test, batch_size=100, verbose=0, return_dict=True)
        return -found["loss"], model.count_params()

    deep, size = elbo(
        "vdvae", 8, network="vdvae-32", decoder_blocks=(1, 2, 2), encoder_blocks=(1, 1, 2)
    )
    ladder, ladder_size = elbo("ladder_vae", 32, network="conv-2")
    assert size <= ladder_size
    assert deep > ladder
