"""Names that carry a protocol, as papers write them: `fid50k_full`, `pr50k3_full`, `ppl2_wend`.

A name says what is measured, with how many samples, and against which split. The names are those of
StyleGAN's code (`metric_main.py`), whose `full` is every image of the training data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.io.names import suggestion
from zoo.io.numbers import check_seed

if TYPE_CHECKING:
    from collections.abc import Mapping

SPLITS = {"full": "train", "train": "train", "validation": "validation", "test": "test"}


class Kind(NamedTuple):
    """What one word of the grammar measures.

    Attributes:
        title: In words.
        values: Ending of each value that it gives, and whether higher is better.
        compares: Whether samples are compared with a split of real images.
        neighbours: k where the name gives none; None if the metric has no k.

    Example:
        >>> from zoo.evaluation.protocols import KINDS
        >>> KINDS["fid"].title, KINDS["pr"].neighbours
        ('Fréchet distance', 3)
    """

    title: str
    values: Mapping[str, bool]
    compares: bool = True
    neighbours: int | None = None


KINDS = {
    "fid": Kind("Fréchet distance", {"": False}),
    "kid": Kind("kernel distance", {"": False}),
    "is": Kind("inception score", {"": True}, compares=False),
    "pr": Kind("precision and recall", {"_precision": True, "_recall": True}, neighbours=3),
    "dc": Kind("density and coverage", {"_density": True, "_coverage": True}, neighbours=5),
    "ifid": Kind("Fréchet distance within each class, their mean", {"": False}),
    "accuracy": Kind(
        "share of samples that a classifier puts into their class", {"": True}, compares=False
    ),
    "cas": Kind("accuracy on real images of a classifier trained on samples", {"": True}),
    "ppl": Kind("perceptual path length", {"": False}, compares=False),
}
_WORDS = "|".join(sorted(KINDS, key=len, reverse=True))
_NAME = re.compile(
    rf"(?P<metric>{_WORDS})(?P<count>[1-9]\d*)(?P<thousand>k(?P<neighbours>[1-9]\d*)?)?"
    rf"(?:_(?P<split>{'|'.join(SPLITS)}))?"
)
_PATHS = re.compile(r"ppl2?(?:(?P<thousand>[1-9]\d*)k)?_(?P<space>[zw])(?P<sampling>full|end)")
PATHS = 50  # thousand paths, if a name of a path length gives no number


@dataclass(frozen=True)
class Protocol:
    """How a figure is measured: two figures compare if all of this is equal.

    Attributes:
        name: Such as "fid50k_full".
        metric: One of `KINDS`, such as "fid".
        samples: Number of images to generate, or of paths.
        split: Split whose images, all of them, the samples are compared with; None for none.
        neighbours: k of precision and recall or density and coverage; None for other metrics.
        path: Space and ends of a path length: "z" or "w", then "end" or "full"; None for others.
        extractor: Extractor of the features; None takes the one made for the data.
        resize: How images are brought to the extractor's size; None takes the extractor's own way.
        weights: "ema" for the averaged generator, where a model has one; "raw" for the trained one.
        truncation: ψ of a stylegan2, or a biggan's threshold; None leaves the model's own.
        seed: Seed of the samples.

    Example:
        >>> from zoo.evaluation.protocols import parse
        >>> protocol = parse("fid50k_full")
        >>> protocol.metric, protocol.samples, protocol.split, protocol.directions
        ('fid', 50000, 'train', {'fid50k_full': False})
    """

    name: str
    metric: str
    samples: int
    split: str | None = None
    neighbours: int | None = None
    path: str | None = None
    extractor: str | None = None
    resize: str | None = None
    weights: str = "ema"
    truncation: float | None = None
    seed: int = 0

    @property
    def directions(self) -> dict[str, bool]:
        """The names of its values, and whether higher is better."""
        return {f"{self.name}{end}": up for end, up in KINDS[self.metric].values.items()}

    def record(self) -> dict[str, Any]:
        """Its entries for JSON."""
        return asdict(self)


def parse(name: str, **settings: Any) -> Protocol:
    """The protocol of a name.

    A name is a metric, a number of samples, and a split: `fid10k_test`. `10k` is 10,000. A number
    after the `k` is the k of precision and recall: `pr50k3_full`. The splits are `full` and
    `train`, which are one, `validation` and `test`. `is50k` and `accuracy10k` have no split.
    `ppl2_wend` is the length of 50,000 paths in the space w, at their ends; the others are
    `ppl2_wfull`, `ppl2_zend` and `ppl2_zfull`.

    Args:
        name: The name.
        **settings: `extractor`, `resize`, `weights`, `truncation` and `seed`, as `Protocol` has
            them.

    Raises:
        ValueError: If there is no such protocol; the nearest is named. Or if a setting is out of
            range.

    Example:
        >>> from zoo.evaluation.protocols import parse
        >>> parse("pr50k3_test").neighbours, parse("ppl2_wend").path
        (3, 'wend')
        >>> parse("fid50k_tset")
        Traceback (most recent call last):
        ...
        ValueError: Unknown metric 'fid50k_tset'. Did you mean fid50k_test?
    """
    if not isinstance(name, str):
        msg = f"metric={name!r}: expected a name, such as 'fid10k_test'."
        raise ValueError(msg)  # noqa: TRY004  (as every wrong value of `metrics`)
    if settings.get("weights", "ema") not in ("ema", "raw"):
        msg = f"weights={settings['weights']!r}: expected 'ema' or 'raw'."
        raise ValueError(msg)
    check_seed(settings.get("seed", 0))
    paths = _PATHS.fullmatch(name)
    if paths is not None:
        samples = 1000 * int(paths["thousand"] or PATHS)
        path = f"{paths['space']}{paths['sampling']}"
        return replace(Protocol(name, "ppl", samples, path=path), **settings)
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise ValueError(_unknown(name))
    kind = KINDS[parts["metric"]]
    misplaced = parts["neighbours"] is not None and kind.neighbours is None
    if misplaced or (parts["split"] is not None) != kind.compares:
        raise ValueError(_unknown(name))
    samples = int(parts["count"]) * (1000 if parts["thousand"] else 1)
    if samples < 2 or samples >= 2**31:
        msg = f"{name}: {samples} samples; expected 2 to {2**31 - 1}."
        raise ValueError(msg)
    neighbours = kind.neighbours
    if parts["neighbours"] is not None:
        neighbours = int(parts["neighbours"])
    split = SPLITS.get(parts["split"])
    protocol = Protocol(name, parts["metric"], samples, split, neighbours)
    return replace(protocol, **settings)


def parse_all(names: Iterable[str], **settings: Any) -> list[Protocol]:
    """The protocols of several names, each once; arguments and errors as for `parse`.

    Example:
        >>> from zoo.evaluation.protocols import parse_all
        >>> [each.samples for each in parse_all(["fid5k_test", "is1k", "is1k"])]
        [5000, 1000]
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        example = names if isinstance(names, str) and names else "fid10k_test"
        msg = f"metrics={names!r}: expected a list of names, such as [{example!r}]."
        raise ValueError(msg)  # noqa: TRY004  (as every wrong value of `metrics`)
    protocols = [parse(name, **settings) for name in names]
    return list({protocol.name: protocol for protocol in protocols}.values())


