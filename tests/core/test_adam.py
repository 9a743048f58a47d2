"""Adam by TensorFlow's kernel against Keras's and PyTorch's."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.core.adam import Adam

STEPS = 50


def _followed(
    adam: Any, start: np.ndarray, gradients: np.ndarray, *, jit_compile: bool = False
) -> dict[str, np.ndarray]:
    """The variable and its slots after each step, [steps, ...]."""
    variable = keras.Variable(start, name="x")
    adam.build([variable])
    apply = tf.function(
        lambda gradient: adam.apply([gradient], [variable]), jit_compile=jit_compile
    )
    found: dict[str, list[np.ndarray]] = {}
    for gradient in gradients:
        apply(tf.constant(gradient))
        for each in (variable, *adam.variables):
            name = "x" if each is variable else each.path.split("/", 1)[1]
            found.setdefault(name, []).append(each.numpy())
    return {name: np.stack(values) for name, values in found.items()}


@pytest.fixture
def problem() -> tuple[np.ndarray, np.ndarray]:
    """A start [3, 4], and gradients over seven orders of magnitude, some of them 0."""
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(STEPS, 3, 4)) * 10.0 ** rng.integers(-5, 3, (STEPS, 3, 4))
    gradients[rng.random(gradients.shape) < 0.1] = 0.0
    return rng.normal(size=(3, 4)).astype(np.float32), gradients.astype(np.float32)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta_1": 0.5},
        {"beta_1": 0.0, "beta_2": 0.9, "epsilon": 1e-3},
        {"weight_decay": 0.1},
        {"clipnorm": 0.5},
        {"use_ema": True, "ema_momentum": 0.9},
        {"amsgrad": True},
        {"learning_rate": keras.optimizers.schedules.PolynomialDecay(0.01, STEPS, 0.0)},
    ],
    ids=["plain", "beta_1", "epsilon", "weight_decay", "clipnorm", "ema", "amsgrad", "schedule"],
)
def test_equals_keras(problem: tuple[np.ndarray, np.ndarray], options: dict[str, Any]) -> None:
    options = {"learning_rate": 0.01, **options}
    ours = _followed(Adam(**options, name="adam"), *problem)
    theirs = _followed(keras.optimizers.Adam(**options, name="adam"), *problem)
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=2e-5, atol=1e-6, err_msg=name)


def test_equals_pytorch(problem: tuple[np.ndarray, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    start, gradients = problem
    # PyTorch adds ε to the root of the corrected second moment, the others to that of the moment
    # itself: ε = 0 is the same, where no gradient is 0.
    gradients = np.where(gradients == 0, np.float32(1e-3), gradients)
    ours = _followed(Adam(0.01, 0.5, 0.9, epsilon=0.0), start, gradients)["x"]
    variable = torch.nn.Parameter(torch.tensor(start))
    adam = torch.optim.Adam([variable], 0.01, (0.5, 0.9), eps=0.0)
    for gradient, expected in zip(gradients, ours, strict=True):
        variable.grad = torch.tensor(gradient)
        adam.step()
        np.testing.assert_allclose(variable.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_takes_the_gradient_of_a_lookup() -> None:
    """Of an embedding's rows, some several times: as of the whole table.

    Keras's own squares the parts of a row's gradient, and sums then.
    """
    tables = [keras.Variable(np.arange(12.0, dtype=np.float32).reshape(4, 3)) for _ in range(2)]
    for table, adam in zip(tables, (Adam(0.1), keras.optimizers.Adam(0.1)), strict=True):
        for rows in ([0, 2, 2], [3, 0, 0]):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(tf.gather(table.value, rows)))
            gradient = tape.gradient(loss, table.value)
            assert isinstance(gradient, tf.IndexedSlices)
            whole = gradient if type(adam) is Adam else tf.convert_to_tensor(gradient)
            adam.apply([whole], [table])
    np.testing.assert_allclose(tables[0].numpy(), tables[1].numpy(), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_of_a_narrow_variable(dtype: str) -> None:
    values = []
    for adam in (Adam(0.1, epsilon=1e-3), keras.optimizers.Adam(0.1, epsilon=1e-3)):
        variable = keras.Variable([1.0, -2.0], dtype=dtype)
        for gradient in ([0.5, 1.0], [-0.25, 2.0]):
            adam.apply([tf.constant(gradient)], [variable])
        values.append(keras.ops.convert_to_numpy(variable).astype(np.float32))
    np.testing.assert_allclose(*values, rtol=2e-2)


def test_equals_itself_compiled_by_xla(problem: tuple[np.ndarray, np.ndarray]) -> None:
    plain = _followed(Adam(0.01), *problem)["x"]
    compiled = _followed(Adam(0.01), *problem, jit_compile=True)["x"]
    np.testing.assert_allclose(compiled, plain, rtol=2e-5, atol=1e-6)


def test_equals_one_device_on_two_replicas(problem: tuple[np.ndarray, np.ndarray]) -> None:
    """Each replica's variable and slots are updated, by the sum of the gradients."""
    start, gradients = problem
    expected = _followed(Adam(0.01), start, gradients)["x"][-1]
    # Not by collectives: one that fails, if run eagerly, breaks all later ones of the process.
    reduction = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], reduction)
    with strategy.scope():
        variable, adam = keras.Variable(start), Adam(0.01)
        adam.build([variable])

    @tf.function
    def apply(gradient: Any) -> None:
        strategy.run(lambda: adam.apply([gradient / 2], [variable]))

    for gradient in gradients:
        apply(tf.constant(gradient))
    slots = [adam._momentums[0], adam._velocities[0]]
    for each in (variable, *slots):
        copies = [tf.convert_to_tensor(copy).numpy() for copy in each.value.values]
        assert len(copies) == 2
        np.testing.assert_array_equal(*copies)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=2e-5, atol=1e-6)


def test_is_saved_with_a_model(tmp_path: Any) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(Adam(0.05, 0.5), "mse")
    x = np.ones((4, 2), np.float32)
    model.fit(x, x[:, :1], verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert type(loaded.optimizer) is Adam
    for each in (model, loaded):
        each.fit(x, x[:, :1], verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], loaded.get_weights()[0])
