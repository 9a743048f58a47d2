"""Where the runs of a sweep are, and what was measured of them: all by their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.evaluation.protocols import parse_all
from zoo.io import schemas
from zoo.io.records import read_json
from zoo.training.run_files import LATEST, read_config, read_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def is_begun(folder: Path) -> bool:
    """Whether a folder holds a run that can go on.

    Example:
        >>> from pathlib import Path
        >>> from zoo.evaluation.sweep import is_begun
        >>> is_begun(Path("runs/no_such_run"))
        False
    """
    return (folder / LATEST).exists()


def is_finished(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether a run has come to its end, by its files: False if they leave a doubt.

    Args:
        folder: The run folder.
        settings: Those of `zoo train` that it shall have, by key, such as {"epochs": 3}.

    Example:
        >>> from pathlib import Path
        >>> from zoo.evaluation.sweep import is_finished
        >>> is_finished(Path("runs/no_such_run"), {"epochs": 3})
        False
    """
    if not is_begun(folder) or not (folder / "history.json").exists():
        return False
    history, begun = read_json(folder / "history.json", schemas.HISTORY), read_config(folder)
    last = history[-1]
    newest = folder / "checkpoints" / f"step_{last['step']:08d}.keras"
    if not newest.exists() or not newest.samefile(folder / LATEST):
        return False  # killed between the history and the checkpoint
    if "epochs" in settings:
        ended = not begun.get("steps") and last["epoch"] >= settings["epochs"]
    else:  # images count in steps, which the run knows
        noted = begun.get("command", {})
        same = noted.get("images") == settings.get("images")
        wanted = settings.get("steps") or (begun.get("steps") if same else None)
        ended = wanted is not None and last["step"] >= wanted
    return bool(ended) or _out_of_patience(history, begun, settings)


def _out_of_patience(
    history: Sequence[Mapping[str, Any]], begun: Mapping[str, Any], settings: Mapping[str, Any]
) -> bool:
    patience, best = settings.get("patience"), begun.get("best")
    if patience is None or best is None:
        return False
    from zoo.training.stopping import out_of_patience  # noqa: PLC0415  (imports Keras)

    upward = {
        k: up for each in parse_all(begun.get("metrics", [])) for k, up in each.directions.items()
    }
    return out_of_patience(history, best, patience, higher=upward.get(best, False))


def state(folder: Path, settings: Mapping[str, Any]) -> str:
    """How far a run is: "new", "begun", "at step 40" or "finished".

    Args:
        folder: The run folder.
        settings: As for `is_finished`.

    Example:
        >>> from pathlib import Path
        >>> from zoo.evaluation.sweep import state
        >>> state(Path("runs/no_such_run"), {"epochs": 3})
        'new'
    """
    if not is_begun(folder):
        return "new"
    if is_finished(folder, settings):
        return "finished"
    history = folder / "history.json"
    return (
        f"at step {read_json(history, schemas.HISTORY)[-1]['step']}"
        if history.exists()
        else "begun"
    )


def figures(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """What `zoo evaluate` measured of a run, and the last of its history.

    Example:
        >>> from pathlib import Path
        >>> from zoo.evaluation.sweep import figures
        >>> figures(Path("runs/no_such_run"))
        ({}, {})
    """
    measured = dict((read_metrics(folder) or {"metrics": {}})["metrics"]) if folder.exists() else {}
    protocols, history = folder / "protocols.json", folder / "history.json"
    if protocols.exists():
        for entry in read_json(protocols, schemas.PROTOCOLS):
            measured |= entry["metrics"]
    last = dict(read_json(history, schemas.HISTORY)[-1]) if history.exists() else {}
    return measured, {name: value for name, value in last.items() if name not in ("epoch", "step")}
