"""Does an artefact compute what the Keras model computes?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from rich.table import Table

from export.metadata import REPORT, hashes, place_of, read_export
from export.spec import INTEGERS, Endpoint, endpoints
from zoo.convert import in_float64
from zoo.convert.verification import prior_latents, tolerance_for
from zoo.files import write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BATCHES = (64, 1, 2, 7)
# How far, and how often, the inputs of a function that jumps are moved to find its other side.
NUDGE, NUDGES = 1e-4, 32


@dataclass(frozen=True)
class Row:
    """The measured difference of one output of one function.

    Errors of outputs without a fixed range (means and log-variances) are divided by their root
    mean square, where that is above 1; those of images are in pixel units of [0, 1]. Integers have
    no tolerance.
    """

    runtime: str
    function: str
    output: str
    max_error: float
    rms_error: float
    noise_floor: float  # of the Keras model: float32 against float64, largest difference
    tolerance: float
    passed: bool


@dataclass(frozen=True)
class Report:
    """The outcome of a verification."""

    path: str
    format: str
    problems: list[str]
    rows: list[Row]

    @property
    def passed(self) -> bool:
        """Whether there was no problem and every row is within its tolerance."""
        return not self.problems and bool(self.rows) and all(row.passed for row in self.rows)

    def table(self) -> Table:
        """A printable table; problems are its caption."""
        runtime = f" in {self.rows[0].runtime}" if self.rows else ""
        title = f"{self.path}{runtime}: {'equal' if self.passed else 'NOT equal'}"
        # No lines: seven columns are to fit in a terminal of 80.
        table = Table(title=title, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("function", "output"):
            table.add_column(column, no_wrap=True)
        for column in ("max error", "RMS error", "noise floor"):
            table.add_column(column, justify="right", min_width=len("1.2e-07"))
        for column in ("tolerance", "equal"):
            table.add_column(column, justify="right", no_wrap=True)
        for row in self.rows:
            numbers = (row.max_error, row.rms_error, row.noise_floor, row.tolerance)
            table.add_row(
                row.function, row.output, *(f"{x:.2g}" for x in numbers),
                "yes" if row.passed else "[bold red]NO[/]",
            )  # fmt: skip
        table.caption = "\n".join(self.problems)
        return table

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "passed": self.passed}


def verify(path: str | Path, model: Any, seed: int = 0) -> Report:
    """Compares every exported function with the model's, and saves the report beside the artefact.

    Inputs are 1,024 prior latents with the extremes 0 and ±4, and their images with black, white
    and noise; batch sizes 64, 1, 2 and 7. The tolerance is 4 × the model's own float32 noise,
    within [5e-6, 5e-5].

    A function that only jumps, as all behind an argmin, is on either side where rounding decides.
    Its output is compared with what the model gives for inputs that differ by at most 1e-4, with
    the nearest of 32 draws, in up to 64 examples. Faults in the weights move the jumps further.

    Args:
        path: An artefact, as for `read_export`.
        model: The model it should equal.
        seed: Seed of the latents.

    Returns:
        The report. Changed files, missing functions and wrong names are problems in it.

    Raises:
        FileNotFoundError: If `path` is no export.
    """
    found = read_export(path)
    folder, runtime = found["folder"], {"saved_model": "TensorFlow", "onnx": "ONNX Runtime"}
    problems = _changed_files(folder, found["files"])
    inputs = _inputs(model, seed)
    functions = _served(endpoints(model), found["format"])
    # In float64, where the networks can be cast.
    exact = {e.name: e for e in _served(endpoints(model, in_float64), found["format"])}
    rows = []
    for endpoint in functions:
        try:
            run = _load(found["format"], folder, endpoint)
            rows += _compare(runtime[found["format"]], endpoint, exact, run, inputs)
        except Exception as error:  # noqa: BLE001, PERF203  (what a runtime raises is a finding)
            problems.append(f"{endpoint.name}: {type(error).__name__}: {error}")
    known = {endpoint.name for endpoint in functions}
    problems += [
        f"{name}: not a function of the model" for name in found["endpoints"].keys() - known
    ]
    report = Report(str(folder), found["format"], problems, rows)
    write_json(place_of(folder, REPORT), report.to_dict())
    return report


def _changed_files(folder: Path, wanted: dict[str, str]) -> list[str]:
    present = hashes(folder)
    return [
        f"{name}: {'missing' if name not in present else 'not what was exported'}"
        for name in sorted(wanted.keys() | present.keys())
        if wanted.get(name) != present.get(name)
    ]


def _inputs(model: Any, seed: int) -> dict[str, np.ndarray]:
    latents = prior_latents(model, seed)
    labels = np.arange(len(latents), dtype=np.int32) % max(model.num_classes, 1)
    images = model.generate_from(latents, labels if model.num_classes else None)
    rng = np.random.default_rng(seed)
    images[0], images[1], images[2] = 0.0, 1.0, rng.random(images.shape[1:])
    found = {"latent": latents, "image": images, "label": labels}
    if any("codes" in inputs for _, inputs, *_ in model.endpoints().values()):
        codes = tf.function(model.codes_from_latents, reduce_retracing=True)
        parts = range(0, len(latents), BATCHES[0])
        found["codes"] = np.concatenate([codes(latents[i : i + BATCHES[0]]) for i in parts])
    return found


def _served(functions: list[Endpoint], format_name: str) -> list[Endpoint]:
    """The functions of an artefact: a SavedModel has `generate` under its default name too."""
    if format_name != "saved_model":
        return functions
    return [*functions, replace(functions[0], name="serving_default")]


def _load(format_name: str, folder: Path, endpoint: Endpoint) -> Callable[..., dict[str, Any]]:
    """The exported function, by input names; its tensors' names and shapes are checked."""
    if format_name == "onnx":
        import onnxruntime  # noqa: PLC0415

        session = onnxruntime.InferenceSession(
            folder / f"{endpoint.name}.onnx", providers=["CPUExecutionProvider"]
        )
        _check_tensors({i.name: _dims(i.shape) for i in session.get_inputs()}, endpoint.inputs)
        _check_tensors({o.name: _dims(o.shape) for o in session.get_outputs()}, endpoint.outputs)
        names = [*endpoint.outputs]
        return lambda **feeds: dict(zip(names, session.run(names, feeds), strict=True))
    loaded = tf.saved_model.load(str(folder))
    function = loaded.signatures[endpoint.name]
    inputs = {name: spec.shape for name, spec in function.structured_input_signature[1].items()}
    _check_tensors({n: _dims(s) for n, s in inputs.items()}, endpoint.inputs)
    outputs = function.structured_outputs
    _check_tensors({n: _dims(t.shape) for n, t in outputs.items()}, endpoint.outputs)

    def run(**feeds: np.ndarray) -> dict[str, np.ndarray]:
        tensors = {name: tf.constant(value) for name, value in feeds.items()}
        # The closure keeps `loaded` alive, without which its variables are gone.
        return {name: t.numpy() for name, t in loaded.signatures[endpoint.name](**tensors).items()}

    return run


