"""Batches: their order, their labels, and streams that go on where they were left."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from zoo import data


def _numbered(n: int) -> np.ndarray:
    """Image i is filled with i."""
    return np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 2, 2, 1)).copy()


def _numbers(batches: object) -> list[list[int]]:
    return [[round(float(image[0, 0, 0]) * 255) for image in batch] for batch in batches]


def test_load_in_order_and_whole() -> None:
    dataset = data.load(_numbered(10), batch_size=4)
    assert dataset.element_spec == tf.TensorSpec([None, 2, 2, 1], tf.float32)
    assert _numbers(dataset) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert data.load(_numbered(10)).element_spec == tf.TensorSpec([2, 2, 1], tf.float32)


def test_load_for_training() -> None:
    dataset = data.load(_numbered(10), batch_size=4, training=True, seed=3)
    first, second = _numbers(dataset), _numbers(dataset)
    assert [len(batch) for batch in first] == [4, 4]
    assert len({i for batch in first for i in batch}) == 8
    assert first != second
    again = data.load(_numbered(10), batch_size=4, training=True, seed=3)
    assert _numbers(again) == first
    assert _numbers(data.load(_numbered(10), batch_size=4, training=True, seed=4)) != first


def test_labels_stay_with_their_images() -> None:
    source = data.Images(_numbered(50), np.arange(50, dtype=np.int32))
    stream, _ = data.training_stream(source, batch_size=10, labels=True)
    for images, labels in stream.take(10):
        assert images.dtype == tf.float32
        np.testing.assert_array_equal(np.round(images[:, 0, 0, 0] * 255), labels)


def test_every_epoch_of_the_stream_is_a_new_permutation() -> None:
    stream, steps = data.training_stream(_numbered(12), batch_size=4, seed=1)
    assert steps == 3
    batches = _numbers(stream.take(9))
    epochs = [[*itertools.chain(*batches[i : i + 3])] for i in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("start", [1, 2, 3, 7])
def test_a_stream_goes_on_where_it_was_left(start: int) -> None:
    """10 images in batches of 4: two an epoch, across epochs too."""
    whole, _ = data.training_stream(_numbered(10), batch_size=4, seed=1)
    rest, _ = data.training_stream(_numbered(10), batch_size=4, seed=1, start_step=start)
    assert _numbers(rest.take(4)) == _numbers(whole.take(start + 4))[start:]


def test_options_of_a_pipeline() -> None:
    """Replicas share batches by their rows; and `fit` has no tuner to wait for."""
    stream, _ = data.training_stream(_numbered(10), batch_size=4)
    for dataset in (stream, data.load(_numbered(10))):
        options = dataset.options()
        assert options.autotune.enabled is False
        policy = options.experimental_distribute.auto_shard_policy
        assert policy == tf.data.experimental.AutoShardPolicy.DATA


def test_another_seed_is_another_order() -> None:
    one, other = (data.training_stream(_numbered(50), batch_size=50, seed=s)[0] for s in (0, 1))
    assert _numbers(one.take(1)) != _numbers(other.take(1))


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_that_cannot_be_filled(batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size={batch_size}: expected 1 to 10"):
        data.training_stream(_numbered(10), batch_size=batch_size)
    with pytest.raises(ValueError, match="has no labels"):
        data.load(_numbered(10), batch_size=2, labels=True)
