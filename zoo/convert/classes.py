"""Which old class each new class of a model starts as: a matrix from the names of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo.io.names import suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALL = "all"  # what stands for the one "class" of a model without classes


@dataclass(frozen=True)
class Start:
    """What one new class starts as.

    Attributes:
        name: Its name, or its number as text; "all" for a model without classes.
        old: Number of the source's class whose images it draws first; None for none.
        text: The same in words.
    """

    name: str
    old: int | None
    text: str


def starts(
    new: Sequence[str], old: Sequence[str], given: Mapping[str, str], *, same_names: bool = True
) -> list[Start]:
    """What each new class starts as.

    Args:
        new: Names of the new classes; none for a model without classes.
        old: Names of the source's classes; none for a source without classes.
        given: Old class by new class, each a name or a number as text.
        same_names: Whether classes of equal names are the same.

    Returns:
        One `Start` per new class; one for all images of a model without classes.

    Raises:
        ValueError: If a class of `given` is unknown, or two of its keys are one class.

    Example:
        >>> from zoo.convert.classes import starts
        >>> [start.old for start in starts(["bag", "hat"], ["boot", "bag"], {"hat": "0"})]
        [1, 0]
    """
    names = list(new) or [ALL]
    chosen: dict[int, int] = {}
    if given and not old:
        msg = (
            f"{_pairs(given)}: the source has no classes, and every class starts as all of its "
            "images. Leave it out."
        )
        raise ValueError(msg)
    for key, value in given.items():
        number = _number(key, names, f"{key}={value}", "the data")
        if number in chosen:
            msg = f"{key}={value}: the class {names[number]!r} is named twice. Remove one."
            raise ValueError(msg)
        chosen[number] = _number(value, old, f"{key}={value}", "the source")
    if same_names and new:
        for number, name in enumerate(names):
            if name in old:
                chosen.setdefault(number, list(old).index(name))
    return [_start(name, chosen.get(number), old) for number, name in enumerate(names)]


def matrix(chosen: Sequence[Start], classes: int) -> np.ndarray:
    """Rows of weights of the old classes, float64 [new, old]: one of them, or all alike."""
    rows = np.full((len(chosen), classes), 1.0 / max(classes, 1))
    for row, start in zip(rows, chosen, strict=True):
        if start.old is not None:
            row[:] = np.eye(classes)[start.old]
    return rows


def _start(name: str, number: int | None, old: Sequence[str]) -> Start:
    if not old:
        return Start(name, None, "all images of the source")
    if number is None:
        return Start(
            name, None, f"the mean of the source's {len(old)} classes, which is no class of it"
        )
    text = old[number] if old[number] == str(number) else f"{number} ({old[number]})"
    return Start(name, number, f"class {text}")


def _number(text: str, names: Sequence[str], where: str, whose: str) -> int:
    if text in names:
        return list(names).index(text)
    if text.isdecimal() and int(text) < len(names) and list(names) != [ALL]:
        return int(text)
    msg = f"{where}: {text!r} is no class of {whose}. {suggestion(text, names)}"
    raise ValueError(msg)


def _pairs(given: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in given.items())
