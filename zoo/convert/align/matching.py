"""The one pairing of two graphs in exact mode, or why there is none, or more than one."""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING, Any

from networkx.algorithms.isomorphism import DiGraphMatcher

from zoo.convert.align.graph import Graph, differences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import networkx as nx

CANDIDATES = 64


def match(ours: Graph, theirs: Graph, pins: Mapping[str, str]) -> dict[str, str]:
    """The one pairing of all nodes, target to source, in the target's order."""
    pairings = _isomorphisms(ours, theirs, pins)
    first = next(pairings, None)
    if first is None:
        raise ValueError(_why_not(ours, theirs, pins))

    def weighted(pairs: Mapping[str, str]) -> dict[str, str]:
        return {t: ours.owner(s).name for t, s in pairs.items() if theirs.owner(t).arrays}

    wanted = weighted(first)
    others = (pairs for pairs in map(weighted, pairings) if pairs != wanted)
    ways = [wanted, *itertools.islice(others, CANDIDATES)]
    for name in wanted:
        choices = {pairs[name] for pairs in ways}
        candidates = [s for s in ours.graph if s in choices]
        if len(candidates) > 1:
            raise ValueError(ambiguous(name, candidates))
    return first


def ambiguous(name: str, candidates: Sequence[str]) -> str:
    """What to say where several source blocks fit one of the target."""
    return (
        f"The target's {name!r} could take the weights of any of {', '.join(candidates)}: nothing "
        f"tells them apart. Name its partner, for example mapping={{{candidates[0]!r}: {name!r}}}."
    )


def _isomorphisms(ours: Graph, theirs: Graph, pins: Mapping[str, str]) -> Iterator[dict[str, str]]:
    if len(ours.graph) != len(theirs.graph):
        return
    for isomorphism in _matcher(ours.graph, theirs.graph, pins).isomorphisms_iter():
        partner = {t: s for s, t in isomorphism.items()}
        pairs = {t: partner[t] for t in theirs.graph}
        # Calls of one layer must take their weights from calls of one layer.
        owners = {(theirs.owner(t).name, ours.owner(s).name) for t, s in pairs.items()}
        if len(owners) == len({t for t, _ in owners}):
            yield pairs


def _matcher(ours: nx.DiGraph, theirs: nx.DiGraph, pins: Mapping[str, str]) -> DiGraphMatcher:
    taken = {s: t for t, s in pins.items()}

    def alike(source: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
        s, t = source["name"], target["name"]
        pinned = pins.get(t, s) == s and taken.get(s, t) == t
        return pinned and not differences(target, source)

    return DiGraphMatcher(ours, theirs, alike, lambda a, b: a["places"] == b["places"])


def _why_not(ours: Graph, theirs: Graph, pins: Mapping[str, str]) -> str:
    """Names the first target block without a partner, and what is wrong with the candidates."""
    order = list(theirs.graph)

    def place(count: int) -> dict[str, str] | None:
        """Partners of the first `count` target nodes."""
        matcher = _matcher(ours.graph, theirs.graph.subgraph(order[:count]), pins)
        pairs = next(matcher.subgraph_monomorphisms_iter(), None) if count else {}
        return None if pairs is None else {t: s for s, t in pairs.items()}

    count = bisect.bisect_left(range(1, len(order) + 1), 1, key=lambda n: place(n) is None)
    pairs = place(count) or {}
    if count == len(order):
        return (
            "The networks have the same blocks, but share layers between them differently: where "
            "the target calls one layer twice, the source must too."
        )
    name = order[count]
    reasons = _reasons(name, pairs, ours, theirs, pins)
    return (
        f"The target's {name!r} ({theirs.graph.nodes[name]['facts']['kind']}) finds no partner in "
        "the source. Candidates (target against source):\n"
        + "\n".join(f"  {candidate!r}: {', '.join(why)}" for candidate, why in reasons.items())
        + "\nRewrite the source first, build the target alike, or use mode='partial'."
    )


def _reasons(
    name: str, pairs: Mapping[str, str], ours: Graph, theirs: Graph, pins: Mapping[str, str]
) -> dict[str, list[str]]:
    """By source block: why it cannot be the target block's partner."""
    node, graph = theirs.graph.nodes[name], ours.graph
    free = [s for s in graph if s not in pairs.values()]
    parents = {pairs[parent] for parent in theirs.graph.predecessors(name)}
    followers = [s for s in free if parents & set(graph.predecessors(s))]
    kind = node["facts"]["kind"]
    alike = [s for s in free if graph.nodes[s]["facts"]["kind"] == kind]
    reasons = {}
    for candidate in followers or alike or free:
        why = differences(node, graph.nodes[candidate])
        if pins.get(name, candidate) != candidate:
            why.append(f"the mapping wants {pins[name]!r}")
        if not why:
            why.append(
                f"inputs {list(theirs.graph.predecessors(name))} against "
                f"{list(graph.predecessors(candidate))}, or in another order"
            )
        reasons[candidate] = why
    return reasons or {"(none)": ["the source has no further block"]}
