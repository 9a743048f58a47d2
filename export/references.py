"""What the model gives for the inputs of a function, and how far an artefact is from it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from export.example_inputs import feeds_of
from export.functions import IMAGES, INTEGERS, NCHW, Endpoint, endpoints
from export.portable_random import portable_draw
from export.report import Row
from export.runtimes import SLOW
from zoo.convert.verification import tolerance_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BATCHES = (64, 1, 2, 7)
QUICK = (3, 1)  # batch sizes of the check after an export
SEEDS = (0, 1, 2**24 - 2**20)
# How far, and how often, the inputs of a function that jumps are moved to find its other side.
NUDGE, NUDGES = 1e-4, 32
# Largest and RMS error of a precision, of images and of other outputs. Where int8 was calibrated,
# RMS errors are some thousandths; the extremes lie outside, and have the largest error.
REDUCED = {
    "float16": {True: (3e-3, 5e-4), False: (1e-2, 3e-3)},
    "int8": {True: (0.5, 0.015), False: (1.0, 0.1)},
}
# Other names of `generate`.
ALIASES = ("serving_default", "generate_uint8", "generate_png", NCHW)
HALF_GREY = 0.5 / 255.0


def reference_of(
    endpoint: Endpoint,
    references: dict[str, Reference],
    exact: dict[str, Endpoint] | None,
    model: Any,
    inputs: dict[str, np.ndarray],
) -> Reference:
    """The reference of a function, added to `references`; aliases of `generate` share its."""
    if endpoint.name in ALIASES:
        reference = references["generate"].of_alias(endpoint)
    else:
        in_double = None if exact is None else exact[endpoint.name]
        reference = Reference(endpoint, in_double, model, inputs)
    references[endpoint.name] = reference
    return reference


def reference_at(
    endpoint: Endpoint,
    sides: tuple[int, int],
    exact: dict[str, Endpoint] | None,
    model: Any,
    inputs: dict[str, np.ndarray],
) -> Reference:
    """The reference of a function for images of other sides (height, width) than the model's."""
    in_double = None if exact is None else exact[endpoint.name]
    reference = Reference(endpoint, in_double, model, inputs)
    reference.at = f" at {sides[0]} × {sides[1]}"
    return reference


class Reference:
    """What the model gives for the inputs of a function, and how far float32 is from float64.

    Where no output is an image, it is also known how far the model is from itself at other batch
    sizes (`batch_errors`): an artefact may be as far, but no farther than that.

    Without the function in float64, for the quick check, how far is not known, and counts as
    infinitely.

    Attributes:
        at: What follows the function's name in a report: the size of images, if it is another than
            the model's.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        exact: Endpoint | None,
        model: Any,
        inputs: dict[str, np.ndarray],
    ) -> None:
        self.endpoint = endpoint
        self.at = ""
        self.batches: Sequence[int] = QUICK if exact is None else BATCHES
        self.seeds = SEEDS[1:2] if exact is None else SEEDS
        self.seeded = "seed" in endpoint.inputs
        self.feeds = feeds_of(endpoint, inputs)
        pictures = any(name in IMAGES for name in endpoint.outputs)
        few_calls = pictures and (self.seeded or not endpoint.piecewise_constant)
        self.function = by_name(endpoint, eager=exact is None or few_calls)
        self.wanted, _ = self.outputs(self.function, self.batches[0])
        if exact is None:
            in_double = None
        else:
            # An artefact's largest difference is of all inputs, and so is the floor beside it. Each
            # image has so many values that a batch of them is enough; a logit is one value.
            few = self.batches[0] if pictures else None
            in_double = self.outputs(by_name(exact, eager=True), self.batches[0], few)
        if self.seeded and endpoint.piecewise_constant:
            # An input that can be nudged, and a function of it.
            draws = [portable_draw(self.batches[0], seed) for seed in self.seeds]
            latents = np.concatenate([model.prior_latents(draw) for draw in draws])
            generate = endpoints(model, functions=["generate"])[0]
            labels = np.full(len(latents), self.label, np.int32)
            self.feeds = feeds_of(generate, {"latent": latents, "label": labels})
            self.function = by_name(generate)
        self.floors = dict.fromkeys(endpoint.outputs, np.inf)
        self.batch_errors = dict.fromkeys(endpoint.outputs, 0.0)
        if in_double is not None:
            self.floors = _largest(self.differences(*in_double))
            for batch in self.batches[1:] if not pictures else ():
                # Kernels differ between batch sizes, and so does their rounding.
                errors = _largest(self.differences(*self.outputs(self.function, batch)))
                self.batch_errors = {n: max(e, errors[n]) for n, e in self.batch_errors.items()}

    def of_alias(self, endpoint: Endpoint) -> Reference:
        """The reference of a function that gives the same image under another name.

        For bytes it has the image before rounding: in the middle of two grey levels both are right.
        """
        (output,) = endpoint.outputs
        alias = copy.copy(self)
        alias.endpoint = endpoint
        laid_out = _as_nchw if endpoint.name == NCHW else np.asarray
        alias.function = lambda **feeds: {output: laid_out(self.function(**feeds)["image"])}
        alias.wanted = {output: laid_out(self.wanted["image"])}
        alias.floors = {output: self.floors["image"]}
        alias.batch_errors = {output: self.batch_errors["image"]}
        return alias

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

    def differences(
        self, computed: dict[str, np.ndarray], rows: np.ndarray
    ) -> dict[str, np.ndarray]:
        """How far outputs of these rows are from the model's: absolute and flat, by name."""
        wanted = {name: values[rows] for name, values in self.wanted.items()}
        if self.endpoint.piecewise_constant:
            feeds = {name: x[rows] for name, x in self.feeds.items()}
            wanted = _beside_jumps(self.function, feeds, computed, wanted)
        return {name: np.abs(values - wanted[name]).ravel() for name, values in computed.items()}


