"""The pairing of partial mode: like with like from both ends, then by place."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from zoo.convert.align.matching import ambiguous

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zoo.convert.align.graph import Graph


def in_order(ours: Graph, theirs: Graph, pins: Mapping[str, str]) -> dict[str, str]:
    """Pairs nodes with weights, target to source: like with like from both ends, then by place."""
    pairs = {t: s for t, s in pins.items() if theirs.network[t].arrays and ours.network[s].arrays}
    sources = [s for s in ours.graph if ours.network[s].arrays and s not in pairs.values()]
    targets = [t for t in theirs.graph if theirs.network[t].arrays and t not in pairs]
    if len(sources) != len(targets):
        start, end = _common_ends(
            [theirs.graph.nodes[t]["facts"] for t in targets],
            [ours.graph.nodes[s]["facts"] for s in sources],
        )
        pairs |= dict(zip(targets[:start], sources[:start], strict=True))
        last = len(targets) - end, len(sources) - end
        pairs |= dict(zip(targets[last[0] :], sources[last[1] :], strict=True))
        targets, sources = targets[start : last[0]], sources[start : last[1]]
    if len(sources) != len(targets):
        by_kind = _only_choices(ours, theirs, sources, targets)
        sources, targets = list(by_kind.values()), list(by_kind)
    pairs |= dict(zip(targets, sources, strict=True))
    return {t: pairs[t] for t in theirs.graph if t in pairs}


def _common_ends(targets: Sequence[Any], sources: Sequence[Any]) -> tuple[int, int]:
    """How many are equal from the start and from the end, without those equal either way."""
    least = min(len(targets), len(sources))

    def equal(pairs: Iterable[tuple[Any, Any]]) -> int:
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))

    start = equal(zip(targets, sources, strict=False))
    end = equal(zip(reversed(targets), reversed(sources), strict=False))
    return (start, end) if start + end <= least else (least - end, least - start)


def _only_choices(
    ours: Graph, theirs: Graph, sources: Sequence[str], targets: Sequence[str]
) -> dict[str, str]:
    """Pairs of the same kind of layer, if no block has a choice."""

    def kind(graph: Graph, name: str) -> Any:
        return graph.network[name].layer

    pairs = {}
    for target in targets:
        partners = [s for s in sources if kind(ours, s) is kind(theirs, target)]
        rivals = [t for t in targets if kind(theirs, t) is kind(theirs, target)]
        if len(partners) > 1:
            raise ValueError(ambiguous(target, partners))
        if partners and len(rivals) > 1:
            msg = (
                f"The source's {partners[0]!r} could give its weights to any of "
                f"{', '.join(rivals)}: nothing tells them apart. Name its partner, for example "
                f"mapping={{{partners[0]!r}: {target!r}}}."
            )
            raise ValueError(msg)
        if partners:
            pairs[target] = partners[0]
    return pairs
