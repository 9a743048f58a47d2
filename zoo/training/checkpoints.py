"""Checkpoints of a run folder: the latest state, the last K, and the best.

    model.keras                       the latest
    checkpoints/step_00001200.keras   the last K (the newest is model.keras under another name)
    best.keras                        the one with the lowest value of a metric

Each file is whole or absent. It holds all that training goes on from: the weights, every
optimizer, the average, the step, and the running means of the epoch.
"""

from __future__ import annotations

import shutil
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np

from zoo.io.files import link, replacing
from zoo.io.records import parse_json
from zoo.training.run_files import BEST, CHECKPOINTS, LATEST

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.core.model import ZooModel

# What zipfile raises for damaged archives; RuntimeError for encrypted and oddly packed ones.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError, RuntimeError,
)  # fmt: skip


def save(model: ZooModel, out: Path, *, keep: int = 0, best: bool = False) -> None:
    """Writes the latest state of a run folder; a crash meanwhile leaves the previous one.

    Args:
        model: The model.
        out: The run folder.
        keep: Checkpoints to keep in `checkpoints/`, this one included; the oldest are removed.
        best: Whether this is the best state so far.
    """
    if not keep and not best:
        with replacing(out / LATEST) as temporary:
            model.save(temporary)
        return
    folder = out / CHECKPOINTS
    path = folder / f"step_{model.steps_done:08d}.keras"
    with replacing(path) as temporary:
        model.save(temporary)
    # The latest comes last: a run that is killed before it goes on from the one before, and comes
    # by here again.
    if best:
        link(path, out / BEST)
    link(path, out / LATEST)
    others = sorted(other for other in folder.glob("step_*.keras") if other != path)
    for old in [*others, path][:-keep] if keep else [path]:
        old.unlink()


def check(path: Path, model_name: str) -> None:
    """Checks that a file is a whole checkpoint of a model.

    Raises:
        ValueError: If it is cut short, damaged or something else; usable ones are named.
    """
    fault = _fault(path, model_name)
    if fault is not None:
        msg = f"{path} {fault}. {usable(path, model_name) or 'No other is left.'}"
        raise ValueError(msg)


def usable(path: Path, model_name: str) -> str:
    """A sentence that names the whole checkpoints beside one; nothing if there are none."""
    run = path.parent.parent if path.parent.name == CHECKPOINTS else path.parent
    others = (
        run / LATEST,
        run / BEST,
        *sorted((run / CHECKPOINTS).glob("*.keras"), reverse=True),
    )
    whole = [
        str(other)
        for other in others
        if other.exists() and other != path and _fault(other, model_name) is None
    ]
    return f"Usable: {', '.join(whole)}; copy one over it." if whole else ""


def may_be_checkpoint(path: Path) -> bool:
    """Whether a file is a model of the zoo, or too damaged to tell: not a network by itself."""
    try:
        with zipfile.ZipFile(path) as file:
            config = parse_json(file.read("config.json"), "config.json")
    except _DAMAGED:
        return True
    return not isinstance(config, dict) or str(config.get("registered_name")).startswith("zoo>")


def _fault(path: Path, model_name: str) -> str | None:
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # Keras reads without comparing checksums
            if damaged is not None:
                return f"is damaged (in {damaged})"
            config = parse_json(file.read("config.json"), "config.json")
            weights = {"model.weights.h5", "model.weights.json"} & set(file.namelist())
    except _DAMAGED as error:
        return f"is no Keras file, or was cut short ({error})"
    known = isinstance(config, dict)
    held = known and (config.get("registered_name") or config.get("class_name"))
    if held != f"zoo>{model_name}":
        return f"holds a {held or 'file of another kind'}, but the run is of a {model_name}"
    return None if weights else "has no weights"


def check_finite(model: ZooModel) -> None:
    """Raises FloatingPointError if a weight or an optimizer's slot is not finite."""
    for variable in model.state_variables:
        if not np.isfinite(np.asarray(variable)).all():
            msg = f"{variable.path} is not finite"
            raise FloatingPointError(msg)


def check_space(model: ZooModel, out: Path, checkpoints: int) -> None:
    """Checks that a number of checkpoints fits on the disk of a folder, which need not exist.

    Raises:
        OSError: If they do not.
    """
    size = sum(np.prod(v.shape) * np.dtype(v.dtype).itemsize for v in model.state_variables)
    existing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < checkpoints * size:
        msg = (
            f"{out} has {free / 1e6:.0f} MB free; {checkpoints} checkpoints of {size / 1e6:.0f} MB "
            "must fit. Free some space, choose another folder, or keep fewer (--keep)."
        )
        raise OSError(msg)
