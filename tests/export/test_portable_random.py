"""Noise that is computed inside exported graphs: its law, and its independence of runtimes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnxruntime
import pytest
import scipy.stats
import tensorflow as tf

from export.portable_random import LIMIT, PRIMES, portable_draw

N, D = 2000, 64


@pytest.fixture(scope="module")
def draw() -> Any:
    """(n, seed) to normal [n, D], uniform [n, D] and a uniform of another name [n]."""

    def draws(n: Any, seed: Any) -> dict[str, Any]:
        found = portable_draw(n, seed)
        return {
            "normal": found("a", [D]),
            "uniform": found("b", [8, D // 8], uniform=True),
            "other": found("c", uniform=True),
        }

    integer = tf.TensorSpec([], tf.int32)
    function = tf.function(draws, input_signature=[integer, integer])
    return lambda n, seed: {name: x.numpy() for name, x in function(n, seed).items()}


def test_the_lanes_are_permutations_of_prime_fields() -> None:
    for p in PRIMES:
        assert all(p % k for k in range(2, math.isqrt(p) + 1))
        assert math.gcd(5, p - 1) == 1
        assert (p - 1) ** 2 < 2**24
        assert p**2 >= LIMIT


def test_the_law_of_one_seed(draw: Any) -> None:
    """Each p-value may be this small once in ten thousand seeds; the seed is fixed."""
    found = draw(N, 7)
    z = found["normal"]
    assert z.shape == (N, D)
    assert scipy.stats.kstest(z.ravel(), "norm", method="asymp").pvalue > 1e-4
    assert scipy.stats.kstest(np.sum(z**2, axis=1), "chi2", args=(D,)).pvalue > 1e-4
    assert scipy.stats.kstest(z.sum(axis=1) / np.sqrt(D), "norm", method="asymp").pvalue > 1e-4
    u = found["uniform"]
    assert u.shape == (N, 8, D // 8)
    assert 0.0 < u.min() < u.max() <= 1.0
    assert scipy.stats.kstest(u.ravel(), "uniform", method="asymp").pvalue > 1e-4
    assert found["other"].shape == (N,)
    assert scipy.stats.kstest(found["other"], "uniform", method="asymp").pvalue > 1e-4


def test_neighbours_are_independent(draw: Any) -> None:
    """Rows, columns, seeds and names, of the values and of their sizes."""
    z, other = draw(N, 7)["normal"], draw(N, 8)["normal"]
    pairs = {
        "rows": (z[:-1], z[1:]),
        "distant rows": (z[: N // 2], z[N // 2 :]),
        "columns": (z[:, :-1], z[:, 1:]),
        "seeds": (z, other),
    }
    for name, (a, b) in pairs.items():
        for f in (np.asarray, np.abs):
            correlation = np.corrcoef(f(a).ravel(), f(b).ravel())[0, 1]
            assert abs(correlation) * np.sqrt(a.size) < 4.0, name
    # Of all pairs of rows, none agrees in size everywhere, as they would with one lane in common.
    sizes = np.corrcoef(np.abs(z[:1000])) - np.eye(1000)
    assert np.abs(sizes).max() * np.sqrt(D) < 6.0
    counts = np.histogram2d(z[:, ::2].ravel(), z[:, 1::2].ravel(), bins=_deciles())[0]
    assert scipy.stats.chisquare(counts.ravel()).pvalue > 1e-4


def _deciles() -> np.ndarray:
    return scipy.stats.norm.ppf(np.linspace(0.0, 1.0, 11)).clip(-10.0, 10.0)


def test_consecutive_seeds_are_independent(draw: Any) -> None:
    first = np.stack([draw(2, seed)["normal"].ravel() for seed in range(500)])
    assert scipy.stats.kstest(first.ravel(), "norm", method="asymp").pvalue > 1e-4
    correlation = np.corrcoef(first[:-1].ravel(), first[1:].ravel())[0, 1]
    assert abs(correlation) * np.sqrt(first.size) < 4.0


def test_more_rows_are_the_same_rows_and_others(draw: Any) -> None:
    many = draw(9, 3)["normal"]
    np.testing.assert_array_equal(draw(4, 3)["normal"], many[:4])
    assert len(np.unique(many)) == many.size
    assert np.abs(draw(9, LIMIT - 1)["normal"] - many).max() > 1.0


@pytest.mark.slow
def test_onnx_runtime_computes_the_same(draw: Any) -> None:
    import tf2onnx

    integers = [tf.TensorSpec([], tf.int32, name=name) for name in ("n", "seed")]
    function = tf.function(
        lambda n, seed: portable_draw(n, seed)("a", [D]), input_signature=integers
    )
    proto, _ = tf2onnx.convert.from_function(function, integers, opset=13)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    for seed in (0, 7, LIMIT - 1):
        feeds = {name: np.array(x, np.int32) for name, x in (("n", 50), ("seed", seed))}
        (found,) = session.run(None, feeds)
        # The integers are equal; float32 logarithms and cosines may differ in the last place.
        np.testing.assert_allclose(found, draw(50, seed)["normal"], rtol=0, atol=5e-6)
