"""Does an artefact compute what the Keras model computes?"""

from __future__ import annotations

import copy
import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from rich.table import Table

from export.endpoints import (
    IMAGES,
    INTEGERS,
    Endpoint,
    as_model,
    byte_functions,
    endpoints,
    names_of,
)
from export.example_inputs import inputs_of
from export.metadata import NAME, REPORT, changed_files, describe, place_of, read_export
from export.portable_random import portable_draw
from export.runtimes import RUNTIMES, SLOW, opened, present
from zoo.convert import in_float64
from zoo.convert.verification import EXTREMES, prior_latents, tolerance_for
from zoo.io import schemas
from zoo.io.records import known_entries, read_json, write_json
from zoo.io.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

BATCHES = (64, 1, 2, 7)
QUICK = (3, 1)  # batch sizes of the check after an export
EXAMPLES = 256
SEEDS = (0, 1, 2**24 - 2**20)
# How far, and how often, the inputs of a function that jumps are moved to find its other side.
NUDGE, NUDGES = 1e-4, 32
# Largest and RMS error of a precision, of images and of other outputs. Where int8 was calibrated,
# RMS errors are some thousandths; the extremes lie outside, and have the largest error.
REDUCED = {
    "float16": {True: (3e-3, 5e-4), False: (1e-2, 3e-3)},
    "int8": {True: (0.5, 0.015), False: (1.0, 0.1)},
}
REMEDY = (
    "The export is at fault and nothing was written; please report it with the network. "
    "verify=False (--no-verify) writes it all the same."
)
# Other names of `generate`.
ALIASES = ("serving_default", "generate_uint8", "generate_png")
HALF_GREY = 0.5 / 255.0


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
    # What a further runtime cannot load; of reduced precisions, how near the images are.
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether there was no problem and every row is within its tolerance."""
        return not self.problems and bool(self.rows) and all(row.passed for row in self.rows)

    def table(self) -> Table:
        """A printable table; problems are its caption."""
        title = plain(f"{self.path}: {'equal' if self.passed else 'NOT equal'}", "table.title")
        # No lines: eight columns are to fit in a terminal of 80.
        table = Table(title=title, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("runtime", "function"):
            table.add_column(column, no_wrap=True)
        for column in ("max error", "RMS error", "noise floor"):
            table.add_column(column, justify="right", min_width=len("1.2e-07"))
        for column in ("tolerance", "equal"):
            table.add_column(column, justify="right", no_wrap=True)
        outputs = Counter((row.runtime, row.function) for row in self.rows)
        for row in sorted(self.rows, key=lambda row: row.runtime):
            several = outputs[row.runtime, row.function] > 1
            numbers = (row.max_error, row.rms_error, row.noise_floor, row.tolerance)
            table.add_row(
                plain(row.runtime),
                plain(f"{row.function}.{row.output}" if several else row.function),
                *(f"{x:.2g}" for x in numbers),
                plain("yes") if row.passed else plain("NO", "bold red"),
            )
        table.caption = plain("\n".join([*self.problems, *self.notes]), "table.caption")
        return table

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "passed": self.passed}


def verify(
    path: str | Path, model: Any, seed: int = 0, runtimes: Sequence[str] | None = None
) -> Report:
    """Compares every exported function with the model's, and saves the report beside the artefact.

    Inputs are 253 prior latents with the extremes 0 and ±4, and their images with black, white
    and noise; batch sizes 64, 1, 2 and 7; three seeds of `sample`. The tolerance is 4 × the model's
    own float32 noise, within [5e-6, 5e-5], and for bytes half a grey level more; that of a reduced
    precision is of its class, by the largest and by the RMS error.

    A function that only jumps, as all behind an argmin, is on either side where rounding decides.
    Its output is compared with what the model gives for inputs that differ by at most 1e-4, with
    the nearest of 32 draws, in up to 64 examples. Faults in the weights move the jumps further.

    Args:
        path: An artefact, as for `read_export`.
        model: The model it should equal, or the Keras generator.
        seed: Seed of the latents.
        runtimes: Some of `export.runtimes.RUNTIMES`; None takes all installed ones of the format.

    Returns:
        The report. Changed files and facts, missing functions and wrong names are problems in it;
        a file that the first runtime computes and a further one cannot load is a note, and so is
        the PSNR of images of a reduced precision.

    Raises:
        FileNotFoundError: If `path` is no export.
        ValueError: If there is no such runtime for its format.
    """
    with _full_precision():
        return _verified(read_export(path), as_model(model), seed, runtimes)


def _verified(
    found: dict[str, Any], model: Any, seed: int, runtimes: Sequence[str] | None
) -> Report:
    folder, precision = found["folder"], found.get("precision", "float32")
    runtimes = _checked_runtimes(runtimes, found["format"])
    functions = _served(model, found)
    changed = changed_files(folder, found["files"])
    problems = [f"{name}: {what}" for name, what in changed.items()]
    problems += _changed_facts(found, model, functions)
    inputs = _inputs(model, seed)
    # In float64, where the networks can be cast.
    names = [endpoint.name for endpoint in functions if endpoint.name not in ALIASES]
    exact = {e.name: e for e in endpoints(model, in_float64, names)}
    rows: list[Row] = []
    notes: list[str] = []
    references: dict[str, _Reference] = {}
    main, *further = ((runtime, opened(runtime, found)) for runtime in runtimes)
    for endpoint in functions:
        try:
            reference = _reference_of(endpoint, references, exact, model, inputs)
            rows += _compare(main[0], precision, reference, main[1](endpoint))
            for runtime, load in further:
                try:
                    run = load(endpoint)
                except Exception as error:  # noqa: BLE001, PERF203  (as below)
                    notes.append(f"{runtime} cannot load {endpoint.name} ({_short(error)})")
                else:
                    rows += _compare(runtime, precision, reference, run)
        except Exception as error:  # noqa: BLE001, PERF203  (what a runtime raises is a finding)
            problems.append(f"{endpoint.name}: {_short(error)}")
    known = {endpoint.name for endpoint in functions}
    problems += [
        f"{name}: not a function of the model" for name in found["endpoints"].keys() - known
    ]
    if precision != "float32":
        notes += [
            f"{row.function} in {precision}: PSNR {-20 * np.log10(max(row.rms_error, 1e-9)):.1f} dB"
            for row in rows
            if row.runtime == main[0] and row.output in IMAGES
        ]
    report = Report(str(folder), found["format"], problems, rows, notes)
    write_json(place_of(folder, REPORT), report.to_dict())
    return report


def check_export(folder: Path, model: Any) -> None:
    """Compares every exported function with the model's, quickly, before an export is in its place.

    The format's first runtime computes batches of 3 and 1; latents are prior draws, images those
    that the model generates of them and, unless precision is reduced, one of noise. The tolerance
    is the largest that `verify` has, 5e-5, or that of the reduced precision. Nothing is written.

    Args:
        folder: What was exported, with its metadata.
        model: The model, or the Keras generator.

    Raises:
        ValueError: If a function cannot be run, has other tensors, or differs from the model's; it
            is named, with the difference.
    """
    found, model = read_export(folder), as_model(model)
    runtime, precision = RUNTIMES[found["format"]][0], found.get("precision", "float32")
    references: dict[str, _Reference] = {}
    with _full_precision():
        functions, load = _served(model, found), opened(runtime, found)
        inputs = _few_inputs(model, functions[0], precision)
        for endpoint in functions:
            try:
                reference = _reference_of(endpoint, references, None, model, inputs)
                rows = _compare(runtime, precision, reference, load(endpoint))
            except Exception as error:
                msg = f"{endpoint.name}: {runtime} fails on the export ({_short(error)}). {REMEDY}"
                raise ValueError(msg) from error
            for row in rows:
                if not row.passed:
                    raise ValueError(_difference(row, reference))


def _difference(row: Row, reference: _Reference) -> str:
    if not np.isfinite(reference.wanted[row.output]).all():
        return (
            f"{row.function}: the model itself puts out {row.output} that is not finite. Has its "
            "training diverged? Export an earlier checkpoint."
        )
    return (
        f"{row.function}: {row.output} in {row.runtime} differs from the model's by up to "
        f"{row.max_error:.2g} (RMS {row.rms_error:.2g}); expected at most {row.tolerance:.2g}. "
        f"{REMEDY}"
    )


def _few_inputs(model: Any, generate: Endpoint, precision: str) -> dict[str, np.ndarray]:
    def images(latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        given = [latents] if labels is None else [latents, labels]
        return generate.function(*map(tf.constant, given))["image"].numpy()

    found = inputs_of(model, model.sample_latents(QUICK[0], seed=0), images)
    if precision == "float32":  # of others, the tolerance is for what they were calibrated on
        image = found["image"]
        image[-1] = np.random.default_rng(0).random(image.shape[1:])
    return found


@contextmanager
def _full_precision() -> Iterator[None]:
    """Without TensorFloat-32, in which GPUs multiply with 10 bits by default."""
    settings = tf.config.experimental
    before = settings.tensor_float_32_execution_enabled()
    settings.enable_tensor_float_32_execution(enabled=False)
    try:
        yield
    finally:
        settings.enable_tensor_float_32_execution(enabled=before)


def read_report(path: str | Path) -> Report | None:
    """The report that `verify` saved with an artefact, if it did.

    Raises:
        FileNotFoundError: If `path` is no export.
    """
    place = place_of(read_export(path)["folder"], REPORT)
    if not place.exists():
        return None
    found = read_json(place, schemas.VERIFICATION)
    rows = [Row(**known_entries(Row, row)) for row in found["rows"]]
    return Report(**{**known_entries(Report, found), "rows": rows})


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text if len(text) < 400 else text[:400] + ' …'}"


def _checked_runtimes(names: Sequence[str] | None, format_name: str) -> Sequence[str]:
    for name in names or ():
        if name not in RUNTIMES[format_name]:
            msg = f"runtime {name!r}: expected one of {', '.join(RUNTIMES[format_name])}."
            raise ValueError(msg)
    return names or present(format_name)


def _changed_facts(found: dict[str, Any], model: Any, functions: Sequence[Endpoint]) -> list[str]:
    """Where the metadata are not the model's."""
    wanted = describe(model, [e for e in functions if e.name != "serving_default"])
    del wanted["versions"]  # of who exported
    return [
        f"{NAME}: {key} is not the model's"
        for key, value in json.loads(json.dumps(wanted)).items()
        if found.get(key) != value
    ]


