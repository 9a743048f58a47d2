"""Metrics while a model trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.evaluation.named import scores_of
from zoo.evaluation.protocols import parse_all
from zoo.io.names import as_path
from zoo.io.numbers import check_whole
from zoo.training.measuring import MeasuringCallback
from zoo.training.run_files import data_of, read_config

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.evaluation.scores import Scores


class EpochMetrics(MeasuringCallback):
    """Measures named metrics after every k-th epoch, and adds them to the logs.

    It works in `zoo.train` and in `fit`. The samples are those of the averaged generator, where the
    model has one. The training goes on as it would without: the samples' noise is a function of the
    seed, and nothing of the model moves. Each worker of several makes its share of the samples.

    Args:
        metrics: Names such as "fid5k_test", as `zoo.evaluation.parse` takes them.
        source: Data for `zoo.data.load`.
        every: Epochs from one measurement to the next: it is after epochs `every`, 2 `every`, ….
        extractor: As for `zoo.evaluate`; default: the one made for the data.
        extractor_weights: File of the extractor's weights, in place of a download.
        resize: How images are brought to the extractor's size; default: its own way.
        seed: Seed of the samples, the same after each epoch.

    Raises:
        ValueError: If a name is unknown, or a number is out of range; when training begins, if the
            model, the extractor or the data lack what a metric needs.
        ConnectionError: When training begins, if the extractor cannot be downloaded.

    Example:
        >>> import numpy as np, tempfile, zoo
        >>> images = np.random.default_rng(0).random((90, 28, 28, 1)).astype("float32")
        >>> model = zoo.create("vae", (28, 28, 1), 2, network="mlp")
        >>> model.compile()
        >>> features = "fashion_mnist_classifier"
        >>> measured = zoo.evaluation.EpochMetrics(["fid80_test"], images, extractor=features)
        >>> out = tempfile.mkdtemp()
        >>> zoo.train(
        ...     model, images, out, epochs=1, batch_size=30, callbacks=[measured], verbose=0,
        ...     best="fid80_test",
        ... )
        True
    """

    def __init__(
        self,
        metrics: Sequence[str],
        source: Any,
        *,
        every: int = 1,
        extractor: str | None = None,
        extractor_weights: str | Path | None = None,
        resize: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_whole("every", every)
        protocols = parse_all(metrics, seed=seed)
        if not protocols:
            msg = "metrics=[]: expected at least one name, such as 'fid5k_test'."
            raise ValueError(msg)
        for protocol in protocols:
            if protocol.metric == "cas":
                msg = (
                    f"{protocol.name} trains a classifier, which takes too long after each epoch. "
                    "Measure it when the model is trained, by `zoo evaluate`."
                )
                raise ValueError(msg)
        self.metrics = [protocol.name for protocol in protocols]
        self.directions = {k: up for each in protocols for k, up in each.directions.items()}
        self.source = source
        self.every = every
        self.extractor = extractor
        # Absolute, as the folder of the data is: a run goes on from anywhere.
        self.extractor_weights = (
            None
            if extractor_weights is None
            else str(as_path(extractor_weights, "extractor_weights").absolute())
        )
        self.resize = resize
        self.seed = seed
        self.scores: Scores | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What config.json holds of it."""
        return {
            "metrics": self.metrics,
            "metric_every": self.every,
            "metric_extractor": self.extractor,
            "metric_extractor_weights": self.extractor_weights,
            "metric_resize": self.resize,
            "metric_seed": self.seed,
        }

    @classmethod
    def of_run(cls, run: str | Path, source: Any = None) -> EpochMetrics | None:
        """The one that a run was begun with; None if the run measures nothing.

        Args:
            run: A run folder.
            source: The data, if they have moved; default: where they were.

        Raises:
            FileNotFoundError: If there is no run in the folder, or its data are gone.

        Example:
            >>> import numpy as np, tempfile, zoo
            >>> run, images = tempfile.mkdtemp(), np.zeros((8, 8, 8, 1), "float32")
            >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
            >>> model.compile()
            >>> _ = zoo.train(model, images, run, epochs=1, batch_size=4, verbose=0)
            >>> zoo.evaluation.EpochMetrics.of_run(run) is None
            True
        """
        config = read_config(run)
        if not config.get("metrics"):
            return None
        return cls(
            config["metrics"],
            data_of(config, run) if source is None else source,
            every=config.get("metric_every", 1),
            extractor=config.get("metric_extractor"),
            extractor_weights=config.get("metric_extractor_weights"),
            resize=config.get("metric_resize"),
            seed=config.get("metric_seed", 0),
        )

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Checks the metrics against the model, and sees the real images, once."""
        if self.scores is None or self.scores.model is not self.model:
            self.scores = scores_of(
                self.model, self.source, self.metrics, extractor=self.extractor,
                extractor_weights=self.extractor_weights, resize=self.resize, seed=self.seed,
            )  # fmt: skip
            self.scores.prepare()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the values to the logs, if they are due."""
        if (epoch + 1) % self.every == 0 and self.scores is not None and logs is not None:
            logs.update(self.scores.measure())
