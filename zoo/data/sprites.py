"""White sprites on black whose five factors are known: a small dSprites, drawn by this code.

After https://github.com/google-deepmind/dsprites-dataset, with these differences: 32 × 32 grey
pixels with antialiased edges; orientations within a quarter turn, in which not even the square
repeats itself, so that no two images are equal; shapes of one area for one scale, and turned and
placed by their centroid, so that no factor can be read off another's trace.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math

import numpy as np

NAME = "sprites"
FACTOR_NAMES = ("shape", "scale", "orientation", "x", "y")
FACTOR_SIZES = (3, 4, 8, 8, 8)
SHAPES = ("square", "ellipse", "heart")
SPLITS = ("train", "test")
SIZE = 32
STEP = 2  # pixels between neighbouring positions
# √area in pixels: the longest sprite, the ellipse of 17.6 pixels, just stays within the image.
SIDES = (5.5, 22 / 3, 55 / 6, 11.0)
MARGIN = STEP * (FACTOR_SIZES[-1] - 1)
CANVAS = SIZE + MARGIN
SUBPIXELS = 8


@functools.cache
def factors() -> np.ndarray:
    """Every combination of the factors, one for each of `images()`.

    Returns:
        int32 [6144, 5], read-only; columns as `FACTOR_NAMES`, value f of column j in
        0 … FACTOR_SIZES[j] − 1. The shape indexes `SHAPES`; scale grows; orientation turns counter-
        clockwise by f · 90° / 8; x grows to the right and y downwards, 2 pixels per value.
    """
    table = np.indices(FACTOR_SIZES, np.int32).reshape(len(FACTOR_SIZES), -1).T
    return _frozen(np.ascontiguousarray(table))


@functools.cache
def images() -> np.ndarray:
    """The images of all rows of `factors()`, the same bytes on every machine.

    Returns:
        uint8 [6144, 32, 32, 1] in 0..255, read-only: the share of a pixel that the sprite covers.
    """
    kinds = itertools.product(SHAPES, SIDES, range(FACTOR_SIZES[2]))
    canvases = np.stack([_draw(*kind) for kind in kinds])
    # Each sprite is drawn once, amid a canvas, and moved by cutting the image out elsewhere.
    windows = np.lib.stride_tricks.sliding_window_view(canvases, (SIZE, SIZE), axis=(1, 2))
    at_y_x = windows[:, MARGIN::-STEP, MARGIN::-STEP]
    return _frozen(at_y_x.swapaxes(1, 2).reshape(-1, SIZE, SIZE, 1))


@functools.cache
def rows(split: str) -> np.ndarray:
    """The rows of `factors()` and `images()` in a split, in its order.

    Args:
        split: "train" (nine tenths) or "test"; both are in one random, fixed order, so that the
            first n are a sample of all factors.

    Returns:
        int64 [n], read-only.

    Raises:
        ValueError: If there is no such split.
    """
    if split not in SPLITS:
        msg = f"{NAME} has no split {split!r}; it has {SPLITS}."
        raise ValueError(msg)
    # By hash and not by a generator, whose stream may change between versions of NumPy.
    order = sorted(range(len(factors())), key=lambda i: hashlib.sha256(str(i).encode()).digest())
    held_out = len(order) // 10
    return _frozen(np.array(order[:held_out] if split == "test" else order[held_out:], np.int64))


def read(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [n, 32, 32, 1] and labels int32 [n], the index of the shape, of a split.

    Raises:
        ValueError: If there is no such split.
    """
    return images()[rows(split)], factors()[rows(split), 0]


def _draw(shape: str, side: float, orientation: int) -> np.ndarray:
    """uint8 [canvas, canvas] with the sprite's centroid in the middle."""
    inside = _levels(shape, side, orientation) < 0.0
    count = inside.reshape(CANVAS, SUBPIXELS, CANVAS, SUBPIXELS).sum(axis=(1, 3))
    return ((255 * count + SUBPIXELS**2 // 2) // SUBPIXELS**2).astype(np.uint8)


def _levels(shape: str, side: float, orientation: int) -> np.ndarray:
    """Below zero inside the sprite and above outside, at every subpixel of the canvas.

    None is so near zero that a machine's rounding could decide (which the tests check).
    """
    middle_out = (np.arange(CANVAS * SUBPIXELS) + 0.5) / SUBPIXELS - CANVAS / 2
    x, y = middle_out[None, :], -middle_out[:, None]
    angle = orientation * (math.pi / 2) / FACTOR_SIZES[2]
    u = math.cos(angle) * x + math.sin(angle) * y
    v = math.cos(angle) * y - math.sin(angle) * x
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - side / 2
    if shape == "ellipse":  # twice as long as high
        a = side * math.sqrt(2 / math.pi)
        return (u / a) ** 2 + (2 * v / a) ** 2 - 1.0
    # A heart is a square on its tip, of diagonal 4c, with half discs of radius √2 c on its upper
    # sides: its area is (8 + 2π) c², and its centroid lies that far above the square's.
    c = side / math.sqrt(8 + 2 * math.pi)
    v = v + c * (2 * math.pi + 8 / 3) / (8 + 2 * math.pi)
    square = np.abs(u) + np.abs(v) - 2 * c
    discs = (np.abs(u) - c) ** 2 + (v - c) ** 2 - 2 * c**2
    return np.minimum(square, discs)


def _frozen(array: np.ndarray) -> np.ndarray:
    """The array, which is cached and shared, made read-only."""
    array.flags.writeable = False
    return array