def _served(model: Any, found: dict[str, Any]) -> list[Endpoint]:
    """The functions of the model that the artefact has, under all their names."""
    functions = endpoints(model, functions=[n for n in names_of(model) if n in found["endpoints"]])
    if found["format"] != "saved_model":
        return functions
    return [
        *functions,
        replace(functions[0], name="serving_default"),
        *byte_functions(functions[0]),
    ]


def _inputs(model: Any, seed: int) -> dict[str, np.ndarray]:
    # The extremes are the last of them, and here the first.
    latents = np.roll(prior_latents(model, seed), len(EXTREMES), axis=0)[:EXAMPLES]
    found = inputs_of(model, latents)
    image = found["image"]
    image[3], image[4] = 0.0, 1.0
    image[5] = np.random.default_rng(seed).random(image.shape[1:])
    return found


def _reference_of(
    endpoint: Endpoint,
    references: dict[str, _Reference],
    exact: dict[str, Endpoint] | None,
    model: Any,
    inputs: dict[str, np.ndarray],
) -> _Reference:
    """The reference of a function, added to `references`; aliases of `generate` share its."""
    if endpoint.name in ALIASES:
        reference = references["generate"].of_alias(endpoint)
    else:
        in_double = None if exact is None else exact[endpoint.name]
        reference = _Reference(endpoint, in_double, model, inputs)
    references[endpoint.name] = reference
    return reference


