"""Batches: their order, their labels, and streams that go on where they were left."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from zoo import data
from zoo.data.records import GivenLabels, Records


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


def test_the_order_of_many_images_is_not_held() -> None:
    """As many as no list of indices would fit into memory."""

    class Endless(Records):
        def take(self, indices: np.ndarray) -> np.ndarray:
            assert len(set(indices.tolist())) == 64
            assert 10**14 < indices.max() < 10**15
            return np.zeros((64, 2, 2, 1), np.uint8)

    dataset = data.load(Endless(10**15, (2, 2, 1)), batch_size=64, training=True)
    assert int(dataset.cardinality()) == 10**15 // 64
    assert next(iter(dataset)).shape == (64, 2, 2, 1)


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


class _Counted(Records):
    """Numbered images, which are not in memory; keeps what was asked for."""

    def __init__(self, n: int, broken: int | None = None) -> None:
        super().__init__(n, (2, 2, 1), given=GivenLabels(np.arange(n)))
        self.asked: list[int] = []
        self.broken = broken

    def take(self, indices: np.ndarray) -> np.ndarray:
        self.asked.extend(indices.tolist())
        if self.broken in indices:
            msg = f"image {self.broken} is broken"
            raise ValueError(msg)
        return _numbered(len(self))[indices]


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but what is in memory already is kept there."""
    monkeypatch.setattr("zoo.data.images.MEMORY_LIMIT", 0)


@pytest.mark.usefixtures("streamed")
def test_streamed_batches_are_those_of_memory() -> None:
    source = _Counted(10)
    held = data.Images(_numbered(10), np.arange(10))
    for options in ({"batch_size": 4}, {}, {"batch_size": 4, "training": True, "seed": 1}):
        one, other = (data.load(images, labels=True, **options) for images in (source, held))
        assert one.element_spec == other.element_spec
        for (image, label), (same, number) in zip(one, other, strict=True):
            np.testing.assert_array_equal(image, same)
            np.testing.assert_array_equal(label, number)
    for start in (0, 3):
        one, other = (
            data.training_stream(images, batch_size=4, seed=2, start_step=start)[0]
            for images in (source, held)
        )
        assert _numbers(one.take(5)) == _numbers(other.take(5))
    np.testing.assert_array_equal(
        data.to_array(source, split="any", limit=3), data.to_array(held, split="any", limit=3)
    )


@pytest.mark.usefixtures("streamed")
def test_a_share_reads_only_its_own_images() -> None:
    """Two workers of two replicas each: together the whole batch, and no image twice."""
    whole, _ = data.training_stream(_Counted(40), batch_size=8, seed=1)
    batches = _numbers(whole.take(20))
    for worker in (0, 1):
        source = _Counted(40)
        stream, _ = data.training_stream(source, batch_size=8, seed=1, share=(2 * worker, 2, 4))
        parts = _numbers(stream.take(10))
        own = [batch[4 * worker : 4 * worker + 4] for batch in batches]
        assert [
            [*first, *second] for first, second in zip(parts[::2], parts[1::2], strict=True)
        ] == own[:5]
        # What is read ahead is its own too; in which order the threads ask is theirs.
        asked = Counter(source.asked)
        assert Counter(np.ravel(own[:5])) <= asked <= Counter(np.ravel(own))


@pytest.mark.usefixtures("streamed")
def test_what_is_wrong_with_an_image_is_said_in_its_own_words() -> None:
    source = _Counted(10, broken=7)
    with (
        pytest.raises(ValueError, match=r"^image 7 is broken `zoo data ver"),
        data.named_faults(source),
    ):
        list(data.load(source, batch_size=4))
    with pytest.raises(tf.errors.InvalidArgumentError), data.named_faults(_Counted(3), None):
        tf.debugging.assert_equal(1, 2)


def test_an_unknown_order() -> None:
    with pytest.raises(ValueError, match="order='sorted': expected one of index_shuffle, statele"):
        data.training_stream(_numbered(10), batch_size=4, order="sorted")
