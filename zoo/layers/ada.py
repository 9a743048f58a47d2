"""The augmentations of ADA, adaptive discriminator augmentation (arXiv 2006.06676, appendix B).

Each transform happens to each image with probability p, by a draw of its own, so that p < 1 hides
no image distribution from the discriminator: the generator learns the images, and not how they are
augmented. The strengths are the paper's. Its images are in [−1, 1]; the same transforms are written
for [0, 1] here, where a brightness is half as large, and what noise and cutout call 0 is ½.

Departures: an image that is only flipped, turned by 90° or moved by whole pixels is not resampled,
while the paper filters all images alike; images that are not square are turned by 180° only; the
image is reflected without end, where the authors' code fills with grey beyond one reflection.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zoo.layers.warp import blit, convolution, product, warp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zoo.io.types import Tensor

# Letters of the authors' names for pipelines, such as "bgc"; their second c, for cutout, is x here.
TRANSFORMS = {
    "b": "pixel blitting",
    "g": "general geometric transforms",
    "c": "colour transforms",
    "f": "image-space filtering",
    "n": "noise",
    "x": "cutout",
}
# Draws from U(0, 1): one for each transform, which happens below p, then their values.
CHANCES = (
    *("flip", "turn", "shift"),
    *("scale", "rotation", "stretch", "second_rotation", "move"),
    *("brightness", "contrast", "luma_flip", "hue", "saturation"),
    *("band_0", "band_1", "band_2", "band_3", "noise", "cutout"),
)
UNIFORM = (
    *("flip", "turn", "shift_x", "shift_y", "rotation", "second_rotation"),
    *("luma_flip", "hue", "cutout_x", "cutout_y"),
)
# Draws from N(0, 1).
NORMAL = (
    *("scale", "stretch", "move_x", "move_y", "brightness", "contrast", "saturation"),
    *("band_0", "band_1", "band_2", "band_3", "noise"),
)
UNIFORM_DRAWS = len(CHANCES) + len(UNIFORM)
NORMAL_DRAWS = len(NORMAL)

SHIFT = 0.125  # the most, as a share of the side; also the deviation of a move
SCALE_DEVIATION = 0.2  # of log₂, as all deviations of factors
BRIGHTNESS_DEVIATION = 0.2  # on [−1, 1]
CONTRAST_DEVIATION = 0.5
SATURATION_DEVIATION = 1.0
BAND_DEVIATION = 1.0
NOISE_DEVIATION = 0.1  # on [−1, 1]
CUTOUT = 0.5  # of the side
BAND_POWERS = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # of a common image: a 1 / f spectrum
SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)


def check_transforms(transforms: str, channels: int) -> None:
    """Checks the letters of transforms.

    Raises:
        ValueError: If there is none, one is unknown or there twice, or colour transforms meet
            images that have neither 1 nor 3 channels.
    """
    if (
        not transforms
        or set(transforms) - set(TRANSFORMS)
        or len(set(transforms)) < len(transforms)
    ):
        letters = ", ".join(f"{letter} ({meaning})" for letter, meaning in TRANSFORMS.items())
        msg = f"ada={transforms!r}: expected some of {letters}, each once, such as 'bgc'."
        raise ValueError(msg)
    if "c" in transforms and channels not in (1, 3):
        msg = (
            f"ada={transforms!r}: colour transforms take 1 or 3 channels, and the images have "
            f"{channels}. Take {transforms.replace('c', '') or 'b'!r}."
        )
        raise ValueError(msg)


def ada(
    images: Tensor,
    p: Tensor,
    transforms: str,
    uniform: Tensor,
    normal: Tensor,
    pixels: Tensor = None,
) -> Tensor:
    """Augments each image by its own draws; differentiable in the images, twice.

    Args:
        images: [batch, height, width, channels] in [0, 1].
        p: Probability of each transform, scalar float32 in [0, 1]. At 0 the images come back as
            they are, bit for bit.
        transforms: Letters of `TRANSFORMS`. They are applied in the order of `TRANSFORMS`.
        uniform: From U(0, 1), float32 [batch, `UNIFORM_DRAWS`].
        normal: From N(0, 1), float32 [batch, `NORMAL_DRAWS`].
        pixels: From N(0, 1), like the images; for noise only.

    Returns:
        float32, not clipped to [0, 1], for clipping would stop gradients.
    """
    images = tf.cast(images, tf.float32)
    values = parameters(p, uniform, normal, square=images.shape[1] == images.shape[2])
    if "b" in transforms or "g" in transforms:
        images = _moved(images, transforms, values)
    if "c" in transforms:
        happens = _any(values, "brightness", "contrast", "luma_flip", "hue", "saturation")
        images = _where(happens, lambda x: recoloured(x, values), images)
    if "f" in transforms:
        happens = _any(values, "band_0", "band_1", "band_2", "band_3")
        images = _where(happens, lambda x: filtered(x, band_gains(values)), images)
    if "n" in transforms:
        deviation = 0.5 * NOISE_DEVIATION * tf.abs(values["noise"])
        images += deviation[:, None, None, None] * pixels
    if "x" in transforms:
        images = _cut(images, values)
    return images


def parameters(
    p: Tensor, uniform: Tensor, normal: Tensor, *, square: bool = True
) -> dict[str, Any]:
    """What happens to each image, by name, each [batch]: by chance, or else its neutral value.

    Args:
        p: Probability, scalar float32 in [0, 1].
        uniform: From U(0, 1), float32 [batch, `UNIFORM_DRAWS`].
        normal: From N(0, 1), float32 [batch, `NORMAL_DRAWS`].
        square: Whether the images are square, and can be turned by 90°.

    Returns:
        `flip` and `luma_flip`, 0 or 1; `turn` in quarters, 0 to 3; `shift_x` … `move_y` as shares
        of the sides; rotations and `hue` in radians; `scale`, `stretch`, `contrast`, `saturation`
        and bands as factors; `brightness` on [−1, 1]; `noise` in deviations; `cutout`, 0 or 1, and
        its centre as shares of the sides. `happens NAME` says what happened, bool.
    """
    chances = dict(zip(CHANCES, tf.unstack(uniform[:, : len(CHANCES)], axis=1), strict=True))
    u = dict(zip(UNIFORM, tf.unstack(uniform[:, len(CHANCES) :], axis=1), strict=True))
    z = dict(zip(NORMAL, tf.unstack(normal, axis=1), strict=True))
    # Either rotation happens with probability p: 1 − (1 − q)² = p.
    rotations = ("rotation", "second_rotation")
    happens = {
        name: chance < (1.0 - tf.sqrt(1.0 - p) if name in rotations else p)
        for name, chance in chances.items()
    }
    values: dict[str, Any] = {f"happens {name}": each for name, each in happens.items()}

    def add(name: str, of: str, value: Any, neutral: float = 0.0) -> None:
        values[name] = tf.where(happens[of], value, neutral)

    add("flip", "flip", tf.floor(2.0 * u["flip"]))
    add("turn", "turn", tf.floor(4.0 * u["turn"]) if square else 2.0 * tf.floor(2.0 * u["turn"]))
    for axis in "xy":
        add(f"shift_{axis}", "shift", SHIFT * (2.0 * u[f"shift_{axis}"] - 1.0))
        add(f"move_{axis}", "move", SHIFT * z[f"move_{axis}"])
        values[f"cutout_{axis}"] = u[f"cutout_{axis}"]
    for name in (*rotations, "hue"):
        add(name, name, math.pi * (2.0 * u[name] - 1.0))
    for name, deviation in (
        *(("scale", SCALE_DEVIATION), ("stretch", SCALE_DEVIATION)),
        *(("contrast", CONTRAST_DEVIATION), ("saturation", SATURATION_DEVIATION)),
        *((f"band_{i}", BAND_DEVIATION) for i in range(4)),
    ):
        add(name, name, tf.exp(math.log(2.0) * deviation * z[name]), 1.0)
    add("brightness", "brightness", BRIGHTNESS_DEVIATION * z["brightness"])
    add("luma_flip", "luma_flip", tf.floor(2.0 * u["luma_flip"]))
    add("noise", "noise", z["noise"])
    add("cutout", "cutout", tf.ones_like(u["cutout_x"]))
    return values


def _any(values: Mapping[str, Any], *names: str) -> Tensor:
    """Whether one of the transforms happens, bool [batch]."""
    return functools.reduce(tf.logical_or, (values[f"happens {name}"] for name in names))


def _where(happens: Tensor, change: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The changed image where it happens, else the very image."""
    return tf.where(happens[:, None, None, None], change(images), images)


