"""Reads the file of a fitted sampler, and checks it before anything is drawn from it."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.presets.config import SHA256

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1 << 30  # of all arrays, unpacked
ARRAYS = {
    "gmm": ("weights", "means", "covariances"),
    "two_stage": ("shift", "scale", "gamma", *(f"decoder_{i}" for i in range(6))),
}


def read_sampler(
    path: str | Path, kind: str | None = None, latent_dim: int | None = None, classes: int = 0
) -> tuple[str, str, dict[str, np.ndarray]]:
    """Reads and checks a file that `zoo.sampling.samplers.Sampler.save` wrote.

    Args:
        path: The .npz file.
        kind: The expected sampler, "gmm" or "two_stage"; None for any.
        latent_dim: The expected number of latent dimensions; None for any.
        classes: The number of classes of a conditional model; 0 for other models.

    Returns:
        The sampler's name, the fingerprint of the weights it was fitted to, and its arrays.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no sampler, a sampler of another kind or for another model, or holds
            numbers from which nothing can be drawn.
    """
    try:
        name, fitted_to, arrays = _checked(_load(path))
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, zlib, tokenize and NumPy raise their own
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
        msg = f"{path} is no sampler, or was cut short ({what}). Remove it, and fit one anew."
        raise ValueError(msg) from error
    _check_fit(path, name, arrays, kind, latent_dim, classes)
    return name, fitted_to, arrays


def _load(path: str | Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
            msg = f"it unpacks to more than {MAX_BYTES:,} bytes"
            raise ValueError(msg)
    with np.load(path, allow_pickle=False) as file:
        return {key: np.asarray(array) for key, array in file.items()}


def _checked(entries: dict[str, np.ndarray]) -> tuple[str, str, dict[str, np.ndarray]]:
    name, fitted_to = (str(entries[key]) for key in ("name", "fitted_to"))
    if name not in ARRAYS:
        msg = f"name={name[:60]!r}: expected one of {', '.join(ARRAYS)}"
        raise ValueError(msg)
    if not SHA256.fullmatch(fitted_to):
        msg = f"fitted_to={fitted_to[:60]!r}: expected a sha256"
        raise ValueError(msg)
    arrays = {key: entries[key] for key in ARRAYS[name]}
    for key, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            msg = f"{key} is not all finite numbers (NaN or infinite)"
            raise ValueError(msg)
    (_check_mixture if name == "gmm" else _check_second_stage)(arrays)
    return name, fitted_to, arrays


def _check_fit(
    path: str | Path,
    name: str,
    arrays: dict[str, np.ndarray],
    kind: str | None,
    latent_dim: int | None,
    classes: int,
) -> None:
    dims = arrays["means" if name == "gmm" else "shift"].shape[-1]
    mixtures = len(arrays["weights"]) if name == "gmm" and arrays["weights"].ndim == 2 else 0
    if kind not in (None, name):
        fault = f"holds the sampler {name!r}; expected {kind!r}"
    elif latent_dim not in (None, dims):
        fault = f"draws latents of {dims} dimensions, but the model takes {latent_dim}"
    elif latent_dim is not None and mixtures not in (0, classes):
        fault = f"has mixtures for {mixtures} classes, but the model has {classes}"
    else:
        return
    msg = f"{path} {fault}: it is of another model. Remove it, and fit one anew."
    raise ValueError(msg)


def _check_mixture(arrays: dict[str, np.ndarray]) -> None:
    """Weights [k] or [classes, k], means [..., d] and covariances [..., d, d]."""
    weights, means, covariances = (arrays[name] for name in ARRAYS["gmm"])
    if weights.ndim not in (1, 2) or not weights.size or means.ndim != weights.ndim + 1:
        msg = f"weights {weights.shape}, means {means.shape}: expected [k] and [k, d], k and d ≥ 1"
        raise ValueError(msg)
    _check_shapes(
        arrays,
        {
            "means": (*weights.shape, means.shape[-1]),
            "covariances": (*weights.shape, means.shape[-1], means.shape[-1]),
        },
    )
    sums = weights.sum(axis=-1)
    if (weights < 0).any() or not np.allclose(sums, 1.0, rtol=0, atol=1e-6):
        msg = "weights: expected shares from 0 on that sum to 1"
        raise ValueError(msg)
    size = np.abs(covariances).max()
    if not np.allclose(covariances, covariances.swapaxes(-1, -2), rtol=0, atol=1e-6 * size):
        msg = "covariances are not symmetric"
        raise ValueError(msg)
    try:
        np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError as error:
        msg = "covariances are not positive definite"
        raise ValueError(msg) from error


def _check_second_stage(arrays: dict[str, np.ndarray]) -> None:
    """The arrays of the decoder in `zoo.sampling.second_stage`, which has two hidden layers."""
    shift, hidden = arrays["shift"], arrays["decoder_1"]
    if shift.ndim != 1 or not shift.size or hidden.ndim != 1 or not hidden.size:
        msg = f"shift {shift.shape}, decoder_1 {hidden.shape}: expected one dimension"
        raise ValueError(msg)
    d, width = len(shift), len(hidden)
    shapes: dict[str, Any] = {"scale": (d,), "gamma": (), "decoder_0": (d, width)}
    shapes |= {"decoder_2": (width, width), "decoder_3": (width,)}
    shapes |= {"decoder_4": (d + width, d), "decoder_5": (d,)}
    _check_shapes(arrays, shapes)
    if (arrays["scale"] < 0).any() or arrays["gamma"] < 0:
        msg = "scale and gamma: expected numbers from 0 on"
        raise ValueError(msg)


def _check_shapes(arrays: dict[str, np.ndarray], expected: dict[str, Any]) -> None:
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            msg = f"{name} has the shape {arrays[name].shape}; expected {shape}"
            raise ValueError(msg)