class _Reference:
    """What the model gives for the inputs of a function, and how far float32 is from float64.

    Without the function in float64, for the quick check, how far is not known, and counts as
    infinitely.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        exact: Endpoint | None,
        model: Any,
        inputs: dict[str, np.ndarray],
    ) -> None:
        self.endpoint = endpoint
        self.batches: Sequence[int] = QUICK if exact is None else BATCHES
        self.seeds = SEEDS[1:2] if exact is None else SEEDS
        self.seeded = "seed" in endpoint.inputs
        self.feeds = {name: inputs[name] for name in endpoint.inputs if name in inputs}
        self.function = _by_name(endpoint, eager=exact is None)
        self.wanted, _ = self.outputs(self.function, self.batches[0])
        if exact is None:
            in_double = None
        else:
            in_double = self.outputs(_by_name(exact), self.batches[0], self.batches[0])
        if self.seeded and endpoint.piecewise_constant:
            # An input that can be nudged, and a function of it.
            draws = [portable_draw(self.batches[0], seed) for seed in self.seeds]
            latents = np.concatenate([model.prior_latents(draw) for draw in draws])
            generate = endpoints(model, functions=["generate"])[0]
            labels = np.full(len(latents), self.label, np.int32)
            self.feeds = {"latent": latents, "label": labels}
            self.feeds = {name: self.feeds[name] for name in generate.inputs}
            self.function = _by_name(generate)
        if in_double is None:
            self.floors = dict.fromkeys(endpoint.outputs, np.inf)
        else:
            differences = self.differences(*in_double)
            self.floors = {name: float(np.max(values)) for name, values in differences.items()}

    def of_alias(self, endpoint: Endpoint) -> _Reference:
        """The reference of a function that gives the same image under another name.

        For bytes it has the image before rounding: in the middle of two grey levels both are right.
        """
        (output,) = endpoint.outputs
        found = copy.copy(self)
        found.endpoint = endpoint
        found.function = lambda **feeds: {output: self.function(**feeds)["image"]}
        found.wanted = {output: self.wanted["image"]}
        found.floors = {output: self.floors["image"]}
        return found

    @property
    def label(self) -> int:
        """The class that `sample` draws."""
        return int(np.max(self.feeds["label"])) if "label" in self.feeds else 0

    def calls(self, batch: int, few: int | None = None) -> Iterator[tuple[dict[str, Any], slice]]:
        """Inputs of each call with this batch size, and which rows of all outputs it gives.

        Only the first `few` examples, if that is given.
        """
        if self.seeded:
            labels = {"label": self.label} if "label" in self.endpoint.inputs else {}
            for i, seed in enumerate(self.seeds if few is None else self.seeds[:1]):
                values = {"n": batch, "seed": seed, **labels}
                feeds = {name: np.asarray(x, np.int32) for name, x in values.items()}
                yield feeds, slice(i * self.batches[0], i * self.batches[0] + batch)
            return
        total = len(next(iter(self.feeds.values())))
        total = min(total, few or (total if batch == self.batches[0] else 9 * batch))
        for start in range(0, total, batch):
            rows = slice(start, min(start + batch, total))
            yield {name: x[rows] for name, x in self.feeds.items()}, rows

    def outputs(
        self, run: Callable[..., dict[str, Any]], batch: int, few: int | None = None
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """All outputs of a function by name, bytes as floats in [0, 1], and the numbers of rows."""
        parts, rows = [], []
        for feeds, part in self.calls(batch, few):
            parts.append({name: _as_numbers(x) for name, x in run(**feeds).items()})
            rows.append(np.arange(part.start, part.stop))
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return joined, np.concatenate(rows)

    def differences(self, found: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
        """How far outputs of these rows are from the model's: absolute and flat, by name."""
        wanted = {name: values[rows] for name, values in self.wanted.items()}
        if self.endpoint.piecewise_constant:
            feeds = {name: x[rows] for name, x in self.feeds.items()}
            wanted = _beside_jumps(self.function, feeds, found, wanted)
        return {name: np.abs(values - wanted[name]).ravel() for name, values in found.items()}


