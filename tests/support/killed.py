"""A training that kills itself, as `kill -9` would, at a step or within a checkpoint's writing.

    python -m tests.support.killed CASE_ID SOURCE OUT EPOCHS POINT [WHOLE]

POINT is `never`, `step:N` (after step N), `write:N` (half-way through writing the first checkpoint
from step N on), `rename:N` (when that is written, but not yet the latest) or `time:SECONDS` (after
so many seconds of training). Continues the run in OUT if there is one. Before all that, a run that
nothing kills is trained into WHOLE, if it is given: one process imports TensorFlow where two would.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import keras

from tests.cases import CASES
from zoo.training import checkpoints
from zoo.training.loop import train
from zoo.training.runs import load_run


def main(case_id: str, source: Path, out: Path, epochs: int, point: str) -> None:
    model = load_run(out) if (out / "model.keras").exists() else _new(case_id)
    kind, _, when = point.partition(":")
    if kind in ("write", "rename"):
        _die_while_saving(model, kind, int(when))
    callbacks = [_Kill(int(when))] if kind == "step" else []
    if kind == "time":
        threading.Timer(float(when), _die).start()
    _train(model, source, out, epochs, callbacks)
    os._exit(0)  # a timer may still wait


def _new(case_id: str) -> Any:
    keras.utils.set_random_seed(0)
    model = next(case for case in CASES if case.id == case_id).create()
    model.compile()
    return model


def _train(model: Any, source: Path, out: Path, epochs: int, callbacks: Any = ()) -> None:
    """Six steps per epoch of 60 images."""
    train(
        model, source, out, epochs=epochs, batch_size=10 // model.minibatches,
        checkpoint_every=2, callbacks=list(callbacks), verbose=0,
    )  # fmt: skip


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Kill(keras.callbacks.Callback):
    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if int(self.model.step) == self.step:
            _die()


def _die_while_saving(model: Any, kind: str, step: int) -> None:
    save, link = model.save, checkpoints.link

    def half(path: Path) -> None:
        save(path)
        if int(model.step) >= step:
            Path(path).write_bytes(Path(path).read_bytes()[: Path(path).stat().st_size // 2])
            _die()

    def no_link(path: Path, to: Path) -> None:
        if int(model.step) >= step:
            _die()
        link(path, to)

    if kind == "write":
        model.save = half
    else:
        checkpoints.link = no_link


if __name__ == "__main__":
    name, images, folder, last, at, *whole = sys.argv[1:]
    for path in map(Path, whole):
        _train(_new(name), Path(images), path, int(last))
    main(name, Path(images), Path(folder), int(last), at)
