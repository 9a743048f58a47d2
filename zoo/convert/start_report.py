"""What a model that starts from a trained one took over from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from zoo.convert.classes import ALL, Start
from zoo.convert.report import TensorRow, table_of_tensors

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class StartReport:
    """The account of one start from a trained model.

    Attributes:
        source: Name of the source model.
        classes: What each class starts as; one entry, "all", for a model without classes.
        rows: A row for every tensor, with the names of the networks in front of the paths. Its
            source is "" for a tensor that is new.
        compared: Number of classes whose images were compared with those that they start as.
        max_error: Largest difference of their pixels, in [0, 1]; None if none could be compared.
        notes: More that a reader should know.
        origin: Where the source came from, for config.json: `handle`, `sha256`, `model`, `step`
            and the source's own `provenance`.

    Example:
        >>> import zoo
        >>> source = zoo.create("dcgan", (8, 8, 1), 2, network="mlp")
        >>> _, report = zoo.finetune(source)
        >>> report.max_error
        0.0
    """

    source: str
    classes: list[Start]
    rows: list[TensorRow]
    compared: int = 0
    max_error: float | None = None
    notes: tuple[str, ...] = ()
    origin: dict[str, Any] = field(default_factory=dict)

    def table(self) -> Table:
        """A printable table, 80 columns wide, with what the classes start as in its caption."""
        by_start: dict[str, list[str]] = {}
        for start in self.classes:
            by_start.setdefault(start.text, []).append(start.name)
        lines = [f"{_subject(names)} {text}." for text, names in by_start.items()]
        caption = "\n".join([*lines, *self.notes, self.summary()])
        return table_of_tensors(f"From {self.source}", caption, self.rows)

    def summary(self) -> str:
        """One sentence: how many tensors were taken over, and how equal the images are."""
        counts = Counter(row.status for row in self.rows)
        taken = ", ".join(f"{counts[status]} {status}" for status in sorted(counts))
        if self.max_error is None:
            return f"Tensors: {taken}. No class can be compared with one of the source."
        number = f"{self.compared} of {len(self.classes)} classes draw what they start as"
        return f"Tensors: {taken}. {number}: largest difference {self.max_error:.2g}."

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _subject(names: list[str]) -> str:
    if names == [ALL]:
        return "The images start as"
    classes, verb = ("Class", "starts") if len(names) == 1 else ("Classes", "start")
    return f"{classes} {', '.join(names)} {verb} as"
