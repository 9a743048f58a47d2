"""What a verification measured: rows, problems, and how they are shown and saved."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table

from export.metadata import REPORT, place_of, read_export
from zoo.io import schemas
from zoo.io.records import known_entries, read_json
from zoo.io.terminal import plain

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Row:
    """The measured difference of one output of one function.

    Errors of outputs without a fixed range (means and log-variances) are divided by their root
    mean square, where that is above 1; those of images are in pixel units of [0, 1]. Integers have
    no tolerance.
    """

    runtime: str
    function: str
    output: str
    max_error: float
    rms_error: float
    noise_floor: float  # of the Keras model: float32 against float64, largest difference
    tolerance: float
    passed: bool


@dataclass(frozen=True)
class Report:
    """The outcome of a verification.

    Example:
        >>> from export import Report
        >>> Report("folder", "onnx", problems=["generate.onnx: missing"], rows=[]).passed
        False
    """

    path: str
    format: str
    problems: list[str]
    rows: list[Row]
    # What a further runtime cannot load; of reduced precisions, how near the images are.
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether there was no problem and every row is within its tolerance."""
        return not self.problems and bool(self.rows) and all(row.passed for row in self.rows)

    def table(self) -> Table:
        """A printable table; problems are its caption."""
        title = plain(f"{self.path}: {'equal' if self.passed else 'NOT equal'}", "table.title")
        # No lines: eight columns are to fit in a terminal of 80.
        table = Table(title=title, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("runtime", "function"):
            table.add_column(column, no_wrap=True)
        for column in ("max error", "RMS error", "noise floor"):
            table.add_column(column, justify="right", min_width=len("1.2e-07"))
        for column in ("tolerance", "equal"):
            table.add_column(column, justify="right", no_wrap=True)
        outputs = Counter((row.runtime, row.function) for row in self.rows)
        for row in sorted(self.rows, key=lambda row: row.runtime):
            several = outputs[row.runtime, row.function] > 1
            numbers = (row.max_error, row.rms_error, row.noise_floor, row.tolerance)
            table.add_row(
                plain(row.runtime),
                plain(f"{row.function}.{row.output}" if several else row.function),
                *(f"{x:.2g}" for x in numbers),
                plain("yes") if row.passed else plain("NO", "bold red"),
            )
        table.caption = plain("\n".join([*self.problems, *self.notes]), "table.caption")
        return table

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "passed": self.passed}


def read_report(path: str | Path) -> Report | None:
    """The report that `verify` saved with an artefact, if it did.

    Raises:
        FileNotFoundError: If `path` is no export.

    Example:
        >>> import tempfile, zoo
        >>> from export import export_model, read_report
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> options = {"functions": ["generate"], "verify": False, "warmup": False}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = read_report(export_model(model, f"{folder}/vae", **options))
        >>> report is None  # `verify` was not called
        True
    """
    place = place_of(read_export(path)["folder"], REPORT)
    if not place.exists():
        return None
    saved = read_json(place, schemas.VERIFICATION)
    rows = [Row(**known_entries(Row, row)) for row in saved["rows"]]
    return Report(**{**known_entries(Report, saved), "rows": rows})
