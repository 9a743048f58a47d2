"""What a conversion did to every tensor, and how equal the result was measured to be."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class TensorRow:
    """One tensor of the target, or one of the source that went nowhere (then target is "")."""

    target: str
    source: str
    rule: str
    shape: tuple[int, ...]
    status: str  # COPIED, TRANSFORMED, REINITIALISED or UNUSED


@dataclass(frozen=True)
class Equality:
    """Measured difference of source and target images, in [0, 1] pixel units."""

    latents: int
    max_error: float
    rms_error: float
    noise_floor: float  # of the source itself: float32 against float64, largest difference
    batch_error: float  # batch 1 against batch 64, of the target
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every difference is within the tolerance (and none is NaN)."""
        return self.max_error <= self.tolerance and self.batch_error <= self.tolerance


@dataclass(frozen=True)
class Report:
    """The account of one conversion."""

    source: str
    target: str
    weights: str  # "ema" or "raw"
    equivalence: str  # the class that was verified
    equality: Equality
    rows: list[TensorRow] = field(default_factory=list)

    @property
    def coverage(self) -> float:
        """Share of the decoder's parameters that come from the generator."""
        sizes = {True: 0, False: 0}
        for row in self.rows:
            if row.target.startswith("decoder/"):
                sizes[row.status in ("COPIED", "TRANSFORMED")] += _size(row.shape)
        return sizes[True] / max(sum(sizes.values()), 1)

    def table(self) -> Table:
        """A printable table with the measured equality as its caption."""
        table = Table(title=f"{self.source} → {self.target} ({self.weights} weights)")
        for column in ("target tensor", "source tensors", "rule", "shape", "status"):
            table.add_column(column, overflow="fold")
        for row in self.rows:
            shape = "×".join(map(str, row.shape)) or "scalar"
            table.add_row(row.target, row.source, row.rule, shape, row.status)
        table.caption = self.summary()
        return table

    def summary(self) -> str:
        """One sentence: coverage, class and errors."""
        e = self.equality
        return (
            f"{self.coverage:.0%} of the decoder's parameters from the generator; equal by "
            f"{self.equivalence} on {e.latents} latents: max {e.max_error:.2g}, RMS "
            f"{e.rms_error:.2g}, tolerance {e.tolerance:.2g}, noise floor {e.noise_floor:.2g}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "coverage": self.coverage, "passed": self.equality.passed}


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size
