"""The benchmark's table, made from the run folders of `zoo.bench.run`."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from zoo.core.registry import FAMILIES
from zoo.io import schemas
from zoo.io.records import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence

METRICS = {
    "frechet_distance": "Fréchet distance",
    "frechet_distance_gmm": "Fréchet distance, GMM",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "coverage_gmm": "coverage, GMM",
    "class_accuracy": "class accuracy",
    "class_accuracy_gmm": "class accuracy, GMM",
    "elbo": "ELBO",
    "iwae_bound": "IWAE bound",
    "mig": "MIG",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "DCI completeness",
    "sap": "SAP",
}
PROTOCOL = ("data", "split", "images", "samples", "extractor")
REASON = 160  # characters of a failure's message


def table(out: str | Path) -> list[str]:
    """The benchmark's table: rows by family and Fréchet distance, and how they were made.

    Args:
        out: The folder that `zoo.bench.run.bench` wrote.

    Returns:
        Lines of Markdown. Likelihoods are in nats per image, speed in images/s.

    Raises:
        ValueError: If no row is finished, or rows were trained or measured differently.

    Example:
        >>> from zoo.bench.table import table
        >>> lines = table("runs/bench")  # doctest: +SKIP
    """
    measured = read_measured(out)
    failed = _read(out, "failed.json")
    if not measured:
        msg = f"{out} has no finished row. Make some: zoo bench --out {out}"
        raise ValueError(msg)
    how = _how(measured)
    runs_of: dict[str, list[dict[str, Any]]] = {}
    for run in (*measured, *failed):
        runs_of.setdefault(run["bench"]["row"], []).append(run)
    names = [name for name in METRICS if any(name in run["metrics"] for run in measured)]
    titles = [METRICS[name] for name in names]
    header = ["row", "family", *titles, "parameters", "images/s", "seeds"]
    ordered = sorted(runs_of.values(), key=_order)
    lines = [*markdown(header, [_cells(runs, names) for runs in ordered]), "", how]
    for run in failed:
        settings = run["bench"]
        reason = shorten(run["error"], REASON, placeholder=" …")
        lines += ["", f"{settings['row']}, seed {settings['seed']}, failed: {reason}"]
    return lines


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table.

    Example:
        >>> from zoo.bench.table import markdown
        >>> markdown(["model", "seeds"], [["vae", "2"]])
        ['| model | seeds |', '| --- | --- |', '| vae | 2 |']
    """
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def read_measured(out: str | Path) -> list[dict[str, Any]]:
    """The `metrics.json` of each finished run of the benchmark in a folder."""
    return [metrics for metrics in _read(out, "metrics.json") if "bench" in metrics]


def _read(out: str | Path, name: str) -> list[dict[str, Any]]:
    kind = schemas.FAILURE if name == "failed.json" else schemas.METRICS
    return [read_json(path, kind) for path in sorted(Path(out).glob(f"*/seed_*/{name}"))]


def _order(runs: Sequence[dict[str, Any]]) -> tuple[int, float]:
    """By family, then distance; rows without a distance come last in their family."""
    distances = _values(runs, "metrics", "frechet_distance")
    mean = sum(distances) / len(distances) if distances else float("inf")
    return FAMILIES.index(runs[0]["bench"]["family"]), mean


def _cells(runs: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """A row's text, over its seeds; a failed run has no `metrics`."""
    settings = runs[0]["bench"]
    values = {name: _values(runs, "metrics", name) for name in names}
    finished = [run for run in runs if "metrics" in run]
    metrics = [_number(values[name]) for name in names] if finished else ["failed"]
    metrics += [""] * (len(names) - len(metrics))
    parameters = _values(runs, "bench", "parameters")
    speeds = _values(runs, "bench", "images_per_second")
    return [
        settings["row"] + (f" ({settings['note']})" if settings["note"] else ""),
        settings["family"].upper(),
        *metrics,
        f"{parameters[0]:,}" if parameters else "",
        f"{sum(speeds) / len(speeds):,.0f}" if speeds else "",
        str(len(finished)),
    ]


def _values(runs: Sequence[dict[str, Any]], part: str, name: str) -> list[Any]:
    values = (run.get(part, {}).get(name) for run in runs)
    return [value for value in values if value is not None]


def _number(values: Sequence[float]) -> str:
    """The mean; of several values also ± half their range."""
    if not values:
        return ""
    mean = f"{sum(values) / len(values):.4g}"
    return mean if len(values) == 1 else f"{mean} ± {(max(values) - min(values)) / 2:.2g}"


def _how(measured: Sequence[dict[str, Any]]) -> str:
    """Data, epochs, seeds, protocol, machines and command of rows that must agree on them."""
    protocols = [
        {"epochs": run["bench"]["epochs"], **{key: run[key] for key in PROTOCOL}}
        for run in measured
    ]
    first = protocols[0]
    for run, other in zip(measured, protocols, strict=True):
        if other != first:
            names = [each["bench"]["row"] for each in (measured[0], run)]
            msg = f"{names[0]} was trained or measured with {first}, {names[1]} with {other}."
            raise ValueError(msg)
    seeds = ",".join(map(str, sorted({run["bench"]["seed"] for run in measured})))
    machines = "; ".join(sorted({describe_machine(run["bench"]["machine"]) for run in measured}))
    bounds = sorted({run["importance_samples"] for run in measured if "elbo" in run["metrics"]})
    nats = "".join(f" ELBO and IWAE bound (k = {k}) in nats per image." for k in bounds)
    spread = ", mean ± half the range" if "," in seeds else ""
    features = (
        f"{first['samples']:,} samples against the {first['images']:,} images of the "
        f"{first['split']} split; features: {first['extractor']}."
    )
    return (
        f"{first['epochs']} epochs on {first['data']}, seeds {seeds}{spread}. "
        f"{features if first['extractor'] else ''}{nats} {machines}. "
        f"`zoo bench --data {first['data']} --epochs {first['epochs']} --seeds {seeds}`"
    )


def describe_machine(machine: dict[str, Any]) -> str:
    """One line on a machine, as `zoo.bench.run.machine` describes it.

    Example:
        >>> from zoo.bench.table import describe_machine
        >>> abacus = {"cores": 1, "processor": "Abacus", "gpus": [], "tensorflow": "2.21.0"}
        >>> describe_machine(abacus)
        '1 core of Abacus, TensorFlow 2.21.0'
    """
    cores = (
        f"{machine['cores']} core{'s' if machine['cores'] > 1 else ''} of {machine['processor']}"
    )
    return f"{', '.join(machine['gpus']) or cores}, TensorFlow {machine['tensorflow']}"
