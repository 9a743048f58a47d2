"""The peers of `benchmarks/` do the same work as the project: else the figures compare nothing."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import losses, networks
from zoo.evaluation import measure as evaluation

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SHAPE, LATENT_DIM, WIDTH, BATCH = (24, 16, 3), 5, 8, 6  # height ≠ width: no axes are mixed up


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS / "peers")


@pytest.fixture
def batch() -> np.ndarray:
    return np.random.default_rng(1).random((BATCH, *SHAPE), np.float32)


def to_torch(images: np.ndarray) -> Any:
    return torch.from_numpy(np.moveaxis(images, -1, 1).copy())


def network(role: str, *args: Any, width: int = WIDTH) -> Any:
    return networks.build(f"conv-{width}", role, SHAPE, *args)


def copy_weights(source: keras.Model, to: Any) -> None:
    """Layer by layer in order; those around a reshape have their rows or columns reordered."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.BatchNorm2d)
    modules = [module for module in to.modules() if isinstance(module, kinds)]
    layers = [layer for layer in source.layers if layer.weights]
    for layer, module in zip(layers, modules, strict=True):
        first, *rest = (np.asarray(weight) for weight in layer.get_weights())
        if first.ndim == 4:
            first = first.transpose(3, 2, 0, 1)
        if isinstance(layer, keras.layers.Dense):
            maps = (SHAPE[0] >> 2, SHAPE[1] >> 2, -1)  # of [height, width, channels]
            if layer.name in ("hidden", "logit"):
                first = first.reshape(*maps, first.shape[-1])
                first = np.moveaxis(first, 2, 0).reshape(-1, first.shape[-1])
            if layer.name == "project":
                first, *rest = (
                    np.moveaxis(w.reshape(len(w) if w.ndim == 2 else 1, *maps), 3, 1).reshape(
                        w.shape
                    )
                    for w in (first, *rest)
                )
            first = first.T
        state = [first, *rest]
        tensors = [module.weight, *([] if module.bias is None else [module.bias])]
        if isinstance(module, torch.nn.BatchNorm2d):
            tensors += [module.running_mean, module.running_var]
        for tensor, value in zip(tensors, state, strict=True):
            tensor.data.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def pairs(role: str) -> tuple[Any, Any]:
    """A network of the project and its counterpart, with the same weights."""
    import torch_models

    if role == "encoder":
        found = network(role, LATENT_DIM), torch_models.Encoder(SHAPE, LATENT_DIM, WIDTH)
    elif role.startswith("discriminator"):
        normalization = role.partition("_")[2]
        norm = normalization == "batch"
        found = (
            network("discriminator", normalization),
            torch_models.discriminator(SHAPE, WIDTH, norm=norm),
        )
    else:
        found = network(role, LATENT_DIM), getattr(torch_models, role)(SHAPE, LATENT_DIM, WIDTH)
    rng = np.random.default_rng(2)
    for weight in found[0].weights:  # BatchNorm's too, which would begin as 0 and 1
        noise = rng.normal(0.0, 0.1, weight.shape)
        weight.assign(np.abs(1.0 + noise) if "moving_var" in weight.path else weight + noise)
    copy_weights(*found)
    return found


ROLES = ["encoder", "decoder", "generator", "discriminator_batch", "discriminator_none"]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("role", ROLES)
def test_networks_compute_the_same(role: str, batch: np.ndarray, *, training: bool) -> None:
    ours, theirs = pairs(role)
    trainable = sum(int(np.prod(v.shape)) for v in ours.trainable_variables)
    assert trainable == sum(p.numel() for p in theirs.parameters())
    of_latents = role in ("decoder", "generator")
    latents = np.random.default_rng(3).standard_normal((BATCH, LATENT_DIM), np.float32)
    inputs = latents if of_latents else batch
    expected = ours(inputs, training=training)
    with torch.no_grad():
        found = theirs.train(training)(torch.from_numpy(latents) if of_latents else to_torch(batch))
    if role != "encoder":
        expected, found = [expected], [found]
    for a, b in zip(expected, found, strict=True):
        values = np.moveaxis(b.numpy(), 1, -1)
        assert values.std() > 1e-3
        np.testing.assert_allclose(values, a, rtol=1e-4, atol=1e-4)


def test_gradient_penalties_are_ours(batch: np.ndarray) -> None:
    import keras_style
    import torch_steps

    ours, theirs = pairs("discriminator_none")
    rng = np.random.default_rng(4)
    fake, mix = rng.random(batch.shape, np.float32), rng.random((BATCH, 1, 1, 1), np.float32)
    expected = losses.gradient_norm_penalty(ours, tf.constant(batch), tf.constant(fake), mix)
    found = torch_steps.gradient_penalty(
        theirs, to_torch(batch), to_torch(fake), torch.from_numpy(mix)
    )
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-3, atol=1e-5)

    images = tf.constant(batch)  # real and fake at once: no random point is between them
    example = keras_style.ExampleWGANGP(network("generator", LATENT_DIM), ours, LATENT_DIM)
    expected = tf.reduce_mean(losses.gradient_norm_penalty(ours, images, images, mix))
    np.testing.assert_allclose(example.gradient_penalty(BATCH, images, images), expected, rtol=1e-4)
    weight = zoo.create("wgan_gp", SHAPE, LATENT_DIM, network="conv-8").regularizer_weight
    assert torch_steps.PENALTY == keras_style.PENALTY == weight


