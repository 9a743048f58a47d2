"""A model declares its players, and one `minimize` updates each of them on its loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.support.equivalence import assert_equivalent, outcome
from zoo import networks
from zoo.core.model import ZooModel
from zoo.core.replicated_step import Player
from zoo.training import strategy

if TYPE_CHECKING:
    from collections.abc import Mapping


class AAE(ZooModel):
    """An adversarial autoencoder (arXiv 1511.05644): a discriminator tells codes from the prior."""

    model_name = "aae"
    log_names = ("reconstruction",)
    players: Mapping[str, Player] = {
        "optimizer": Player("loss"),
        "discriminator_optimizer": Player("discriminator_loss", ("discriminator",)),
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(image_shape=IMAGE_SHAPE, latent_dim=LATENT_DIM, **kwargs)
        self.encoder = networks.build("mlp", "encoder", IMAGE_SHAPE, LATENT_DIM)
        self.decoder = networks.build("mlp", "decoder", IMAGE_SHAPE, LATENT_DIM)
        self.discriminator = keras.Sequential([keras.Input((LATENT_DIM,)), keras.layers.Dense(1)])
        self.built = True

    def losses_of(self, batch: dict[str, Any]) -> dict[str, Any]:
        latents, _ = self.encoder(batch["images"])
        error = tf.square(batch["images"] - tf.sigmoid(self.decoder(latents)))
        code, prior = self.discriminator(latents)[:, 0], self.discriminator(batch["prior"])[:, 0]
        reconstruction = tf.reduce_sum(error, axis=[1, 2, 3])
        return {
            "reconstruction": reconstruction,
            "loss": reconstruction + tf.nn.softplus(-code),
            "discriminator_loss": tf.nn.softplus(code) + tf.nn.softplus(-prior),
        }

    def train_step(self, data: Any) -> dict[str, Any]:
        batch = self.batch_of(data)
        batch["prior"] = self.noise_source(batch["images"])("prior", [self.latent_dim])
        losses = self.minimize(self.losses_of, batch)
        self.step.assign_add(1)
        return self.log(losses)


def _trained(images: np.ndarray, optimizers: dict[str, Any], **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    model = options.pop("model", AAE)()
    model.compile(**optimizers, **options)
    before = {name: _values(model, name) for name in model.optimizer_names}
    model.fit(images, batch_size=7, shuffle=False, verbose=0)
    return model, before


def _values(model: Any, optimizer_name: str) -> list[np.ndarray]:
    return [np.asarray(v).copy() for v in model.variables_of(optimizer_name)]


def _sgd() -> dict[str, Any]:
    return {name: keras.optimizers.SGD(0.01) for name in AAE.players}


def test_each_player_moves_its_own_variables(images: np.ndarray) -> None:
    model, before = _trained(images[:10], _sgd())
    assert model.optimizer_names == ("optimizer", "discriminator_optimizer")
    own = [id(v) for name in model.optimizer_names for v in model.variables_of(name)]
    assert sorted(own) == sorted(id(v) for v in model.trainable_variables)
    for name in model.optimizer_names:
        pairs = zip(_values(model, name), before[name], strict=True)
        assert max(np.abs(after - first).max() for after, first in pairs) > 1e-4, name


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_replicas_equal_one_device(images: np.ndarray, accumulate: int) -> None:
    """With a last batch that they cannot share evenly."""
    one, _ = _trained(images[:11], _sgd())
    with strategy("mirrored", replicas=2).scope():
        two, _ = _trained(images[:11], _sgd(), accumulate=accumulate)
    assert_equivalent(outcome(two), outcome(one))


class SharedLoss(AAE):
    """Encoder and decoder with an optimizer each, for the same loss."""

    players: Mapping[str, Player] = {
        "optimizer": Player("loss", ("encoder",)),
        "decoder_optimizer": Player("loss", ("decoder",)),
    }


def test_players_that_share_a_loss_keep_their_scales(images: np.ndarray) -> None:
    """One backward pass carries the first scale, and the second player is given its own."""
    results = []
    for scales in (None, (2.0**10, 2.0**20)):
        optimizers: list[Any] = [keras.optimizers.SGD(0.01) for _ in range(2)]
        if scales:
            wrapped = zip(optimizers, scales, strict=True)
            optimizers = [
                keras.optimizers.LossScaleOptimizer(o, initial_scale=s) for o, s in wrapped
            ]
        named = dict(zip(SharedLoss.players, optimizers, strict=True))
        model, _ = _trained(images[:7], named, model=SharedLoss)
        results.append({f"weight/{i}": np.asarray(v) for i, v in enumerate(model.variables)})
    assert_equivalent(results[1], results[0])


class InfiniteLoss(AAE):
    """Its second step has a loss that is not finite, with gradients that are."""

    wrong = np.inf

    def losses_of(self, batch: dict[str, Any]) -> dict[str, Any]:
        losses = super().losses_of(batch)
        spoiled = tf.where(self.step.value == 1, self.wrong, 0.0)
        return {**losses, "loss": losses["loss"] + tf.stop_gradient(spoiled)}


class LossOfNaN(InfiniteLoss):
    wrong = np.nan


@pytest.mark.parametrize("model", [InfiniteLoss, pytest.param(LossOfNaN, marks=pytest.mark.slow)])
def test_an_overflow_that_only_the_loss_shows(images: np.ndarray, model: type[AAE]) -> None:
    """A fused ReLU may hide it from the gradients. It skips the update, and is noted."""
    optimizers = {
        name: keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**10)
        for name, optimizer in _sgd().items()
    }
    found, _ = _trained(images[:14], optimizers, model=model)
    wanted, _ = _trained(images[:7], _sgd())  # the first step alone
    for after, expected in zip(
        _values(found, "optimizer"), _values(wanted, "optimizer"), strict=True
    ):
        np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-7)
    assert found.optimizer.dynamic_scale.numpy() == 2.0**9
    assert found.discriminator_optimizer.dynamic_scale.numpy() == 2.0**10
    assert found.discriminator_optimizer.inner_optimizer.iterations.numpy() == 2
    # the loss is none of `log_names`
    assert found.running_means.bad_step.numpy() == 2


def test_a_loss_that_no_step_computes_is_named(images: np.ndarray) -> None:
    class Lacking(AAE):
        players: Mapping[str, Player] = {"optimizer": Player("lost")}

    model = Lacking()
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    with pytest.raises(
        ValueError,
        match="Lacking.players has 'lost', but .* are recon",
    ):
        model.train_on_batch(images[:4])
