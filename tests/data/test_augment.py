"""Augmentation is a function of seed and position: fair, and the same on all devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import zoo
from tests.cases import IMAGE_SHAPE, assert_same_state
from tests.support.equivalence import assert_equivalent, outcome
from tests.support.replicas import replicated
from zoo import data
from zoo.data.augment import augment, random_bits, splitmix64
from zoo.io.records import read_json, write_json
from zoo.training.resume import resume

OPTIONS: dict[str, Any] = {"mirror": True, "random_crop": 3}
# Pixel (y, x) of every image is 10 y + x, which says where a window lies and how it is turned.
NUMBERED = (10 * np.arange(8)[:, None] + np.arange(8)).astype(np.float32)[None, ..., None] / 100


def test_bits_are_those_of_the_reference() -> None:
    """The values that the C code of its authors gives for the seed 1234567."""
    wanted = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip
    assert splitmix64(np.uint64(1234567), range(5)).numpy().tolist() == wanted
    assert splitmix64(np.uint64(1234567), [4, 0]).numpy().tolist() == [wanted[4], wanted[0]]


def test_bits_of_seeds_and_streams_are_unlike() -> None:
    one = random_bits(range(4000), 0)
    for other in (random_bits(range(4000), 1), random_bits(range(4000), 0, 1), one[1:]):
        n = len(other)
        same = tf.bitwise.invert(tf.bitwise.bitwise_xor(one[:n], other)).numpy()
        ones = int(np.unpackbits(same.view(np.uint8)).sum())
        assert stats.binomtest(ones, 64 * n).pvalue > 1e-3


def test_mirrors_and_windows_are_fair() -> None:
    n, p = 6000, 3
    found = augment(np.repeat(NUMBERED, n, 0), range(n), 5, **OPTIONS).numpy()[..., 0] * 100
    turned = found[:, 0, 0] > found[:, 0, -1]
    upright = np.where(turned[:, None, None], found[:, :, ::-1], found)
    top, left = np.divmod(np.round(upright[:, 0, 0]).astype(int), 10)
    for i in range(0, n, 500):  # each is a window as it is
        window = NUMBERED[0, top[i] : top[i] + 8 - p, left[i] : left[i] + 8 - p, 0] * 100
        np.testing.assert_allclose(upright[i], window, atol=1e-4)
    counts = np.zeros((2, p + 1, p + 1))
    np.add.at(counts, (turned.astype(int), top, left), 1)
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_a_position_decides_alone() -> None:
    images = np.random.default_rng(0).uniform(size=(20, 6, 7, 2)).astype(np.float32)
    whole = augment(images, range(100, 120), 3, **OPTIONS).numpy()
    assert whole.shape == (20, 3, 4, 2)
    some = np.array([7, 3, 19])
    np.testing.assert_array_equal(augment(images[some], 100 + some, 3, **OPTIONS), whole[some])
    assert not np.array_equal(augment(images, range(100, 120), 4, **OPTIONS), whole)
    assert not np.array_equal(augment(images, range(20), 3, **OPTIONS), whole)
    np.testing.assert_array_equal(augment(images, range(20), 3), images)
    far = [2**62, 2**62 + 1]
    assert augment(images[:2], far, 2**32 - 1, **OPTIONS).shape == (2, 3, 4, 2)


def _batches(**options: Any) -> list[np.ndarray]:
    images = data.Images(np.random.default_rng(1).uniform(size=(26, 8, 8, 1)), np.arange(26))
    stream, _ = data.training_stream(
        images, batch_size=8, seed=2, labels=True, **{**OPTIONS, **options}
    )
    return [np.asarray(x) for batch in stream.take(9) for x in batch]


def test_a_stream_goes_on_where_it_was_left() -> None:
    whole = _batches()
    for start in (3, 7):
        rest = _batches(start_step=start)
        for found, wanted in zip(rest, whole[2 * start :], strict=False):
            np.testing.assert_array_equal(found, wanted)
    assert whole[0].shape == (8, 5, 5, 1)


def test_shares_make_up_the_batch() -> None:
    """What three workers take, two replicas each, is what one device takes."""
    whole = _batches()
    shares = [_batches(share=(first, 1, 2)) for first in range(2)]
    for i, wanted in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([share[i] for share in shares]), wanted)
    both = _batches(share=(0, 2, 2))
    np.testing.assert_array_equal(np.concatenate([both[0], both[2]]), whole[0])


def test_images_are_read_larger_and_cut() -> None:
    """With a shape, windows are cut from larger images: of a constant image they are constant."""
    images = np.full((8, 20, 20, 1), 51, np.uint8)
    stream, _ = data.training_stream(
        images, batch_size=8, image_shape=(10, 10, 3), mirror=True, random_crop=4
    )
    np.testing.assert_allclose(next(iter(stream)), np.full((8, 10, 10, 3), 0.2), atol=1e-6)
    for crop in (-1, 20):
        with pytest.raises(ValueError, match=f"random_crop={crop}: expected 0 to 19, for images"):
            data.training_stream(images, batch_size=8, random_crop=crop)


def _train(source: Any, out: Path, epochs: int, replicas: int = 1, **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    with replicated(replicas).scope():
        model = zoo.create("vae", IMAGE_SHAPE, 2, network="mlp")
        model.compile(optimizer=keras.optimizers.SGD(1e-3))
    settings = {"epochs": epochs, "batch_size": 20, **OPTIONS, **options}
    zoo.train(model, source, out, **settings, verbose=0)
    return model


@pytest.mark.slow
def test_a_resumed_run_is_bitwise_one_that_never_stopped(
    images: np.ndarray, tmp_path: Path
) -> None:
    np.savez(tmp_path / "x.npz", images=(images * 255).astype(np.uint8))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    model = _train(tmp_path / "x.npz", whole, 2)
    _train(tmp_path / "x.npz", parts, 1)
    assert_same_state(resume(parts, epochs=2, verbose=0), model)
    config = read_json(parts / "config.json")
    assert (config["mirror"], config["random_crop"]) == (True, 3)
    with pytest.raises(ValueError, match="random_crop=2: .* was begun with 3"):
        resume(parts, epochs=3, settings={"random_crop": 2})
    # A run of a version without these settings was begun without augmentation.
    older = {key: value for key, value in config.items() if key not in OPTIONS}
    write_json(parts / "config.json", {**older, "data_fingerprint": {}})
    with pytest.raises(ValueError, match="mirror=True: .* was begun with False"):
        resume(parts, epochs=3, settings={"mirror": True})


@pytest.mark.slow
def test_replicas_get_the_same_images(images: np.ndarray, tmp_path: Path) -> None:
    source = (images * 255).astype(np.uint8)
    one, two = (_train(source, tmp_path / str(n), 1, n) for n in (1, 2))
    assert_equivalent(outcome(two), outcome(one))
    upright = outcome(_train(source, tmp_path / "upright", 1, mirror=False))
    moved = {k: np.abs(v - upright[k]).max() for k, v in outcome(one).items() if "kernel" in k}
    assert max(moved.values()) > 1e-5
