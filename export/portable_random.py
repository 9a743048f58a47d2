"""Random numbers that every runtime computes alike, inside the graph.

ONNX has no seeded generator that runtimes agree on, and some runtimes divide int32 in float32. What
follows takes additions, products and remainders of integers below 2²⁴ alone: exact in both.

A number is a hash of (stream, seed, row, column). In each of four lanes, a prime field, x ↦ x⁵ is a
permutation as p − 1 is no multiple of 5; with a value added it is the round of a cipher (MiMC,
eprint 2016/492). Two lanes are the digits of one number, of 1.7 · 10⁷ equally likely ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PRIMES = (4093, 4079, 4073, 4057)
LIMIT = 4057**2  # of seeds and rows: two digits in every lane


def portable_draw(n: Any, seed: Any) -> Callable[..., Any]:
    """What draws n rows of noise: `draw(name, shape=(), uniform=False)`, as the models' draws.

    A row depends on its number and not on n: more rows are the same rows and others.

    Args:
        n: Number of rows, int32 [], below `LIMIT`.
        seed: int32 [], from 0 and below `LIMIT`.

    Returns:
        A function of a name, which tells streams apart, to float32 [n, *shape] from N(0, 1) or, if
        `uniform`, from U(0, 1).
    """

    def draw(name: str, shape: Sequence[int] = (), *, uniform: bool = False) -> Any:
        lanes = _hashes(name, seed, n, math.prod(shape))
        values = _unit(lanes[0], lanes[1], PRIMES[0] * PRIMES[1], PRIMES[1])
        if not uniform:  # Box–Muller
            turn = _unit(lanes[2], lanes[3], PRIMES[2] * PRIMES[3], PRIMES[3])
            values = tf.sqrt(-2.0 * tf.math.log(values)) * tf.cos(2.0 * math.pi * turn)
        return tf.reshape(values, [n, *shape])

    return draw


def _hashes(name: str, seed: Any, n: Any, columns: int) -> list[Any]:
    """A lane each, int32 [n, columns] in [0, p)."""
    stream = int.from_bytes(name.encode(), "big")
    rows = []
    for p in PRIMES:
        state = _absorb(stream % p, seed, p)
        rows.append(_absorb(state, tf.range(n)[:, None], p))
    lanes = []
    for i, p in enumerate(PRIMES):
        state = _absorb(i + 1, np.arange(columns, dtype=np.int32)[None, :], p)
        # All lanes' rows in each lane: else two rows that agree in one would in all columns.
        for j in range(len(PRIMES)):
            state = _permute(state + rows[i - j], p)
        lanes.append(state)
    return lanes


def _absorb(state: Any, value: Any, p: int) -> Any:
    """Takes in both digits of a value below p²."""
    state = _permute(state + value % p, p)
    return _permute(state + value // p, p)


def _permute(x: Any, p: int) -> Any:
    """x⁵ mod p."""
    x %= p
    fourth = (x * x % p) * (x * x % p) % p
    return fourth * x % p


def _unit(high: Any, low: Any, count: int, base: int) -> Any:
    """Float32 in (0, 1] of the number with two digits, one of `count`."""
    number = tf.cast(high * base + low, tf.float32) + 0.5
    return tf.minimum(number * (1.0 / count), 1.0)
