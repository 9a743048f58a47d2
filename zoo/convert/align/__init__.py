"""Which source block becomes which target block, and so every target tensor's values.

Networks are compared in a normal form: activations are blocks of their own, and blocks that do
nothing are gone. Two blocks are alike if all that their function depends on is alike: strides,
padding, slopes and epsilons as well as shapes. Names count for nothing, except in a `mapping`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.convert.align.filling import Entry, entry_of, fill_exactly, fill_partially
from zoo.convert.align.graph import graph_of
from zoo.convert.align.mapping import pins_of, wanted_pairs
from zoo.convert.align.matching import match
from zoo.convert.align.normal import normal
from zoo.convert.align.ordering import in_order
from zoo.convert.report import TensorRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np

    from zoo.convert.blocks import Network

    Latents = np.ndarray | Sequence[np.ndarray]

__all__ = ["Alignment", "align", "normal", "rows_of"]

# What a mapping may put before a block's name.
PREFIXES = ("", "gen/", "generator/", "dec/", "decoder/")


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
        latents: The prior's draws for BatchNorm's moments, float [n, latent_dim]; one array per
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
    ours, theirs = graph_of(source), graph_of(target)
    # A rule may have taken away a block that the mapping names: that is no mistake.
    known = dict.fromkeys((*source.blocks, *(original or source).blocks))
    wanted = wanted_pairs(mapping or {}, (*PREFIXES, f"{source.name}/"), known, target)
    pins = pins_of(wanted, ours, theirs, mode)
    if mode == "exact":
        entries, pairs = fill_exactly(match(ours, theirs, pins), ours, theirs, latents)
    else:
        pairs = in_order(ours, theirs, pins)
        entries = fill_partially(pairs, ours, theirs)
    return _alignment(entries, pairs, target, original or source)


def rows_of(network: Network, original: Network) -> list[TensorRow]:
    """A row for each tensor of a network that rules made of `original`, and each unused one."""
    entries = {f"{b.name}/{key}": entry_of(b, key) for b in network for key in b.arrays}
    return _alignment(entries, {}, network, original).rows


def _alignment(
    entries: Mapping[str, Entry], pairs: dict[str, str], target: Network, original: Network
) -> Alignment:
    tensors = _tensors(original)
    arrays: dict[str, np.ndarray | None] = {}
    rows = []
    used: set[str] = set()
    for block in target:
        for key, own in block.arrays.items():
            path = f"{block.name}/{key}"
            entry = entries.get(path, Entry(None, "REINITIALISED"))
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
