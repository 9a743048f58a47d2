"""Standing statistics: a generator's BatchNorm statistics, computed anew (arXiv 1809.11096)."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from keras import layers

from zoo.core.model import ZooModel, check_model
from zoo.core.network_tools import copy_network, with_labels
from zoo.core.replicated_step import named_seed
from zoo.io.numbers import check_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import keras


@dataclass(frozen=True)
class Standing:
    """What the statistics of a model were computed from, and the training step that it had.

    Example:
        >>> from zoo.sampling.standing import Standing
        >>> Standing(batches=100, batch_size=64, seed=0, step=5000).text()
        'BatchNorm statistics of the generator: anew, from 100 batches of 64 latents.'
    """

    batches: int
    batch_size: int
    seed: int
    step: int

    def text(self) -> str:
        """In a sentence, what the statistics were computed from."""
        what = f"{self.batches} batches of {self.batch_size} latents"
        return f"BatchNorm statistics of the generator: anew, from {what}."


def standing_statistics(
    model: ZooModel, batches: int = 100, *, batch_size: int | None = None, seed: int = 0
) -> None:
    """Computes the BatchNorm statistics of the generator that draws a GAN's samples anew, in place.

    The generator runs in training mode on batches of the prior, so that each BatchNorm takes the
    statistics of the batch. Their means over the batches replace its moving statistics, which lag
    behind the weights, and which are those of the trained weights and not of their average. The
    paper takes "typically 100" batches (appendix, "standing statistics"). Classes are equally
    likely, as in `generate`.

    `zoo.evaluate` and `zoo.export_model` note it, until the model trains further.
    Training sets the statistics of an averaged generator back at its next step. Those of a model
    without an average move on from the new ones.

    Args:
        model: A GAN whose generator has BatchNorm.
        batches: Number of batches, at least 1.
        batch_size: Latents per batch, at least 2; default: the model's own.
        seed: Seed of the latents and the classes. The same seed gives the same statistics.

    Raises:
        TypeError: If `model` is no model of the zoo.
        ValueError: If it is no GAN, its generator has no BatchNorm, or a number is out of range.

    Example:
        >>> import zoo
        >>> gan = zoo.create("dcgan", (8, 8, 1), 2, network="conv-8", ema=0.999)
        >>> zoo.standing_statistics(gan, batches=10)
    """
    check_model(model)
    if model.family != "gan":
        msg = (
            f"A {model.model_name} is no GAN: its decoder trains on posteriors, and not on draws "
            "from the prior. Leave standing statistics out."
        )
        raise ValueError(msg)
    size = model.default_batch_size if batch_size is None else batch_size
    check_whole("batches", batches)
    check_whole("batch_size", size, 2)
    norms = _norms(model.sampling_generator)
    if not norms:
        msg = (
            f"The generator of this {model.model_name} has no BatchNorm: there are no statistics "
            "to compute anew. Leave standing statistics out."
        )
        raise ValueError(msg)
    for norm, means in zip(norms, _means(model, int(batches), int(size), seed), strict=True):
        norm.moving_mean.assign(means[0])
        norm.moving_variance.assign(means[1])
    model.standing = Standing(int(batches), int(size), seed, model.steps_done)


def entry(model: Any) -> dict[str, Any]:
    """For JSON: `standing_statistics` with their settings, if the model has them; else nothing.

    Example:
        >>> import zoo
        >>> from zoo.sampling.standing import entry
        >>> entry(zoo.create("dcgan", (8, 8, 1), 2, network="mlp"))
        {}
    """
    standing = getattr(model, "standing", None)
    if standing is None or standing.step != model.steps_done:
        return {}
    settings = asdict(standing)
    del settings["step"]
    return {"standing_statistics": settings}


@contextmanager
def standing_as(model: Any, recorded: Mapping[str, Any]) -> Iterator[None]:
    """Gives a model the standing statistics that `entry` recorded, if any, and its own back after.

    Example:
        >>> import zoo
        >>> from zoo.sampling.standing import standing_as
        >>> with standing_as(zoo.create("vae", (8, 8, 1), 2, network="mlp"), {}):
        ...     pass
    """
    wanted = recorded.get("standing_statistics")
    known = entry(model).get("standing_statistics") == wanted
    if wanted is None or known or not isinstance(model, ZooModel):  # a generator is as it is
        yield
        return
    had = getattr(model, "standing", None)
    norms = _norms(model.sampling_generator) if model.family == "gan" else []
    variables = [v for norm in norms for v in (norm.moving_mean, norm.moving_variance)]
    before = [variable.numpy() for variable in variables]
    standing_statistics(model, **wanted)
    try:
        yield
    finally:
        model.standing = had
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def _means(
    model: ZooModel, batches: int, size: int, seed: int
) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    """Mean over the batches of each BatchNorm's mean and variance of a batch, in float64."""
    labelled = bool(model.num_classes)
    # In a copy: training mode may move more than BatchNorm, and the averaged one is frozen.
    generator = copy_network(model.sampling_generator, (model.noise_dim,), labels=labelled)
    generator.trainable = True
    norms = _norms(generator)
    for norm in norms:
        norm.momentum = 0.0  # its moving statistics are then those of the last batch

    def draw(name: str, shape: Sequence[int] = (), *, uniform: bool = False) -> Any:
        law = tf.random.stateless_uniform if uniform else tf.random.stateless_normal
        return law([batches * size, *shape], named_seed(seed, f"standing_{name}"))

    latents, labels = model.prior_latents(draw), None
    if labelled:
        seeds = named_seed(seed, "standing_labels")
        labels = tf.random.stateless_uniform([len(latents)], seeds, 0, model.num_classes, tf.int32)
    sums = [np.zeros((2, norm.moving_mean.shape[0])) for norm in norms]
    run = tf.function(lambda x, y=None: generator(with_labels(x, y), training=True))
    for start in range(0, batches * size, size):
        rows = slice(start, start + size)
        run(latents[rows], *([] if labels is None else [labels[rows]]))
        for total, norm in zip(sums, norms, strict=True):
            total += [norm.moving_mean.numpy(), norm.moving_variance.numpy()]
    return [tuple(total / batches) for total in sums]


def _norms(network: keras.Model) -> list[layers.BatchNormalization]:
    """Every BatchNorm of a network, those within other layers too, in order."""
    inner = network._flatten_layers()
    return [each for each in inner if isinstance(each, layers.BatchNormalization)]