# Geometry: inverse transforms, float32 [batch, 3, 3], in pixels from the centre


def blits(values: Mapping[str, Any], height: int, width: int) -> Tensor:
    """The inverse of a flip, then quarter turns, then a translation by whole pixels."""
    quarters = tf.cast(values["turn"], tf.int32)
    cosine, sine = (tf.gather(tf.constant(x), quarters) for x in ([1.0, 0, -1, 0], [0.0, 1, 0, -1]))
    flip = _scaling(1.0 - 2.0 * values["flip"], 1.0)
    # The paper's turns are by −90°: what comes from (x, y) turned back.
    turn = _matrix([cosine, -sine], [sine, cosine])
    shift = [tf.round(values[f"shift_{axis}"] * n) for axis, n in (("x", width), ("y", height))]
    return product(product(flip, turn), _translation(-shift[0], -shift[1]))


def general(values: Mapping[str, Any], height: int, width: int) -> Tensor:
    """The inverse of a scaling, a rotation, a stretch, a rotation, and a translation."""
    scale, stretch = values["scale"], values["stretch"]
    steps = [
        _scaling(1.0 / scale, 1.0 / scale),
        _rotation(values["rotation"]),
        _scaling(1.0 / stretch, stretch),
        _rotation(values["second_rotation"]),
        _translation(-values["move_x"] * width, -values["move_y"] * height),
    ]
    return functools.reduce(product, steps)


