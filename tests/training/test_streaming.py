"""Runs on data that are not in memory: their order, their resume, and their faults."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from tests.cases import assert_same_state
from tests.support.image_files import random_pixels, save_image
from tests.support.reading_worker import BATCH, COUNT, STEPS
from zoo.data import order
from zoo.io.records import read_json, write_json
from zoo.training import checks
from zoo.training.launch import launch
from zoo.training.loop import train
from zoo.training.runs import load_run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """36 training images in two classes, none of which is kept in memory."""
    for i, pixels in enumerate(random_pixels(40, (8, 8, 1))):
        save_image(tmp_path / "images" / "ab"[i % 2] / f"{i:02}.png", pixels[..., 0])
    monkeypatch.setattr("zoo.data.images.MEMORY_LIMIT", 0)
    return tmp_path / "images"


def _new() -> zoo.core.model.ZooModel:
    keras.utils.set_random_seed(0)
    model = zoo.create("cvae", (8, 8, 1), 2, network="mlp", num_classes=2, seed=3)
    model.compile()
    return model


def _stop_after(step: int) -> keras.callbacks.Callback:
    return keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batch == step and os.kill(os.getpid(), signal.SIGINT)
    )


def test_a_stopped_run_goes_on_bitwise(folder: Path, tmp_path: Path) -> None:
    """From a step within an epoch, to what is trained without a stop."""
    options = {"epochs": 2, "batch_size": 5, "seed": 4, "verbose": 0}
    whole = _new()
    assert train(whole, folder, tmp_path / "whole", **options)
    stop = int(np.random.default_rng().integers(1, 6))  # any will do
    assert not train(_new(), folder, tmp_path / "run", **options, callbacks=[_stop_after(stop)])
    model = load_run(tmp_path / "run")
    assert 0 < model.steps_done < 7
    assert train(model, folder, tmp_path / "run", **options)
    assert_same_state(model, whole)
    marks = read_json(tmp_path / "run" / "config.json")["data_fingerprint"]
    assert set(marks) == {"images", "shape", "index", "labels", "bytes"}


def test_the_order_that_a_run_was_begun_under(tmp_path: Path) -> None:
    model, run = _new(), tmp_path / "run"
    zoo.training.save_run(model, run, {"data": "sprites"})
    assert checks.order_of_data(model, run) == "index_shuffle"  # it begins now
    model.step.assign(1)
    assert checks.order_of_data(model, run) == "stateless_shuffle"  # as of an earlier version
    write_json(run / "config.json", {**read_json(run / "config.json"), "order": "index_shuffle"})
    assert checks.order_of_data(model, run) == "index_shuffle"


@pytest.mark.slow
def test_a_run_of_an_earlier_version_keeps_its_order(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which its config.json does not name; its fingerprint is of pixels, whatever is kept where."""
    source = zoo.data.read(folder)
    whole, run = tmp_path / "whole", tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(order, "DEFAULT", order.EARLIER)
        model = _new()
        train(model, source, whole, epochs=2, batch_size=5, verbose=0)
        train(_new(), source, run, epochs=1, batch_size=5, verbose=0)
    config = read_json(run / "config.json")
    assert config.pop("order") == "stateless_shuffle"
    write_json(run / "config.json", config)
    resumed = zoo.resume(run, source=folder, epochs=2, verbose=0)
    assert_same_state(resumed, model)
    assert read_json(run / "config.json")["order"] == "stateless_shuffle"


@pytest.mark.slow
def test_changed_files_are_noticed_at_resume(folder: Path, tmp_path: Path) -> None:
    train(_new(), folder, tmp_path / "run", epochs=1, batch_size=18, verbose=0)
    (folder / "a" / "00.png").rename(folder / "a" / "renamed.png")
    with pytest.raises(ValueError, match="differ: (labels, )?index"):
        train(load_run(tmp_path / "run"), folder, tmp_path / "run", epochs=2, verbose=0)


def test_a_file_that_is_no_image_stops_the_training(folder: Path, tmp_path: Path) -> None:
    """In words that name it and the remedy; the run goes on from the last checkpoint."""
    train(_new(), folder, tmp_path / "run", epochs=1, batch_size=6, verbose=0)
    images = zoo.data.open(folder)
    files = [folder.joinpath(*parts) for parts in images._listing.files]
    whole = {path: path.read_bytes() for path in files}
    for path, content in whole.items():
        path.write_bytes(content[:50] + b"x" * (len(content) - 50))
    model = load_run(tmp_path / "run")
    with pytest.raises(ValueError, match="These differ: bytes"):
        train(model, folder, tmp_path / "run", epochs=2, batch_size=6, verbose=0)
    config = read_json(tmp_path / "run" / "config.json")
    marks = config.pop("data_fingerprint")  # as the error advises, to go on all the same
    write_json(tmp_path / "run" / "config.json", config)
    with pytest.raises(ValueError, match=r"/\d\d\.png is not a readable image .*--on-error skip"):
        train(model, folder, tmp_path / "run", epochs=2, batch_size=6, verbose=0)
    assert load_run(tmp_path / "run").steps_done == 6
    for path, content in whole.items():
        path.write_bytes(content)
    config = read_json(tmp_path / "run" / "config.json")
    write_json(tmp_path / "run" / "config.json", {**config, "data_fingerprint": marks})
    assert zoo.resume(tmp_path / "run", epochs=2, verbose=0).steps_done == 12


@pytest.mark.slow
def test_two_workers_read_disjoint_images(tmp_path: Path) -> None:
    """Over gRPC: each reads its own rows of every batch, in one reading, and nothing else."""
    worker = ["-m", "tests.support.reading_worker", str(tmp_path)]
    assert launch(2, [sys.executable, *worker]) == 0
    batches = np.stack([*order.index_shuffle(COUNT, BATCH, 0, 0).take(50).as_numpy_iterator()])
    half, seen = BATCH // 2, []
    for i in range(2):
        own = [tuple(rows) for rows in batches[:, i * half : (i + 1) * half].tolist()]
        read = [tuple(rows) for rows in np.load(tmp_path / f"{i}.npy").tolist()]
        assert len(read) < len(own)
        assert set(read) == set(own[: len(read)])
        assert set(own[:STEPS]) <= set(read)
        seen += [number for rows in own[:STEPS] for number in rows]
    assert sorted(seen) == list(range(COUNT))
