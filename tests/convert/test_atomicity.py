"""Errors name value and remedy, and leave the target as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from tests.support.conversions import (
    LATENT,
    SHAPE,
    OfLayers,
    assert_unchanged,
    gan_to_vae,
    make_decoder,
    make_gan,
    make_stack,
    make_vae,
    vae_to_gan,
    values_of,
)
from tests.support.networks import shake
from zoo import convert
from zoo.convert import plan
from zoo.networks import conv


def _conditional() -> keras.Model:
    inputs = [keras.Input((LATENT,)), keras.Input((3,), name="label")]
    x = layers.Dense(64, activation="sigmoid")(layers.Concatenate()(inputs))
    return keras.Model(inputs, layers.Reshape(SHAPE)(x))


BAD: dict[str, tuple[Callable[[], Any], dict[str, Any], type[Exception], str]] = {
    "mode": (make_gan, {"mode": "exakt"}, ValueError, "mode='exakt': expected one of 'exact'"),
    "batch_norm": (make_gan, {"batch_norm": "insert"}, ValueError, "batch_norm='insert': expected"),
    "weights": (make_gan, {"weights": "swa"}, ValueError, "weights='swa': expected one of 'auto'"),
    "encoder": (make_gan, {"encoder_init": "he"}, ValueError, "encoder_init='he': expected"),
    "prior": (make_gan, {"prior": "cauchy"}, ValueError, "prior='cauchy'.*'uniform'"),
    "distill": (
        make_gan, {"mode": "distill", "batch_norm": "keep"}, ValueError, "'keep'.*mode='distill'",
    ),
    "file": (lambda: "no_such.keras", {}, FileNotFoundError, "no_such.keras.*expected a .keras"),
    "no model": (lambda: 3, {}, TypeError, "gan=3: expected a GAN of the zoo"),
    "conditional": (_conditional, {}, ValueError, "2 inputs.*conditional.*fix_label"),
    "no images": (
        lambda: make_stack(layers.Dense(64)), {}, ValueError, r"maps \(None, 4\) to \(None, 64\)",
    ),
    "not built": (OfLayers, {}, ValueError, "not been built.*call it on latents"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "options", "error", "message"), BAD.values(), ids=BAD.keys())
def test_errors_name_value_and_remedy(
    make: Callable[[], Any], options: dict, error: type[Exception], message: str
) -> None:
    vae = make_vae()
    before = values_of(vae)
    with pytest.raises(error, match=message):
        convert.gan_to_vae(make(), vae, **options)
    assert_unchanged(vae, before)


def test_targets_that_do_not_fit() -> None:
    gan = make_gan()
    wide = zoo.create("vae", (8, 12, 1), LATENT, network="mlp")
    with pytest.raises(ValueError, match=r"\(8, 8, 1\).*\(8, 12, 1\).*image_shape=\(8, 8, 1\)"):
        convert.gan_to_vae(gan, wide, mode="partial")
    with pytest.raises(ValueError, match="mode='distill' needs as many"):
        convert.gan_to_vae(gan, make_vae(latent=7), mode="distill")
    with pytest.raises(TypeError, match="vae=<DCGAN .*: expected a VAE of the zoo"):
        convert.gan_to_vae(gan, gan)
    with pytest.raises(TypeError, match="vae=<DCGAN .*: expected a VAE of the zoo"):
        convert.vae_to_gan(gan)
    with pytest.raises(TypeError, match="gan=<VAE .*: expected a GAN of the zoo"):
        convert.vae_to_gan(wide, wide, whiten_posterior=False)


class _BrokenError(RuntimeError):
    pass


def _breaks(*_: Any, **__: Any) -> Any:
    raise _BrokenError


def _fails_at_assign(monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    """From now on the k-th assignment fails, once it has assigned, and later ones work."""
    count = 0
    assign = keras.Variable.assign

    def counted(self: Any, value: Any) -> Any:
        nonlocal count
        count += 1
        found = assign(self, value)
        if count == k:
            raise _BrokenError
        return found

    commit = plan.commit_all

    def commit_all(*args: Any, **kwargs: Any) -> None:
        with monkeypatch.context() as inner:
            inner.setattr(keras.Variable, "assign", counted)
            commit(*args, **kwargs)

    monkeypatch.setattr(plan, "commit_all", commit_all)


STAGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "measure": lambda patch: [
        patch.setattr(m, "measure", _breaks) for m in (gan_to_vae, vae_to_gan)
    ],
    "align": lambda patch: patch.setattr(plan, "align", _breaks),
    "first assign": lambda patch: _fails_at_assign(patch, 1),
    "fourth assign": lambda patch: _fails_at_assign(patch, 4),
    "last network": lambda patch: patch.setattr(keras.Model, "set_weights", _breaks),
}


@pytest.fixture(scope="module")
def trained() -> tuple[Any, Any, np.ndarray]:
    """A VAE and a GAN, each to be converted into the other, and images."""
    images = np.random.default_rng(0).random((20, *SHAPE)).astype(np.float32)
    vae = make_vae(make_decoder((8, 4)), transfer=(1.0, 1.0, 0.0, 0.0))
    shake(vae.encoder)
    inputs = keras.Input((LATENT,))
    images_of = keras.ops.sigmoid(make_decoder((8, 4))(inputs))
    generator = keras.Model(inputs, images_of)
    gan = make_gan(generator=generator, ema=0.9, discriminator=conv.discriminator(SHAPE, "none", 8))
    return vae, gan, images


@pytest.mark.parametrize("to", ["vae", "gan"])
@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(stage, id=name, marks=[pytest.mark.slow] if name == "fourth assign" else [])
        for name, stage in STAGES.items()
    ],
)
def test_all_or_nothing(
    stage: Callable, to: str, trained: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae, gan, images = trained
    target = vae if to == "vae" else gan
    before = values_of(target)
    stage(monkeypatch)
    conversion = {
        "vae": lambda: convert.gan_to_vae(gan, vae, encoder_init="discriminator"),
        "gan": lambda: convert.vae_to_gan(vae, gan, images=images),
    }[to]
    with pytest.raises(_BrokenError):
        conversion()
    assert_unchanged(target, before)
