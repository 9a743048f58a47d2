"""The moving average of a generator's weights, which draws the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.core.replicas import global_count

if TYPE_CHECKING:
    from zoo.gan.base import BaseGAN

RAMPUP = 0.05  # `ema_rampup` of StyleGAN2-ADA's automatic configuration


def check_average(ema: float | None, ema_images: float | None, ema_rampup: float | None) -> None:
    """Raises ValueError if the options of an average are out of range, or exclude each other."""
    if ema is not None and not 0.0 < ema < 1.0:
        msg = f"ema={ema}: expected a decay between 0 and 1, such as 0.999, or None."
        raise ValueError(msg)
    shares = (("ema_images", ema_images, 10_000), ("ema_rampup", ema_rampup, RAMPUP))
    for name, value, example in shares:
        if value is not None and value <= 0.0:
            msg = f"{name}={value}: expected more than 0, such as {example}, or None."
            raise ValueError(msg)
    if ema is not None and ema_images is not None:
        msg = (
            f"ema={ema} is a decay per step, and ema_images={ema_images} a half-life in images. "
            "Give one, and None (--option ema=null) for the other."
        )
        raise ValueError(msg)
    if ema_images is None and ema_rampup != RAMPUP:
        msg = f"ema_rampup={ema_rampup} is for ema_images, a half-life in images. Give that too."
        raise ValueError(msg)


def move_average(gan: BaseGAN, batch: dict[str, Any]) -> None:
    """Moves the averaged generator of a GAN, if it has one, towards the trained one.

    Args:
        gan: The GAN, after the updates of a step, and before its step counter rises.
        batch: This replica's images of the step, all minibatches, and what goes with them.
    """
    if gan.ema_generator is None:
        return
    decay = (
        _decay_by_step(gan)
        if gan.ema is not None
        else _decay_by_images(gan, global_count(batch["images"]))
    )
    pairs = zip(gan.ema_generator.weights, gan.generator.weights, strict=True)
    for average, weight in pairs:
        # BatchNorm's moving statistics are averages already.
        moves = gan.is_parameter(weight)
        average.assign(decay * average + (1.0 - decay) * weight if moves else weight)


def _decay_by_step(gan: BaseGAN) -> Any:
    # Early in training the average looks back over few steps only, not to the random start.
    step = tf.cast(gan.step.value + gan.ema_start, tf.float32)
    return tf.minimum(gan.ema, (1.0 + step) / (10.0 + step))


def _decay_by_images(gan: BaseGAN, count: Any) -> Any:
    """0.5^(n / half-life) for the n images of a step, as in the code of arXiv 2006.06676."""
    half_life = tf.constant(gan.ema_images, tf.float32)
    if gan.ema_rampup is not None:
        seen = tf.cast(gan.images_seen.value, tf.float32)
        half_life = tf.minimum(half_life, seen * gan.ema_rampup)
    gan.images_seen.assign_add(tf.cast(count, tf.int64))
    return 0.5 ** (count / tf.maximum(half_life, 1e-8))
