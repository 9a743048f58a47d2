"""What `zoo train --metric` measures, for a new run and for one that goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Measured(NamedTuple):
    """The options of `zoo train` on metrics.

    Attributes:
        metrics: Names of protocols.
        every: Epochs from one measurement to the next.
        extractor: The extractor of their features, or None for the one made for the data.
        extractor_weights: File of the extractor's weights, in place of a download.
        resize: How images are brought to the extractor's size.
    """

    metrics: list[str]
    every: int
    extractor: str | None
    extractor_weights: Path | None
    resize: str | None

    def check(self) -> None:
        """Raises ValueError if a name is unknown, or an option has nothing to act on."""
        from zoo.evaluation.protocols import parse_all

        parse_all(self.metrics)
        default = {"every": 1}
        for name, value in self._asdict().items():
            if not self.metrics and name != "metrics" and value != default.get(name):
                option = f"--metric-{name.replace('_', '-')}"
                raise ValueError(f"{option} is for --metric: name one, such as fid5k_test.")

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
        settings = self._asdict()
        return [EpochMetrics(settings.pop("metrics"), source, **settings)]


def told(callbacks: Sequence[Any], model: Any) -> list[str]:
    """What measures after epochs, in sentences: it takes time, and the extractor decides."""
    from zoo.evaluation.needs import in_words

    return [
        f"Measured {_often(each.every)}: "
        f"{in_words(each.metrics, each.source, each.extractor, model.image_shape)}."
        for each in callbacks
    ]


def _often(every: int) -> str:
    return "after each epoch" if every == 1 else f"every {every} epochs"
