"""The user's pairs of blocks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zoo.convert.align.graph import Graph, differences
from zoo.io.names import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zoo.convert.blocks import Network


def wanted_pairs(
    mapping: Mapping[str, str], prefixes: Sequence[str], known: Iterable[str], target: Network
) -> dict[str, str]:
    """The user's pairs of blocks, source to target."""
    wanted: dict[str, str] = {}
    for pattern, replacement in mapping.items():
        for name, partner in _matches(pattern, replacement, prefixes, known).items():
            if partner not in target.blocks:
                msg = (
                    f"The mapping {pattern!r}: {replacement!r} gives {name!r} the partner "
                    f"{partner!r}, but the target has no such block. "
                    + _near(partner, target.blocks)
                )
                raise ValueError(msg)
            if wanted.setdefault(name, partner) != partner:
                msg = f"The mapping gives {name!r} two partners: {wanted[name]!r} and {partner!r}."
                raise ValueError(msg)
    for partner in wanted.values():
        rivals = [name for name in wanted if wanted[name] == partner]
        if len(rivals) > 1:
            msg = f"The mapping gives {partner!r} to several source blocks: {', '.join(rivals)}."
            raise ValueError(msg)
    return wanted


def _matches(
    pattern: str, replacement: str, prefixes: Sequence[str], known: Iterable[str]
) -> dict[str, str]:
    """Partners by the names of the source blocks that the pattern matches."""
    partners = {}
    try:
        for name in known:
            matches = (re.fullmatch(pattern, prefix + name) for prefix in prefixes)
            match = next(filter(None, matches), None)
            if match:  # no block's name has a "/" in it
                partners[name] = match.expand(replacement).rpartition("/")[2]
    except (re.error, IndexError) as error:
        msg = f"The mapping {pattern!r}: {replacement!r} is no regular expression ({error})."
        raise ValueError(msg) from error
    if not partners:
        msg = f"The mapping's {pattern!r} matches no source block. {_near(pattern, known)}"
        raise ValueError(msg)
    return partners


def _near(name: str, known: Iterable[str]) -> str:
    near = nearest(name.rpartition("/")[2], list(known))
    return f"The nearest of its blocks: {', '.join(near or known)}."


def pins_of(wanted: Mapping[str, str], ours: Graph, theirs: Graph, mode: str) -> dict[str, str]:
    """The wanted pairs as pairs of nodes, target to source."""
    pins: dict[str, str] = {}
    for name, partner in wanted.items():
        if name in ours.network.blocks and partner in theirs.network.blocks:
            _check_pin(name, partner, ours, theirs, mode)
            pins[theirs.holder(partner)] = ours.holder(name)
    return pins


def _check_pin(name: str, partner: str, ours: Graph, theirs: Graph, mode: str) -> None:
    kinds = [g.network[n].layer for g, n in ((theirs, partner), (ours, name))]
    nodes = [g.graph.nodes.get(n) for g, n in ((theirs, partner), (ours, name))]
    if kinds[0] is not kinds[1] and not (nodes[0] and nodes[1]):
        texts = [f"kind {kinds[0].__name__} against {kinds[1].__name__}"]
    elif nodes[0] and nodes[1]:
        texts = differences(nodes[0], nodes[1])
    else:
        texts = []  # BatchNorms: judged with the nodes that they belong to
    if mode == "partial":
        texts = [text for text in texts if text.startswith("kind ")]
    if texts:
        msg = (
            f"The mapping pairs the target's {partner!r} with the source's {name!r}, which do not "
            f"fit: {', '.join(texts)}."
        )
        raise ValueError(msg)
