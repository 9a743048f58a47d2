"""The prior over codes: what each position sees, exact probabilities, and samples of them."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
import scipy.stats
import tensorflow as tf
import tf2onnx

from zoo.networks import pixelcnn

GRID = (2, 2)
CODES = 3
ALL = np.array(list(itertools.product(range(CODES), repeat=4)), np.int32).reshape(-1, *GRID)


def _prior(*args: Any, **options: Any) -> keras.Model:
    """One whose biases are not 0, and whose probabilities are far from even and from certain."""
    prior = pixelcnn.prior(*args, **options)
    rng = np.random.default_rng(0)
    for variable in prior.variables:
        if "bias" in variable.path or "logits" in variable.path or "class" in variable.path:
            variable.assign(rng.normal(0.0, 0.5, variable.shape))
    return prior


def _sees(prior: keras.Model) -> np.ndarray:
    """Whether the logits at a position depend on the code at another, bool [height, width] × 2."""
    from_embedded = keras.Model(prior.get_layer("embedding").output, prior.output)
    embedded = tf.constant(
        np.random.default_rng(1).normal(size=(1, *from_embedded.input_shape[1:])), tf.float32
    )
    with tf.GradientTape() as tape:
        tape.watch(embedded)
        logits = from_embedded(embedded)
        mixed = tf.tensordot(logits[0], tf.constant([1.0, -2.0, 0.5]), 1)
    return np.abs(tape.jacobian(mixed, embedded)[:, :, 0]).max(-1) > 0


def test_each_position_sees_all_before_it() -> None:
    """By default, on 7 × 7: no blind spot, nothing later, and not itself."""
    before = np.arange(49)[None] < np.arange(49)[:, None]
    prior = _prior((7, 7), CODES, width=8)
    np.testing.assert_array_equal(_sees(prior).reshape(49, 49), before)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2])
def test_reach_is_as_documented(depth: int) -> None:
    side = 8
    rows, columns = np.indices((side, side))
    up = rows[:, :, None, None] - rows
    left = columns[:, :, None, None] - columns
    above = (up >= 1) & (up <= 2 * depth + 1) & (np.abs(left) <= 2 * depth)
    beside = (up == 0) & (left >= 1) & (left <= 2 * depth + 1)
    found = _sees(_prior((side, side), CODES, width=8, layers=depth))
    np.testing.assert_array_equal(found, above | beside)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_later_code_changes_no_logit(depth: int) -> None:
    """The whole network, with the embedding, on a grid that is not square."""
    prior = _prior((3, 4), CODES, width=8, depth=depth)
    codes = np.random.default_rng(0).integers(0, CODES, (3, 4), np.int32)
    changed = np.repeat(codes[None], 12, axis=0).reshape(12, 12)
    np.fill_diagonal(changed, (np.diag(changed) + 1) % CODES)
    wanted = prior(codes[None]).numpy().reshape(1, 12, CODES)
    found = prior(changed.reshape(12, 3, 4)).numpy().reshape(12, 12, CODES)
    differs = np.abs(found - wanted).max(-1)
    before = np.triu(np.ones([12, 12], bool), 1)
    assert differs[~before].max() <= 1e-6 * np.abs(wanted).max()  # another batch size rounds anew
    assert differs[before].min() > 1e-4


@pytest.mark.parametrize("num_classes", [0, 2])
def test_equals_masked_convolutions(num_classes: int) -> None:
    """The paper's form in PyTorch: kernels of full size times masks (sections 2.1 to 2.3)."""
    import torch
    from torch.nn.functional import conv2d, linear, pad

    prior = _prior((4, 5), CODES, width=6, layers=2, num_classes=num_classes)
    codes = np.random.default_rng(0).integers(0, CODES, (3, 4, 5), np.int32)
    label = np.array([1, 0, 1], np.int32)
    weights = {v.path.removeprefix("prior/"): torch.tensor(v.numpy()) for v in prior.variables}

    def masked(x: Any, name: str, *, first: bool) -> Any:
        """Kernels that are 0 below or right of the position, and the first ones at it (mask A)."""
        kernel = weights[f"{name}/kernel"].permute(3, 2, 0, 1)
        zeros = 4 if first else 2  # to 7 or 5 rows or columns
        kernel = pad(kernel, (0, 0, 0, zeros) if "vertical" in name else (0, zeros, 0, 0))
        return conv2d(x, kernel, weights[f"{name}/bias"], padding="same")

    def dense(x: Any, name: str) -> Any:
        y = linear(x.movedim(1, -1), weights[f"{name}/kernel"].T, weights[f"{name}/bias"])
        return y.movedim(-1, 1)

    def gated(x: Any, name: str) -> Any:
        if num_classes:
            x = x + weights[f"{name}/embeddings"][torch.tensor(label)][:, :, None, None]
        return torch.tanh(x[:, :6]) * torch.sigmoid(x[:, 6:])

    embedded = weights["embedding/embeddings"][torch.tensor(codes).long()].permute(0, 3, 1, 2)
    vertical, horizontal = embedded, embedded
    for i in range(2):
        above = masked(vertical, f"vertical_{i}", first=i == 0)
        left = masked(horizontal, f"horizontal_{i}", first=i == 0)
        left = left + dense(above, f"vertical_to_horizontal_{i}")
        if i == 0:  # nothing takes the last
            vertical = gated(above, f"vertical_class_{i}")
        residual = pad(embedded, (1, 0))[..., :-1] if i == 0 else horizontal
        horizontal = residual + dense(gated(left, f"horizontal_class_{i}"), f"residual_{i}")
    wanted = dense(torch.relu(dense(torch.relu(horizontal), "hidden")), "logits")
    found = prior([codes, label] if num_classes else codes)
    np.testing.assert_allclose(found, wanted.movedim(1, -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_classes", [0, 2])
def test_probabilities_sum_to_one(num_classes: int) -> None:
    prior = _prior(GRID, CODES, width=8, layers=1, num_classes=num_classes)
    totals = []
    labels: list[Any] = [np.full(81, i, np.int32) for i in range(num_classes)]
    for label in labels or [None]:
        probabilities = np.exp(pixelcnn.log_probability(prior, ALL, label))
        np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=1e-5)
        totals.append(probabilities)
    if num_classes:
        assert np.abs(totals[0] - totals[1]).sum() > 0.1  # the label matters


def test_samples_follow_the_exact_distribution() -> None:
    """χ² over all 81 grids; a right sampler fails one seed in a million, and this one is fixed."""
    n = 20_000
    prior = _prior(GRID, CODES, width=8, layers=1, num_classes=2)
    label = np.ones(n, np.int32)
    uniforms = np.random.default_rng(0).random((n, 4), np.float32)
    codes = pixelcnn.sample(prior, uniforms, label).numpy()
    assert codes.shape == (n, *GRID)
    assert codes.dtype == np.int32
    observed = np.bincount(codes.reshape(n, 4) @ [27, 9, 3, 1], minlength=81)
    log_probability = pixelcnn.log_probability(prior, ALL, label[:81]).numpy()
    expected = n * np.exp(log_probability.astype(np.float64))
    assert expected.min() > 5  # as the test needs
    assert scipy.stats.chisquare(observed, expected * n / expected.sum()).pvalue > 1e-6


def test_sample_at_the_edges() -> None:
    """A certain code is drawn for any uniform, also where softmax leaves the others 0."""
    prior = pixelcnn.prior((1, 3), 4, width=4, layers=1)
    uniforms = np.array([[1e-38], [0.5], [1.0 - 2.0**-24]], np.float32).repeat(3, axis=1)
    kernel, bias = prior.get_layer("logits").weights
    kernel.assign(tf.zeros_like(kernel))
    for code in range(4):
        bias.assign(1e4 * tf.one_hot(code, 4))
        np.testing.assert_array_equal(pixelcnn.sample(prior, uniforms), np.full([3, 1, 3], code))


def test_the_last_uniform_gives_the_last_code() -> None:
    """Also where the float32 sum of probabilities stays below it."""
    assert np.cumsum(np.full(100, 0.01, np.float32))[-1] < 1.0 - 2.0**-24
    prior = pixelcnn.prior((1, 3), 100, width=4, layers=1)
    kernel, _ = prior.get_layer("logits").weights
    kernel.assign(tf.zeros_like(kernel))
    codes = pixelcnn.sample(prior, np.full([1, 3], 1.0 - 2.0**-24, np.float32))
    np.testing.assert_array_equal(codes, np.full([1, 1, 3], 99))


@pytest.mark.slow
def test_sample_in_onnx() -> None:
    """The loop converts, and draws the same codes at batch sizes other than the traced one."""
    prior = _prior((3, 3), CODES, width=8, layers=2)
    signature = [tf.TensorSpec([None, 9], tf.float32, name="uniform")]
    function = tf.function(lambda u: pixelcnn.sample(prior, u), input_signature=signature)
    model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=18)
    assert "Loop" in {node.op_type for node in model.graph.node}
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for batch in (1, 16):
        uniforms = np.random.default_rng(0).random((batch, 9), np.float32)
        (found,) = session.run(None, {"uniform": uniforms})
        np.testing.assert_array_equal(found, function(uniforms))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((7,), 8), r"grid_shape=\(7,\): expected"),
        (((7, 0), 8), r"grid_shape=\(7, 0\): expected"),
        (((7, 7), 1), "num_codes=1, "),
        (((7, 7), 8, 0), "width=0, "),
        (((7, 7), 8, 4, 0), "layers=0, "),
        (((7, 7), 8, 4, 4, -1), "num_classes=-1: "),
        (((7, 7), 8, 4, 4, 0, 2), "depth=2: expected a divisor of the width, 7"),
    ],
)
def test_arguments_out_of_range(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pixelcnn.prior(*arguments)


def test_it_knows_which_code_of_a_position_is_next() -> None:
    """In the middle of equal codes: all columns are alike, but the first and second of two."""
    codes = np.ones((1, 1, 16), np.int32)
    for depth, alike in ((1, True), (2, False)):
        logits = _prior((1, 16), CODES, width=8, layers=1, depth=depth)(codes).numpy()[0, 0]
        np.testing.assert_allclose(logits[8], logits[10], atol=1e-5)
        assert np.allclose(logits[8], logits[9], atol=1e-5) == alike


def test_too_few_uniforms() -> None:
    prior = pixelcnn.prior(GRID, CODES, width=4, layers=1)
    with pytest.raises(ValueError, match=r"expected \[batch, 4\]"):
        pixelcnn.sample(prior, np.zeros([5, 3], np.float32))
