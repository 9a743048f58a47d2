"""What a subclass declares wrongly is refused with a sentence, and never ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from zoo.core.replicated_step import Player

if TYPE_CHECKING:
    from zoo.core.model import ZooModel


def _model(base: type, **overrides: Any) -> ZooModel:
    cls = type("Own", (base,), overrides)
    return cls(image_shape=IMAGE_SHAPE, latent_dim=LATENT_DIM, network="mlp")


@pytest.mark.parametrize(
    ("base", "old", "new"),
    [
        ("VAE", "draws", "batch_noise"),
        ("VAE", "regularizer", "regularization_terms"),
        ("VAE", "of_batch", "batch_logs"),
        ("VAE", "gaussian_posterior", "has_elbo"),
        ("DCGAN", "track", "update_averages"),
        ("DCGAN", "completed", "extend_batch"),
        ("DCGAN", "regularizer", "gradient_penalty"),
    ],
)
def test_hook_of_an_earlier_version(base: str, old: str, new: str) -> None:
    family = zoo.vae if base == "VAE" else zoo.gan
    with pytest.raises(TypeError, match=rf"Own\.{old}: this hook is called {new}"):
        type("Own", (getattr(family, base),), {old: None})


def test_hook_of_an_earlier_version_in_a_mixin() -> None:
    mixin = type("Mixin", (), {"draws": None})
    with pytest.raises(TypeError, match="batch_noise"):
        type("Own", (mixin, zoo.vae.VAE), {})


@pytest.mark.parametrize(
    ("players", "message"),
    [
        ({}, "expected a player for each optimizer"),
        ({"optimizer": "loss"}, "expected a Player"),
        ({"optimizer": Player("loss", "encoder")}, "expected a Player"),  # type: ignore[arg-type]
        ({"optimizer": Player("loss", ("encodr",))}, "no network 'encodr'"),
        ({"optimizer": Player("loss", ("seed",))}, "no network 'seed'"),
        ({"encoder": Player("loss")}, "ends in 'optimizer'"),
        ({"optimizer": Player("loss"), "b_optimizer": Player("loss")}, "name no networks"),
    ],
)
def test_players_that_are_none(players: dict[str, Any], message: str) -> None:
    model = _model(zoo.vae.VAE, players=players)
    with pytest.raises(ValueError, match=message):
        model.compile()


def test_optimizer_without_a_player() -> None:
    model = _model(zoo.vae.VAE, optimizer_names=("optimizer", "other_optimizer"))
    with pytest.raises(ValueError, match="'other_optimizer', but the players are optimizer"):
        model.compile()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"players": {"optimizer": Player("lost")}}, "'lost', but the step's losses are loss"),
        ({"log_names": ("loss", "rat")}, "'rat', but the step's values are loss"),
        ({"weights_of_terms": {"rat": 1.0}}, "'rat', but the regularization_terms are rate"),
        ({"forward": lambda *_, **__: (0, 0)}, r"forward returned a tuple: expected a dict"),
        ({"forward": lambda *_, **__: {"logit": 0}}, "'logits', but the outputs"),
    ],
)
def test_names_that_a_step_does_not_have(overrides: dict[str, Any], message: str) -> None:
    model = _model(zoo.vae.VAE, **overrides)
    model.compile(run_eagerly=True)
    with pytest.raises((ValueError, TypeError), match=message):
        model.train_on_batch(np.zeros((4, *IMAGE_SHAPE), "float32"))


def test_option_that_a_class_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"DCGAN has no option 'emaa'\. Did you mean ema\?"):
        zoo.gan.DCGAN(image_shape=IMAGE_SHAPE, latent_dim=LATENT_DIM, emaa=0.9)


@pytest.mark.parametrize("shape", [None, 8, (8, "x", 1), (8.5, 8, 1)])
def test_shape_that_is_none(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"image_shape=.*: expected \(height, width, channels\)"):
        zoo.create("vae", shape, LATENT_DIM)
    with pytest.raises(ValueError, match="The name of a model is None"):
        zoo.create(None, IMAGE_SHAPE, LATENT_DIM)  # type: ignore[arg-type]
