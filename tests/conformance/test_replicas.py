"""N replicas compute what one device computes on the same global batch."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import CASES, CORE, IMAGE_SHAPE, LATENT_DIM, Case
from tests.support.equivalence import (
    assert_equivalent,
    assert_moved,
    fit,
    outcome,
    structured_images,
    train,
)
from zoo.core.replicas import in_turn
from zoo.training import strategy
from zoo.training.launch import launch


@functools.cache
def _strategy(replicas: int) -> tf.distribute.Strategy:
    if replicas == 3:  # reduction to one device is the other implementation, beside collectives
        devices = [f"CPU:{i}" for i in range(replicas)]
        return tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice())
    return strategy(
        "mirrored" if replicas > 1 else "none", replicas=replicas if replicas > 1 else None
    )


@pytest.mark.parametrize(
    ("guarded", "replicas"),
    [
        pytest.param(False, (2, 3), id="plain"),
        pytest.param(True, (2,), id="clipped-and-scaled"),
        pytest.param(True, (3,), id="clipped-and-scaled-3", marks=pytest.mark.slow),
    ],
)
def test_same_weights_and_logs(full: Case, guarded: bool, replicas: tuple[int, ...]) -> None:
    """Weights, slots, logs, evaluation and predictions under 2 and 3 replicas."""
    one = train(full, guarded=guarded)
    assert_moved(full, one)
    for n in replicas:
        assert_equivalent(train(full, _strategy(n), guarded=guarded), one)


def test_two_replicas(case: Case) -> None:
    """Weights, slots and logs of a short training."""
    found = []
    for replicas in (1, 2):
        keras.utils.set_random_seed(0)
        with _strategy(replicas).scope():
            model = case.create_with_sgd()
        data = case.data(structured_images(case.image_shape))
        history = model.fit(*data, batch_size=20, shuffle=False, verbose=0).history
        logs = {f"history/{name}": np.ravel(values) for name, values in history.items()}
        found.append({**logs, **outcome(model)})
    assert_moved(case, found[0])
    assert_equivalent(found[1], found[0])


@pytest.mark.parametrize("case", [CASES[2], CASES[4]], ids=lambda case: case.id)
def test_several_steps_per_execution(case: Case) -> None:
    """In training, evaluation (of which the last execution has fewer steps) and prediction."""
    one = train(case, guarded=True)
    assert_equivalent(train(case, _strategy(2), guarded=True, steps_per_execution=3), one)


@pytest.mark.parametrize("replicas", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_all_replicas_skip_an_overflow(full: Case, replicas: int, images: np.ndarray) -> None:
    """An image that overflows one replica's gradients skips the update of all, and no other."""
    # In the first batch, in the first replica's share; even, as the images of FactorVAE's VAE are.
    images[2] = np.inf
    found = []
    for n in (1, replicas):
        keras.utils.set_random_seed(0)
        with _strategy(n).scope():
            model = full.create_without_batch_norm(guarded=True)
        first, others = (
            tf.data.Dataset.from_tensor_slices(full.data(part)).batch(24)
            for part in (images[:24], images[24:])
        )
        with pytest.raises(ValueError, match="to inf; expected"):  # after the step
            model.fit(first, shuffle=False, verbose=0)
        model.fit(others, shuffle=False, verbose=0)
        optimizers = [getattr(model, name) for name in model.optimizer_names]
        variables = [*model.trainable_variables, *(v for o in optimizers for v in o.variables)]
        found.append({f"weight/{i} {v.name}": np.asarray(v) for i, v in enumerate(variables)})
        # a GAN's last optimizer, the discriminator's, sees the images; a VAE's all do, but for
        # the second of FactorVAE, which has the other half of them
        updates = 3 * (model.n_critic if model.family == "gan" else 1)
        seeing = {"gan": slice(-1, None), "factor_vae": slice(1)}
        kind = full.name if full.name in seeing else model.family
        for optimizer in optimizers[seeing.get(kind, slice(None))]:
            assert optimizer.inner_optimizer.iterations.numpy() == updates - 1
            assert optimizer.dynamic_scale.numpy() == 2.0**99
    assert_equivalent(found[1], found[0])


