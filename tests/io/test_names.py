"""Names that nothing has are answered with the nearest; classes go by name or number."""

from __future__ import annotations

import pytest

from zoo.io.names import class_number

NAMES = ["10", "bag, small", "boot", "Boot ", "10"]


@pytest.mark.parametrize(
    ("label", "names", "number"),
    [
        ("boot", NAMES, 2),
        ("bag, small", NAMES, 1),
        ("Boot ", NAMES, 3),
        ("3", NAMES, 3),
        ("3", [], 3),
        ("10", ["a", "10"], 1),
        ("10", [], 10),
    ],
)
def test_a_class_by_its_name_or_number(label: str, names: list[str], number: int) -> None:
    assert class_number(label, names) == number


@pytest.mark.parametrize(
    ("label", "names", "message"),
    [
        ("10", NAMES, r"^10: 2 classes have this name. Give the number, 0 or 4\.$"),
        ("bot", NAMES, "bot: no such class. Did you mean boot"),
        ("boot", [], "boot: no such class. The classes have no names: give the number of one"),
        ("-1", NAMES, "-1: no such class"),
        ("1.0", [], "1.0: no such class"),
        ("12345678901", [], "no such class"),
    ],
)
def test_no_class(label: str, names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_number(label, names)
