"""FastGAN: what its discriminator reconstructs and judges, and that it learns."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import data, metrics
from zoo.gan.fastgan import quadrant_of

RNG = np.random.default_rng(0)
SHAPE = (16, 16, 1)


def _model(**options: Any) -> Any:
    return zoo.create("fastgan", SHAPE, 3, **{"network": "fastgan-2", **options})


def test_quadrants() -> None:
    x = RNG.random((4, 6, 8, 2)).astype(np.float32)
    found = quadrant_of(tf.constant(x), tf.constant([[0.0], [0.25], [0.74], [0.999]]))
    wanted = [x[0, :3, :4], x[1, :3, 4:], x[2, 3:, :4], x[3, 3:, 4:]]
    np.testing.assert_array_equal(found, wanted)


def test_losses_are_the_papers() -> None:
    """Eq. 3 over patches, and eq. 2 of the whole image and of each image's quadrant."""
    model = _model(diff_augment=None, reconstruction_weight=2.0)
    images = RNG.random((4, *SHAPE)).astype(np.float32)
    batch = {"images": tf.constant(images), "quadrant": tf.constant([[0.1], [0.3], [0.6], [0.9]])}
    logit, *heads = model.judge(batch["images"], batch, real=True, training=False)
    _, patches, whole, larger = model.discriminator(images, training=False)
    np.testing.assert_allclose(logit[:, 0], np.mean(patches, axis=1), atol=1e-6)

    corners = [(slice(i, i + 8), slice(j, j + 8)) for i in (0, 8) for j in (0, 8)]
    parts = np.stack([np.asarray(larger)[n][place] for n, place in enumerate(corners)])
    decoded = model.reconstructor([whole, tf.constant(parts)], training=False)
    targets = images, np.stack([images[n][place] for n, place in enumerate(corners)])
    wanted = sum(
        2.0 * np.abs(np.asarray(x) - y).mean(axis=(1, 2, 3))
        for x, y in zip(decoded, targets, strict=True)
    )
    np.testing.assert_allclose(heads[1], wanted, rtol=1e-5)
    np.testing.assert_allclose(model.auxiliary_loss(heads, batch, real=True), 2 * wanted, rtol=1e-5)
    assert len(model.judge(batch["images"], batch, real=False, training=False)) == 2
    assert model.auxiliary_loss(heads[:1], batch, real=False) is None

    real, fake = (RNG.normal(0.0, 2.0, (4, 25)).astype(np.float32) for _ in range(2))
    hinge = np.maximum(0, 1 - real) + np.maximum(0, 1 + fake)
    np.testing.assert_allclose(
        model.discriminator_loss(tf.constant(real), tf.constant(fake)), hinge.mean(1), rtol=1e-5
    )
    np.testing.assert_allclose(
        model.generator_loss(tf.constant(real), tf.constant(fake)), -fake.mean(1), rtol=1e-4
    )


def test_a_larger_target_is_averaged() -> None:
    """A decoder of 128 pixels beside the quadrants and images of more."""
    from zoo.gan.fastgan import _distance

    decoded = np.full((1, 2, 2, 1), 0.25, np.float32)
    target = np.kron(np.eye(2), np.ones((2, 2))).reshape(1, 4, 4, 1).astype(np.float32)
    # Averages 1, 0, 0, 1: differences ¾, ¼, ¼, ¾, of which the mean is ½; doubled on [−1, 1]
    np.testing.assert_allclose(_distance(tf.constant(decoded), tf.constant(target)), [1.0])


@pytest.mark.slow
def test_reconstruction_moves_the_discriminator_and_its_decoders() -> None:
    model = _model(loss="wasserstein", diff_augment=None)
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.01))
    networks = model.generator, model.discriminator, model.reconstructor
    before = [[np.asarray(v) for v in network.trainable_variables] for network in networks]
    model.train_on_batch(RNG.random((8, *SHAPE)).astype(np.float32))
    moved = [
        [np.abs(v - old).max() > 0 for v, old in zip(n.trainable_variables, olds, strict=True)]
        for n, olds in zip(networks, before, strict=True)
    ]
    assert not any(moved[0])
    assert all(moved[1])
    assert all(moved[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "conv"}, "network='conv': expected a discriminator with.*Take 'fastgan'"),
        ({"reconstruction_weight": -1.0}, "reconstruction_weight=-1.0: expected at least 0"),
        ({"ada": "bgc"}, "ada='bgc', diff_augment='color,translation': expected one of them"),
        ({"normalization": "batch", "regularizer": "r1"}, "regularizer='r1'.*Take 'none' or"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _model(**options)


def test_own_discriminators_need_features() -> None:
    image = keras.Input(SHAPE)
    logit = keras.layers.Dense(1)(keras.layers.Flatten()(image))
    with pytest.raises(ValueError, match=r"maps \(16, 16, 1\) to \[\(1,\)\]; expected the logit"):
        _model(discriminator=keras.Model(image, logit))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"ada": "bgc", "diff_augment": None},
        {"freeze_discriminator": 1, "freeze_generator": 1},
        {"normalization": "none", "regularizer": "r1"},
        {"dtype": "mixed_bfloat16"},
        {"lecam": 0.1, "n_critic": 2, "num_classes": 3},
    ],
    ids=str,
)
def test_it_trains_with(options: dict[str, Any]) -> None:
    model = _model(**options)
    model.compile()
    given = (RNG.random((16, *SHAPE)).astype(np.float32),)
    given += (np.arange(16) % 3,) if "num_classes" in options else ()
    history = model.fit(*given, batch_size=8, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "batch_size"),
    [
        ("fastgan", {"network": "fastgan-4"}, 16),
        ("r3gan", {"network": "r3gan-16"}, 16),
    ],
)
def test_300_steps_bring_samples_near_clothes(
    name: str, options: dict[str, Any], batch_size: int
) -> None:
    """In Fréchet distance of pixels, of 1,000 samples and 16 × 16 images.

    After 150 steps it had fallen from 43.8 to 17.3 (fastgan) and from 44.7 to 21.5 (r3gan).
    """
    clothes = data.to_array("fashion_mnist_sample", split="train")
    halved = clothes.reshape(-1, 14, 2, 14, 2, 1).mean(axis=(2, 4))
    images = np.pad(halved, ((0, 0), (1, 1), (1, 1), (0, 0)))
    model = zoo.create(name, SHAPE, 16, **options)

    def distance() -> float:
        samples = model.generate(1000, seed=0)
        return metrics.frechet_distance(*(x[:1000].reshape(1000, -1) for x in (images, samples)))

    before = distance()
    model.compile()
    batches = tf.data.Dataset.from_tensor_slices(images).repeat().batch(batch_size)
    history = model.fit(batches, epochs=3, steps_per_epoch=100, verbose=0).history
    after = distance()
    assert after < 0.5 * before
    if name == "fastgan":
        assert history["real_auxiliary"][-1] < 0.8 * history["real_auxiliary"][0]
