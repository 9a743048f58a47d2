"""What a GAN of one's own overrides: regularisers, averages, the discriminator's condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from zoo.core.replicas import global_mean
from zoo.core.replicated_step import Player
from zoo.gan.bigan import BiGAN
from zoo.gan.gan import GAN
from zoo.gan.stylegan2 import StyleGAN2

if TYPE_CHECKING:
    from collections.abc import Mapping

WEIGHT, DECAY = 0.3, 0.9


class LeCamGAN(GAN):
    """Regularised by the averages of the other side's logits (arXiv 2104.03310, eq. 6)."""

    log_names = (*GAN.log_names, "lecam")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.averages = self.add_weight(shape=(2,), initializer="ones", trainable=False)

    def logit_regularizers(self, real_logits: Any, fake_logits: Any, batch: Any) -> dict[str, Any]:
        of_real, of_fake = tf.unstack(self.averages.value)
        distances = tf.square(real_logits - of_fake) + tf.square(fake_logits - of_real)
        others = super().logit_regularizers(real_logits, fake_logits, batch)
        return {**others, "lecam": WEIGHT * distances[:, 0]}

    def update_averages(self, batch: dict[str, Any], logs: dict[str, Any]) -> None:
        super().update_averages(batch, logs)
        means = tf.stack([global_mean(logs[name]) for name in ("real_logit", "fake_logit")])
        self.averages.assign(DECAY * self.averages + (1.0 - DECAY) * means)


class InvertedGAN(GAN):
    """With a third player: an encoder that finds the latents of generated images."""

    log_names = (*GAN.log_names, "encoder_loss")
    players: Mapping[str, Player] = {
        **GAN.players,
        "encoder_optimizer": Player("encoder_loss", ("encoder",)),
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = self.build_network("encoder", self.image_shape, self.latent_dim)

    def auxiliary_logs(self, heads: list[Any], batch: dict[str, Any]) -> dict[str, Any]:
        images = tf.stop_gradient(self.generator(batch["latents"], training=True))
        errors = tf.square(self.encoder(images, training=True)[0] - batch["latents"])
        others = super().auxiliary_logs(heads, batch)
        return {**others, "encoder_loss": tf.reduce_mean(errors, axis=1)}


def _create(model: type[GAN], **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    shape = {"image_shape": IMAGE_SHAPE, "latent_dim": LATENT_DIM}
    return model(**shape, **{"network": "mlp", "normalization": "none", **options})


def test_regularisers_add_up(images: np.ndarray) -> None:
    """The one of logits and the gradient penalty are in the discriminator's loss, and logged."""
    model = _create(LeCamGAN, regularizer="r1", ema=0.9)
    batch = {"images": tf.constant(images[:6])}
    batch |= model.batch_noise(model.noise_source(batch["images"]))
    losses = model._player_losses(batch, ("discriminator",), training=True)
    real, fake = (np.ravel(losses[f"{side}_logit"]) for side in ("real", "fake"))
    np.testing.assert_allclose(
        losses["lecam"], WEIGHT * ((real - 1.0) ** 2 + (fake - 1.0) ** 2), rtol=1e-5
    )
    parts = ("discriminator_loss", "gradient_penalty", "lecam")
    np.testing.assert_allclose(
        losses["discriminator_total"], sum(np.asarray(losses[name]) for name in parts), rtol=1e-5
    )
    model.compile()
    logs = model.train_on_batch(images[:6], return_dict=True)
    assert {"lecam", "gradient_penalty"} <= logs.keys()
    np.testing.assert_allclose(
        model.averages, [0.9 + 0.1 * real.mean(), 0.9 + 0.1 * fake.mean()], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("base", "options"),
    [(GAN, {}), pytest.param(StyleGAN2, {"network": "style-8"}, marks=pytest.mark.slow)],
)
def test_averages_cannot_stand_still(base: Any, options: Any, images: np.ndarray) -> None:
    """An override that forgets `super()` would freeze the averaged generator and the mean style."""

    class Forgetful(base):
        def update_averages(self, batch: Any, logs: Any) -> None:
            pass

    model = _create(Forgetful, ema=0.9, **options)
    model.compile(run_eagerly=True)
    with pytest.raises(RuntimeError, match=r"Forgetful\.update_averages .* Add the call"):
        model.train_on_batch(images[:4])


@pytest.mark.slow
@pytest.mark.parametrize("n_critic", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_further_player_moves(n_critic: int, images: np.ndarray) -> None:
    """Once per step, by its own loss; the two others move as they do without it."""
    models = [_create(model, n_critic=n_critic) for model in (InvertedGAN, GAN)]
    for model in models:
        keras.utils.set_random_seed(0)
        model.compile(**{name: keras.optimizers.SGD(0.1) for name in model.optimizer_names})
    inverted, plain = models
    hidden = inverted.encoder.trainable_variables[0]
    before = np.asarray(hidden)
    logs = [inverted.train_on_batch(images[:8], return_dict=True) for _ in range(3)]
    assert inverted.encoder_optimizer.iterations.numpy() == 3
    assert not np.array_equal(before, hidden)
    assert np.isfinite(logs[2]["encoder_loss"])
    for _ in range(3):
        plain.train_on_batch(images[:8])
    for network in ("generator", "discriminator"):
        both = (getattr(model, network).get_weights() for model in models)
        for value, wanted in zip(*both, strict=True):
            np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-7)


def test_the_condition_of_a_discriminator() -> None:
    """Labels of a conditional GAN; nothing where the discriminator finds them; BiGAN's latents."""
    labels, codes, latents = tf.constant([1]), tf.ones([1, 3]), tf.zeros([1, 3])
    batch = {"labels": labels, "codes": codes, "latents": latents}
    plain = zoo.create("gan", IMAGE_SHAPE, LATENT_DIM, network="mlp", num_classes=3)
    acgan = zoo.create("acgan", IMAGE_SHAPE, LATENT_DIM, network="mlp", num_classes=3)
    for real in (True, False):
        assert plain.condition(batch, real=real) is labels
        assert acgan.condition(batch, real=real) is None
    bigan = _create(BiGAN)
    assert bigan.condition(batch, real=True) is codes
    assert bigan.condition(batch, real=False) is latents
