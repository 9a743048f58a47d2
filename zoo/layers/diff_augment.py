"""DiffAugment: differentiable augmentation of what a discriminator sees (arXiv 2006.10738).

The strengths are those of the authors' code: colour as on [−1, 1], translation by up to 1/8 of the
image, cutout of a square of half the side. Pixels that come in or are cut are black, 0 in [0, 1];
the authors' 0, in [−1, 1], is grey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.io.types import Tensor

POLICIES = ("color", "translation", "cutout")
TRANSLATION = 0.125
CUTOUT = 0.5


def parse_policy(policy: str | None) -> tuple[str, ...]:
    """Splits a text such as "color,translation" into the names of augmentations.

    Raises:
        ValueError: If a name is unknown.
    """
    names = tuple(name.strip() for name in (policy or "").split(",") if name.strip())
    unknown = [name for name in names if name not in POLICIES]
    if unknown:
        msg = f"diff_augment names {unknown[0]!r}: expected some of {', '.join(POLICIES)}."
        raise ValueError(msg)
    return names


def diff_augment(images: Tensor, noise: Tensor, augmentations: Sequence[str]) -> Tensor:
    """Augments each image by its own draw; differentiable in the images.

    Args:
        images: float32 [batch, height, width, channels] in [0, 1].
        noise: From U(0, 1), float32 [batch, 7].
        augmentations: Some of `POLICIES`. They are applied in the order of `POLICIES`.

    Returns:
        The images, not clipped to [0, 1], for clipping would stop gradients.
    """
    if "color" in augmentations:
        images = _color(images, noise[:, :3, None, None, None])
    if "translation" in augmentations:
        images = _translation(images, noise[:, 3:5])
    if "cutout" in augmentations:
        images = _cutout(images, noise[:, 5:7])
    return images


def _color(images: Tensor, noise: Tensor) -> Tensor:
    """Brightness, saturation and contrast; on [0, 1], where the paper's brightness ± ½ is ± ¼."""
    brightness, saturation, contrast = noise[:, 0], noise[:, 1], noise[:, 2]
    images += 0.5 * (brightness - 0.5)
    grey = tf.reduce_mean(images, axis=3, keepdims=True)
    images = grey + 2.0 * saturation * (images - grey)
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    return mean + (0.5 + contrast) * (images - mean)


def _translation(images: Tensor, noise: Tensor) -> Tensor:
    """Moves by whole pixels; black (0 in [0, 1]) comes in."""
    height, width = images.shape[1:3]
    for axis, size in ((1, height), (2, width)):
        most = int(size * TRANSLATION + 0.5)
        shift = tf.cast(tf.floor(noise[:, axis - 1] * (2 * most + 1)), tf.int32) - most
        position = tf.range(size)[None] - shift[:, None]
        inside = (position >= 0) & (position < size)
        images = tf.gather(images, tf.clip_by_value(position, 0, size - 1), axis=axis, batch_dims=1)
        shape = [-1, size, 1, 1] if axis == 1 else [-1, 1, size, 1]
        images *= tf.cast(tf.reshape(inside, shape), images.dtype)
    return images


def _cutout(images: Tensor, noise: Tensor) -> Tensor:
    """Blackens a square of half the side, centred anywhere in the image."""
    masks = []
    for axis, size in ((1, images.shape[1]), (2, images.shape[2])):
        cut = int(size * CUTOUT + 0.5)
        centre = tf.cast(tf.floor(noise[:, axis - 1] * (size + 1 - cut % 2)), tf.int32)
        start = centre[:, None] - cut // 2
        position = tf.range(size)[None]
        masks.append((position >= start) & (position < start + cut))
    hole = masks[0][:, :, None, None] & masks[1][:, None, :, None]
    return images * tf.cast(~hole, images.dtype)
