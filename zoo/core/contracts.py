"""What the values of a network must be: logits, images in [0, 1], or log-variances.

Shapes do not tell a logit from a probability. The end of a network's graph often does: what bounds
its values is found through reshapes and the like, in models within models, and in `keras.ops`. Only
where the graph does not tell (a subclassed network has none) the network is run on random inputs.
A decoder whose logits happen to lie in [0, 1] at first is no fault, so logits are judged by what
cannot change in training: a bound, or a saturation. A sigmoid that a normalisation in a subclassed
network keeps from saturating goes unseen.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from zoo.io.types import Tensor

    # The range of what an operation takes, looked for when it is asked for.
    Taken: TypeAlias = Callable[[], "Range | None"]

LOGITS, IMAGES, LOG_VARIANCE = "logits", "images", "log-variance"
# Logits must be able to reach −2 and 2, which are 12 % and 88 %. What a squashing function makes
# cannot; a clip far out, or a tanh that is scaled up, can.
REACH = 2.0
# How far pixels that a network draws may be outside of [0, 1], as float32 arithmetic leaves them.
# Images that are given were resized at most: `zoo.data.checked.TOLERANCE` is for these.
ROUNDING = 1e-4
EXAMPLES = 16
PRIOR_SCALES = (0.0, 1.0, 4.0)  # of a generator's latents: what its prior draws, and its extremes
LARGE = (1e4, 1e6)  # scales of inputs at which a squashing function saturates
# What activation layers make of any number.
ACTIVATION_LAYERS: dict[type, Callable[[Any], tuple[float, float]]] = {
    layers.ReLU: lambda layer: (
        -math.inf if layer.negative_slope else 0.0,
        math.inf if layer.max_value is None else float(layer.max_value),
    ),
    layers.ELU: lambda layer: (-float(layer.alpha), math.inf),
    layers.Softmax: lambda _: (0.0, 1.0),
    layers.LeakyReLU: lambda _: (-math.inf, math.inf),
    layers.PReLU: lambda _: (-math.inf, math.inf),
}
# What functions make of any number, by their names in keras.activations and keras.ops.
BOUNDS = {
    **dict.fromkeys(("sigmoid", "hardsigmoid", "sparsesigmoid"), (0.0, 1.0)),
    **dict.fromkeys(("softmax", "sparsemax"), (0.0, 1.0)),
    **dict.fromkeys(("tanh", "hardtanh", "softsign"), (-1.0, 1.0)),
    **dict.fromkeys(
        ("relu", "softplus", "squareplus", "sparseplus", "exponential", "exp", "abs", "absolute",
         "square"), (0.0, math.inf),
    ),
    "relu6": (0.0, 6.0),
    **dict.fromkeys(("logsigmoid", "logsoftmax"), (-math.inf, 0.0)),
    **dict.fromkeys(("elu", "celu"), (-1.0, math.inf)),
    "selu": (-1.7581, math.inf),
    "gelu": (-0.1701, math.inf),
    **dict.fromkeys(("silu", "swish"), (-0.2785, math.inf)),
    "mish": (-0.3089, math.inf),
    **dict.fromkeys(("hardsilu", "hardswish"), (-0.375, math.inf)),
}  # fmt: skip
FREE = ("linear", "leakyrelu", "hardshrink", "softshrink", "tanhshrink", "threshold")
# What leaves a range as it is: it moves, picks, drops or averages values.
PASSING = (
    layers.Reshape, layers.Flatten, layers.Permute, layers.RepeatVector, layers.Identity,
    layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D,
    layers.GaussianNoise, layers.GaussianDropout, layers.AlphaDropout,
    layers.ActivityRegularization, layers.Cropping1D, layers.Cropping2D, layers.Cropping3D,
    layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D,
    layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D,
    layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D,
    layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D,
    layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D,
    layers.Concatenate,
)  # fmt: skip
PASSING_OPS = (
    "Reshape", "Transpose", "Identity", "Cast", "ConvertToTensor", "StopGradient", "Squeeze",
    "ExpandDims", "Ravel", "Moveaxis", "Swapaxes", "Flip", "GetItem", "Copy", "Repeat", "Tile",
    "BroadcastTo", "Split", "AveragePool", "MaxPool", "Mean", "Max", "Min", "Concatenate", "Stack",
)  # fmt: skip

_checking: ContextVar[bool] = ContextVar("checking", default=True)


@dataclass(frozen=True)
class Range:
    """Values that a tensor can have, and what bounds them.

    Example:
        >>> from zoo.core.contracts import Range
        >>> Range(0.0, 1.0).affine(2.0, -1.0)
        Range(low=-1.0, high=1.0, cause='')
    """

    low: float = -math.inf
    high: float = math.inf
    cause: str = ""

    def affine(self, scale: float, offset: float) -> Range:
        """The range of x · scale + offset."""
        ends = [scale * end + offset if scale else offset for end in (self.low, self.high)]
        return replace(self, low=min(ends), high=max(ends))

    def clipped(self, low: float, high: float, cause: str) -> Range:
        """The range of min(max(x, low), high)."""
        if low <= self.low and high >= self.high:
            return self
        ends = [min(max(end, low), high) for end in (self.low, self.high)]
        return Range(ends[0], ends[1], cause)


@contextmanager
def unchecked() -> Iterator[None]:
    """Within this context, values are not checked.

    For networks of a file, which were checked when the model was made, and get their weights only
    later; and for toys whose "images" are points anywhere.

    Example:
        >>> import zoo
        >>> from zoo.core.contracts import unchecked
        >>> with unchecked():
        ...     model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    """
    token = _checking.set(False)
    try:
        yield
    finally:
        _checking.reset(token)


def check_values(
    network: Any,
    role: str,
    kinds: Sequence[str | None],
    run: Callable[[Any], list[Any]],
    inputs: Sequence[int],
) -> None:
    """Checks that a network's outputs hold what its model takes them for.

    Args:
        network: The network.
        role: Its name in the error.
        kinds: What each output holds: `LOGITS`, `IMAGES`, `LOG_VARIANCE`, or None for any values.
        run: The network as a function of inputs float32 [n, *inputs] to the list of its outputs.
        inputs: Shape of one input example.

    Raises:
        ValueError: If an output is bounded as logits or log-variances are not, or leaves [0, 1]
            where it is to be images. The layer is named, and what to do.

    Example:
        >>> import keras
        >>> from zoo.core.contracts import LOGITS, check_values
        >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
        >>> check_values(network, "decoder", [LOGITS], lambda x: [network(x)], (2,))
    """
    if not _checking.get():
        return
    for index, kind in enumerate(kinds):
        if kind is None:
            continue
        bounds = range_of(network, index)

        def values(scale: float, index: int = index) -> np.ndarray:
            drawn = np.random.default_rng(0).standard_normal((EXAMPLES, *inputs), np.float32)
            return np.asarray(run(drawn * np.float32(scale))[index], np.float32)

        if kind == IMAGES:
            _check_images(role, bounds, values)
        elif kind == LOG_VARIANCE:
            _check_log_variance(role, bounds)
        else:
            _check_logits(role, bounds or _saturation(values))


def _check_images(role: str, bounds: Range | None, values: Callable[[float], np.ndarray]) -> None:
    bounded = bounds is not None and math.isfinite(bounds.low) and math.isfinite(bounds.high)
    if bounded and bounds:
        if bounds.low < -ROUNDING or bounds.high > 1.0 + ROUNDING:
            scale = 1.0 / (bounds.high - bounds.low)
            msg = (
                f"The {role} ends in {bounds.cause}: its images lie in [{bounds.low:g}, "
                f"{bounds.high:g}]; expected [0, 1]. Add keras.layers.Rescaling({scale:g}, "
                f"{-bounds.low * scale + 0.0:g}) behind it."
            )
            raise ValueError(msg)
        return
    drawn = [values(scale) for scale in PRIOR_SCALES]
    low, high = min(float(x.min()) for x in drawn), max(float(x.max()) for x in drawn)
    if not (low >= -ROUNDING and high <= 1.0 + ROUNDING):
        msg = (
            f"The {role} draws values from {low:.3g} to {high:.3g}; expected images in [0, 1]. End "
            "it in a sigmoid, or in a tanh and keras.layers.Rescaling(0.5, 0.5)."
        )
        raise ValueError(msg)


def _check_logits(role: str, bounds: Range | None) -> None:
    if bounds is None or (bounds.low <= -REACH and bounds.high >= REACH):
        return
    consequence = "The losses take logits."
    if role == "decoder":
        dark, bright = (0.5 + 0.5 * math.tanh(0.5 * end) for end in (bounds.low, bounds.high))
        consequence = (
            "The model applies the sigmoid itself, so that pixels could only be from "
            f"{dark:.2g} to {bright:.2g}."
        )
    msg = (
        f"The {role} ends in {bounds.cause}: its values lie in [{bounds.low:.3g}, "
        f"{bounds.high:.3g}]; expected logits, any real numbers. {consequence} "
        f"Remove the {bounds.cause.split()[0]}."
    )
    raise ValueError(msg)


def _check_log_variance(role: str, bounds: Range | None) -> None:
    if bounds is None or bounds.low < 0.0:
        return
    msg = (
        f"The {role}'s log-variance ends in {bounds.cause}: it is never below {bounds.low:g}, and "
        "the posterior never narrower than the prior. Expected log σ², any real number, and not σ "
        f"or σ²: remove the {bounds.cause.split()[0]}."
    )
    raise ValueError(msg)


def _saturation(values: Callable[[float], np.ndarray]) -> Range | None:
    """The squashing function that values betray which stay within it, and reach its ends.

    Logits may stay within [0, 1] for any inputs, as behind a normalisation; but then they do not
    gather at the ends as the inputs grow.
    """
    small, *large = (values(scale) for scale in (1.0, *LARGE))
    for name, low in (("sigmoid", 0.0), ("tanh", -1.0)):

        def at_ends(x: np.ndarray, low: float = low) -> float:
            return float(np.mean(np.minimum(np.abs(x - low), np.abs(x - 1.0)) < 1e-3))

        within = all(x.min() >= low and x.max() <= 1.0 for x in (small, *large))
        if within and at_ends(small) < 0.9 and min(map(at_ends, large)) > 0.95:
            return Range(low, 1.0, f"{name} (judged by its values)")
    return None


# The range that a graph tells


def range_of(network: Any, index: int = 0) -> Range | None:
    """Range of a network's output, as far as its graph bounds it.

    Args:
        network: A `keras.Model`.
        index: Which of its outputs.

    Returns:
        The range, infinite where a linear layer is what ends the network; None if the graph does
        not tell.

    Example:
        >>> import keras
        >>> from zoo.core.contracts import range_of
        >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, "sigmoid")])
        >>> range_of(network).high
        1.0
    """
    graph = _graph_of(network)
    if graph is None or index >= len(graph.outputs):
        return None
    return _range(graph.outputs[index], {})


def _graph_of(operation: Any) -> Any:
    """The functional model that is all a model computes; None of what has a `call` of its own."""
    if isinstance(operation, keras.Sequential) and type(operation).call is keras.Sequential.call:
        return getattr(operation, "_functional", None)
    if not isinstance(operation, keras.Model):
        return None
    owner = next(cls for cls in type(operation).__mro__ if "call" in vars(cls))
    return operation if owner.__name__ == "Functional" else None


def _range(tensor: Tensor, given: Mapping[int, Taken]) -> Range | None:
    """Range of a symbolic tensor; `given` are those of the inputs of its model, by their ids."""
    if id(tensor) in given:
        return given[id(tensor)]()
    operation, node_index, tensor_index = tensor._keras_history
    if isinstance(operation, layers.InputLayer):
        return None
    node = operation._inbound_nodes[node_index]
    taken = [partial(_range, x, given) for x in node.input_tensors]
    graph = _graph_of(operation)
    if graph is not None:
        inner = dict(zip(map(id, graph.inputs), taken, strict=False))
        return _range(graph.outputs[tensor_index], inner)
    if isinstance(operation, layers.Layer):
        return _range_of_layer(operation, taken)
    return _range_of_operation(operation, node.arguments.args, taken)


def _range_of_layer(layer: Any, taken: Sequence[Taken]) -> Range | None:
    owner = next(cls for cls in type(layer).__mro__ if "call" in vars(cls))
    if owner.__module__.partition(".")[0] not in ("keras", "zoo"):
        return None  # the user's own
    if isinstance(layer, PASSING):
        smooth = getattr(layer, "interpolation", "nearest") in ("nearest", "bilinear")
        return _hull(taken) if smooth else None
    if isinstance(layer, layers.Wrapper):
        inner = layer.layer
        return None if isinstance(inner, keras.Model) else _range_of_layer(inner, taken)
    if isinstance(layer, layers.Rescaling):
        return _affine(taken, layer.scale, layer.offset)
    return _range_of_activation(layer, taken)


def _range_of_activation(layer: Any, taken: Sequence[Taken]) -> Range | None:
    """Range of a layer that ends in an activation, if any."""
    where = f"(layer {layer.name!r})"
    for kind, bounds_of in ACTIVATION_LAYERS.items():
        if isinstance(layer, kind):
            return Range(*bounds_of(layer), f"{kind.__name__} {where}")
    activation = getattr(layer, "activation", None)
    if activation is None:
        summed = isinstance(layer, (layers.Add, layers.Subtract))
        # Keras's other layers that have weights are linear at their end.
        return Range() if layer.weights else _sum(taken) if summed else None
    name = getattr(activation, "__name__", type(activation).__name__)
    if _plain(name) in FREE:
        return _hull(taken) if isinstance(layer, layers.Activation) else Range()
    bounds = BOUNDS.get(_plain(name))
    return bounds and Range(*bounds, f"{name} {where}")


def _range_of_operation(
    operation: Any, arguments: Sequence[Any], taken: Sequence[Taken]
) -> Range | None:
    """Range of a `keras.ops` operation."""
    kind = type(operation).__name__
    cause = f"{kind.lower()} (keras.ops)"
    if kind in PASSING_OPS:
        return _hull(taken)
    if _plain(kind) in BOUNDS:
        low, high = BOUNDS[_plain(kind)]
        return Range(low * getattr(operation, "alpha", 1.0) if low else low, high, cause)
    numbers = [x for x in arguments if isinstance(x, (int, float, np.number))]
    if kind == "Clip":
        return _clipped(taken, operation.x_min, operation.x_max, cause)
    if kind in ("Maximum", "Minimum") and len(numbers) == 1:
        above, below = (numbers[0], math.inf) if kind == "Maximum" else (-math.inf, numbers[0])
        return _clipped(taken, above, below, cause)
    if len(taken) == 1 and (len(numbers) == 1 or kind == "Negative"):
        first = isinstance(arguments[0], keras.KerasTensor)
        return _affine(taken, *_scale_and_offset(kind, *map(float, numbers), first=first))
    return _sum(taken) if kind in ("Add", "Subtract") else None


def _scale_and_offset(kind: str, c: float = 0.0, *, first: bool) -> tuple[Any, Any]:
    """(scale, offset) of an operation of a tensor, its `first` argument or not, and a number."""
    if kind == "Negative":
        return -1.0, 0.0
    if kind == "Subtract":
        return (1.0, -c) if first else (-1.0, c)
    if kind in ("Divide", "TrueDivide") and first and c:
        return 1.0 / c, 0.0
    return {"Add": (1.0, c), "Multiply": (c, 0.0)}.get(kind, (None, None))


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _hull(taken: Sequence[Taken]) -> Range | None:
    """The range of all of them together."""
    ranges = [each() for each in taken]
    known = [each for each in ranges if each is not None]
    if not known or len(known) < len(ranges):
        return None
    causes = dict.fromkeys(each.cause for each in known if each.cause)
    low, high = min(each.low for each in known), max(each.high for each in known)
    return Range(low, high, " and ".join(causes))


def _affine(taken: Sequence[Taken], scale: Any, offset: Any) -> Range | None:
    hull = _hull(taken)
    numbers = isinstance(scale, (int, float)) and isinstance(offset, (int, float))
    return hull.affine(float(scale), float(offset)) if hull and numbers else None


def _clipped(taken: Sequence[Taken], low: Any, high: Any, cause: str) -> Range | None:
    if not all(isinstance(end, (int, float, np.number)) for end in (low, high)):
        return None
    return (_hull(taken) or Range()).clipped(float(low), float(high), cause)


def _sum(taken: Sequence[Taken]) -> Range | None:
    """A sum is unbounded where a summand is; else its range is not told."""
    return Range() if Range() in [each() for each in taken] else None
