"""What `zoo train --metric` measures, for a new run and for one that goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.cli.named import features_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Measured(NamedTuple):
    """The options of `zoo train` on metrics.

    Attributes:
        metrics: Names of protocols.
        every: Epochs from one measurement to the next.
        extractor: The extractor of their features, or None for the one made for the data.
    """

    metrics: list[str]
    every: int
    extractor: str | None

    def check(self) -> None:
        """Raises ValueError if a name is unknown, or an option has nothing to act on."""
        from zoo.evaluation.protocols import parse_all

        parse_all(self.metrics)
        if not self.metrics and (self.every != 1 or self.extractor is not None):
            option = "--metric-every" if self.every != 1 else "--metric-extractor"
            raise ValueError(f"{option} is for --metric: name one, such as --metric fid5k_test.")

    def callbacks(self, run: Path, source: Any, *, resume: bool) -> list[Any]:
        """The callbacks that measure. A run that was trained keeps those that it was begun with."""
        from zoo.evaluation.epochs import EpochMetrics
        from zoo.training.resume import was_trained
        from zoo.training.run_files import read_config

        if resume and was_trained(read_config(run)):
            stored = EpochMetrics.of_run(run, source)
            return [] if stored is None else [stored]
        if not self.metrics:
            return []
        return [EpochMetrics(self.metrics, source, every=self.every, extractor=self.extractor)]


def told(callbacks: Sequence[Any], model: Any) -> list[str]:
    """What measures after epochs, in sentences: it takes time, and the extractor decides."""
    return [
        f"Measured {_often(each.every)}: "
        f"{features_of(each.metrics, model, each.source, each.extractor)}."
        for each in callbacks
    ]


def _often(every: int) -> str:
    return "after each epoch" if every == 1 else f"every {every} epochs"