@pytest.mark.parametrize(
    ("cases", "guarded"),
    [
        pytest.param("core", False, id="plain"),
        pytest.param("all", False, id="all", marks=pytest.mark.slow),
        pytest.param("all", True, id="clipped-and-scaled", marks=pytest.mark.slow),
    ],
)
def test_two_workers(cases: str, guarded: bool, tmp_path: Path) -> None:
    """Two processes over gRPC train the cases: both end with what one device ends with."""
    worker = ["-m", "tests.support.worker", str(tmp_path), str(guarded), cases]
    assert launch(2, [sys.executable, *worker]) == 0
    workers = [dict(np.load(tmp_path / f"{i}.npz")) for i in range(2)]
    rows = np.concatenate([worker["noise"] for worker in workers])
    assert len({tuple(row) for row in rows}) == 8
    np.testing.assert_array_equal(rows, CASES[0].create().noise("latent", tf.constant(8), [5]))
    for case in CORE if cases == "core" else CASES:
        one = train(case, guarded=guarded)
        for worker in workers:
            prefix = f"{case.id}|"
            found = {k.removeprefix(prefix): v for k, v in worker.items() if k.startswith(prefix)}
            assert_equivalent(found, one)


@pytest.mark.parametrize("replicas", [1, 2])
def test_accumulation_equals_the_large_batch(full: Case, replicas: int, images: Any) -> None:
    """In three parts or at once; without BatchNorm and losses between examples: they see parts."""
    if full.coupled:
        pytest.skip("its loss is between examples")
    found = []
    for accumulate in (1, 3):
        keras.utils.set_random_seed(0)
        with _strategy(replicas if accumulate > 1 else 1).scope():
            model = full.create_without_batch_norm(accumulate=accumulate, guarded=replicas > 1)
        found.append({**fit(full, model, images), **outcome(model)})
    assert_equivalent(found[1], found[0])


def test_uneven_batches(case: Case, images: np.ndarray) -> None:
    """Batches that 2 replicas cannot share evenly change nothing either."""
    found = []
    for replicas in (1, 2):
        keras.utils.set_random_seed(0)
        with _strategy(replicas).scope():
            model = case.create_with_sgd(
                **({"n_critic": 1} if case.name in zoo.list_models("gan") else {})
            )
        model.fit(*case.data(images[:10]), batch_size=7, epochs=2, shuffle=False, verbose=0)
        found.append(outcome(model))
    assert_equivalent(found[1], found[0])


SPLIT = [c for c in CASES if c.name == "factor_vae" or c.options.get("n_critic", 1) > 1]


@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_rows_of_parts(replicas: int, n: int) -> None:
    """The parts of all replicas together are every n-th row, whatever the replicas' shares."""
    shares = [[0, 1, 2, 3, 4], [5, 6], [7, 8, 9, 10, 11, 12, 13]][:replicas]

    def split() -> list[Any]:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = tf.gather(tf.ragged.constant(shares), replica)
        return [part["images"] for part in in_turn({"images": rows}, n)]

    strategy = _strategy(replicas)
    parts = tf.function(lambda: strategy.run(split))()
    for i, part in enumerate(parts):
        rows = np.concatenate(strategy.experimental_local_results(part))
        np.testing.assert_array_equal(rows, np.concatenate(shares)[i::n])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "options", "accumulate"),
    [
        pytest.param(c, options, n, id=f"{c.id}-accumulate={n}")
        for c, options, n in [
            *((c, {}, 1) for c in SPLIT),
            # BatchNorm sees the parts
            (CASES[3], {"network": "mlp", "n_critic": 3}, 2),
            (CASES[3], {}, 3),
        ]
    ],
)
def test_parts_of_a_batch(case: Case, options: Any, accumulate: int, images: np.ndarray) -> None:
    """Minibatches and parts are those of one device, though they do not divide a replica's share.

    Shares of 11 and 11, or 8, 7 and 7.
    """
    found = []
    for replicas in (1, 2, 3):
        keras.utils.set_random_seed(0)
        with _strategy(replicas).scope():
            model = case.create_with_sgd(accumulate=accumulate, **options)
        data = case.data(images[:22])
        history = model.fit(*data, batch_size=22, shuffle=False, verbose=0).history
        logs = {f"history/{name}": np.ravel(values) for name, values in history.items()}
        found.append({**logs, **outcome(model)})
    assert_equivalent(found[1], found[0])
    assert_equivalent(found[2], found[0])