def _compare(
    runtime: str, precision: str, reference: _Reference, run: Callable[..., dict[str, Any]]
) -> list[Row]:
    endpoint = reference.endpoint
    errors: dict[str, list[np.ndarray]] = {name: [] for name in endpoint.outputs}
    batches = [(batch, None) for batch in reference.batches]
    for batch, few in [(2, 2)] if runtime in SLOW else batches:
        for name, values in reference.differences(*reference.outputs(run, batch, few)).items():
            errors[name].append(values)
    rows = []
    for name, spec in endpoint.outputs.items():
        square = float(np.mean(np.square(reference.wanted[name], dtype=np.float64)))
        scale = 1.0 if name in IMAGES else max(1.0, square**0.5)
        error = np.concatenate(errors[name]).astype(np.float64) / scale
        floor = reference.floors[name] / scale
        largest, rms = float(np.max(error)), float(np.sqrt(np.mean(np.square(error))))
        tolerance = rms_tolerance = tolerance_for(floor)
        if precision != "float32":
            tolerance, rms_tolerance = REDUCED[precision][name in IMAGES]
        if name in INTEGERS:
            tolerance = 0.0
        elif spec.dtype in (tf.uint8, tf.string):
            tolerance, rms_tolerance = tolerance + HALF_GREY, rms_tolerance + HALF_GREY
        passed = largest <= tolerance and rms <= rms_tolerance  # false for NaN
        rows.append(Row(runtime, endpoint.name, name, largest, rms, floor, tolerance, passed))
    return rows


def _as_numbers(values: np.ndarray) -> np.ndarray:
    """Bytes, and PNG files of them, as floats in [0, 1]."""
    if values.dtype == object:
        values = np.stack([tf.io.decode_png(value).numpy() for value in values])
    return values.astype(np.float32) / 255.0 if values.dtype == np.uint8 else values


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
        nudged = {n: x[rows] for n, x in feeds.items()}
        for n, x in nudged.items():
            if x.dtype == np.float32:
                nudged[n] = x + rng.uniform(-NUDGE, NUDGE, x.shape).astype(np.float32)
        values = model(**nudged)
        better = errors(values, rows) < errors({n: x[rows] for n, x in best.items()}, rows)
        for name, x in values.items():
            best[name][rows[better]] = x[better]
    return best


def _by_name(endpoint: Endpoint, *, eager: bool = False) -> Callable[..., dict[str, Any]]:
    function = endpoint.function  # for few calls, faster than tracing it
    if not eager:
        function = tf.function(function, reduce_retracing=True)
    return lambda **feeds: {
        name: tensor.numpy()
        for name, tensor in function(*(tf.constant(feeds[n]) for n in endpoint.inputs)).items()
    }
