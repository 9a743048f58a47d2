"""ADA, APA and LeCam in a GAN: what the discriminator sees, how p moves, what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import LATENT_DIM, assert_same_state
from tests.support.equivalence import assert_equivalent, outcome, structured_images
from tests.support.replicas import replicated
from tests.support.watched import images_judged
from zoo.layers.ada import ada

IMAGE_SHAPE = (8, 8, 1)
ADAPTIVE = {"augment_images": 240, "augment_target": -0.9}
ONE_AND_ALL = pytest.mark.parametrize(
    "letters", ["c", pytest.param("bgcfnx", marks=pytest.mark.slow)]
)


def _gan(**options: Any) -> Any:
    keras.utils.set_random_seed(0)
    settings = {"network": "mlp", "normalization": "none", **options}
    return zoo.create("gan", IMAGE_SHAPE, LATENT_DIM, **settings)


def _constant(logit: float, **options: Any) -> Any:
    """A GAN whose discriminator gives every image one logit, for it does not learn."""
    images = keras.Input(IMAGE_SHAPE)
    hidden = keras.layers.Dense(1, kernel_initializer="zeros")(keras.layers.Flatten()(images))
    model = _gan(discriminator=keras.Model(images, hidden), **options)
    model.discriminator.trainable_variables[1].assign([logit])
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.0))
    return model


def _batch(model: Any, n: int = 20) -> dict[str, Any]:
    batch = {"images": tf.constant(structured_images()[:n])}
    return batch | model.batch_noise(model.noise_source(batch["images"]))


# How p moves


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({"ada": "c", "n_critic": 2}, {}),
        pytest.param({"apa": True}, {"steps_per_execution": 5}, marks=pytest.mark.slow),
        pytest.param({"ada": "b", "n_critic": 2}, {"accumulate": 2}, marks=pytest.mark.slow),
    ],
)
def test_p_rises_by_the_images_shown(options: dict[str, Any], settings: dict[str, Any]) -> None:
    """Every fourth step by their share of `augment_images`, up to 1: uneven batches, all updates.

    p takes 24 + 24 + 12 + 24 = 84 images after 4 steps, 24 + 12 + 24 + 24 after 8, and so on.
    """
    model = _constant(1.0, augment_images=200, **options)
    rates = [keras.optimizers.SGD(0.0) for _ in range(2)]
    model.compile(*rates, **settings)
    found = []
    images = structured_images()
    for _ in range(5):
        history = model.fit(images, batch_size=24, shuffle=False, verbose=0).history
        found.append(float(model.augment_p.numpy()))
    assert found == pytest.approx([0.0, 0.42, 0.84, 1.0, 1.0])
    assert history["r_t"] == [1.0]
    assert model.signs.numpy().tolist() == [60.0, 60.0]  # steps 13 to 15, a whole epoch's


def test_p_falls_below_the_target_and_stays_at_it() -> None:
    for logit, target, wanted in ((-1.0, 0.6, 0.1), (1.0, 1.0, 0.5), (0.0, 0.6, 0.1)):
        model = _gan(ada="c", augment_images=200, augment_target=target)
        model.augment_p.assign(0.5)
        logits = tf.fill([20, 1], logit)
        for _ in range(4):
            assert float(model.augment_p.numpy()) == 0.5
            model.observe({"real_logit": logits, "fake_logit": logits})
            model.adapt()
            model.step.assign_add(1)
        assert float(model.augment_p.numpy()) == pytest.approx(wanted), (logit, target)


def test_a_given_p_stays_and_is_logged() -> None:
    model = _gan(ada="bgc", augment_p=0.25)
    model.compile()
    assert float(model.train_step(_batch(model)["images"])["augment_p"]) == 0.25
    assert len(model.variables) == len(_gan().variables)


# What the discriminator sees


@pytest.mark.parametrize(
    "dtype", [pytest.param("float32", marks=pytest.mark.slow), "mixed_bfloat16"]
)
def test_both_players_see_augmented_images(dtype: str) -> None:
    """In float32, real and fake by draws of their own, and with a penalty."""
    model = _gan(ada="bgcfnx", augment_p=0.7, regularizer="r1", dtype=dtype)
    model.compile()
    batch = _batch(model)
    with images_judged(model) as seen:
        for real in (True, False):
            model.judge(batch["images"], batch, real=real, training=True)
            name = f"augment_{'real' if real else 'fake'}"
            draws = (batch[name], batch[f"{name}_normal"], batch[f"{name}_pixels"])
            wanted = ada(batch["images"], tf.constant(0.7), "bgcfnx", *draws)
            assert seen[-1].dtype == tf.float32
            np.testing.assert_array_equal(seen[-1], wanted)
    assert np.abs(seen[0] - seen[1]).max() > 0.1
    before = model.generator.get_weights()
    logs = model.train_step(batch["images"])
    assert logs["gradient_penalty"] > 0
    after = model.generator.get_weights()
    assert all(np.abs(a - b).max() > 0 for a, b in zip(after, before, strict=True))


def test_the_penalty_is_on_the_gradient_at_the_image_before() -> None:
    """A discriminator that is the sum of pixels: its gradient at x is that of the augmentation."""
    model = _constant(0.0, ada="c", augment_p=1.0, regularizer="r1", regularizer_weight=2.0)
    model.discriminator.trainable_variables[0].assign(tf.ones([64, 1]))
    batch = _batch(model)
    logs = model._player_losses(batch, ("discriminator",), training=True)
    draws = (batch["augment_real"], batch["augment_real_normal"])
    slope = ada(batch["images"] + 1.0, tf.constant(1.0), "c", *draws) - ada(
        batch["images"], tf.constant(1.0), "c", *draws
    )
    wanted = 64 * tf.square(slope[:, 0, 0, 0])  # ½ · 2 · Σ over 64 pixels
    np.testing.assert_allclose(logs["gradient_penalty"], wanted, rtol=1e-4)


def test_pseudo_reals_are_generated_images_by_chance() -> None:
    """In training only, with probability p each, from latents of their own, without gradients."""
    model = _gan(apa=True, augment_p=0.4)
    batch = _batch(model)
    shown = model.with_pseudo_reals(batch, training=True)["images"]
    pseudo = model.generator(batch["pseudo_latents"], training=True)
    chance = np.ravel(batch["pseudo_chance"])
    assert 0 < (chance < 0.4).sum() < len(chance)
    for i, each in enumerate(chance):
        wanted = pseudo[i] if each < 0.4 else batch["images"][i]
        np.testing.assert_array_equal(shown[i], wanted)
    assert model.with_pseudo_reals(batch, training=False) is batch
    assert np.abs(batch["pseudo_latents"] - batch["latents"]).min() > 0
    model.augment_p = 0.0
    shown = model.with_pseudo_reals(batch, training=True)["images"]
    np.testing.assert_array_equal(shown, batch["images"])


# LeCam


def test_lecam_is_its_equation() -> None:
    """λ ((D(x) − α_F)² + (D(G(z)) − α_R)²), α a mean of the steps before; NaN does not enter."""
    model = _gan(lecam=0.3)
    model.compile()
    averages = np.zeros(2)
    for step in range(3):
        batch = _batch(model)
        logs = model._player_losses(batch, ("discriminator",), training=True)
        real, fake = (np.ravel(logs[name]).astype(float) for name in ("real_logit", "fake_logit"))
        wanted = 0.3 * ((real - averages[1]) ** 2 + (fake - averages[0]) ** 2)
        np.testing.assert_allclose(logs["lecam"], wanted, rtol=1e-4, atol=1e-7)
        total = np.asarray(logs["discriminator_total"] - logs["discriminator_loss"])
        np.testing.assert_allclose(total[:, 0] if total.ndim > 1 else total, wanted, atol=1e-6)
        model.train_step(batch["images"])
        averages = (step * averages + [real.mean(), fake.mean()]) / (step + 1)
        np.testing.assert_allclose(model.logit_averages, averages, rtol=1e-4, atol=1e-6)
    model.step.assign(1000)
    ones = tf.ones([4, 1])
    model.observe({"real_logit": 2.0 * ones, "fake_logit": ones})
    averages = 0.99 * averages + 0.01 * np.array([2.0, 1.0])
    np.testing.assert_allclose(model.logit_averages, averages, rtol=1e-4, atol=1e-6)
    model.observe({"real_logit": np.nan * ones, "fake_logit": ones})
    np.testing.assert_allclose(model.logit_averages, averages, rtol=1e-4, atol=1e-6)


# The guarantees, of all at once; the conformance tests have each alone


@pytest.mark.slow
@ONE_AND_ALL
def test_two_replicas_are_one_device(letters: str) -> None:
    found = []
    for replicas in (1, 2):
        with replicated(replicas).scope():
            model = _gan(**ADAPTIVE, ada=letters, lecam=0.1)
            model.compile(keras.optimizers.SGD(0.002), keras.optimizers.SGD(0.002))
        images = structured_images()
        history = model.fit(images, batch_size=24, epochs=2, shuffle=False, verbose=0).history
        logs = {f"history/{name}": np.ravel(values) for name, values in history.items()}
        found.append({**outcome(model), **logs})
        # r_t is above −0.9: 84 of 240 images in the first four steps.
        assert float(model.augment_p.numpy()) == pytest.approx(0.35)
        assert np.abs(model.logit_averages.numpy()).min() > 0
    assert_equivalent(found[1], found[0])


@pytest.mark.slow
@ONE_AND_ALL
def test_a_saved_model_goes_on_amid_an_interval(letters: str, tmp_path: Path) -> None:
    """Bit for bit: p, the sums towards its next move, LeCam's averages."""
    model = _gan(**ADAPTIVE, ada=letters, lecam=0.1)
    model.compile()
    images = structured_images()
    model.fit(images, batch_size=24, epochs=2, shuffle=False, verbose=0)  # 6 steps
    assert model.signs.numpy()[1] == 36
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert_same_state(loaded, model)
    for each in (model, loaded):
        each.fit(images, batch_size=24, shuffle=False, verbose=0)
    assert_same_state(loaded, model)
    assert float(model.augment_p.numpy()) == pytest.approx(0.35 + 84 / 240)


