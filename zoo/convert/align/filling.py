"""What each target tensor gets, once blocks are paired."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from zoo.convert.blocks import Block, Origin
from zoo.convert.rules.batch_norm import channel_moments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.convert.align.graph import Graph

    Latents = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True)
class Entry:
    """What one target tensor gets."""

    array: np.ndarray | None
    status: str
    origin: Origin = field(default_factory=Origin)
    source_shape: tuple[int, ...] | None = None


def fill_exactly(
    nodes: Mapping[str, str],
    ours: Graph,
    theirs: Graph,
    latents: Latents | None,
) -> tuple[dict[str, Entry], dict[str, str]]:
    """Entries by path, and the pairs of blocks of equal output."""
    entries: dict[str, Entry] = {}
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


def _copies(block: Block, source: Block) -> dict[str, Entry]:
    """Entries of a block that takes a source block's weights, perhaps without a bias."""
    zeros = Origin((), ("zero bias",))
    return {
        f"{block.name}/{key}": entry_of(source, key)
        if key in source.arrays
        else Entry(np.zeros(value.shape), "TRANSFORMED", zeros)
        for key, value in block.arrays.items()
    }


def entry_of(source: Block, key: str) -> Entry:
    """An array of a source block as it is."""
    origin, array = source.origins[key], source.arrays[key]
    return Entry(array, "TRANSFORMED" if origin.rules else "COPIED", origin, array.shape)


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
) -> dict[str, Entry]:
    """Entries of a BatchNorm that the source has too: a bias goes into its mean."""
    entries = _copies(norm, source)
    if bias is not None:
        origin = source.origins["moving_mean"].through(
            "bias into BatchNorm", linear.origins["bias"]
        )
        array = source.arrays["moving_mean"] - bias
        path = f"{norm.name}/moving_mean"
        entries[path] = Entry(array, "TRANSFORMED", origin, array.shape)
    return entries


def _identities(
    norms: Mapping[str, tuple[str, str, np.ndarray | None]],
    ours: Graph,
    theirs: Graph,
    latents: Latents | None,
) -> dict[str, Entry]:
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
    moments = channel_moments(ours.network, axes, latents)
    entries: dict[str, Entry] = {}
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
        entries |= {
            f"{name}/{key}": Entry(arrays[key], "TRANSFORMED", origin) for key in norm.arrays
        }
    return entries


def fill_partially(pairs: Mapping[str, str], ours: Graph, theirs: Graph) -> dict[str, Entry]:
    """Entries by path, for what fits in paired blocks."""
    entries: dict[str, Entry] = {}
    for name, partner in pairs.items():
        entries |= _fitted(theirs.network[name], ours.network[partner])
        norms = theirs.norms.get(name), ours.norms.get(partner)
        if norms[0] and norms[1]:
            entries |= _fitted(theirs.network[norms[0]], ours.network[norms[1]])
    return entries


def _fitted(block: Block, source: Block) -> dict[str, Entry]:
    """Entries of a block whose sizes or kind may differ from its partner's."""
    entries = {}
    for key, own in block.arrays.items():
        if key not in source.arrays:
            continue
        given = entry_of(source, key)
        array = source.arrays[key]
        if block.layer is not source.layer or own.ndim != array.ndim:
            given = replace(given, array=None, status="MISMATCH")
        elif own.shape != array.shape:
            overlap = tuple(slice(min(a, b)) for a, b in zip(own.shape, array.shape, strict=True))
            values = own.copy()
            values[overlap] = array[overlap]
            given = replace(given, array=values, status="SLICED")
        entries[f"{block.name}/{key}"] = given
    return entries
