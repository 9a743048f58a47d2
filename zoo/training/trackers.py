"""Experiment trackers: Weights & Biases and MLflow, through their own Keras callbacks."""

from __future__ import annotations

import importlib.util
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from zoo.training.run_files import read_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TRACKERS = ("wandb", "mlflow")


def check_tracker(name: str) -> None:
    """Checks that a tracker is known and installed.

    Args:
        name: One of `TRACKERS`.

    Raises:
        ValueError: If it is unknown.
        ImportError: If its package is absent; the message says how to install it.

    Example:
        >>> from zoo.training.trackers import check_tracker
        >>> check_tracker("wanda")
        Traceback (most recent call last):
        ValueError: tracker='wanda': expected one of wandb, mlflow.
    """
    if name not in TRACKERS:
        msg = f"tracker={name!r}: expected one of {', '.join(TRACKERS)}."
        raise ValueError(msg)
    if importlib.util.find_spec(name) is None:
        msg = (
            f"tracker={name!r} needs the package {name}. Install it with: "
            f"pip install 'vaegan-zoo[{name}]'"
        )
        raise ImportError(msg)


class Tracker(keras.callbacks.Callback):
    """Begins a tracker's run when training begins, and gives each epoch to its Keras callback.

    `tracked` makes one, and ends the tracker's run: another training has a run of its own then.

    Where the tracker keeps its runs is for its own settings to say, such as WANDB_MODE and
    WANDB_PROJECT, or MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME. The run has the name of the
    run folder, and its config.json as configuration.

    Args:
        name: One of `TRACKERS`.
        run: The run folder that `zoo.train` writes.

    Raises:
        ValueError, ImportError: As `check_tracker`.

    Example:
        >>> from zoo.training.trackers import Tracker
        >>> Tracker("wanda", "runs/dcgan")
        Traceback (most recent call last):
        ValueError: tracker='wanda': expected one of wandb, mlflow.
    """

    def __init__(self, name: str, run: str | Path) -> None:
        super().__init__()
        check_tracker(name)
        self.name = name
        self.run = Path(run)
        self.callback: keras.callbacks.Callback | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Begins the tracker's run, once: `fit` may be called for the rest of an epoch before."""
        if self.callback is not None:
            return
        config = read_config(self.run)
        begin = _begin_wandb if self.name == "wandb" else _begin_mlflow
        self.callback = begin(self.run.resolve().name, config)
        self.callback.set_model(self.model)
        self.callback.set_params(self.params)
        self.callback.on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Gives it the figures of an epoch, unless training was stopped within it."""
        if self.callback is not None and not self.model.stop_training:
            self.callback.on_epoch_end(epoch, dict(logs or {}))

    def close(self, *, failed: bool) -> None:
        """Ends the tracker's run, if one has begun; it is sent before this returns."""
        if self.callback is None:
            return
        if self.name == "wandb":
            import wandb  # noqa: PLC0415  (optional)

            wandb.finish(exit_code=int(failed))
        else:
            import mlflow  # noqa: PLC0415  (optional)

            mlflow.flush_async_logging()
            mlflow.end_run("FAILED" if failed else "FINISHED")


@contextmanager
def tracked(name: str | None, run: str | Path) -> Iterator[list[Tracker]]:
    """The callbacks that track a training: one, or none without a name.

    The tracker's run ends with the block.

    Args:
        name: One of `TRACKERS`, or None.
        run: The run folder.

    Raises:
        ValueError, ImportError: As `check_tracker`.

    Example:
        >>> from zoo.training.trackers import tracked
        >>> with tracked(None, "runs/dcgan") as callbacks:
        ...     print(callbacks)
        []
    """
    if name is None:
        yield []
        return
    tracker = Tracker(name, run)
    try:
        yield [tracker]
    except BaseException:
        tracker.close(failed=True)
        raise
    tracker.close(failed=False)


def _begin_wandb(name: str, config: Mapping[str, Any]) -> keras.callbacks.Callback:
    import wandb  # noqa: PLC0415  (optional)
    from wandb.integration.keras import WandbMetricsLogger  # noqa: PLC0415

    wandb.init(name=name, config=dict(config))
    return WandbMetricsLogger()


def _begin_mlflow(name: str, config: Mapping[str, Any]) -> keras.callbacks.Callback:
    import mlflow  # noqa: PLC0415  (optional)
    from mlflow.keras import MlflowCallback  # noqa: PLC0415

    mlflow.start_run(run_name=name)
    # Parameters are texts there.
    mlflow.log_params(
        {key: v if isinstance(v, str) else json.dumps(v) for key, v in config.items()}
    )
    return MlflowCallback()
