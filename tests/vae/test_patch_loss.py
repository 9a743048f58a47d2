"""The perceptual and the adversarial loss of autoencoders: against PyTorch's gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.support.networks import shake
from tests.support.torch_patch import losses_of

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (8, 12, 3)
RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, *SHAPE), np.float32)
OPTIONS: dict[str, Any] = {
    "channels": (4, 8),
    "groups": 2,
    "kl_weight": 0.25,
    "discriminator_weight": 0.8,
    "discriminator_width": 4,
    "discriminator_layers": 1,
}


def features() -> keras.Model:
    """Two convolutions in the place of EfficientNet, which `test_perceptual.py` tests."""
    images = keras.Input((224, 224, 3))
    levels = [keras.layers.Conv2D(4, 3, strides=7, name=f"level_{i}")(images) for i in range(2)]
    return shake(keras.Model(images, levels))


@pytest.fixture(scope="module")
def taken() -> keras.Model:
    return features()


def create(taken: keras.Model, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    monkeypatch.setattr("zoo.vae._patch_loss.perceptual_levels", lambda: taken)
    options = {**OPTIONS, "perceptual_weight": 0.5, **options}
    model = zoo.create("autoencoder_kl", SHAPE, 2, **options)
    for i, network in enumerate((model.encoder, model.decoder, model.discriminator)):
        shake(network, seed=i)
    return model


def assert_gradients(variables: Any, gradients: Any, wanted: Any) -> None:
    """To float32's noise of each array. That of the keys' biases is 0: a softmax cancels them."""
    theirs = [x.grad.numpy() for x in wanted.values() if x.requires_grad]
    largest = max(np.abs(x).max() for x in theirs)
    for variable, found, expected in zip(variables, gradients, theirs, strict=True):
        scale = max(np.abs(expected).max(), 1e-3 * largest, 1e-12)
        error = np.abs(found - expected).max() / scale
        assert error < 2e-4, (variable.path, error)


@pytest.mark.parametrize(
    "start", [pytest.param(0, id="started"), pytest.param(1, id="before", marks=pytest.mark.slow)]
)
def test_a_step_is_pytorchs(
    start: int, taken: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All losses, λ, and the gradients of every weight of the three networks."""
    model = create(taken, monkeypatch, discriminator_start=start)
    model.compile()
    noise = RNG.normal(size=(3, 48)).astype(np.float32)
    batch = {"images": IMAGES, "posterior": noise}
    logs, wanted = losses_of(model, taken, batch)
    with tf.GradientTape(persistent=True) as tape:
        terms = model.terms({k: tf.constant(x) for k, x in batch.items()}, training=True)
        losses = [tf.reduce_mean(terms[name]) for name in ("loss", "discriminator_loss")]
    for name, value in logs.items():
        np.testing.assert_allclose(np.mean(terms[name]), value, rtol=1e-4, err_msg=name)
    assert logs["adaptive_weight"] > 0
    for role, loss in (
        ("encoder", losses[0]),
        ("decoder", losses[0]),
        ("discriminator", losses[1]),
    ):
        variables = getattr(model, role).trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        assert_gradients(variables, gradients, wanted[role])


@pytest.mark.slow
def test_two_updates_are_pytorchs(taken: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fit`'s own steps, before the discriminator's start and after it: logs and all weights."""
    model = create(taken, monkeypatch, discriminator_start=1, discriminator_normalization="none")
    rate = 1e-3
    model.compile(keras.optimizers.SGD(rate), keras.optimizers.SGD(rate))
    for step in range(2):
        noise = model.noise_source(tf.constant(IMAGES))
        batch = {"images": IMAGES, **{k: x.numpy() for k, x in model.batch_noise(noise).items()}}
        logs, weights = losses_of(model, taken, batch)
        found = model.train_on_batch(IMAGES, return_dict=True)
        model.reset_metrics()
        for name, value in logs.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, err_msg=f"{step} {name}")
        assert (logs["discriminator_loss"] > 0) == bool(step)
        for role in ("encoder", "decoder", "discriminator"):
            theirs = [w for w in weights[role].values() if w.requires_grad]
            ours = getattr(model, role).trainable_variables
            for variable, w in zip(ours, theirs, strict=True):
                wanted = (w - rate * w.grad).detach().numpy()
                np.testing.assert_allclose(variable, wanted, atol=2e-6, err_msg=variable.path)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 2.0**100])
def test_the_weight_is_of_the_whole_batch(
    scale: float, taken: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """λ on one device, in three parts, and with float16's scale."""
    found = []
    for accumulate in (1, 3):
        model = create(taken, monkeypatch, discriminator_normalization="none")
        optimizers = [
            keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-3), initial_scale=scale)
            for _ in range(2)
        ]
        model.compile(*optimizers, accumulate=accumulate)
        found.append(model.train_on_batch(IMAGES, return_dict=True)["adaptive_weight"])
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_without_the_options_there_is_nothing() -> None:
    model = zoo.create("autoencoder_kl", SHAPE, 2, channels=(4, 8), groups=2)
    assert model.optimizer_names == ("optimizer",)
    assert model.log_names == ("loss", "distortion", "rate")
    assert not hasattr(model, "discriminator")
    assert model.default_optimizer("optimizer").beta_1 == 0.9


@pytest.mark.slow
def test_the_features_are_not_saved(tmp_path: Path) -> None:
    """A model is loaded with those of this package, and gives the same loss."""
    options = {**OPTIONS, "perceptual_weight": 1.0}
    model = zoo.create("autoencoder_kl", SHAPE, 2, **options)
    model.compile()
    wanted = model.evaluate(IMAGES, verbose=0, return_dict=True)
    assert wanted["perceptual"] > 0
    assert wanted["adaptive_weight"] == 0
    model.save(tmp_path / "model.keras")
    assert (tmp_path / "model.keras").stat().st_size < 2e6
    loaded = keras.models.load_model(tmp_path / "model.keras")
    found = loaded.evaluate(IMAGES, verbose=0, return_dict=True)
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"perceptual_weight": -1.0}, "perceptual_weight=-1.0, .*: expected at least 0"),
        ({"discriminator_start": -1}, "discriminator_start=-1: expected at least 0"),
        (
            {"discriminator_weight": 0.0, "discriminator_start": 5},
            "discriminator_start=5: there is no discriminator to start. Give a discr",
        ),
        ({"discriminator_layers": 3}, "needs sides of at least 24 .* 8 × 12. Take fewer layers"),
        ({"discriminator_normalization": "layer"}, "normalization='layer': expected 'batch', 'non"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zoo.create("autoencoder_kl", SHAPE, 2, **{**OPTIONS, **options})


def test_channels_that_have_no_features() -> None:
    with pytest.raises(ValueError, match="with images of 2 channels: the network of features"):
        zoo.create("autoencoder_kl", (8, 8, 2), 2, **{**OPTIONS, "perceptual_weight": 1.0})
