"""The line of progress: its figures are those of the clock, and the training is what it was."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from tests.cases import assert_same_state
from zoo.training.progress import CLEAR, Progress

IMAGES = np.random.default_rng(0).random((20, 8, 8, 1)).astype(np.float32)


def _run(out: Path, *callbacks: Any, epochs: int = 2, **options: Any) -> Any:
    model = zoo.create("gan", (8, 8, 1), 2, network="mlp", **options)
    model.compile()
    zoo.train(model, IMAGES, out, epochs=epochs, batch_size=2, verbose=0, callbacks=callbacks)
    return model


@pytest.mark.slow
def test_training_is_bitwise_what_it_is_without(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    without = _run(tmp_path / "without")
    keras.utils.set_random_seed(0)
    told: list[str] = []
    told_of = _run(tmp_path / "with", Progress(told.append, write=told.append))
    assert len(told) > 2
    assert_same_state(told_of, without)
    histories = [
        json.loads((tmp_path / x / "history.json").read_text()) for x in ("with", "without")
    ]
    assert histories[0] == histories[1]


def test_figures_are_those_of_the_clock(tmp_path: Path) -> None:
    """Each look at the clock is a second after the last one: so is each of 10 steps per epoch."""
    seconds = iter(range(10_000))
    lines: list[str] = []
    written: list[str] = []
    begun: list[tuple[int, int]] = []
    progress = Progress(
        lines.append,
        write=written.append,
        begins=lambda _, images, steps: begun.append((len(images), steps)),
        clock=lambda: float(next(seconds)),
    )
    _run(tmp_path / "run", progress)
    assert begun == [(20, 20)]
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    # 2 images per step of a second; the last second of an epoch is no step's.
    assert written[1].startswith(f"{CLEAR}epoch 1/2  2/10  2 images/s  18 s left  ")
    assert written[9].startswith(f"{CLEAR}epoch 1/2  10/10  2 images/s  10 s left  ")
    # 9 steps in 10 seconds, and 10 to come.
    assert lines[0].startswith("epoch 1/2  2 images/s  11 s left  ")
    assert re.match(r"epoch 2/2  2 images/s  [\d.]+ GB  discriminator_loss ", lines[1])
    assert all(len(line) < 80 + len(CLEAR) for line in written)


@pytest.mark.slow
def test_a_run_that_goes_on_within_an_epoch(tmp_path: Path) -> None:
    """Its steps count from those that it has had, and it is not told anew what it could do."""

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2:
                signal.raise_signal(signal.SIGINT)

    run = tmp_path / "run"
    lines: list[str] = []
    _run(run, Stop(), Progress(lines.append))
    assert not lines  # stopped within the epoch
    had = zoo.load_run(run).steps_done
    assert 0 < had < 10
    written: list[str] = []
    begun: list[int] = []
    progress = Progress(
        lines.append, write=written.append, begins=lambda *_: begun.append(1),
        clock=iter(np.arange(1e4)).__next__,
    )  # fmt: skip
    zoo.resume(run, epochs=2, source=IMAGES, callbacks=[progress], verbose=0)
    assert written[0].startswith(f"{CLEAR}epoch 1/2  {had + 1}/10  ")
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    assert not begun


def test_notices_of_the_parts_of_a_batch() -> None:
    """What is advised can be given: the replicas share it, and it fits into the images."""
    from zoo.evaluation.signs_in_history import too_few_updates

    def helps(**options: Any) -> str:
        return too_few_updates(updates=10, **options).helps

    assert helps(images=320, batch_size=64) == "Take --batch-size 32 and --epochs 200."
    assert helps(images=320, batch_size=63, parts=3) == "Take --epochs 500."
    assert (
        helps(images=640, batch_size=64, minibatches=5) == "Take --batch-size 32 and --epochs 500."
    )
    assert too_few_updates(updates=10, images=30, batch_size=64) is None
