"""Does the target draw the source's images, and if not, where do the networks part?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import tree

from zoo.convert.align import normal
from zoo.convert.building import build
from zoo.convert.report import EQUIVALENCES, Equality

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zoo.convert.blocks import Network
    from zoo.convert.report import TensorRow

LATENTS = 1024
EXTREMES = (0.0, 4.0, -4.0)
BATCH = 64


def prior_latents(model: Any, seed: int) -> np.ndarray:
    """1,024 prior draws and the extremes 0 and ±4.

    Args:
        model: A model with `sample_latents`, or the dimension of an N(0, I) prior.
        seed: Seed of the draws.

    Returns:
        float32 [1027, dimension].
    """
    if isinstance(model, int):
        drawn = normal_draws(LATENTS, model, seed)
    else:
        drawn = np.asarray(model.sample_latents(LATENTS, seed))
    extremes = [np.full_like(drawn[:1], value) for value in EXTREMES]
    return np.concatenate([drawn, *extremes])


def normal_draws(n: int, dim: int, seed: int) -> np.ndarray:
    """float32 [n, dim] from N(0, I)."""
    return np.random.default_rng(seed).standard_normal((n, dim), np.float32)


def with_classes(latents: np.ndarray, num_classes: int) -> np.ndarray:
    """Latents with a further column, of all classes in turn; without classes as they are.

    So whatever part of them a network is given, each keeps its class.
    """
    if not num_classes:
        return latents
    classes = np.arange(len(latents)) % num_classes
    return np.concatenate([latents, classes[:, None].astype(latents.dtype)], axis=1)


def network_inputs(latents: np.ndarray, num_classes: int) -> list[np.ndarray]:
    """What a network takes of the latents of `with_classes`: latents, and int32 labels [n]."""
    if not num_classes:
        return [latents]
    return [latents[:, :-1], latents[:, -1].astype(np.int32)]


def tolerance_for(noise_floor: float) -> float:
    """Largest difference that rounding may cause: 4 × the noise floor, within [5e-6, 5e-5].

    Rounding grows with the network, so the bound follows its own float32 noise; the ceiling is a
    fiftieth of a grey level.
    """
    return min(max(5e-6, 4.0 * noise_floor), 5e-5)


def measure(
    source: Callable[[np.ndarray], Any],
    target: Callable[[np.ndarray], Any],
    exact: Callable[[np.ndarray], Any] | None,
    latents: np.ndarray,
) -> Equality:
    """Compares the images of two functions of the same latents.

    Args:
        source: Latents [n, latent_dim] to images in [0, 1].
        target: Likewise, for the target.
        exact: The source in float64, to measure its rounding; None counts it as 0, and the
            strictest tolerance holds.
        latents: float32 [n, latent_dim].

    Returns:
        The differences, and the tolerance of the source's own float32 noise.

    Raises:
        ValueError: If the images have different shapes.
    """
    wanted, drawn = _run(source, latents), _run(target, latents)
    if wanted.shape != drawn.shape:
        msg = (
            f"The source's images are {wanted.shape[1:]}, the target's {drawn.shape[1:]}: convert "
            "to a target of the same image shape."
        )
        raise ValueError(msg)
    noise_floor = 0.0 if exact is None else _largest(wanted, _run(exact, latents))
    few = latents[:BATCH]
    batch = np.asarray(target(few), np.float64)
    single = np.concatenate([np.asarray(target(few[i : i + 1])) for i in range(len(few))])
    return Equality(
        latents=len(latents),
        max_error=_largest(drawn, wanted),
        rms_error=float(np.sqrt(np.mean(np.square(drawn - wanted)))),
        noise_floor=noise_floor,
        batch_error=_largest(single, batch),
        tolerance=tolerance_for(noise_floor),
        repeat_error=_largest(np.asarray(target(few)), batch),
    )


def verified_equivalence(
    equality: Equality, rows: Sequence[TensorRow], kind: str = "bitwise"
) -> str:
    """The class of equivalence that the measurement supports.

    Args:
        equality: What was measured; if the target takes another prior, on transported latents.
        rows: Rows of the converted network's tensors (not those of a new encoder or critic).
        kind: The strongest class that the conversion can have: "bitwise"; "distributional" if the
            target takes another prior; "approximate" if it was not meant to keep the function.

    Returns:
        "bitwise" if the images are the same and all tensors copies, "tolerance" if the images are
        equal within rounding, "distributional" if so on transported latents; else "approximate".

    Raises:
        ValueError: If `kind` is none of the classes.
    """
    if kind not in EQUIVALENCES:
        msg = f"kind={kind!r}: expected one of {', '.join(EQUIVALENCES)}."
        raise ValueError(msg)
    if kind == "approximate" or not equality.passed:
        return "approximate"
    copied = all(row.status == "COPIED" for row in rows if row.target)
    if kind == "bitwise" and not (copied and equality.max_error == 0):
        return "tolerance"
    return kind


def first_diverging_block(
    source: Network,
    target: Network,
    pairs: Mapping[str, str],
    latents: np.ndarray | Sequence[np.ndarray],
    tolerance: float = 5e-6,
) -> str | None:
    """The first target block whose output differs from its partner's by more than rounding.

    Both networks run in float64, where only their weights are rounded. A difference counts relative
    to the root mean square of the source block's output. It has to exceed the tolerance, and four
    times the difference that computing the source in float32 makes to that block.

    Args:
        source: The source, as it was aligned.
        target: `read` of the target model after its weights were set.
        pairs: The pairs of the alignment.
        latents: float32 [n, latent_dim], or one array for each input; the last 64 are used, among
            them the extremes of `prior_latents`.
        tolerance: Relative difference that is always allowed.

    Returns:
        The block's name, or None if there is none.
    """
    source, target = normal(source), normal(target)
    theirs = [name for name in target.blocks if name in pairs]
    ours = [pairs[name] for name in theirs]
    given = [latents] if isinstance(latents, np.ndarray) else latents
    few = [x[-BATCH:] for x in given]
    reached = _outputs(target, theirs, few, "float64")
    wanted = _outputs(source, ours, few, "float64")
    rounded = _outputs(source, ours, few, "float32")
    for name, a, b, noisy in zip(theirs, reached, wanted, rounded, strict=True):
        scale = float(np.sqrt(np.mean(np.square(b)))) or 1.0
        allowed = max(tolerance, 4.0 * _largest(noisy, b) / scale)
        if a.shape != b.shape or not _largest(a, b) / scale <= allowed:
            return name
    return None


def _outputs(
    network: Network, names: Sequence[str], inputs: Sequence[np.ndarray], dtype: str
) -> list[np.ndarray]:
    model = build(network.upto(*names), dtype)
    given = [x.astype(dtype) if x.dtype.kind == "f" else x for x in inputs]
    outputs = model(given if len(given) > 1 else given[0], training=False)
    return [np.asarray(x) for x in tree.flatten(outputs)]


def _run(function: Callable[[np.ndarray], Any], latents: np.ndarray) -> np.ndarray:
    chunks = range(0, len(latents), 256)
    outputs = [np.asarray(function(latents[i : i + 256]), np.float64) for i in chunks]
    return np.concatenate(outputs)


def _largest(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.max(np.abs(np.subtract(a, b, dtype=np.float64))))