@pytest.mark.slow
def test_xla_trains_it() -> None:
    model = _gan(**ADAPTIVE, ada="bgcfnx", lecam=0.1, regularizer="r1")
    model.compile(jit_compile=True)
    model.fit(structured_images(), batch_size=20, epochs=2, verbose=0)
    assert float(model.augment_p.numpy()) == pytest.approx(80 / 240)


def test_a_model_without_them_is_as_it_was() -> None:
    """No variable, no noise and no option more than models made before."""
    model = _gan()
    assert not {"ada", "apa", "lecam", "augment_p"} & model.get_config().keys()
    assert _batch(model).keys() == {"images", "latents"}
    assert not {"augment_p", "signs", "logit_averages"} & {v.name for v in model.variables}


# It does not leak


@pytest.mark.slow
def test_a_generator_does_not_learn_the_turns() -> None:
    """Images whose bright corner is always top left, turned for the discriminator.

    At p = ½ the samples have the corner where the images have it. At p = 1 the discriminator
    cannot know where that is, and a generator has it anywhere: three try.
    """
    rng = np.random.default_rng(0)
    images = 0.2 * rng.random((512, *IMAGE_SHAPE)).astype(np.float32)
    images[:, :4, :4] += 0.7
    shares: dict[float, list[float]] = {}
    for p, seed in ((0.5, 1), (1.0, 1), (1.0, 2), (1.0, 3)):
        model = _gan(ada="b", augment_p=p, ema=0.99, regularizer="r1", seed=seed)
        model.compile()
        model.fit(images, batch_size=64, epochs=30, verbose=0)
        samples = model.generate(500, seed=0)[..., 0]
        corners = np.stack(
            [samples[:, i : i + 4, j : j + 4].mean(axis=(1, 2)) for i in (0, 4) for j in (0, 4)]
        )
        assert corners.max(axis=0).min() > 0.5  # each sample has a bright corner
        shares.setdefault(p, []).append(float(np.mean(corners.argmax(axis=0) == 0)))
    assert min(shares[0.5]) > 0.98
    assert min(shares[1.0]) < 0.5


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ada": "bgz"}, "ada='bgz': expected some of b"),
        ({"ada": ""}, "ada='': expected some of b"),
        ({"ada": "bgc", "diff_augment": "color"}, "ada='bgc', diff_augment='color': expected one"),
        ({"ada": "bgc", "apa": True}, "ada='bgc', apa=True: expected one of them"),
        ({"ada": "b", "augment_p": 1.5}, r"augment_p=1.5: expected a probability from 0 to 1"),
        ({"apa": True, "augment_p": -0.1}, r"augment_p=-0.1: expected a probability"),
        ({"augment_p": 0.5}, "augment_p=0.5: it belongs to ada or apa. Add ada='bgc'"),
        ({"diff_augment": "color", "augment_images": 5}, "augment_images=5: it belongs to ada"),
        ({"lecam": 0.1, "augment_target": 0.5}, "augment_target=0.5: it belongs to ada or apa"),
        ({"ada": "b", "augment_p": 0.5, "augment_target": 0.5}, "a p that is given stays"),
        ({"ada": "b", "augment_target": 1.2}, "augment_target=1.2: expected a mean of signs"),
        ({"ada": "b", "augment_images": 0}, "augment_images=0: expected at least 1"),
        ({"lecam": -0.1}, "lecam=-0.1: expected a weight of at least 0"),
        ({"ada": True}, "ada=True: expected text"),
        ({"apa": "yes"}, "apa='yes': expected true or false"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _gan(**options)
