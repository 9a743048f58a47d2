"""What a diagnosis says."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that is wrong with a run.

    Attributes:
        name: What it is called, such as "mode collapse".
        seen: How it shows in this run, with its figures and the threshold: one sentence.
        helps: What to do: sentences, with the options of `zoo train`.
        paper: Where it is described.

    Example:
        >>> from zoo.evaluation.findings import Finding
        >>> finding = Finding("mode collapse", "All samples are alike.", "Train longer.", "arXiv …")
        >>> finding.text().splitlines()[0]
        'mode collapse: All samples are alike.'
    """

    name: str
    seen: str
    helps: str
    paper: str

    def text(self) -> str:
        """Three lines: what is seen, what helps, and the paper."""
        return f"{self.name}: {self.seen}\n  What helps: {self.helps}\n  See: {self.paper}"
