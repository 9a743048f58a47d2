"""A network in normal form as a graph for matching, and what tells two of its nodes apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import networkx as nx
from keras import layers

from zoo.convert.align.normal import facts_of, normal
from zoo.convert.blocks import Block, Network, refs

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMUTATIVE = (layers.Add, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)


@dataclass(frozen=True)
class Graph:
    """A network in normal form as a graph for matching.

    Attributes:
        network: The normal form.
        graph: Nodes are names of blocks, in topological order. Edges carry the places at which the
            one takes from the other.
        norms: BatchNorms that are no nodes, since they belong to a linear node: by its name.
        between: Reshapes between a node and its BatchNorm, likewise.
    """

    network: Network
    graph: nx.DiGraph
    norms: dict[str, str] = field(default_factory=dict)
    between: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def holder(self, name: str) -> str:
        """The node that a block is or belongs to."""
        return next((node for node, norm in self.norms.items() if norm == name), name)

    def owner(self, name: str) -> Block:
        """The block that holds the weights of a node."""
        block = self.network[name]
        return self.network[block.shares] if block.shares else block


def graph_of(network: Network) -> Graph:
    """The graph of a network's normal form."""
    network = normal(network)
    norms: dict[str, str] = {}
    between: dict[str, tuple[str, ...]] = {}
    for block in network:
        if block.layer is layers.BatchNormalization and not network.is_shared(block.name):
            linear, reshapes = _linear_before(network, block.name)
            if linear:
                norms[linear], between[linear] = block.name, reshapes
    inner = {norm: network[norm].parents[0] for norm in norms.values()}
    graph = nx.DiGraph()
    for block in network:
        if block.name in inner:
            continue
        facts = facts_of(network, block)
        outputs = [inner.get(ref.block, ref.block) for ref in network.outputs]
        facts["network outputs"] = tuple(i for i, o in enumerate(outputs) if o == block.name)
        norm = None
        if block.name in norms:
            norm = facts_of(network, network[norms[block.name]])
            norm["behind a Reshape"] = bool(between[block.name])
        graph.add_node(block.name, name=block.name, facts=facts, norm=norm)
        places: dict[str, list[tuple[int, int]]] = {}
        for slot, ref in enumerate(refs((block.args, block.kwargs))):
            place = (0 if block.layer in COMMUTATIVE else slot, ref.index)
            places.setdefault(inner.get(ref.block, ref.block), []).append(place)
        for parent, slots in places.items():
            graph.add_edge(parent, block.name, places=tuple(sorted(slots)))
    return Graph(network, graph, norms, between)


def _linear_before(network: Network, norm: str) -> tuple[str, tuple[str, ...]]:
    """The linear block whose output the BatchNorm alone takes, or "", and reshapes between."""
    reshapes: tuple[str, ...] = ()
    parent = network.only_parent(norm)
    while parent is not None and parent.layer in (layers.Reshape, layers.Flatten):
        reshapes = (parent.name, *reshapes)
        parent = network.only_parent(parent.name)
    return (parent.name, reshapes) if parent is not None and parent.is_linear else ("", ())


def differences(target: Mapping[str, Any], source: Mapping[str, Any]) -> list[str]:
    """What keeps two nodes from being alike, as "attribute target against source"."""
    texts = _unequal(target["facts"], source["facts"])
    if source["norm"] and not target["norm"]:
        texts.append("no BatchNorm behind it against one, which has to be folded first")
    elif source["norm"]:
        texts += [f"BatchNorm's {text}" for text in _unequal(target["norm"], source["norm"])]
    return texts


def _unequal(target: Mapping[str, Any], source: Mapping[str, Any]) -> list[str]:
    if target["kind"] != source["kind"]:
        return [f"kind {target['kind']} against {source['kind']}"]
    return [
        f"{key} {target.get(key)} against {source.get(key)}"
        for key in dict.fromkeys((*target, *source))
        if target.get(key) != source.get(key)
    ]
