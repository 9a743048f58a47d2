"""What stops a training from outside: a signal, or a worker that is lost."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.core import replicas

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from zoo.core.model import ZooModel
    from zoo.training.recorder import Recorder

# What collectives raise on the workers that are left, within seconds of a broken connection or a
# missing heartbeat.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


@contextmanager
def stop_on_signal(model: ZooModel) -> Iterator[list[int]]:
    """Yields a list that SIGINT or SIGTERM fills, while `fit` ends after its current step.

    A second signal acts as it did before. Several workers cannot agree on a step: there a signal
    ends the process at once, and the run goes on from its last checkpoint. Off the main thread,
    where Python has no signals, nothing changes.
    """
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if replicas.is_multi_worker(model.distribute_strategy):
            sys.stderr.write("Stopped. The run goes on from its last checkpoint with --resume.\n")
            sys.stderr.flush()
            os._exit(128 + number)
        stopped.append(number)
        model.stop_training = True
        for signal_, handler in previous.items():
            signal.signal(signal_, handler)

    previous: dict[signal.Signals, Any] = {}
    try:
        for signal_ in (signal.SIGINT, signal.SIGTERM):
            previous[signal_] = signal.signal(signal_, stop)
    except ValueError:
        yield stopped
        return
    try:
        yield stopped
    finally:
        for signal_, handler in previous.items():
            signal.signal(signal_, handler)


@contextmanager
def lost_workers(recorder: Recorder) -> Iterator[None]:
    """Turns what TensorFlow raises for a broken connection into a ConnectionError that helps."""
    try:
        yield
    except LOST as error:
        if not replicas.is_multi_worker(recorder.model.distribute_strategy):
            raise
        msg = (
            f"Lost a worker after step {recorder.saved_step}, the last checkpoint in "
            f"{recorder.out}. Start all workers again with --resume."
        )
        raise ConnectionError(msg) from error
