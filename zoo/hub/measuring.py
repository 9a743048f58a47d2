"""The metrics of a preset, how sure they are, and whether they still hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.evaluation.measure import evaluate, sampler_metrics
from zoo.hub.loading import load_sampler, resolve
from zoo.io import schemas
from zoo.io.records import read_json
from zoo.presets import check_files, load_preset, read_config
from zoo.presets.config import METRICS, SAMPLER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.core.model import ZooModel
    from zoo.sampling.samplers import Sampler

DEVIATIONS = 3.0
SLACK = 1e-4  # of a value: what other kernels and devices round differently


class NoTestDataError(FileNotFoundError):
    """The images that a preset is measured on are to be fetched first."""


def measure(
    model: ZooModel,
    source: Any,
    seeds: Sequence[int] = (0, 1, 2),
    sampler: Sampler | None = None,
    **protocol: Any,
) -> dict[str, Any]:
    """The `metrics.json` of a model.

    Args:
        model: The model, as it is loaded: weights stored as float16 are others.
        source: Test data, for `zoo.data.to_array`.
        seeds: Seeds of the samples, at least two.
        sampler: What else a VAE's latents are drawn from: its figures end in `_gmm`.
        **protocol: Further arguments of `zoo.evaluate`.

    Returns:
        What `evaluate` returns for the first seed, and `sampling_error`: each metric's standard
        deviation over the seeds.

    Raises:
        ValueError: If there is one seed only, or the data do not fit.
    """
    if len(set(seeds)) < 2:
        msg = f"seeds={tuple(seeds)}: expected at least two, for the deviation between them."
        raise ValueError(msg)
    found = [
        _evaluate(model, source, sampler, seed=seed, **protocol) for seed in dict.fromkeys(seeds)
    ]
    values = [each["metrics"] for each in found]
    errors = {name: float(np.std([v[name] for v in values], ddof=1)) for name in values[0]}
    # Of a folder or file the name: a path says nothing elsewhere.
    data = Path(found[0]["data"]).name
    return {**found[0], "data": data, "seeds": list(seeds), "sampling_error": errors}


def check(handle: str | Path, source: Any = None) -> list[str]:
    """Measures a preset again.

    Args:
        handle: As for `load_pretrained`.
        source: The test data; default: those that its `metrics.json` names, a folder or file being
            looked for in the working directory.

    Returns:
        A sentence for each metric that differs by more than three times its sampling error, and
        for each that is gone; none if all hold.

    Raises:
        NoTestDataError: If the data are to be fetched first.
        FileNotFoundError: If a file of the preset is missing.
        ValueError: If the preset has no metrics, or cannot be loaded.
    """
    folder = resolve(handle)
    config = read_config(folder)
    if METRICS not in config["files"]:
        msg = f"{folder} has no {METRICS}: it was never measured. Save it with metrics=measure(…)."
        raise ValueError(msg)
    check_files(folder, config, [METRICS])
    stated = read_json(folder / METRICS, schemas.METRICS)
    names = ("split", "samples", "extractor", "importance_samples", "seed")
    protocol = {name: stated[name] for name in names if name in stated}
    protocol["extractor"] = stated["extractor"] or "none"
    source = stated["data"] if source is None else source
    fetch = config["facts"].get("fetch")
    if fetch and source == stated["data"] and not Path(source).exists():
        msg = f"Its images are not at ./{source}. Fetch them: {fetch}"
        raise NoTestDataError(msg)
    sampler = load_sampler(folder) if SAMPLER in config["files"] else None
    found = _evaluate(load_preset(folder), source, sampler, **protocol)["metrics"]
    faults, errors = [], stated.get("sampling_error", {})
    for name, value in stated["metrics"].items():
        allowed = DEVIATIONS * errors.get(name, 0.0) + SLACK * abs(value) + 1e-6
        if name not in found:
            faults.append(f"{folder.name}: {name} is no longer measured.")
        elif not abs(found[name] - value) <= allowed:  # NaN differs
            faults.append(
                f"{folder.name}: {name} is {found[name]:.6g}, but {METRICS} says {value:.6g} "
                f"± {allowed:.2g}."
            )
    return faults


def _evaluate(
    model: ZooModel, source: Any, sampler: Sampler | None, **protocol: Any
) -> dict[str, Any]:
    found = evaluate(model, source, **protocol)
    if sampler is not None and found["extractor"] is not None:
        found["metrics"] |= sampler_metrics(model, source, sampler, found)
    return found