def _dims(shape: Any) -> tuple[Any, ...]:
    """Shape without the batch axis, which must be dynamic."""
    first, *rest = list(shape)
    if isinstance(first, int):
        msg = f"the batch axis is fixed at {first}"
        raise ValueError(msg)  # noqa: TRY004  (a wrong value of the artefact)
    return tuple(rest)


def _check_tensors(found: dict[str, tuple[Any, ...]], wanted: dict[str, tuple[int, ...]]) -> None:
    if found != wanted:
        msg = f"tensors are {found}; expected {wanted}"
        raise ValueError(msg)


def _compare(
    runtime: str,
    endpoint: Endpoint,
    exact: dict[str, Endpoint],
    run: Callable[..., dict[str, Any]],
    inputs: dict[str, np.ndarray],
) -> list[Row]:
    feeds = {name: inputs[name] for name in endpoint.inputs}
    model = _by_name(endpoint)
    wanted = _in_batches(model, feeds, BATCHES[0])
    double = _in_batches(_by_name(exact[endpoint.name]), feeds, BATCHES[0])

    def differences(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        few = {name: values[: len(next(iter(found.values())))] for name, values in wanted.items()}
        if endpoint.piecewise_constant:
            few = _beside_jumps(model, feeds, found, few)
        return {name: np.abs(values - few[name]).ravel() for name, values in found.items()}

    errors: dict[str, list[np.ndarray]] = {name: [] for name in endpoint.outputs}
    for batch in BATCHES:
        part = feeds if batch == BATCHES[0] else {n: x[: 9 * batch] for n, x in feeds.items()}
        found = _in_batches(run, part, batch)
        for name, values in differences(found).items():
            errors[name].append(values)
    floors = differences(double)
    rows = []
    for name in endpoint.outputs:
        bounded = name in ("image", "reconstruction")
        scale = 1.0 if bounded else max(1.0, float(np.sqrt(np.mean(np.square(double[name])))))
        error = np.concatenate(errors[name]).astype(np.float64) / scale
        floor = float(np.max(floors[name])) / scale
        tolerance = 0.0 if name in INTEGERS else tolerance_for(floor)
        largest = float(np.max(error))
        rms = float(np.sqrt(np.mean(np.square(error))))
        passed = largest <= tolerance  # false for NaN
        rows.append(Row(runtime, endpoint.name, name, largest, rms, floor, tolerance, passed))
    return rows


def _beside_jumps(
    model: Callable[..., dict[str, np.ndarray]],
    feeds: dict[str, np.ndarray],
    found: dict[str, np.ndarray],
    wanted: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """The wanted outputs; of an example that differs, the nearest to it beside its inputs."""

    def errors(values: dict[str, np.ndarray], rows: Any) -> np.ndarray:
        each = [
            np.abs(x - found[n][rows]).reshape(len(x), -1).max(axis=1) for n, x in values.items()
        ]
        return np.max(each, axis=0)

    differing = np.flatnonzero(~(errors(wanted, slice(None)) <= tolerance_for(np.inf)))
    rows = differing[: BATCHES[0]]
    if not rows.size:
        return wanted
    best = {name: x.copy() for name, x in wanted.items()}
    rng = np.random.default_rng(0)
    for _ in range(NUDGES):
        nudges = {n: rng.uniform(-NUDGE, NUDGE, x[rows].shape) for n, x in feeds.items()}
        values = model(**{n: (x[rows] + nudges[n]).astype(x.dtype) for n, x in feeds.items()})
        better = errors(values, rows) < errors({n: x[rows] for n, x in best.items()}, rows)
        for name, x in values.items():
            best[name][rows[better]] = x[better]
    return best


def _by_name(endpoint: Endpoint) -> Callable[..., dict[str, Any]]:
    function = tf.function(endpoint.function, reduce_retracing=True)
    return lambda **feeds: {
        name: tensor.numpy()
        for name, tensor in function(*(feeds[n] for n in endpoint.inputs)).items()
    }


def _in_batches(
    run: Callable[..., dict[str, Any]], feeds: dict[str, np.ndarray], batch: int
) -> dict[str, np.ndarray]:
    total = len(next(iter(feeds.values())))
    parts = [
        run(**{name: x[i : i + batch] for name, x in feeds.items()}) for i in range(0, total, batch)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
