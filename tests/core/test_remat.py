"""Gradient checkpointing: the same weights and states, from fewer activations."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import zoo
from tests.cases import CASES, Case
from tests.support.equivalence import assert_equivalent, outcome, structured_images
from tests.support.replicas import replicated
from zoo import networks
from zoo.core.remat import _best_cuts, rematerialize, segments

BY_NAME = {case.name: case for case in CASES}


def _trained(model: Any, data: Any, **options: Any) -> dict[str, np.ndarray]:
    # Adam would make steps of the rounding of a gradient that is 0, as of biases before BatchNorm.
    model.compile(**{name: keras.optimizers.SGD(0.01) for name in model.optimizer_names}, **options)
    model.fit(*data, batch_size=12, epochs=1, shuffle=False, verbose=0)
    return outcome(model)


def _with_and_without(case: Case, devices: Any, **options: Any) -> list[dict[str, np.ndarray]]:
    data = case.data(structured_images(case.image_shape)[:24])
    outcomes = []
    for remat in (False, True):
        keras.utils.clear_session()  # Keras numbers models, and slots have their names
        keras.utils.set_random_seed(0)
        with devices.scope():
            outcomes.append(_trained(case.create(), data, remat=remat, **options))
    return outcomes


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_training_is_the_same(name: str) -> None:
    """BatchNorm's statistics and spectral vectors move once; noise and averages as ever.

    Bitwise, but where TensorFlow fuses an activation with its convolution in one of the two graphs.
    """
    found = _with_and_without(BY_NAME[name], tf.distribute.get_strategy())
    assert_equivalent(found[1], found[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dcgan", "sagan", "factor_vae"])
@pytest.mark.parametrize(("replicas", "accumulate"), [(1, 2), (2, 1), (3, 2)])
def test_replicas_and_parts(name: str, replicas: int, accumulate: int) -> None:
    found = _with_and_without(BY_NAME[name], replicated(replicas), accumulate=accumulate)
    assert_equivalent(found[1], found[0])


def _network(*, dtype: str = "float32") -> keras.Model:
    """Everything that has a state, or draws, or branches; and an input of whole numbers."""
    inputs, label = keras.Input((8, 8, 2)), keras.Input((), dtype="int32")
    with networks.precision(keras.DTypePolicy(dtype)):
        x = layers.Conv2D(4, 3, padding="same", name="a")(inputs)
        shortcut = zoo.layers.SpectralConv2D(4, 1, name="b")(x)
        x = layers.BatchNormalization(name="c")(x)
        x = layers.Dropout(0.5, seed=3, name="d")(layers.ReLU()(x))
        x = zoo.layers.SelfAttention2D(name="e")(layers.Add()([x, shortcut]))
        x = layers.Flatten()(layers.AveragePooling2D(2)(x))
        rows = layers.Embedding(3, 5, name="f")(label)
        x = layers.Concatenate()([x, rows])
        y = layers.Dense(2, dtype="float32", name="g")(x)
    return keras.Model([inputs, label], [y, layers.Dense(1, dtype="float32", name="h")(x)])


class _Holder(keras.Model):
    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network


def _step(
    network: keras.Model, x: Any, label: Any, *, eager: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Gradients of one pass, of the weights and of the inputs; and all variables after it."""

    def step(x: Any, label: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            one, other = network([x, label], training=True)
            loss = tf.reduce_sum(tf.sin(one)) + tf.reduce_sum(tf.square(other))
        sources = [x, *(v.value for v in network.trainable_variables)]
        return [tf.convert_to_tensor(g) for g in tape.gradient(loss, sources)]

    gradients = (step if eager else tf.function(step))(x, label)
    return [g.numpy() for g in gradients], [np.asarray(v) for v in network.variables]


@pytest.mark.slow
@pytest.mark.parametrize("eager", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_gradients_and_states_of_a_network(*, eager: bool) -> None:
    """All segments are those of one operation: every state and every branch crosses a cut."""
    rng = np.random.default_rng(0)
    x, label = tf.constant(rng.random((6, 8, 8, 2)), tf.float32), tf.constant([0, 1, 2, 2, 1, 0])
    found = []
    for remat in (False, True):
        keras.utils.set_random_seed(0)
        network = _network()
        network.get_layer("e").gamma.assign(0.7)  # else the attention has no gradient
        before = [np.asarray(v) for v in network.variables]
        rematerialize(_Holder(network), remat=remat)
        found.append(_step(network, x, label, eager=eager))
    for wanted, given in zip(*found, strict=True):
        for a, b in zip(wanted, given, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-7)
    moved = [
        v.name for v, a, b in zip(network.variables, before, found[1][1], strict=True)
        if (a != b).any()
    ]  # fmt: skip
    assert {"moving_mean", "moving_variance", "u"} <= {*moved}
    assert not {"kernel", "bias", "gamma", "beta"} & {*moved}


def test_the_gradient_of_the_gradient() -> None:
    """d/dx (d/dx x³ summed)² = 2 · 3x² · 6x, through a second computation."""
    inputs = keras.Input((4,))
    network = keras.Model(inputs, inputs * inputs * inputs)
    rematerialize(_Holder(network), remat=True)
    x = tf.constant([[1.0, 2.0, 3.0, -1.0]])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = network(x, training=True)
        squares = tf.square(inner.gradient(y, x))
    np.testing.assert_allclose(outer.gradient(squares, x), 36.0 * x**3)


def test_it_is_computed_again() -> None:
    """Once in the forward pass, once in the backward pass; in inference, only once."""
    calls = []

    class Counting(layers.Layer):
        def call(self, x: Any) -> Any:
            calls.append(1)
            return tf.sin(x)

    inputs = keras.Input((4,))
    network = keras.Model(inputs, Counting()(inputs))
    for remat, training, wanted in ((False, True, 1), (True, True, 2), (True, False, 1)):
        rematerialize(_Holder(network), remat=remat)
        calls.clear()
        x = tf.ones([2, 4])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = network(x, training=training)
        np.testing.assert_allclose(tape.gradient(y, x), tf.cos(x))
        assert len(calls) == wanted


def test_segments_hold_every_operation_once() -> None:
    network = networks.build("sagan", "discriminator", (32, 32, 3), num_classes=3)
    parts = segments(network)
    assert len(parts) > 2
    held = [node.operation.name for part in parts for node in part.nodes]
    wanted = {x.name for x in network.operations} - {"image", "label"}
    assert sorted(held) == sorted(wanted)
    known = {id(x) for x in network.inputs}
    for part in parts:
        assert {id(x) for x in part.inputs} <= known
        known |= {id(x) for x in part.outputs}
    assert {id(x) for x in network.outputs} <= known


def test_cuts_are_the_best() -> None:
    """Of all ways to cut a chain of eight whose narrow places are after 3 and 5, but for 9 %."""
    sizes, kept = [8, 8, 2, 8, 1, 8, 8, 8], [0, 8, 8, 2, 8, 1, 8, 8, 0]

    def cost(cuts: list[int]) -> int:
        ends = zip([0, *cuts], [*cuts, 8], strict=True)
        return sum(kept[i] for i in cuts) + max(sum(sizes[i:j]) for i, j in ends)

    every = [[i + 1 for i in range(7) if bits >> i & 1] for bits in range(2**7)]
    assert cost(_best_cuts(sizes, kept)) <= 2 ** (1 / 8) * min(map(cost, every))


def test_it_is_a_matter_of_compile(tmp_path: Any) -> None:
    """A saved model keeps it; XLA is refused; off again, the network's own call is back."""
    model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    model.compile(remat=True)
    model.save(tmp_path / "x.keras")
    assert keras.models.load_model(tmp_path / "x.keras").remat
    assert "call" in vars(model.encoder)
    model.set_remat(False)
    assert "call" not in vars(model.encoder)
    with pytest.raises(ValueError, match="remat=True with jit_compile=True: XLA would join"):
        model.compile(remat=True, jit_compile=True)
