"""The order of training: every epoch a permutation, near to a random one, from any step on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from zoo.data.order import ORDERS, index_shuffle, permuted, reshuffled, stateless_shuffle


def _epochs(count: int, epochs: int, seed: int = 7) -> np.ndarray:
    """[epochs, count], the indices in their order."""
    return np.stack([*index_shuffle(count, count, seed, 0).take(epochs).as_numpy_iterator()])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 257, 65_536, 65_537, 131_073])
def test_each_epoch_is_a_permutation(count: int) -> None:
    """Also around the powers of two, where the width of the cipher changes.

    At 65,537 TensorFlow's own `index_shuffle` gives an index twice.
    """
    for epoch in _epochs(count, 2):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(count))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("start", [1, 2, 3, 7])
def test_it_goes_on_from_any_step(order: str, start: int) -> None:
    whole = [*ORDERS[order](10, 4, 1, 0).take(start + 3).as_numpy_iterator()]
    rest = [*ORDERS[order](10, 4, 1, start).take(3).as_numpy_iterator()]
    np.testing.assert_array_equal(rest, whole[start:])


def test_a_late_step_of_many_images_is_reached_at_once() -> None:
    """As many as no list of indices would fit into memory."""
    count = 10**15
    batch, *_ = index_shuffle(count, 64, 3, 10**17).take(1).as_numpy_iterator()
    assert len(set(batch.tolist())) == 64
    assert batch.min() >= 0
    assert count // 4 < batch.max() < count


def test_positions_are_uniform_and_epochs_independent() -> None:
    """By chi-square tests: 300 epochs, more than the low bits of an epoch's number tell apart."""
    count = 320
    epochs = _epochs(count, 300)
    assert len(np.unique(epochs, axis=0)) == 300
    counts = np.stack([np.bincount(place * 16 // count, minlength=16) for place in epochs.T])
    assert stats.kstest(stats.chisquare(counts, axis=1).pvalue, "uniform").pvalue > 1e-3
    between = (epochs[1:] - epochs[:-1]) % count * 16 // count
    assert stats.chisquare(np.bincount(between.ravel(), minlength=16)).pvalue > 1e-3
    steps = ((epochs[:, 1:] - epochs[:, :-1]) % count - 1) * 11 // (count - 1)  # 319 = 11 × 29
    assert stats.chisquare(np.bincount(steps.ravel(), minlength=11)).pvalue > 1e-3


def test_seeds_of_64_bits_differ() -> None:
    orders = [_epochs(50, 1, seed).tobytes() for seed in (0, 1, -1, 1 << 32, (1 << 32) + 1)]
    assert len(set(orders)) == 5


def test_the_order_of_earlier_versions() -> None:
    """Whole epochs of `tf.random.experimental.stateless_shuffle` by (seed, epoch)."""
    wanted = [
        tf.random.experimental.stateless_shuffle(tf.range(10, dtype=tf.int64), [5, epoch]).numpy()
        for epoch in range(3)
    ]
    found = [*stateless_shuffle(10, 5, 5, 0).take(6).as_numpy_iterator()]
    assert [*itertools.chain(*found)] == [*itertools.chain(*wanted)]


def test_a_position_is_permuted_alone_as_among_others() -> None:
    among = permuted(tf.range(100, dtype=tf.int64), [1, 2], 100).numpy()
    alone = [permuted(tf.constant([i], tf.int64), [1, 2], 100).numpy()[0] for i in (0, 17, 99)]
    assert alone == among[[0, 17, 99]].tolist()


def test_every_iteration_is_another_permutation() -> None:
    """Also beyond the indices that are computed together; the same for the same seed."""
    indices = reshuffled(2500, seed=4).batch(500)
    first, second = (np.concatenate([*indices.as_numpy_iterator()]) for _ in range(2))
    np.testing.assert_array_equal(np.sort([first, second]), [np.arange(2500)] * 2)
    assert np.mean(first == second) < 0.01
    again = np.concatenate([*reshuffled(2500, seed=4).batch(500).as_numpy_iterator()])
    np.testing.assert_array_equal(again, first)
