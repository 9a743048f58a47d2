"""Measures the metrics that names of protocols say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import data
from zoo.core.model import check_model
from zoo.evaluation.extractors import needed_extractor
from zoo.evaluation.needs import OTHER_FEATURES, TAKE_STATISTICS
from zoo.evaluation.protocols import parse_all
from zoo.evaluation.scores import Scores
from zoo.metrics import GaussianStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from zoo.core.model import ZooModel


def evaluate_named(
    model: ZooModel,
    source: Any,
    metrics: Iterable[str],
    *,
    extractor: str | None = None,
    extractor_weights: str | Path | None = None,
    resize: str | None = None,
    weights: str = "ema",
    truncation: float | None = None,
    reference: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Measures named metrics, such as "fid10k_test", and nothing else.

    Args:
        model: A model of the zoo.
        source: Data for `zoo.data.load`.
        metrics: The names, as `zoo.evaluation.parse` takes them.
        extractor: One of `zoo.metrics.list_extractors()`, or a folder of `zoo train-classifier`;
            default: the one made for the data.
        extractor_weights: File of the extractor's weights, in place of a download.
        resize: How images are brought to the extractor's size; default: its own way.
        weights: "ema" for the averaged generator, where the model has one; "raw" for the trained.
        truncation: ψ of a stylegan2, or a biggan's threshold; default: the model's own.
        reference: File of statistics that `zoo stats`, `pytorch-fid` or `clean-fid` wrote, to
            compare with in place of a split.
        seed: Seed of the samples.
        progress: Is told of images: "real images" or "samples", how many were judged, and how many
            there will be. Real images whose statistics are kept are not judged again.

    Returns:
        `model` and `data`; under `metrics` the values by name; and under `protocols`, by the name
        of each metric, all that it was measured with.

    Raises:
        ValueError: If a name is unknown, or the model, the extractor or the data lack what a
            metric needs.
        FileNotFoundError: If `reference` does not exist.
        ConnectionError: If the extractor's weights must be downloaded and cannot.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> images = np.random.default_rng(0).random((90, 28, 28, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (28, 28, 1), 2, network="mlp")
        >>> names, features = ["fid80_test", "pr50_test"], "fashion_mnist_classifier"
        >>> results = zoo.evaluation.evaluate_named(vae, images, names, extractor=features)
        >>> list(results["metrics"]), results["protocols"]["fid80_test"]["images"]
        (['fid80_test', 'pr50_test_precision', 'pr50_test_recall'], 90)
    """
    check_model(model)
    scores = scores_of(
        model, source, metrics, extractor=extractor, extractor_weights=extractor_weights,
        resize=resize, weights=weights, truncation=truncation, reference=reference, seed=seed,
        progress=progress,
    )  # fmt: skip
    scores.prepare()
    values = scores.measure()
    records = {protocol.name: scores.record(protocol) for protocol in scores.protocols}
    for protocol in scores.protocols:
        if reference is not None and protocol.metric in TAKE_STATISTICS:
            records[protocol.name]["reference"] = str(reference)
    return {
        "model": model.model_name,
        "data": data.source_name(source),
        "metrics": values,
        "protocols": records,
    }


def scores_of(
    model: ZooModel,
    source: Any,
    metrics: Iterable[str],
    *,
    extractor_weights: str | Path | None = None,
    reference: str | Path | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    **settings: Any,
) -> Scores:
    """What measures named metrics, checked; arguments and errors as for `evaluate_named`.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.evaluation.named import scores_of
        >>> images = np.random.default_rng(0).random((90, 28, 28, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (28, 28, 1), 2, network="mlp")
        >>> scores = scores_of(vae, images, ["fid80_test"], extractor="fashion_mnist_classifier")
        >>> list(scores.measure())
        ['fid80_test']
    """
    protocols = parse_all(metrics, **settings)
    if not protocols:
        msg = "metrics=[]: expected at least one name, such as 'fid10k_test'."
        raise ValueError(msg)
    kinds = {protocol.metric for protocol in protocols}
    if reference is not None and not kinds & set(TAKE_STATISTICS):
        msg = (
            f"reference={str(reference)!r}: {protocols[0].name} is compared with no statistics. "
            "Leave it out, or measure fid…."
        )
        raise ValueError(msg)
    using = [protocol for protocol in protocols if protocol.metric not in OTHER_FEATURES]
    choice: dict[str, Any] = {"weights": extractor_weights, "resize": settings.get("resize")}
    loaded = (
        needed_extractor(
            source, settings.get("extractor"), model.image_shape, what=using[0].name, **choice
        )
        if using
        else None
    )
    compared = None if reference is None else GaussianStatistics.load(reference)
    scores = Scores(model, source, protocols, loaded, compared, progress)
    if not using:
        _check_unused(protocols[0].name, {"extractor": settings.get("extractor"), **choice})
    return scores


def _check_unused(name: str, given: dict[str, Any]) -> None:
    """Refuses a choice of the extractor where no metric has features of it."""
    for key, value in given.items():
        if value not in (None, "none"):
            option = "extractor_weights" if key == "weights" else key
            given_as = f"{option}={str(value)!r}"
            msg = f"{given_as}: {name} compares no features of an extractor. Leave it out."
            raise ValueError(msg)