def is_value(name: str) -> bool:
    """Whether a logged name is the value of a protocol, such as "pr5k3_test_recall".

    Example:
        >>> from zoo.evaluation.protocols import is_value
        >>> is_value("pr5k3_test_recall"), is_value("loss")
        (True, False)
    """
    ends = sorted({end for kind in KINDS.values() for end in kind.values if end})
    stem = next((name.removesuffix(end) for end in ends if name.endswith(end)), name)
    return bool(_NAME.fullmatch(stem) or _PATHS.fullmatch(stem))


def _unknown(name: str) -> str:
    """The error about a name, which names those it may have meant."""
    count = re.search(r"[1-9]\d*k?", name)
    begun = re.match(rf"({_WORDS})(?=\d)", name)
    kinds = {begun[1]: KINDS[begun[1]]} if begun else KINDS
    known = []
    for metric, kind in kinds.items():
        if metric == "ppl":
            known += [f"ppl2_{space}{ends}" for space in "wz" for ends in ("end", "full")]
            continue
        stem = f"{metric}{count[0] if count else '50k'}"
        stem += str(kind.neighbours) if kind.neighbours and stem.endswith("k") else ""
        known += [f"{stem}_{split}" for split in SPLITS] if kind.compares else [stem]
    return f"Unknown metric {name!r}. {suggestion(name, known)}"
