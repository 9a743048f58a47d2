"""Labels and pixels as the models take them: converted exactly, or refused with a remedy.

Everything that takes images or labels from outside converts them here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Resizing and decoding round: so far outside [0, 1] a float counts as its end. 8 ulp of float32.
TOLERANCE = 2.0**-20
ONE_HOT = "One-hot rows become numbers by `labels.argmax(axis=-1)`."


def checked_labels(labels: Any, num_classes: int | None, what: str) -> np.ndarray:
    """Class numbers as int32, each equal to what was given.

    Args:
        labels: Array-like [n] or [n, 1] of integers, bools, or floats with whole values, ≥ 0.
        num_classes: Number of classes, which every label must be below; None if unknown.
        what: What the labels are, for the errors, such as "x.npz: y_train" or "The labels".

    Returns:
        int32 [n].

    Raises:
        ValueError: If they are text, objects or one-hot rows, or one is negative, no whole number,
            NaN, above int32, or no class; the first such label and its index are named.
    """
    given = _as_array(labels, what)
    if given.dtype.kind in "OSUT":
        msg = (
            f"{what}: dtype {given.dtype}, such as {given.reshape(-1)[:1].tolist()}; expected "
            "class numbers from 0 on. Names become numbers by "
            "`names, labels = np.unique(labels, return_inverse=True)`."
        )
        raise ValueError(msg)
    if given.dtype.kind not in "biuf":
        msg = f"{what}: dtype {given.dtype}; expected integers: class numbers from 0 on."
        raise ValueError(msg)
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.ndim != 1:
        remedy = f" {ONE_HOT}" if given.ndim == 2 else ""
        msg = f"{what}: shape {given.shape}; expected [n], one class number per image.{remedy}"
        raise ValueError(msg)
    if given.dtype.kind == "f":
        given = given.astype(np.float64)
    # Compared before the cast, which wraps around; NaN fails every comparison.
    sound = (given >= 0) & (given < 2**31) & (given == np.floor(given))
    if not sound.all():
        index = int(np.argmin(sound))
        msg = (
            f"{what}: label {given[index]} at index {index}: expected a whole number from 0 on, "
            "the number of a class. Correct or remove it."
        )
        raise ValueError(msg)
    exact = given.astype(np.int32)
    if num_classes is not None and exact.size and exact.max() >= num_classes:
        index = int(np.argmax(exact >= num_classes))
        from_one = exact.min() == 1 and exact.max() == num_classes
        msg = (
            f"{what}: label {exact[index]} at index {index}: expected a class from 0 to "
            f"{num_classes - 1}."
            f"{' The classes seem to be numbered from 1: give `labels - 1`.' if from_one else ''}"
        )
        raise ValueError(msg)
    return exact


def count_classes(labels: np.ndarray, what: str) -> int:
    """The number of classes of checked labels: one more than the largest.

    Some classes may have no images, as in a small sample, but not the first one alone, and no more
    classes than have some.

    Args:
        labels: int32 [n], as `checked_labels` returns them; n ≥ 1.
        what: What they are, for the errors.

    Raises:
        ValueError: If classes are numbered from 1, or most have no images; these are named.
    """
    present = np.unique(labels)
    classes = int(present[-1]) + 1
    if len(present) == classes:
        return classes
    if present[0] > 0 and len(present) == classes - present[0]:
        msg = (
            f"{what}: classes {present[0]} to {present[-1]}; expected classes numbered from 0. "
            f"Give `labels - {present[0]}`, or say num_classes={classes} if the first have no "
            "images."
        )
        raise ValueError(msg)
    if 2 * len(present) >= classes:
        return classes
    msg = (
        f"{what}: {len(present)} values up to {present[-1]}, which would be {classes} classes, of "
        f"which {_gaps(present)} have no images. Number them without gaps, by "
        "`_, labels = np.unique(labels, return_inverse=True)`; remove images of no class; or say "
        f"num_classes={classes} if it is right."
    )
    raise ValueError(msg)


def checked_pixels(images: Any, what: str) -> np.ndarray:
    """Pixels of any shape as uint8 or float32, with every value in range.

    Args:
        images: Array-like. uint8 in 0…255; floats in [0, 1]; or bools, False black and True white.
            Floats outside of [0, 1] by no more than `TOLERANCE` = 2⁻²⁰, as resizing rounds, become
            0 or 1.
        what: What the images are, for the errors, such as "x.npz: x_train" or "The images".

    Returns:
        uint8 in 0…255 (uint8 is returned as it is, bools become 0 and 255), or float32 in [0, 1].
        Divide uint8 by 255 to get values in [0, 1].

    Raises:
        ValueError: If floats are NaN or out of range, if integers are not uint8, or if uint8 has no
            value but 0 and 1, as masks have; the values and the remedy are named.
    """
    pixels = _as_array(images, what)
    if pixels.dtype.name == "bfloat16":  # a float that NumPy does not know as one
        pixels = pixels.astype(np.float32)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype == np.uint8:
        if pixels.size and pixels.max() == 1:
            msg = (
                f"{what}: uint8 without a value above 1, nearly black images. Give 0/1 masks as "
                "bool, `x.astype(bool)`, or times 255; if they are that dark, floats, `x / 255`."
            )
            raise ValueError(msg)
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating):
        msg = (
            f"{what}: dtype {pixels.dtype}; expected uint8 in 0..255 or float in [0, 1]."
            f"{_remedy_of_dtype(pixels)}"
        )
        raise ValueError(msg)
    if not pixels.size:
        return pixels.astype(np.float32)
    low, high = float(pixels.min()), float(pixels.max())
    if np.isnan(low):
        msg = f"{what}: {int(np.isnan(pixels).sum())} NaN values. Remove those images."
        raise ValueError(msg)
    if low < -TOLERANCE or high > 1.0 + TOLERANCE:
        msg = (
            f"{what}: values from {low:.9g} to {high:.9g}; expected [0, 1]. "
            f"{_remedy_of_range(low, high)}"
        )
        raise ValueError(msg)
    if low < 0.0 or high > 1.0:
        pixels = np.clip(pixels, 0.0, 1.0)
    return pixels.astype(np.float32, copy=False)


def _as_array(values: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:  # rows of several lengths, and the like
        msg = f"{what} cannot be read as an array: {error}"
        raise ValueError(msg) from error


def _remedy_of_dtype(pixels: np.ndarray) -> str:
    if pixels.dtype.kind not in "iu" or not pixels.size:
        return ""
    low, high = int(pixels.min()), int(pixels.max())
    if low >= 0 and high <= 1:
        return " Give 0/1 masks as bool, `x.astype(bool)`."
    if low >= 0 and high <= 255:
        return " Their values fit into uint8: give `x.astype(np.uint8)`."
    return f" Their values go from {low} to {high}: map them to floats in [0, 1]."


def _remedy_of_range(low: float, high: float) -> str:
    if low >= -TOLERANCE and 2.0 < high <= 255.0:
        return "Divide by 255, `x / 255`."
    if -1.0 - TOLERANCE <= low < -0.5 and high <= 1.0 + TOLERANCE:
        return "Map [−1, 1] by `(x + 1) / 2`."
    if low > -0.5 and high < 1.5:
        return "Cut off what resizing overshot by `np.clip(x, 0, 1)`."
    return "Divide by the largest value there can be, or map [−1, 1] by `(x + 1) / 2`."


def _gaps(present: np.ndarray, limit: int = 4) -> str:
    """The classes without images, as "2, 4 to 254", at most so many ranges."""
    before = np.concatenate([[-1], present[:-1]])
    ends = zip(before + 1, present - 1, strict=True)
    texts = [f"{low} to {high}" if low < high else str(low) for low, high in ends if low <= high]
    return ", ".join(texts[:limit]) + (" and more" if len(texts) > limit else "")