def _moved(images: Tensor, transforms: str, values: Mapping[str, Any]) -> Tensor:
    height, width = images.shape[1:3]
    whole = blits(values, height, width)
    moved = blit(images, whole) if "b" in transforms else images
    if "g" not in transforms:
        return moved
    inverse = general(values, height, width)
    inverse = product(whole, inverse) if "b" in transforms else inverse
    happens = _any(values, "scale", "rotation", "stretch", "second_rotation", "move")
    return tf.where(happens[:, None, None, None], warp(images, inverse), moved)


def _matrix(*rows: list[Any]) -> Tensor:
    """[batch, 3, 3] of the first rows and columns of each; the rest is the identity's."""
    zeros = tf.zeros_like(sum(x for row in rows for x in row))  # [batch]
    full = [[*row, *[0.0, 0.0, 0.0][len(row) :]] for row in rows] + [[0.0, 0.0, 1.0]]
    return tf.stack([tf.stack([zeros + x for x in row], axis=-1) for row in full], axis=-2)


def _scaling(x: Any, y: Any) -> Tensor:
    return _matrix([x, 0.0], [0.0, y])


def _rotation(angle: Tensor) -> Tensor:
    """The inverse of the paper's rotation by −θ."""
    return _matrix([tf.cos(angle), -tf.sin(angle)], [tf.sin(angle), tf.cos(angle)])


def _translation(x: Tensor, y: Tensor) -> Tensor:
    return _matrix([1.0, 0.0, x], [0.0, 1.0, y])


# Colour