@pytest.mark.parametrize("replicas", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_wrong_data_on_one_replica(replicas: int, images: np.ndarray) -> None:
    """An error says what one replica has seen: pixels or a label of another's share."""
    labels = np.arange(60) % 3
    with _strategy(replicas).scope():
        model = zoo.create("cvae", IMAGE_SHAPE, LATENT_DIM, network="mlp", num_classes=3)
        model.compile(keras.optimizers.SGD(0.01))
    for kind, message in [("pixels", "to 255; expected"), ("label", "label 7: expected a class")]:
        x, y = images.copy(), labels.copy()
        if kind == "pixels":
            x[23] = 255.0
        else:
            y[1] = 7
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(24)
        with pytest.raises(ValueError, match=message):
            model.fit(data, shuffle=False, verbose=0)
        with pytest.raises(ValueError, match=message):
            model.evaluate(data, verbose=0)
    pixels = np.full((24, *IMAGE_SHAPE), 37, np.float32)
    with pytest.raises(ValueError, match="Divide by 255"):
        model.predict(tf.data.Dataset.from_tensors(((pixels, labels[:24]),)), verbose=0)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_weight_that_no_loss_depends_on(images: np.ndarray, accumulate: int) -> None:
    """As in a network of the user's own; it stays, and the others train."""
    found = []
    for replicas in (1, 2):
        keras.utils.set_random_seed(0)
        with _strategy(replicas).scope():
            latent = keras.Input((LATENT_DIM,))
            pixels = keras.layers.Dense(64)(latent)
            decoder = keras.Model(latent, keras.layers.Reshape(IMAGE_SHAPE)(pixels))
            decoder.unused = decoder.add_weight(shape=(2,), initializer="ones", name="unused")
            model = CASES[0].create(decoder=decoder)
            model.compile(keras.optimizers.SGD(0.002), accumulate=accumulate)
        model.fit(images, batch_size=24, shuffle=False, verbose=0)
        found.append({f"weight/{i}": np.asarray(v) for i, v in enumerate(model.variables)})
    assert_equivalent(found[1], found[0])
    assert any(np.array_equal(value, [1.0, 1.0]) for value in found[1].values())


def test_replicas_draw_different_noise(case: Case) -> None:
    three = _strategy(3)
    with three.scope():
        model = case.create()

    @tf.function
    def draw() -> Any:
        return three.run(lambda: model.noise("latent", tf.constant(4), [5]))

    rows = np.concatenate([np.asarray(x) for x in three.experimental_local_results(draw())])
    assert len({tuple(row) for row in rows}) == 12
    alone = np.asarray(case.create().noise("latent", tf.constant(12), [5]))
    np.testing.assert_array_equal(rows, alone)


def test_noise_changes_with_step_and_name(case: Case) -> None:
    model = case.create()
    first = np.asarray(model.noise("latent", tf.constant(4), [5]))
    other = np.asarray(model.noise("mix", tf.constant(4), [5]))
    model.step.assign_add(1)
    later = np.asarray(model.noise("latent", tf.constant(4), [5]))
    assert np.abs(first - other).min() > 0
    assert np.abs(first - later).min() > 0