def compare(
    runtime: str, precision: str, reference: Reference, run: Callable[..., dict[str, Any]]
) -> list[Row]:
    """A row for each output of a function of an artefact.

    Args:
        runtime: What runs the function, one of `export.runtimes.RUNTIMES`.
        precision: The artefact's: "float32", "float16" or "int8".
        reference: What the model gives.
        run: The function: arrays by name to arrays by name.
    """
    endpoint = reference.endpoint
    errors: dict[str, list[np.ndarray]] = {name: [] for name in endpoint.outputs}
    batches = [(batch, None) for batch in reference.batches]
    for batch, few in [(2, 2)] if runtime in SLOW else batches:
        for name, values in reference.differences(*reference.outputs(run, batch, few)).items():
            errors[name].append(values)
    rows = []
    function = endpoint.name + reference.at
    for name, spec in endpoint.outputs.items():
        square = float(np.mean(np.square(reference.wanted[name], dtype=np.float64)))
        scale = 1.0 if name in IMAGES else max(1.0, square**0.5)
        error = np.concatenate(errors[name]).astype(np.float64) / scale
        floor = reference.floors[name] / scale
        largest, rms = float(np.max(error)), float(np.sqrt(np.mean(np.square(error))))
        batch_error = reference.batch_errors[name] / scale
        tolerance = rms_tolerance = max(tolerance_for(floor), batch_error)
        if precision != "float32":
            tolerance, rms_tolerance = REDUCED[precision][name in IMAGES]
        if name in INTEGERS:
            tolerance = 0.0
        elif spec.dtype in (tf.uint8, tf.string):
            tolerance, rms_tolerance = tolerance + HALF_GREY, rms_tolerance + HALF_GREY
        passed = largest <= tolerance and rms <= rms_tolerance  # false for NaN
        rows.append(Row(runtime, function, name, largest, rms, floor, tolerance, passed))
    return rows


def _largest(differences: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(np.max(values)) for name, values in differences.items()}


def _as_nchw(images: np.ndarray) -> np.ndarray:
    """Images [n, height, width, 1 or 3] as [n, 3, height, width]."""
    return np.broadcast_to(images, (*images.shape[:-1], 3)).transpose(0, 3, 1, 2)


def _as_numbers(values: np.ndarray) -> np.ndarray:
    """Bytes, and PNG files of them, as floats in [0, 1]."""
    if values.dtype == object:
        values = np.stack([tf.io.decode_png(value).numpy() for value in values])
    return values.astype(np.float32) / 255.0 if values.dtype == np.uint8 else values


def _beside_jumps(
    model: Callable[..., dict[str, np.ndarray]],
    feeds: dict[str, np.ndarray],
    computed: dict[str, np.ndarray],
    wanted: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """The wanted outputs; of an example that differs, the nearest to it beside its inputs."""

    def errors(values: dict[str, np.ndarray], rows: Any) -> np.ndarray:
        each = [
            np.abs(x - computed[n][rows]).reshape(len(x), -1).max(axis=1) for n, x in values.items()
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


def by_name(endpoint: Endpoint, *, eager: bool = False) -> Callable[..., dict[str, Any]]:
    """The endpoint's function as one of arrays by name to arrays by name.

    Args:
        endpoint: The endpoint.
        eager: Not to trace it: faster for few calls. Traced, it is traced once, for all sizes.
    """
    function = endpoint.function
    if not eager:
        # The graph itself: TensorFlow takes functions made anew for one that is traced too often.
        traced = tf.function(function, input_signature=endpoint.signature())
        function = traced.get_concrete_function()
    return lambda **feeds: {
        name: tensor.numpy()
        for name, tensor in function(*(tf.constant(feeds[n]) for n in endpoint.inputs)).items()
    }
