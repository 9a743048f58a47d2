"""Names in messages: how they are shown, and what to answer to one that nothing has."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MOST = 3  # names that are suggested


def printable(name: str | os.PathLike[str]) -> str:
    r"""A file name, in which bytes that are no UTF-8 are shown as "\xff".

    Example:
        >>> from zoo.io.names import printable
        >>> print(printable("shoes/\udcff.png"))
        shoes/\xff.png
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def as_path(value: Any, name: str) -> Path:
    """The path that an argument gives.

    Args:
        value: The argument.
        name: Its name.

    Raises:
        TypeError: If it is no path, such as None.
        ValueError: If it is the empty text, which pathlib takes for the current folder.

    Example:
        >>> from zoo.io.names import as_path
        >>> as_path(None, "run")
        Traceback (most recent call last):
        TypeError: run=None: expected a path, as str or Path.
    """
    if not isinstance(value, (str, os.PathLike)):
        msg = f"{name}={value!r}: expected a path, as str or Path."
        raise TypeError(msg)
    if value == "":
        msg = f"{name}='': expected a path, as str or Path. The current folder is '.'."
        raise ValueError(msg)
    return Path(value)


def nearest(name: str, known: Collection[str]) -> list[str]:
    """The known names that a slip of the hand may have meant, at most three, the nearest first.

    These are the names at a small edit distance: up to a third of the letters were added, left out,
    replaced or swapped with their neighbour. Where there is none, the names with long parts in
    common, as `difflib` finds them, so that `latent` is answered with `latent_dim`.

    Args:
        name: What was given.
        known: The names there are.

    Returns:
        Some of `known`; none if nothing looks like the name.

    Example:
        >>> from zoo.io.names import nearest
        >>> nearest("emaa", ["dtype", "ema", "network"])
        ['ema']
        >>> nearest("width", ["dtype", "ema", "network"])
        []
    """
    distances = {each: _distance(name.lower(), each.lower()) for each in known}
    allowed = max(1, len(name) // 3)
    near = sorted((d, each) for each, d in distances.items() if d <= allowed)
    return [each for _, each in near[:MOST]] or difflib.get_close_matches(name, known, MOST)


def suggestion(name: str, known: Collection[str]) -> str:
    """The sentence that ends an error about an unknown name.

    Args:
        name: What was given.
        known: The names there are, at least one.

    Example:
        >>> from zoo.io.names import suggestion
        >>> suggestion("dcgam", ["vae", "dcgan"])
        'Did you mean dcgan?'
        >>> suggestion("flow", ["vae", "dcgan"])
        'Take one of vae, dcgan.'
    """
    near = nearest(name, known)
    return f"Did you mean {' or '.join(near)}?" if near else f"Take one of {', '.join(known)}."


def class_number(label: str, names: Sequence[str]) -> int:
    """The number of a class that is given by its name, or by its number.

    A name comes first: a class may be called 10, and be the third.

    Args:
        label: What was given.
        names: Name of each class, in the order of their numbers; empty if they are only numbered.

    Raises:
        ValueError: If there is no such name, or several classes have it; and the label is no whole
            number either.

    Example:
        >>> from zoo.io.names import class_number
        >>> class_number("boot", ["bag", "boot"]), class_number("1", ["bag", "boot"])
        (1, 1)
    """
    if (count := names.count(label)) > 1:
        numbers = [str(number) for number, name in enumerate(names) if name == label]
        msg = f"{label}: {count} classes have this name. Give the number, {' or '.join(numbers)}."
        raise ValueError(msg)
    if count:
        return names.index(label)
    if label.isdecimal() and len(label) < 10:
        return int(label)
    unnamed = "The classes have no names: give the number of one, from 0 on."
    msg = f"{label}: no such class. {suggestion(label, names) if names else unnamed}"
    raise ValueError(msg)


def _distance(a: str, b: str) -> int:
    """The edit distance, in which a swap of two neighbours is one edit (Damerau)."""
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            edits = [rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (x != y)]
            if i > 1 and j > 1 and (x, a[i - 2]) == (b[j - 2], y):
                edits.append(rows[-2][j - 2] + 1)
            row.append(min(edits))
        rows.append(row)
    return rows[-1][-1]
