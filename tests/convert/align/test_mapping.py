"""A mapping names partners where the structure leaves a choice."""

from __future__ import annotations

import pytest
from keras import layers

from tests.support.alignments import X, assert_aligned, branches, stack
from zoo.convert.align import align
from zoo.convert.reading import read


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        (
            {"outt": "a"},
            r"'outt' matches no source block. .*: out\.",
        ),
        ({"a": "aa"}, r"partner 'aa', but the target has no such block.*: a\."),
        ({"[ab]": "a"}, r"gives 'a' to several source blocks: a, b"),
        ({"a": "a", "[a]": "b"}, r"gives 'a' two partners: 'a' and 'b'"),
        ({"a": "out"}, r"'out' with the source's 'a', which do not fit: kernel shape \(4, 2\)"),
        ({"a": "add"}, "which do not fit: kind Add against Dense"),
        ({"(": "a"}, "no regular expression"),
        ({"a": r"\1"}, "no regular expression"),
    ],
    ids=str,
)
def test_mappings_that_do_not_hold(mapping: dict[str, str], reason: str) -> None:
    def named_add() -> layers.Layer:
        return layers.Add(name="add")

    source, target = read(branches(merge=named_add)), read(branches(merge=named_add, seed=1))
    with pytest.raises(ValueError, match=reason):
        align(source, target, mapping)


def test_a_mapping_may_name_the_networks() -> None:
    found = assert_aligned(branches(), branches(seed=1), mapping={r"gen/(a)": r"dec/\1"})
    assert found.pairs["a"] == "a"


def test_a_mapping_may_name_blocks_that_a_rule_took_away() -> None:
    original = read(stack(layers.Dense(4), layers.BatchNormalization(name="norm_1")))
    target = read(stack(layers.Dense(4, name="out")))
    found = align(
        original.without("norm_1"), target, {r"norm_\d": "out"}, latents=X, original=original
    )
    assert [row.source for row in found.rows if row.status == "UNUSED"] == [
        f"norm_1/{key}" for key in original["norm_1"].arrays
    ]


def test_mode_is_checked() -> None:
    network = read(branches())
    with pytest.raises(ValueError, match="'loose': expected 'exact' or 'partial'"):
        align(network, network, mode="loose")
