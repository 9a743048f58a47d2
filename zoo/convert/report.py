"""What a conversion did to every tensor, and how equal the result was measured to be."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rich.table import Table

from zoo.io import schemas
from zoo.io.records import known_entries, read_json, write_json
from zoo.io.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

STATUSES = ("COPIED", "TRANSFORMED", "SLICED", "REINITIALISED", "MISMATCH", "KEPT", "UNUSED")
EQUIVALENCES = ("bitwise", "tolerance", "distributional", "approximate")
MEANINGS = {
    "bitwise": "every image is the same, bit for bit",
    "tolerance": "images equal within rounding",
    "distributional": "another prior: images equal within rounding on transported latents",
    "approximate": "images differ as stated",
}


@dataclass(frozen=True)
class TensorRow:
    """One tensor of the target, or one of the source that went nowhere (then target is "").

    Attributes:
        target: `network/block/weight`.
        source: Where its values came from, " · " between blocks.
        rule: The rules applied, " + " between them; "copy" for none.
        shape: The target's shape; the source's where the tensor is unused.
        status: One of `STATUSES`.
        source_shape: The shape of the source's tensor of the same name, as it was read; where it is
            sliced or mismatched, of the array that was to fit. None where there is no such tensor.
    """

    target: str
    source: str
    rule: str
    shape: tuple[int, ...]
    status: str
    source_shape: tuple[int, ...] | None = None


def within(rows: Iterable[TensorRow], *, target: str, source: str) -> list[TensorRow]:
    """Rows whose paths start with the names of the networks they are in.

    Args:
        rows: Rows with paths `block/weight`, as an alignment has them.
        target: Name of the target network, such as "decoder".
        source: Name of the source network, such as "generator".
    """
    return [
        replace(
            row,
            target=row.target and f"{target}/{row.target}",
            source=" · ".join(f"{source}/{path}" for path in row.source.split(" · ") if path),
        )
        for row in rows
    ]


@dataclass(frozen=True)
class Equality:
    """Measured difference of source and target images, in [0, 1] pixel units."""

    latents: int
    max_error: float
    rms_error: float
    noise_floor: float  # of the source itself: float32 against float64, largest difference
    batch_error: float  # batch 1 against batch 64, of the target
    tolerance: float
    repeat_error: float = 0.0  # of the target called twice; anything but 0 is a failure

    @property
    def passed(self) -> bool:
        """Whether every difference is within the tolerance (and none is NaN)."""
        return (
            self.max_error <= self.tolerance
            and self.batch_error <= self.tolerance
            and self.repeat_error == 0.0
        )


@dataclass(frozen=True)
class Report:
    """The account of one conversion.

    Attributes:
        source: Name of the source model.
        target: Name of the target model.
        weights: "ema" or "raw".
        equivalence: The class that was verified, one of `EQUIVALENCES`.
        equality: The measured difference.
        rows: A row for every tensor, with the names of the networks in front of the paths.
        direction: "gan_to_vae" or "vae_to_gan".
        mode: How the networks were aligned: "exact" or "partial"; or "distill".
        network: The target's network that the source's became: "decoder" or "generator".
        source_network: The source's.
        batch_norm: Where BatchNorms went, or where their statistics come from.
        prior: What was done to the latents; "" for nothing.
        output: What was done to the output, such as tanh → sigmoid; "" for nothing.
        first_diverging: The first block of the target that differs from its partner, or None.
        notes: More that a reader should know.

    Example:
        >>> from zoo.convert import Report
        >>> from zoo.convert.report import Equality, TensorRow
        >>> equality = Equality(1027, 2e-7, 1e-8, 1e-7, 0.0, 5e-6)
        >>> row = TensorRow("decoder/dense/kernel", "", "", (2, 3), "REINITIALISED")
        >>> Report("dcgan", "vae", "raw", "tolerance", equality, [row]).coverage
        0.0
    """

    source: str
    target: str
    weights: str
    equivalence: str
    equality: Equality
    rows: list[TensorRow] = field(default_factory=list)
    direction: str = "gan_to_vae"
    mode: str = "exact"
    network: str = "decoder"
    source_network: str = "generator"
    batch_norm: str = ""
    prior: str = ""
    output: str = ""
    first_diverging: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """Share of the target network's parameters that come from the source."""
        sizes = {True: 0.0, False: 0.0}
        for row in self.rows:
            if row.target.startswith(f"{self.network}/"):
                share = _covered(row)
                sizes[True] += share
                sizes[False] += math.prod(row.shape) - share
        return sizes[True] / max(sum(sizes.values()), 1)

    def table(self) -> Table:
        """A printable table, 80 columns wide, with what was measured as its caption."""
        title = f"{self.source} → {self.target} ({self.weights} weights, {self.mode})"
        return table_of_tensors(title, "\n".join([*self._facts(), self.summary()]), self.rows)

    def summary(self) -> str:
        """One sentence: coverage, class and errors."""
        e = self.equality
        return (
            f"{self.coverage:.0%} of the {self.network}'s parameters from the "
            f"{self.source_network}; equivalence {self.equivalence} "
            f"({MEANINGS.get(self.equivalence, 'unknown')}) on {e.latents} latents: max "
            f"{e.max_error:.2g}, RMS {e.rms_error:.2g}, tolerance {e.tolerance:.2g}, noise floor "
            f"{e.noise_floor:.2g}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "coverage": self.coverage, "passed": self.equality.passed}

    def save(self, path: str | Path) -> None:
        """Writes the report as JSON."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Reads a report that `save` wrote.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If the file is no report.
        """
        saved = read_json(path, schemas.CONVERSION)
        rows = [
            TensorRow(**known_entries(TensorRow, {**row, **_shapes(row)})) for row in saved["rows"]
        ]
        equality = Equality(**known_entries(Equality, saved["equality"]))
        parts = {"rows": rows, "equality": equality, "notes": tuple(saved.get("notes", ()))}
        return cls(**{**known_entries(cls, saved), **parts})

    def _facts(self) -> list[str]:
        facts = {
            "BatchNorm": self.batch_norm,
            "prior": self.prior,
            "output": self.output,
            "first diverging block": self.first_diverging or "",
        }
        return [f"{name}: {text}" for name, text in facts.items() if text] + list(self.notes)


def table_of_tensors(title: str, caption: str, rows: Iterable[TensorRow]) -> Table:
    """A printable table of tensors, 80 columns wide."""
    table = Table(
        title=plain(title, "table.title"),
        caption=plain(caption, "table.caption"),
        caption_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in ("tensor", "from", "shape"):
        table.add_column(column, overflow="fold")
    table.add_column("status", no_wrap=True)
    section = None
    for row in rows:
        # The name of the network stands once above its rows: the paths need the width.
        network, _, path = (row.target or row.source).partition("/")
        heading = network if row.target else f"{network}, unused"
        if heading != section:
            table.add_row(plain(heading, "bold"), *[""] * 3)
            section = heading
        table.add_row(*map(plain, _cells(row, path)))
    return table


def _shapes(row: dict[str, Any]) -> dict[str, Any]:
    source = row.get("source_shape")
    return {"shape": tuple(row["shape"]), "source_shape": None if source is None else tuple(source)}


def _covered(row: TensorRow) -> float:
    """How many of the tensor's numbers come from the source."""
    if row.status == "SLICED" and row.source_shape:
        return math.prod(min(a, b) for a, b in zip(row.shape, row.source_shape, strict=True))
    return math.prod(row.shape) if row.status in ("COPIED", "TRANSFORMED") else 0


def _cells(row: TensorRow, path: str) -> list[str]:
    sources = [part.partition("/")[2] for part in row.source.split(" · ")] if row.target else []
    if row.rule and row.rule != "copy":
        sources.append(f"by {row.rule}")
    shape = _text(row.shape)
    if row.source_shape is not None and row.source_shape != row.shape:
        shape += f"\n← {_text(row.source_shape)}"
    return [path, "\n".join(filter(None, sources)), shape, row.status]


def _text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"
