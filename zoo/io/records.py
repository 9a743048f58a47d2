"""JSON that any reader takes, and that is what its reader expects."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.io.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.io.schemas import Kind

NOT_FINITE = "not_finite"
MAX_JSON_BYTES = 64 << 20
MAX_JSON_DEPTH = 200
MAX_DIGITS = 40  # 64 bits have 20; Python's own limit has an error of its own
# Half of a character, which no output takes; but not what stands for a byte of a file name.
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON that `read_json` gives back.

    JSON has no NaN and no infinities. Such a number is written as null, and the object that it is
    in, at the top or in a list at the top, gets an entry "not_finite" that says where it was and
    what: {"elbo": null, "not_finite": {"/elbo": "-inf"}}, a JSON pointer (RFC 6901) for each.

    Raises:
        ValueError: If a number that is not finite is in no object.
    """
    with replacing(path) as temporary:
        temporary.write_text(to_json(value, indent=2) + "\n", encoding="utf-8")


def to_json(value: Any, indent: int | None = None) -> str:
    """The text that `write_json` writes."""
    return json.dumps(_noted(value), indent=indent, allow_nan=False)


def read_json(path: str | Path, kind: Kind | None = None) -> Any:
    """Reads a JSON file.

    Args:
        path: The file.
        kind: What it is expected to be, of `zoo.io.schemas`. Entries that a kind does not know are
            kept.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not JSON, or not of the kind; the file and the entry are named.
    """
    path = Path(path)
    if path.stat().st_size > MAX_JSON_BYTES:
        msg = f"{path} has more than {MAX_JSON_BYTES >> 20} MB; expected less. What is it?"
        raise ValueError(msg)
    return parse_json(path.read_bytes(), path, kind)


def parse_json(content: bytes, where: str | Path, kind: Kind | None = None) -> Any:
    """As `read_json`, of what a file holds; `where` names it in errors."""
    try:
        value = json.loads(content.decode("utf-8"), parse_int=_integer)
    except RecursionError as error:
        raise _too_deep(where) from error
    except ValueError as error:  # of JSON, UTF-8, or a number of too many digits
        msg = f"{where} is not valid JSON ({error}). Was it edited, or cut short by a full disk?"
        raise ValueError(msg) from error
    _check_values(value, where)
    value = _restored(value, where)
    if kind is not None:
        _check(value, where, kind)
    return value


def known_entries(cls: Any, entries: dict[str, Any]) -> dict[str, Any]:
    """The entries that a dataclass has fields for; others were written by other versions."""
    return {field.name: entries[field.name] for field in fields(cls) if field.name in entries}


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        msg = f"a whole number of {len(text)} digits"
        raise ValueError(msg)
    return int(text)


def _too_deep(where: str | Path) -> ValueError:
    return ValueError(f"{where} is nested more than {MAX_JSON_DEPTH} levels deep. Was it edited?")


def _entries(value: Any) -> Iterator[tuple[Any, str]]:
    """What is directly within a value, each with its part of a JSON pointer."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield each, str(key).replace("~", "~0").replace("/", "~1")
    elif isinstance(value, (list, tuple)):
        for i, each in enumerate(value):
            yield each, str(i)


def _check_values(value: Any, where: str | Path) -> None:
    """Checks what other readers choke on: depth, integers beyond 64 bits, half characters."""
    level = [(value, "")]
    for _ in range(MAX_JSON_DEPTH):
        for each, place in level:
            if isinstance(each, int) and not -(2**63) <= each < 2**64:
                msg = f"{where}: {place[1:]} is a whole number beyond 64 bits. Was it edited?"
                raise ValueError(msg)
            texts = [each] if isinstance(each, str) else each if isinstance(each, dict) else ()
            if any(_HALF.search(text) for text in texts):
                msg = f"{where}: {place[1:]!r} has half of a character. Was it edited?"
                raise ValueError(msg)
        level = [
            (part, f"{place}/{name}") for each, place in level for part, name in _entries(each)
        ]
        if not level:
            return
    raise _too_deep(where)


def _not_finite(value: Any) -> dict[str, float]:
    """The numbers that are not finite, by JSON pointer."""
    numbers, stack = {}, [(value, "")]
    while stack:
        each, place = stack.pop()
        if isinstance(each, float) and not math.isfinite(each):
            numbers[place] = each
        stack += [(part, f"{place}/{name}") for part, name in _entries(each)]
    return numbers


def _noted(value: Any) -> Any:
    """The value with null for numbers that are not finite, and a note of them."""
    bad = _not_finite(value)
    if not bad:
        return value
    if isinstance(value, (list, tuple)):
        return [_noted(each) for each in value]
    if isinstance(value, dict):
        return {**_without(value), NOT_FINITE: {place: str(bad[place]) for place in sorted(bad)}}
    msg = f"{value!r}: JSON has no such number, and there is no object to note it in."
    raise ValueError(msg)


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _restored(value: Any, where: str | Path) -> Any:
    """The value that `_noted` was given."""
    if isinstance(value, list):
        return [_restored(each, where) if isinstance(each, dict) else each for each in value]
    if not isinstance(value, dict) or NOT_FINITE not in value:
        return value
    value = dict(value)
    try:
        for pointer, text in value.pop(NOT_FINITE).items():
            parent: Any = value
            *names, last = (
                name.replace("~1", "/").replace("~0", "~") for name in pointer.split("/")[1:]
            )
            for name in names:
                parent = parent[int(name) if isinstance(parent, list) else name]
            key = int(last) if isinstance(parent, list) else last
            if parent[key] is not None or text not in ("nan", "inf", "-inf"):
                raise ValueError(pointer)  # noqa: TRY301
            parent[key] = float(text)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        msg = f"{where}: {NOT_FINITE} names no null of the file ({error}). Was it edited?"
        raise ValueError(msg) from error
    return value


def _check(value: Any, where: str | Path, kind: Kind) -> None:
    from pydantic import ValidationError  # noqa: PLC0415  (0.1 s, for files that are checked)

    version = value.get("format") if isinstance(value, dict) else None
    if kind.format and isinstance(version, int) and version > kind.format:
        msg = (
            f"{where} is of format {version}, but this version reads up to {kind.format}. "
            "Upgrade it: pip install -U vaegan-zoo."
        )
        raise ValueError(msg)
    fault = None
    if not kind.figures and (bad := _not_finite(value)):
        place, number = min(bad.items())
        fault = f"{place[1:]} is {number}: expected a finite number"
    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        fault = _explain(error)
    if fault is not None:
        msg = f"{where}: {fault}. The file should be {kind.what}. {kind.remedy}"
        raise ValueError(msg)


def _explain(error: Any) -> str:
    first = error.errors(include_url=False)[0]
    place = "/".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"{place} is missing"
    value = repr(first["input"])
    value = value if len(value) <= 60 else f"{value[:60]} …"
    expected = first["msg"].removeprefix("Input should be ")
    return f"{place + ' is ' if place else ''}{value}: expected {expected}"


@lru_cache
def _adapter(kind: Kind) -> Any:
    from pydantic import TypeAdapter  # noqa: PLC0415  (as above)

    return TypeAdapter(kind.schema)
