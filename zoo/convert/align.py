"""Which source block becomes which target block, and so every target tensor's values.

Networks are compared in a normal form: activations are blocks of their own, and blocks that do
nothing are gone. Two blocks are alike if all that their function depends on is alike: strides,
padding, slopes and epsilons as well as shapes. Names count for nothing, except in a `mapping`.
"""

from __future__ import annotations

import bisect
import difflib
import itertools
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import keras
import networkx as nx
import numpy as np
from keras import layers, tree
from networkx.algorithms.isomorphism import DiGraphMatcher

from zoo.convert.blocks import (
    Block,
    Network,
    Origin,
    Ref,
    _flat,
    _nodes_restored,
    named_weights,
    read,
    refs,
)
from zoo.convert.report import TensorRow
from zoo.convert.rules.batch_norm import _moments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Latents = np.ndarray | Sequence[np.ndarray]

COMMUTATIVE = (layers.Add, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
# Layers whose `activation` is applied to their output (a recurrent layer's is not).
ENDS_IN_ACTIVATION = (
    layers.Dense,
    layers.EinsumDense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)
# Entries of a config that inference does not depend on, or that the weights' shapes show.
IGNORED = re.compile(
    r"name|trainable|dtype|seed|momentum|synchronized|renorm.*|use_bias|units|filters|lora_.*"
    r"|quantization_config|.*_(initializer|regularizer|constraint)"
)
# What a mapping may put before a block's name.
PREFIXES = ("", "gen/", "generator/", "dec/", "decoder/")
CANDIDATES = 64


@dataclass(frozen=True)
class Alignment:
    """The target's tensors and where they come from.

    Attributes:
        arrays: float64 values by `block/weight` of the target; None where it keeps its own.
        rows: A row for every tensor of the target and every unused one of the source.
        pairs: Target block to the source block of the same output, in the target's order; blocks
            are those of the `normal` forms. Without those whose values are meant to differ.
        complete: Whether every tensor of the target comes from the source as a whole.
    """

    arrays: dict[str, np.ndarray | None]
    rows: list[TensorRow]
    pairs: dict[str, str]
    complete: bool


def align(
    source: Network,
    target: Network,
    mapping: Mapping[str, str] | None = None,
    mode: str = "exact",
    latents: Latents | None = None,
    *,
    original: Network | None = None,
) -> Alignment:
    r"""Gives every tensor of `target` its values from `source`.

    In exact mode the networks must be the same graph, but for names and for this: a BatchNorm that
    only the target has becomes the identity, γ = √(v + ε) and β = m with the moments m and v of
    its input, and takes the bias that its linear layer lacks; a bias that only the target has is 0.
    In partial mode blocks with weights are paired in order, and what does not fit stays.

    Args:
        source: A network rewritten towards the target's form.
        target: The target model's network, as `read` gives it.
        mapping: Regular expressions that match whole names of source blocks, to names of target
            blocks, with groups: `{r"up_(\d)": r"conv_\1"}`. Names are those of `read`; a prefix
            "gen/", "generator/", "dec/" or "decoder/" may stand before them. They may match blocks
            that only `original` has.
        mode: "exact" or "partial".
        latents: The prior's draws for BatchNorm's moments, float [n, latent_dim]; one array an
            input.
        original: The source before it was rewritten: tensors that no block has any more are then
            listed as unused.

    Raises:
        ValueError: If the mapping does not hold, blocks fit in more than one way, or in exact mode,
            the networks differ.
    """
    if mode not in ("exact", "partial"):
        msg = f"mode={mode!r}: expected 'exact' or 'partial'."
        raise ValueError(msg)
    ours, theirs = _graph(source), _graph(target)
    # A rule may have taken away a block that the mapping names: that is no mistake.
    known = dict.fromkeys((*source.blocks, *(original or source).blocks))
    wanted = _wanted(mapping or {}, (*PREFIXES, f"{source.name}/"), known, target)
    pins = _pins(wanted, ours, theirs, mode)
    if mode == "exact":
        entries, pairs = _fill_exactly(_match(ours, theirs, pins), ours, theirs, latents)
    else:
        pairs = _in_order(ours, theirs, pins)
        entries = _fill_partially(pairs, ours, theirs)
    return _alignment(entries, pairs, target, original or source)


# Normal form


def normal(network: Network) -> Network:
    """The network with activations as blocks of their own, without identities and dead ends."""
    for block in network:
        if block.layer in ENDS_IN_ACTIVATION and block.activation != "linear":
            activation = Block(
                f"{block.name}_activation",
                layers.Activation,
                {"activation": block.config["activation"]},
                shape=block.shape,
            )
            block_now = network[block.name].with_config(activation="linear")
            network = network.replaced(block_now).inserted(activation, after=block.name)
    for block in network:
        if _is_identity(network, block.name):
            network = network.without(block.name)
    return replace(network.upto(*(ref.block for ref in network.outputs)), outputs=network.outputs)


def _is_identity(network: Network, name: str) -> bool:
    block = network[name]
    taken = refs((block.args, block.kwargs))
    if len(taken) != 1 or taken[0].index or not isinstance(block.layer, type):
        return False
    if block.layer is layers.Identity:
        return True
    facts = _facts(network, block)
    return (
        (facts["kind"] == "Activation" and facts.get("activation") == "linear")
        or (facts["kind"] == "Reshape" and network[taken[0].block].shape == block.shape)
        or (facts["kind"] == "Rescaling" and (facts["scale"], facts["offset"]) == (1, 0))
    )


def _facts(network: Network, block: Block) -> dict[str, Any]:
    """All that the block's function depends on, but its weights and whom it takes from."""
    if block.layer is layers.InputLayer:
        position = [b.name for b in network.inputs].index(block.name)
        return {"kind": "Input", "shape": block.shape, "position": position}
    constants = [x for x in tree.flatten((block.args, block.kwargs)) if not isinstance(x, Ref)]
    common = {"inputs": len(block.parents), "arguments": _plain(constants)}
    if not isinstance(block.layer, type):
        own = {k: v for k, v in vars(block.layer).items() if k[0] != "_" and k != "name"}
        return {"kind": type(block.layer).__name__, **_plain(own), **common, "shape": block.shape}
    config = _full_config(block.layer, block.config)
    # Flattening channels first would also move the channels.
    if (
        block.layer in (layers.Flatten, layers.Reshape)
        and config.get("data_format") != "channels_first"
    ):
        return {"kind": "Reshape", "target_shape": block.shape, **common}
    activation = _activation(block.layer, config)
    if activation is not None:
        return {"kind": "Activation", **activation, **common}
    owner = network[block.shares] if block.shares else block
    shapes = {f"{k} shape": v.shape for k, v in owner.arrays.items() if k != "bias"}
    kept = {k: v for k, v in config.items() if not IGNORED.fullmatch(k)}
    if kept.get("activation") == "linear":
        del kept["activation"]
    if isinstance(kept.get("axis"), int):
        kept["axis"] %= len(block.shape) + 1
    kind = keras.saving.get_registered_name(block.layer)
    return {"kind": kind, **kept, **shapes, **common}


def _full_config(layer: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the defaults of what it leaves out, in plain types."""
    try:
        made = layer.from_config({"name": "x", **config}).get_config()
    except (TypeError, ValueError):  # a layer of the user's own that needs more than its config
        made = dict(config)
    return _plain(made)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(map(_plain, value))
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _activation(layer: Any, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """An activation by its function, whichever layer computes it; None for other layers."""
    if layer is layers.Activation:
        return _function(config["activation"])
    if layer in (layers.ReLU, layers.LeakyReLU):
        slope, most = config["negative_slope"], config.get("max_value")
        return _rectifier(slope=slope, max_value=most, threshold=config.get("threshold", 0.0))
    if layer is layers.ELU:
        return {"activation": "elu", "alpha": config["alpha"]}
    if layer is layers.Softmax:
        return {"activation": "softmax", "axis": config["axis"]}
    return None


def _function(activation: Any) -> dict[str, Any]:
    """The facts of what a config names as activation: a string, or a serialised object."""
    found = keras.activations.get(activation)
    if isinstance(found, keras.Layer):
        config = _plain(found.get_config())
        kept = {k: v for k, v in config.items() if not IGNORED.fullmatch(k)}
        return _activation(type(found), config) or {"activation": type(found).__name__, **kept}
    name = getattr(found, "__name__", str(found))
    return {
        # Keras's defaults of the functions that layers have with other parameters.
        "relu": _rectifier(),
        "relu6": _rectifier(max_value=6.0),
        "leaky_relu": _rectifier(slope=0.2),
        "elu": {"activation": "elu", "alpha": 1.0},
        "softmax": {"activation": "softmax", "axis": -1},
    }.get(name, {"activation": name})


def _rectifier(
    slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> dict[str, Any]:
    return {"activation": "relu", "slope": slope, "max_value": max_value, "threshold": threshold}


# Graph


@dataclass(frozen=True)
class _Graph:
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


def _graph(network: Network) -> _Graph:
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
        facts = _facts(network, block)
        outputs = [inner.get(ref.block, ref.block) for ref in network.outputs]
        facts["network outputs"] = tuple(i for i, o in enumerate(outputs) if o == block.name)
        norm = None
        if block.name in norms:
            norm = _facts(network, network[norms[block.name]])
            norm["behind a Reshape"] = bool(between[block.name])
        graph.add_node(block.name, name=block.name, facts=facts, norm=norm)
        places: dict[str, list[tuple[int, int]]] = {}
        for slot, ref in enumerate(refs((block.args, block.kwargs))):
            place = (0 if block.layer in COMMUTATIVE else slot, ref.index)
            places.setdefault(inner.get(ref.block, ref.block), []).append(place)
        for parent, found in places.items():
            graph.add_edge(parent, block.name, places=tuple(sorted(found)))
    return _Graph(network, graph, norms, between)


def _linear_before(network: Network, norm: str) -> tuple[str, tuple[str, ...]]:
    """The linear block whose output the BatchNorm alone takes, or "", and reshapes between."""
    reshapes: tuple[str, ...] = ()
    parent = network.only_parent(norm)
    while parent is not None and parent.layer in (layers.Reshape, layers.Flatten):
        reshapes = (parent.name, *reshapes)
        parent = network.only_parent(parent.name)
    return (parent.name, reshapes) if parent is not None and parent.is_linear else ("", ())


def _differences(target: Mapping[str, Any], source: Mapping[str, Any]) -> list[str]:
    """What keeps two nodes from being alike, as "attribute target against source"."""
    found = _unequal(target["facts"], source["facts"])
    if source["norm"] and not target["norm"]:
        found.append("no BatchNorm behind it against one, which has to be folded first")
    elif source["norm"]:
        found += [f"BatchNorm's {text}" for text in _unequal(target["norm"], source["norm"])]
    return found


def _unequal(target: Mapping[str, Any], source: Mapping[str, Any]) -> list[str]:
    if target["kind"] != source["kind"]:
        return [f"kind {target['kind']} against {source['kind']}"]
    return [
        f"{key} {target.get(key)} against {source.get(key)}"
        for key in dict.fromkeys((*target, *source))
        if target.get(key) != source.get(key)
    ]


# Mapping


def _wanted(
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
    found = {}
    try:
        for name in known:
            matches = (re.fullmatch(pattern, prefix + name) for prefix in prefixes)
            match = next(filter(None, matches), None)
            if match:  # no block's name has a "/" in it
                found[name] = match.expand(replacement).rpartition("/")[2]
    except (re.error, IndexError) as error:
        msg = f"The mapping {pattern!r}: {replacement!r} is no regular expression ({error})."
        raise ValueError(msg) from error
    if not found:
        msg = f"The mapping's {pattern!r} matches no source block. {_near(pattern, known)}"
        raise ValueError(msg)
    return found


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.rpartition("/")[2], list(known), cutoff=0.4)
    return f"The nearest of its blocks: {', '.join(near or known)}."


def _pins(wanted: Mapping[str, str], ours: _Graph, theirs: _Graph, mode: str) -> dict[str, str]:
    """The wanted pairs as pairs of nodes, target to source."""
    pins: dict[str, str] = {}
    for name, partner in wanted.items():
        if name in ours.network.blocks and partner in theirs.network.blocks:
            _check_pin(name, partner, ours, theirs, mode)
            pins[theirs.holder(partner)] = ours.holder(name)
    return pins


def _check_pin(name: str, partner: str, ours: _Graph, theirs: _Graph, mode: str) -> None:
    kinds = [g.network[n].layer for g, n in ((theirs, partner), (ours, name))]
    nodes = [g.graph.nodes.get(n) for g, n in ((theirs, partner), (ours, name))]
    if kinds[0] is not kinds[1] and not (nodes[0] and nodes[1]):
        found = [f"kind {kinds[0].__name__} against {kinds[1].__name__}"]
    elif nodes[0] and nodes[1]:
        found = _differences(nodes[0], nodes[1])
    else:
        found = []  # BatchNorms: judged with the nodes that they belong to
    if mode == "partial":
        found = [text for text in found if text.startswith("kind ")]
    if found:
        msg = (
            f"The mapping pairs the target's {partner!r} with the source's {name!r}, which do not "
            f"fit: {', '.join(found)}."
        )
        raise ValueError(msg)


# Matching


def _match(ours: _Graph, theirs: _Graph, pins: Mapping[str, str]) -> dict[str, str]:
    """The one pairing of all nodes, target to source, in the target's order."""
    found = _isomorphisms(ours, theirs, pins)
    first = next(found, None)
    if first is None:
        raise ValueError(_why_not(ours, theirs, pins))

    def weighted(pairs: Mapping[str, str]) -> dict[str, str]:
        return {t: ours.owner(s).name for t, s in pairs.items() if theirs.owner(t).arrays}

    wanted = weighted(first)
    others = (pairs for pairs in map(weighted, found) if pairs != wanted)
    ways = [wanted, *itertools.islice(others, CANDIDATES)]
    for name in wanted:
        choices = {pairs[name] for pairs in ways}
        candidates = [s for s in ours.graph if s in choices]
        if len(candidates) > 1:
            raise ValueError(_ambiguous(name, candidates))
    return first


def _ambiguous(name: str, candidates: Sequence[str]) -> str:
    return (
        f"The target's {name!r} could take the weights of any of {', '.join(candidates)}: nothing "
        f"tells them apart. Name its partner, for example mapping={{{candidates[0]!r}: {name!r}}}."
    )


def _isomorphisms(
    ours: _Graph, theirs: _Graph, pins: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    if len(ours.graph) != len(theirs.graph):
        return
    for found in _matcher(ours.graph, theirs.graph, pins).isomorphisms_iter():
        partner = {t: s for s, t in found.items()}
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
        return pinned and not _differences(target, source)

    return DiGraphMatcher(ours, theirs, alike, lambda a, b: a["places"] == b["places"])


def _why_not(ours: _Graph, theirs: _Graph, pins: Mapping[str, str]) -> str:
    """Names the first target block without a partner, and what is wrong with the candidates."""
    order = list(theirs.graph)

    def place(count: int) -> dict[str, str] | None:
        """Partners of the first `count` target nodes."""
        matcher = _matcher(ours.graph, theirs.graph.subgraph(order[:count]), pins)
        found = next(matcher.subgraph_monomorphisms_iter(), None) if count else {}
        return None if found is None else {t: s for s, t in found.items()}

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
    name: str, pairs: Mapping[str, str], ours: _Graph, theirs: _Graph, pins: Mapping[str, str]
) -> dict[str, list[str]]:
    """By source block: why it cannot be the target block's partner."""
    node, graph = theirs.graph.nodes[name], ours.graph
    free = [s for s in graph if s not in pairs.values()]
    parents = {pairs[parent] for parent in theirs.graph.predecessors(name)}
    followers = [s for s in free if parents & set(graph.predecessors(s))]
    kind = node["facts"]["kind"]
    alike = [s for s in free if graph.nodes[s]["facts"]["kind"] == kind]
    found = {}
    for candidate in followers or alike or free:
        why = _differences(node, graph.nodes[candidate])
        if pins.get(name, candidate) != candidate:
            why.append(f"the mapping wants {pins[name]!r}")
        if not why:
            why.append(
                f"inputs {list(theirs.graph.predecessors(name))} against "
                f"{list(graph.predecessors(candidate))}, or in another order"
            )
        found[candidate] = why
    return found or {"(none)": ["the source has no further block"]}


# Exact mode


@dataclass(frozen=True)
class _Entry:
    """What one target tensor gets."""

    array: np.ndarray | None
    status: str
    origin: Origin = field(default_factory=Origin)
    source_shape: tuple[int, ...] | None = None


def _fill_exactly(
    nodes: Mapping[str, str],
    ours: _Graph,
    theirs: _Graph,
    latents: Latents | None,
) -> tuple[dict[str, _Entry], dict[str, str]]:
    """Entries by path, and the pairs of blocks of equal output."""
    entries: dict[str, _Entry] = {}
    pairs = dict(nodes)
    new: dict[str, tuple[str, str, np.ndarray | None]] = {}  # identities, by BatchNorm
    for name, partner in nodes.items():
        block, source = theirs.owner(name), ours.owner(partner)
        norm = theirs.norms.get(name)
        if not theirs.network[name].shares:
            entries |= _copies(block, source)
        bias = _homeless_bias(block, source, theirs.network[norm] if norm else None)
        if norm is None:
            continue
        if bias is not None:
            for before in (name, *theirs.between[name]):
                del pairs[before]
        if partner in ours.norms:
            pairs[norm] = ours.norms[partner]
            entries |= _norm_of(theirs.network[norm], ours.network[pairs[norm]], bias, source)
        else:
            pairs[norm] = nodes[(name, *theirs.between[name])[-1]]
            new[norm] = (partner, pairs[norm], bias)
    entries |= _identities(new, ours, theirs, latents)
    return entries, {name: pairs[name] for name in theirs.network.blocks if name in pairs}


def _copies(block: Block, source: Block) -> dict[str, _Entry]:
    """Entries of a block whose weights a source block has, but perhaps for its bias."""
    zeros = Origin((), ("zero bias",))
    return {
        f"{block.name}/{key}": _given(source, key)
        if key in source.arrays
        else _Entry(np.zeros(value.shape), "TRANSFORMED", zeros)
        for key, value in block.arrays.items()
    }


def _given(source: Block, key: str) -> _Entry:
    origin, array = source.origins[key], source.arrays[key]
    return _Entry(array, "TRANSFORMED" if origin.rules else "COPIED", origin, array.shape)


def _homeless_bias(block: Block, source: Block, norm: Block | None) -> np.ndarray | None:
    """The source's bias by the channels of the BatchNorm that has to take it, if one has to."""
    bias = source.arrays.get("bias")
    if bias is None or "bias" in block.arrays or not np.any(bias):
        return None
    if norm is None:
        msg = (
            f"The source's {source.name!r} has a bias (up to {np.max(np.abs(bias)):.3g}), but the "
            f"target's {block.name!r} has none, and no BatchNorm behind it to take it. Build the "
            "target with use_bias=True."
        )
        raise ValueError(msg)
    axis = norm.config.get("axis", -1) % (len(norm.shape) + 1) - 1
    first = block.config.get("data_format") == "channels_first"
    spread = bias.reshape(-1, *[1] * (len(block.shape) - 1)) if first else bias
    shape = [[side or 1 for side in b.shape] for b in (block, norm)]
    values = np.broadcast_to(spread, shape[0]).reshape(shape[1])
    values = np.moveaxis(values, axis, -1).reshape(-1, shape[1][axis])
    if np.any(np.ptp(values, axis=0)):
        msg = (
            f"The source's {source.name!r} has a bias that varies by up to "
            f"{np.max(np.ptp(values, axis=0)):.3g} within a channel, which the BatchNorm "
            f"{norm.name!r} behind the target's {block.name!r} cannot take. Build the target with "
            f"use_bias=True in {block.name!r}."
        )
        raise ValueError(msg)
    return values[0]


def _norm_of(
    norm: Block, source: Block, bias: np.ndarray | None, linear: Block
) -> dict[str, _Entry]:
    """Entries of a BatchNorm that the source has too: a bias goes into its mean."""
    found = _copies(norm, source)
    if bias is not None:
        origin = source.origins["moving_mean"].through(
            "bias into BatchNorm", linear.origins["bias"]
        )
        array = source.arrays["moving_mean"] - bias
        path = f"{norm.name}/moving_mean"
        found[path] = _Entry(array, "TRANSFORMED", origin, array.shape)
    return found


def _identities(
    norms: Mapping[str, tuple[str, str, np.ndarray | None]],
    ours: _Graph,
    theirs: _Graph,
    latents: Latents | None,
) -> dict[str, _Entry]:
    """Entries of BatchNorms that are to do nothing in inference, and little in training."""
    if not norms:
        return {}
    if latents is None:
        msg = (
            f"The target's {next(iter(norms))!r} has no partner and becomes the identity, which "
            "takes its input's moments under the prior. Give the latents."
        )
        raise ValueError(msg)
    axes = {end: theirs.network[norm].config.get("axis", -1) for norm, (_, end, _) in norms.items()}
    moments = _moments(ours.network, axes, latents)
    found: dict[str, _Entry] = {}
    for name, (linear, end, bias) in norms.items():
        norm = theirs.network[name]
        if not {"gamma", "beta"} <= norm.arrays.keys():
            msg = (
                f"The target's {name!r} cannot become the identity: it has no gamma or no beta. "
                "Build it with scale=True and center=True."
            )
            raise ValueError(msg)
        mean, variance = moments[end]
        arrays = {
            "gamma": np.sqrt(variance + norm.config.get("epsilon", 1e-3)),
            "beta": mean,
            "moving_mean": mean if bias is None else mean - bias,
            "moving_variance": variance,
        }
        origin = Origin().through("identity BatchNorm", *ours.owner(linear).origins.values())
        found |= {
            f"{name}/{key}": _Entry(arrays[key], "TRANSFORMED", origin) for key in norm.arrays
        }
    return found


# Partial mode


def _in_order(ours: _Graph, theirs: _Graph, pins: Mapping[str, str]) -> dict[str, str]:
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
    ours: _Graph, theirs: _Graph, sources: Sequence[str], targets: Sequence[str]
) -> dict[str, str]:
    """Pairs of the same kind of layer, if no block has a choice."""

    def kind(graph: _Graph, name: str) -> Any:
        return graph.network[name].layer

    pairs = {}
    for target in targets:
        found = [s for s in sources if kind(ours, s) is kind(theirs, target)]
        rivals = [t for t in targets if kind(theirs, t) is kind(theirs, target)]
        if len(found) > 1:
            raise ValueError(_ambiguous(target, found))
        if found and len(rivals) > 1:
            msg = (
                f"The source's {found[0]!r} could give its weights to any of "
                f"{', '.join(rivals)}: nothing tells them apart. Name its partner, for example "
                f"mapping={{{found[0]!r}: {target!r}}}."
            )
            raise ValueError(msg)
        if found:
            pairs[target] = found[0]
    return pairs


def _fill_partially(pairs: Mapping[str, str], ours: _Graph, theirs: _Graph) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    for name, partner in pairs.items():
        entries |= _fitted(theirs.network[name], ours.network[partner])
        norms = theirs.norms.get(name), ours.norms.get(partner)
        if norms[0] and norms[1]:
            entries |= _fitted(theirs.network[norms[0]], ours.network[norms[1]])
    return entries


def _fitted(block: Block, source: Block) -> dict[str, _Entry]:
    """Entries of a block whose sizes or kind may differ from its partner's."""
    found = {}
    for key, own in block.arrays.items():
        if key not in source.arrays:
            continue
        given = _given(source, key)
        array = source.arrays[key]
        if block.layer is not source.layer or own.ndim != array.ndim:
            given = replace(given, array=None, status="MISMATCH")
        elif own.shape != array.shape:
            overlap = tuple(slice(min(a, b)) for a, b in zip(own.shape, array.shape, strict=True))
            values = own.copy()
            values[overlap] = array[overlap]
            given = replace(given, array=values, status="SLICED")
        found[f"{block.name}/{key}"] = given
    return found


# Rows


def _alignment(
    entries: Mapping[str, _Entry], pairs: dict[str, str], target: Network, original: Network
) -> Alignment:
    tensors = _tensors(original)
    arrays: dict[str, np.ndarray | None] = {}
    rows = []
    used: set[str] = set()
    for block in target:
        for key, own in block.arrays.items():
            path = f"{block.name}/{key}"
            entry = entries.get(path, _Entry(None, "REINITIALISED"))
            arrays[path] = entry.array
            used.update(entry.origin.sources)
            shape = entry.source_shape
            if shape and entry.status in ("COPIED", "TRANSFORMED"):
                # As it was before the rules, where it was one tensor of the same name.
                same = [p for p in entry.origin.sources[:1] if p.rpartition("/")[2] == key]
                shape = tensors.get(same[0], shape) if same else None
            rule = " + ".join(entry.origin.rules)
            rule = rule or ("" if entry.array is None else "copy")
            row = (path, _joined(entry.origin.sources), rule, own.shape, entry.status, shape)
            rows.append(TensorRow(*row))
    complete = all(row.status in ("COPIED", "TRANSFORMED") for row in rows)
    rows += [
        TensorRow("", path, "", shape, "UNUSED", shape)
        for path, shape in tensors.items()
        if path not in used
    ]
    return Alignment(arrays, rows, pairs, complete)


def _tensors(network: Network) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that a network's arrays came from, by path."""
    return {
        path: array.shape
        for block in network
        for key, array in block.arrays.items()
        for path in block.origins[key].sources or (f"{block.name}/{key}",)
    }


def _joined(sources: Iterable[str]) -> str:
    """`conv/kernel · norm/{gamma, beta}`."""
    weights: dict[str, list[str]] = {}
    for path in sources:
        block, _, weight = path.partition("/")
        weights.setdefault(block, []).append(weight)
    return " · ".join(
        f"{block}/{names[0]}" if len(names) == 1 else f"{block}/{{{', '.join(names)}}}"
        for block, names in weights.items()
    )


# Writing


def variables(model: keras.Model) -> dict[str, Any]:
    """The model's weights by the paths `block/weight` of its network."""
    operations: dict[int, Any] = {}
    with _nodes_restored(model):
        functional = _flat(model, "target")
        # `read` goes through the nodes in this order, and gives arrays to a layer's first call.
        blocks = [block for block in read(functional, "target") if block.arrays]
        for depth in sorted(functional._nodes_by_depth, reverse=True):
            for node in functional._nodes_by_depth[depth]:
                if getattr(node.operation, "weights", None):
                    operations.setdefault(id(node.operation), node.operation)
    return {
        f"{block.name}/{key}": weight
        for block, operation in zip(blocks, operations.values(), strict=True)
        for key, weight in named_weights(operation).items()
    }


def commit(model: keras.Model, arrays: Mapping[str, np.ndarray | None]) -> None:
    """Writes arrays into the model's weights: all of them, or on any error none.

    Args:
        model: The target model.
        arrays: By path, as in an `Alignment`; None leaves a weight as it is.

    Raises:
        ValueError: If a path, a shape or a value does not fit.
    """
    targets = variables(model)
    before = {path: np.asarray(variable).copy() for path, variable in targets.items()}
    values = {}
    for path, array in arrays.items():
        if path not in targets:
            near = difflib.get_close_matches(path, targets) or targets
            msg = f"The model has no weight {path!r}. The nearest: {', '.join(near)}."
            raise ValueError(msg)
        if array is None:
            continue
        own = before[path]
        if array.shape != own.shape:
            msg = f"{path} has shape {own.shape}, but its array {array.shape}."
            raise ValueError(msg)
        with np.errstate(over="ignore"):
            values[path] = array.astype(own.dtype)
        if not np.all(np.isfinite(values[path])):
            msg = f"The array of {path} is not finite in {own.dtype}; the source's weights are bad."
            raise ValueError(msg)
    try:
        for path, value in values.items():
            targets[path].assign(value)
    except BaseException:
        for path in values:
            if np.asarray(targets[path]).tobytes() != before[path].tobytes():
                targets[path].assign(before[path])
        raise
