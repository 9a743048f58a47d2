"""Measures a preset, and checks later whether the figures still hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.evaluation.measure import evaluate, sampler_metrics
from zoo.hub.loading import load_sampler, resolve
from zoo.io import schemas
from zoo.io.records import read_json
from zoo.presets import check_files, load_preset, read_config
from zoo.presets.files import METRICS, SAMPLER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.core.model import ZooModel
    from zoo.sampling.samplers import Sampler

DEVIATIONS = 3.0
SLACK = 1e-4  # share of a value that other kernels and devices may round differently


class NoTestDataError(FileNotFoundError):
    """The images that a preset is measured on must be fetched first."""


def measure(
    model: ZooModel,
    source: Any,
    seeds: Sequence[int] = (0, 1, 2),
    sampler: Sampler | None = None,
    **protocol: Any,
) -> dict[str, Any]:
    """Measures a model with several seeds; `save_preset` writes the result as `metrics.json`.

    Args:
        model: The model. Measure the one that was loaded: float16 weights give other figures.
        source: Test data, as for `zoo.data.load`.
        seeds: Seeds of the samples, at least two.
        sampler: For a VAE: a mixture to draw latents from too. Its figures end in `_gmm`.
        **protocol: Further arguments of `zoo.evaluate`.

    Returns:
        The result of `zoo.evaluate` with the first seed, with `seeds` and `sampling_error`, the
        standard deviation of each metric over the seeds.

    Raises:
        ValueError: If there are fewer than two seeds, or the data do not fit.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> result = zoo.hub.measure(model, np.zeros([4, 8, 8, 1]), (0, 1), extractor="none")
        >>> result["seeds"], result["sampling_error"].keys() == result["metrics"].keys()
        ([0, 1], True)
    """
    if len(set(seeds)) < 2:
        msg = f"seeds={tuple(seeds)}: expected at least two, for the deviation between them."
        raise ValueError(msg)
    results = [
        _evaluate(model, source, sampler, seed=seed, **protocol) for seed in dict.fromkeys(seeds)
    ]
    values = [result["metrics"] for result in results]
    errors = {name: float(np.std([v[name] for v in values], ddof=1)) for name in values[0]}
    data = Path(results[0]["data"]).name  # the path of a folder means nothing elsewhere
    return {**results[0], "data": data, "seeds": list(seeds), "sampling_error": errors}


def check(handle: str | Path, source: Any = None) -> list[str]:
    """Measures a preset again, and compares the metrics with those in its `metrics.json`.

    Args:
        handle: As for `load_pretrained`.
        source: The test data. The default is the data that `metrics.json` names; a folder or a file
            is looked for in the working directory.

    Returns:
        One sentence for each metric that differs by more than three times its sampling error, and
        one for each that is no longer measured. An empty list if all hold.

    Raises:
        NoTestDataError: If the data must be fetched first.
        FileNotFoundError: If a file of the preset is missing.
        ValueError: If the preset has no metrics, or cannot be loaded.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> np.save("images.npy", np.zeros([4, 8, 8, 1], np.float32))
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> measured = zoo.hub.measure(model, "images.npy", (0, 1), extractor="none")
        >>> zoo.save_preset(model, "my_vae", metrics=measured, precision="float32")
        >>> zoo.hub.check("./my_vae")
        []
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
    measured = _evaluate(load_preset(folder), source, sampler, **protocol)["metrics"]
    faults, errors = [], stated.get("sampling_error", {})
    for name, value in stated["metrics"].items():
        allowed = DEVIATIONS * errors.get(name, 0.0) + SLACK * abs(value) + 1e-6
        if name not in measured:
            faults.append(f"{folder.name}: {name} is no longer measured.")
        elif not abs(measured[name] - value) <= allowed:  # NaN differs
            faults.append(
                f"{folder.name}: {name} is {measured[name]:.6g}, but {METRICS} says {value:.6g} "
                f"± {allowed:.2g}."
            )
    return faults


def _evaluate(
    model: ZooModel, source: Any, sampler: Sampler | None, **protocol: Any
) -> dict[str, Any]:
    result = evaluate(model, source, **protocol)
    if sampler is not None and result["extractor"] is not None:
        result["metrics"] |= sampler_metrics(model, source, sampler, result)
    return result
