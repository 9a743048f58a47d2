"""Does an artefact compute what the Keras model computes?"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from export.example_inputs import inputs_at, inputs_of, other_sizes
from export.functions import (
    IMAGES,
    Endpoint,
    as_model,
    byte_functions,
    endpoints,
    model_facts,
    names_of,
)
from export.metadata import NAME, REPORT, changed_files, place_of, read_export
from export.references import (
    ALIASES,
    QUICK,
    Reference,
    compare,
    reference_at,
    reference_of,
)
from export.report import Report, Row
from export.runtimes import RUNTIMES, opened, present
from zoo.convert import in_float64
from zoo.convert.verification import EXTREMES, prior_latents
from zoo.io.records import write_json
from zoo.sampling.standing import standing_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

EXAMPLES = 256
FEW = 16  # of each further size, where a function takes every size
REMEDY = (
    "The export is at fault and nothing was written; please report it with the network. "
    "verify=False (--no-verify) writes it all the same."
)


def verify(
    path: str | Path, model: Any, seed: int = 0, runtimes: Sequence[str] | None = None
) -> Report:
    """Compares every exported function with the model's, and saves the report beside the artefact.

    Inputs are 253 prior latents with the extremes 0 and ±4, and their images with black, white
    and noise; batch sizes 64, 1, 2 and 7; three seeds of `sample`. A function that takes images of
    every size takes 16 of two further sizes too, a square and another. The tolerance is 4 × the
    model's own float32 noise, within [5e-6, 5e-5], and for bytes half a grey level more; that of a
    reduced precision is of its class, by the largest and by the RMS error.

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

    Example:
        >>> import tempfile, zoo
        >>> from export import export_model, verify
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> options = {"functions": ["generate"], "verify": False, "warmup": False}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = verify(export_model(model, f"{folder}/vae", **options), model)
        >>> report.passed
        True
    """
    facts, model = read_export(path), as_model(model)
    with _full_precision(), standing_as(model, facts):
        return _verified(facts, model, seed, runtimes)


def _verified(
    facts: dict[str, Any], model: Any, seed: int, runtimes: Sequence[str] | None
) -> Report:
    folder, runtimes = facts["folder"], _checked_runtimes(runtimes, facts["format"])
    functions, precision = _served(model, facts), facts.get("precision", "float32")
    changed = changed_files(folder, facts["files"])
    problems = [f"{name}: {what}" for name, what in changed.items()]
    problems += _changed_facts(facts, model, functions)
    inputs = _inputs(model, seed)
    # In float64, where the networks can be cast.
    names = [endpoint.name for endpoint in functions if endpoint.name not in ALIASES]
    every_size = "image_sizes" in facts
    exact = {e.name: e for e in endpoints(model, in_float64, names, every_size=every_size)}
    rows: list[Row] = []
    notes: list[str] = []
    references: dict[str, Reference] = {}
    main, *further = ((runtime, opened(runtime, facts)) for runtime in runtimes)
    for endpoint in functions:
        try:
            every = [reference_of(endpoint, references, exact, model, inputs)]
            for sides in other_sizes(endpoint):
                other = _inputs_at(model, endpoint, sides, seed)
                every.append(reference_at(endpoint, sides, exact, model, other))
            rows += _rows(main[0], precision, every, main[1](endpoint))
            for runtime, load in further:
                try:
                    run = load(endpoint)
                except Exception as error:  # noqa: BLE001, PERF203  (as below)
                    notes.append(f"{runtime} cannot load {endpoint.name} ({_short(error)})")
                else:
                    rows += _rows(runtime, precision, every, run)
        except Exception as error:  # noqa: BLE001, PERF203  (what a runtime raises is a finding)
            problems.append(f"{endpoint.name}: {_short(error)}")
    known = {endpoint.name for endpoint in functions}
    problems += [
        f"{name}: not a function of the model" for name in facts["endpoints"].keys() - known
    ]
    if precision != "float32":
        notes += [
            f"{row.function} in {precision}: PSNR {-20 * np.log10(max(row.rms_error, 1e-9)):.1f} dB"
            for row in rows
            if row.runtime == main[0] and row.output in IMAGES
        ]
    report = Report(str(folder), facts["format"], problems, rows, notes)
    write_json(place_of(folder, REPORT), report.to_dict())
    return report


def _rows(
    runtime: str, precision: str, references: Sequence[Reference], run: Callable[..., Any]
) -> list[Row]:
    """The rows of a function at each size."""
    return [row for each in references for row in compare(runtime, precision, each, run)]


def check_export(folder: Path, model: Any) -> None:
    """Compares every exported function with the model's, quickly, before an export is in its place.

    The format's first runtime computes batches of 3 and 1; latents are prior draws, images those
    that the model generates of them and, unless precision is reduced, one of noise. A function that
    takes images of every size is tried with the two further sizes of `verify` too. The tolerance
    is the largest that `verify` has, 5e-5, or that of the reduced precision. Nothing is written.

    Args:
        folder: What was exported, with its metadata.
        model: The model, or the Keras generator.

    Raises:
        ValueError: If a function cannot be run, has other tensors, or differs from the model's; it
            is named, with the difference.
    """
    facts, model = read_export(folder), as_model(model)
    runtime, precision = RUNTIMES[facts["format"]][0], facts.get("precision", "float32")
    references: dict[str, Reference] = {}
    with _full_precision():
        functions, load = _served(model, facts), opened(runtime, facts)
        inputs = _few_inputs(model, functions[0], precision)
        for endpoint in functions:
            try:
                every = [reference_of(endpoint, references, None, model, inputs)]
                for sides in other_sizes(endpoint):
                    other = inputs_at(model, endpoint, sides, QUICK[0], seed=0)
                    every.append(reference_at(endpoint, sides, None, model, other))
                run = load(endpoint)
                rows = [(row, each) for each in every
                        for row in compare(runtime, precision, each, run)]  # fmt: skip
            except Exception as error:
                msg = f"{endpoint.name}: {runtime} fails on the export ({_short(error)}). {REMEDY}"
                raise ValueError(msg) from error
            for row, reference in rows:
                if not row.passed:
                    raise ValueError(_difference(row, reference))


def _difference(row: Row, reference: Reference) -> str:
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

    inputs = inputs_of(model, model.sample_latents(QUICK[0], seed=0), images)
    if precision == "float32":  # of others, the tolerance is for what they were calibrated on
        image = inputs["image"]
        image[-1] = np.random.default_rng(0).random(image.shape[1:])
    return inputs


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


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text if len(text) < 400 else text[:400] + ' …'}"


def _checked_runtimes(names: Sequence[str] | None, format_name: str) -> Sequence[str]:
    for name in names or ():
        if name not in RUNTIMES[format_name]:
            msg = f"runtime {name!r}: expected one of {', '.join(RUNTIMES[format_name])}."
            raise ValueError(msg)
    return names or present(format_name)


def _changed_facts(facts: dict[str, Any], model: Any, functions: Sequence[Endpoint]) -> list[str]:
    """Where the metadata are not the model's."""
    wanted = model_facts(model, [e for e in functions if e.name != "serving_default"])
    del wanted["versions"]  # of who exported
    if "standing_statistics" in facts:
        del wanted["weights_sha256"]  # computed anew, which another processor rounds otherwise
    return [
        f"{NAME}: {key} is not the model's"
        for key, value in json.loads(json.dumps(wanted)).items()
        if facts.get(key) != value
    ]