def recoloured(images: Tensor, values: Mapping[str, Any]) -> Tensor:
    """Brightness, contrast, luma flip, hue and saturation, one after the other, as one map.

    On [−1, 1] the map is A (x + b). With P = v vᵀ, v = (1, 1, 1) / √3 the luma axis, and K the
    cross product with v, A = c ((1 − 2 i) P + s (cos θ (I − P) + sin θ K)): contrast c, luma flip
    i, saturation s and hue θ act on the axis or on the plane beside it. Grey images have the axis
    alone.
    """
    b, c, i, s, angle = (
        values[name][:, None, None, None]
        for name in ("brightness", "contrast", "luma_flip", "saturation", "hue")
    )
    on_axis = c * (1.0 - 2.0 * i)
    offset = 0.5 * (on_axis * (b - 1.0) + 1.0)
    if images.shape[-1] == 1:
        return on_axis * images + offset
    axis = np.full((3, 3), 1 / 3, np.float32)
    plane = np.eye(3, dtype=np.float32) - axis
    cross = np.float32(3**-0.5) * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], np.float32)
    cosine, sine = (c * s * f(angle) for f in (tf.cos, tf.sin))
    matrix = sum(x[..., None] * y for x, y in ((on_axis, axis), (cosine, plane), (sine, cross)))
    return product(matrix, images[..., None])[..., 0] + offset


# Filtering


def band_gains(values: Mapping[str, Any]) -> Tensor:
    """The gain of each octave band, lowest first, float32 [batch, 4].

    Each band in turn is amplified, and all four scaled back to the power of a common image.
    """
    powers = tf.constant(BAND_POWERS)
    gains = tf.ones_like(values["band_0"])[:, None] * tf.ones([4])
    for band in range(4):
        own = tf.one_hot(band, 4)
        amplified = 1.0 - own + own * values[f"band_{band}"][:, None]
        power = tf.reduce_sum(powers * tf.square(amplified), axis=1, keepdims=True)
        # Exactly neutral where nothing happens, whatever the rounding of Σ powers.
        happens = values[f"happens band_{band}"][:, None]
        gains *= tf.where(happens, amplified * tf.math.rsqrt(power), 1.0)
    return gains


def filtered(images: Tensor, gains: Tensor) -> Tensor:
    """Amplifies octave bands by gains [batch, 4], along both axes, edges reflected."""
    for axis, equation in ((1, "bih,bhwc->biwc"), (2, "bjw,biwc->bijc")):
        bands = np.stack([convolution(taps, images.shape[axis]) for taps in filter_bank()])
        images = tf.einsum(equation, tf.einsum("bk,kij->bij", gains, bands), images)
    return images


@functools.cache
def filter_bank() -> np.ndarray:
    """Filters of four octave bands, lowest first, [4, 43]; together they are the identity.

    The wavelet sym2's, as in the authors' code: H(z) H(z⁻¹) / 2 of low-pass and high-pass.
    """
    low = np.asarray(SYM2)
    high = low * np.array([1, -1, 1, -1])
    low, high = (np.convolve(x, x[::-1]) / 2 for x in (low, high))
    bank = np.eye(4, 1)
    for band in range(1, 4):
        finer = np.zeros((4, 2 * bank.shape[1] - 1))
        finer[:, ::2] = bank
        bank = np.stack([np.convolve(taps, low) for taps in finer])
        start = (bank.shape[1] - len(high)) // 2
        bank[band, start : start + len(high)] += high
    return bank


# Corruption


def _cut(images: Tensor, values: Mapping[str, Any]) -> Tensor:
    """Greys a rectangle of half the sides, centred anywhere in the image."""
    holes = []
    for axis, size in (("y", images.shape[1]), ("x", images.shape[2])):
        place = (np.arange(size, dtype=np.float32) + 0.5) / size
        holes.append(tf.abs(place - values[f"cutout_{axis}"][:, None]) < CUTOUT / 2)
    hole = holes[0][:, :, None, None] & holes[1][:, None, :, None]
    return tf.where(hole & (values["cutout"] > 0.0)[:, None, None, None], 0.5, images)
