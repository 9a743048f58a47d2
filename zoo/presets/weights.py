"""`model.weights.h5` of a preset: Keras's layout without optimizers, as float16 or float32."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from zoo.core.model import ZooModel

PRECISIONS = ("float16", "float32")
_RUNNING_MEANS = "vars/running_means"  # the logs of an epoch in training


def write_weights(model: ZooModel, path: Path, precision: str = "float16") -> None:
    """Writes all weights of a model: step, average, critic and encoder included.

    Args:
        model: The model; its optimizers are left out.
        path: The new file.
        precision: The dtype in which float32 tensors are stored. A tensor stays float32 if float16
            would change it by more than a thousandth of its largest value, for it overflows or is
            tiny. Scalars, which may be settings, stay float32 too. Integers stay as they are.

    Raises:
        ValueError: If the precision is unknown, or a weight is not finite.
    """
    if precision not in PRECISIONS:
        msg = f"precision={precision!r}: expected one of {PRECISIONS}."
        raise ValueError(msg)
    arrays = sorted(_saved(model).items())
    # In memory: on a full disk HDF5 ends the process, with a segmentation fault.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        for name, array in arrays:
            _check_finite(array, name, "The model")
            file[name] = _halved(array) if precision == "float16" else array
        file.flush()
        made = file.id.get_file_image()
    path.write_bytes(made)


def read_weights(model: ZooModel, path: Path) -> None:
    """Loads a file that `write_weights` wrote into a new model, and refuses any other file.

    Args:
        model: A model of the same configuration, not compiled.
        path: The file.

    Raises:
        ValueError: If the file is damaged or belongs to another model: a weight is missing,
            superfluous, of another shape or dtype, not finite, or stored in another file.
    """
    wanted = _saved(model)
    try:
        with h5py.File(path, "r") as file:
            datasets = dict(_datasets(file, "", wanted, path))
            _check_layout(datasets, wanted, path)
            for name, dataset in datasets.items():
                _check_finite(dataset[()], name, path)
        model.load_weights(path)
    except (OSError, KeyError, RuntimeError) as error:  # what h5py raises for damaged files
        msg = f"{path} cannot be read: {error}. Was it cut short?"
        raise ValueError(msg) from error


def _saved(model: ZooModel) -> dict[str, np.ndarray]:
    """The model's weights by the names that they have in the file."""
    left_out = (*(f"{name}/" for name in model.optimizer_names), "optimizer/", _RUNNING_MEANS)
    arrays: dict[str, np.ndarray] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith(left_out):
            arrays[name] = item[()]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)  # which makes its HDF5 file in memory, as above
        with zipfile.ZipFile(path) as archive:
            weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights, "r") as file:
        file.visititems(keep)
    return arrays


def _halved(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.float32 or array.ndim == 0:
        return array
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    error = np.abs(half.astype(np.float32) - array)
    return half if np.all(error <= 1e-3 * np.max(np.abs(array), initial=0.0)) else array


def _datasets(
    group: h5py.Group, prefix: str, wanted: Collection[str], path: Path
) -> Iterator[tuple[str, h5py.Dataset]]:
    """All datasets of a file. No link may lead out of it, or through a group in circles."""
    for key in group:
        name = f"{prefix}{key}"
        if type(group.get(key, getlink=True)) is not h5py.HardLink:
            msg = f"{path}: {name} is a link; expected weights in the file itself. Do not use it."
            raise ValueError(msg)
        item = group[key]
        if isinstance(item, h5py.Dataset):
            yield name, item
        elif any(each.startswith(f"{name}/") for each in wanted):
            yield from _datasets(item, f"{name}/", wanted, path)
        else:
            msg = f"{path} has {name}, which the model has not. Is it of another model?"
            raise ValueError(msg)


def _check_layout(
    datasets: Mapping[str, h5py.Dataset], wanted: Mapping[str, np.ndarray], path: Path
) -> None:
    if datasets.keys() != wanted.keys():
        missing = sorted(wanted.keys() - datasets.keys())
        more = sorted(datasets.keys() - wanted.keys())
        msg = (
            f"{path} lacks {missing[:3]} ({len(missing)} in all) and has {more[:3]} ({len(more)}) "
            "which the model has not. Is it of another model?"
        )
        raise ValueError(msg)
    for name, dataset in datasets.items():
        if dataset.is_virtual or dataset.external:
            msg = f"{path}: {name} lies in another file; expected it in this one. Do not use it."
            raise ValueError(msg)
        own = wanted[name]
        kinds = PRECISIONS if own.dtype == np.float32 else (own.dtype.name,)
        if dataset.shape != own.shape or dataset.dtype.name not in kinds:
            msg = (
                f"{path}: {name} is {dataset.dtype} {dataset.shape}; "
                f"expected {' or '.join(kinds)} {own.shape}."
            )
            raise ValueError(msg)


def _check_finite(array: np.ndarray, name: str, where: Any) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        msg = f"{where}: {name} is not finite (NaN or infinite). Train again, or take another."
        raise ValueError(msg)