def _served(model: Any, facts: dict[str, Any]) -> list[Endpoint]:
    """The functions of the model that the artefact has, under all their names."""
    names = [name for name in names_of(model) if name in facts["endpoints"]]
    functions = endpoints(model, functions=names, every_size="image_sizes" in facts)
    if facts["format"] != "saved_model":
        return functions
    return [
        *functions,
        replace(functions[0], name="serving_default"),
        *byte_functions(functions[0]),
    ]


def _inputs(model: Any, seed: int) -> dict[str, np.ndarray]:
    # The extremes are the last of them, and here the first.
    latents = np.roll(prior_latents(model, seed), len(EXTREMES), axis=0)[:EXAMPLES]
    inputs = inputs_of(model, latents)
    _put_extremes(inputs["image"][3:], seed)
    return inputs


def _inputs_at(
    model: Any, endpoint: Endpoint, sides: tuple[int, int], seed: int
) -> dict[str, np.ndarray]:
    """Inputs for images of another size."""
    inputs = inputs_at(model, endpoint, sides, FEW, seed)
    if "image" in inputs:
        _put_extremes(inputs["image"], seed)
    return inputs


def _put_extremes(images: np.ndarray, seed: int) -> None:
    """Makes the first three black, white and noise."""
    images[0], images[1] = 0.0, 1.0
    images[2] = np.random.default_rng(seed).random(images.shape[1:])