def three_losses(model: Any, batch: np.ndarray, name: str = "loss") -> list[float]:
    """Of three steps on the same batch."""
    data = tf.data.Dataset.from_tensors(batch)
    return model.fit(data, epochs=3, verbose=0, shuffle=False).history[name]


def cloned(*models: keras.Model) -> list[Any]:
    """With the same weights."""
    copies = [keras.models.clone_model(model) for model in models]
    for clone, model in zip(copies, models, strict=True):
        clone.set_weights(model.get_weights())
    return copies


def without_noise() -> tuple[Any, Any, Any, Any]:
    """Encoders and decoders with the same weights, and posteriors of no width."""
    encoder, their_encoder = pairs("encoder")
    layer = encoder.get_layer("log_variance")
    layer.set_weights([np.zeros_like(layer.kernel), np.full_like(layer.bias, -30.0)])
    copy_weights(encoder, their_encoder)
    return encoder, their_encoder, *pairs("decoder")


def test_vaes_take_the_same_steps(batch: np.ndarray) -> None:
    import keras_style
    import torch_steps

    encoder, their_encoder, decoder, their_decoder = without_noise()
    copies = cloned(encoder, decoder)
    ours = zoo.create(
        "vae", SHAPE, LATENT_DIM, encoder=encoder, decoder=decoder, likelihood="bernoulli"
    )
    ours.compile()
    expected = three_losses(ours, batch)
    assert expected[0] > expected[1] > expected[2]

    example = keras_style.ExampleVAE(*copies)
    example.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
    found = three_losses(example, batch)
    step = torch_steps.vae(their_encoder, their_decoder)
    of_torch = [float(step(to_torch(batch))) for _ in range(3)]
    np.testing.assert_allclose(of_torch, expected, rtol=1e-3)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_pythae_takes_the_same_steps(batch: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("pythae", reason="needs Pythae: pip install pythae")
    import pythae_vae
    import torch_steps

    images = to_torch(batch)
    pythae = pythae_vae.trainer(
        images, LATENT_DIM, str(tmp_path), loss="bce", per_device_train_batch_size=BATCH
    )
    pythae.prepare_training()
    nets = [pythae.model.encoder.network, pythae.model.decoder.network]
    torch.nn.init.zeros_(nets[0].log_variance.weight)
    torch.nn.init.constant_(nets[0].log_variance.bias, -30.0)
    step = torch_steps.vae(*copy.deepcopy(nets))
    expected = [float(step(images)) for _ in range(3)]
    found = [float(pythae.train_step(epoch)) for epoch in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def gans(name: str, generator: Any, discriminator: Any) -> tuple[Any, Any]:
    """The project's, and that in the style of Keras's example, with the same weights."""
    import keras_style

    made = {"dcgan": keras_style.ExampleDCGAN, "wgan_gp": keras_style.ExampleWGANGP}[name]
    example = made(*cloned(generator, discriminator), LATENT_DIM)
    example.compile(1e-3, (0.5, 0.9), jit_compile=False)
    options = {"n_critic": 1} if name == "wgan_gp" else {"normalization": "none"}
    ours = zoo.create(
        name, SHAPE, LATENT_DIM, generator=generator, discriminator=discriminator, **options
    )
    ours.compile()
    return ours, example


@pytest.mark.parametrize("name", ["dcgan", "wgan_gp"])
def test_gans_move_both_players(name: str, batch: np.ndarray) -> None:
    import torch_steps

    generator, their_generator = pairs("generator")
    discriminator, their_discriminator = pairs("discriminator_none")
    _, example = gans(name, generator, discriminator)
    parameters = [*their_generator.parameters(), *their_discriminator.parameters()]
    before = [p.detach().clone() for p in parameters]
    getattr(torch_steps, name)(their_generator, their_discriminator, LATENT_DIM)(to_torch(batch))
    still = [torch.equal(a, b) for a, b in zip(before, parameters, strict=True)]
    old = [np.asarray(v) for v in example.trainable_variables]
    three_losses(example, batch, "d_loss")
    new = [np.asarray(v) for v in example.trainable_variables]
    still_in_keras = [np.array_equal(a, b) for a, b in zip(old, new, strict=True)]
    # The critic's last bias is in f(G(z)) as it is in f(x), and their difference has no gradient.
    allowed = 1 if name == "wgan_gp" else 0
    assert sum(still) <= allowed
    assert sum(still_in_keras) <= allowed


@pytest.mark.parametrize("name", ["dcgan", "wgan_gp"])
def test_gans_have_the_same_loss(
    name: str, batch: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The discriminator's first, of fakes that do not depend on noise; the penalty is apart."""
    import keras_style
    import torch_steps

    generator, their_generator = pairs("generator")
    layer = generator.get_layer("project")
    layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    copy_weights(generator, their_generator)
    discriminator, their_discriminator = pairs("discriminator_none")
    ours, example = gans(name, generator, discriminator)
    for module in (torch_steps, keras_style):
        monkeypatch.setattr(module, "PENALTY", 0.0)
    step = getattr(torch_steps, name)(their_generator, their_discriminator, LATENT_DIM)
    of_torch = float(step(to_torch(batch))[1])
    of_example = three_losses(example, batch, "d_loss")[0]
    history = ours.fit(batch, batch_size=BATCH, verbose=0, shuffle=False).history
    (expected,) = history["discriminator_loss"]
    # The example's cross-entropy is the mean over reals and fakes, ours the sum of two.
    scale = 2.0 if name == "dcgan" else 1.0
    assert abs(expected) > 0.01
    np.testing.assert_allclose(of_torch, expected, rtol=1e-4)
    np.testing.assert_allclose(scale * of_example, expected, rtol=1e-4)


def test_measures_as_the_project_does() -> None:
    import measuring

    gan = zoo.create("dcgan", (28, 28, 1), measuring.LATENT_DIM, network="conv-8")
    source = "fashion_mnist_sample"
    test = zoo.data.to_array(source, split="test")
    latents = np.random.default_rng(measuring.SEED).standard_normal((len(test), 64), np.float32)
    found = measuring.measure(
        source,
        lambda z: np.moveaxis(gan.generate_from(z), -1, 1),
        lambda images: 0.0 * images,
        lambda n: np.moveaxis(gan.generate_from(latents[:n]), -1, 1),
    )
    expected = evaluation.sample_metrics(gan, test, latents, found["extractor"], seed=0)
    mse = found["metrics"].pop("mse")
    assert mse == pytest.approx(float(np.mean(test**2)), rel=1e-4)
    of_mixture = {f"{name}_gmm": value for name, value in expected.items()}
    assert found["metrics"] == pytest.approx({**expected, **of_mixture}, rel=1e-6)


@pytest.fixture
def boots() -> np.ndarray:
    """One image many times over, [1280, 1, 28, 28]: any model can learn it."""
    image = zoo.data.to_array("fashion_mnist_sample", split="train", limit=1)
    return np.repeat(image.transpose(0, 3, 1, 2), 1280, axis=0)


def error(images: np.ndarray, boots: np.ndarray) -> float:
    assert images.shape[1:] == boots.shape[1:]
    assert 0.0 <= images.min() <= images.max() <= 1.0
    return float(np.mean(np.square(images - boots[0])))


LATENTS = np.random.default_rng(0).standard_normal((3, 64), np.float32)


def test_torch_dcgan_learns(boots: np.ndarray) -> None:
    import torch_dcgan

    before, after = (torch_dcgan.train(boots, epochs)[0](LATENTS) for epochs in (0, 3))
    assert error(after, boots) < 0.85 * error(before, boots)


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_pythae_learns(loss: str, boots: np.ndarray) -> None:
    pytest.importorskip("pythae", reason="needs Pythae: pip install pythae")
    import pythae_vae

    generate, reconstruct, draw_gmm = pythae_vae.train(boots, 6, loss)
    grey = error(np.full_like(boots[:1], 0.5), boots)
    assert error(generate(LATENTS), boots) < 0.5 * grey
    assert error(reconstruct(boots[:1]), boots) < 0.5 * grey
    assert draw_gmm(3).shape[0] == 3
    assert error(draw_gmm(3), boots) < 0.5 * grey


def test_contestants_take_turns(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "training.py"), "--models", "dcgan"]
    out = tmp_path / "training.json"
    subprocess.run([*command, "--rounds", "2", "--steps", "1", "--out", str(out)], check=True)
    record = json.loads(out.read_text())["models"]["dcgan"]
    assert set(record["rows"]) | set(record["absent"]) == {
        "this project", "this project, with its data", "Keras example style",
        "Keras example style, XLA", "PyTorch",
        "torch_compiled" if record["absent"] else "PyTorch, compiled",
    }  # fmt: skip
    for row in record["rows"].values():
        assert row["images_a_second"] == pytest.approx(64 / row["seconds_a_step"])
        assert row["peak_bytes"] > 1e8
    ours, torchs = (record["rows"][name]["peak_bytes"] for name in ("this project", "PyTorch"))
    assert torchs < ours  # PyTorch's process does not carry TensorFlow
