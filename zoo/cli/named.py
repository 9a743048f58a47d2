"""`zoo evaluate --metric`, `zoo stats` and `zoo train-classifier`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.console import number
from zoo.cli.options import PATH, SOURCE, ImageSize, Seed, Source, check_file, check_folder
from zoo.io.terminal import bars, console, say, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Extractor = Annotated[
    str | None,
    typer.Option(
        help="Network whose features compare samples with data: efficientnet_lite0 (for any "
        "images), inception_fid (that of published FIDs, downloaded once), inception_v3 "
        "(downloaded once), fashion_mnist_classifier (for Fashion-MNIST), a folder of `zoo "
        "train-classifier`, or none (the samples are not measured). Default: the one made for the "
        "data, else efficientnet_lite0."
    ),
]
ExtractorWeights = Annotated[
    Path | None, typer.Option(help="File of the extractor's weights, in place of the download.")
]
Resize = Annotated[
    str | None,
    typer.Option(
        help="How images are brought to the extractor's size, where it has a choice: tf1-bilinear, "
        "clean or pytorch-bilinear for inception_fid."
    ),
]


def check_names(metrics: Sequence[str], protocol: Mapping[str, Any], **others: Any) -> None:
    """Refuses, before anything is loaded, a name that is unknown, and options that do not go along.

    Raises:
        ValueError: If so.
    """
    from zoo.evaluation.protocols import parse_all

    parse_all(metrics)
    named = [each for each in protocol if each not in ("extractor_weights", "resize")]
    if not metrics and named:
        option = {"weights": "raw"}.get(named[0], named[0])
        raise ValueError(
            f"--{option.replace('_', '-')} is for --metric: name one, such as --metric fid10k_test."
        )
    defaults = {"sampler": "prior", "samples": None, "split": "test"}
    if metrics:
        for name, value in others.items():
            if value != defaults[name]:
                reason = "is for a measurement without --metric"
                if name != "sampler":
                    reason = "is said by the names of metrics, such as fid10k_test"
                raise ValueError(f"--{name} {value} {reason}. Leave it out.")


def show_figures(run: str, results: Mapping[str, Any], split: str) -> None:
    """Prints what was measured, and by which protocol."""
    protocols = list(results.get("protocols", {}).values())
    rows = [(name, number(value)) for name, value in results["metrics"].items()]
    say(f"{run} on {results['data']}" + ("" if protocols else f" ({split})"))
    console.print(table_of(("metric", "value"), rows))
    if not protocols:
        say(
            f"{results['samples']} samples against {results['images']} images; "
            f"features: {_features(results) or 'none (samples not measured)'}; "
            "likelihoods in nats per image"
        )
    else:
        first = protocols[0]
        features = ", ".join(dict.fromkeys(str(_features(each)) for each in protocols))
        psi = first["truncation"]
        truncated = f"; truncation: {psi:g}" if psi not in (None, 1.0) else ""
        say(f"features: {features}; weights: {first['weights']}; seed: {first['seed']}{truncated}")
        for given in dict.fromkeys(each["reference"] for each in protocols if "reference" in each):
            say(f"compared with the statistics in {given}, and not with a split")


def stats(
    data: Source,
    out: Annotated[Path, typer.Option(help="The .npz file to write.", **PATH)],
    extractor: Extractor = None,
    extractor_weights: ExtractorWeights = None,
    resize: Resize = None,
    split: Annotated[str, typer.Option(help="Split of the data.")] = "train",
    image_size: ImageSize = None,
) -> None:
    """Writes mean and covariance of the features of images, as pytorch-fid and clean-fid read them.

    `zoo evaluate --metric fid50k_full --reference FILE` compares with them.
    """
    from zoo import data as zoo_data
    from zoo.evaluation import references
    from zoo.evaluation.extractors import needed_extractor

    check_file(out)
    _check_statistics(out)
    shape = None if image_size is None else zoo_data.image_shape(data, image_size)
    loaded = needed_extractor(
        data, extractor, shape or zoo_data.image_shape(data), what="Statistics",
        weights=extractor_weights, resize=resize,
    )  # fmt: skip
    say(zoo_data.describe(data, split=split, image_shape=shape))
    with bars() as show:
        statistics = references.statistics(data, split, shape, loaded, show)
    statistics.save(out)
    say(f"{statistics.count} images; {len(statistics.mean)} features of {loaded.title}: {out}")


def _check_statistics(out: Path) -> None:
    """Refuses to write statistics over another file, such as the data."""
    from zoo.metrics import GaussianStatistics

    if out.exists():
        try:
            GaussianStatistics.load(out)
        except ValueError as error:
            msg = f"{out} is there already, and holds no statistics. Choose another name."
            raise FileExistsError(msg) from error


def train_classifier(
    data: Annotated[str, typer.Argument(help=f"{SOURCE}. It must have labels.")],
    out: Annotated[Path, typer.Option(help="The folder, which --extractor takes.", **PATH)],
    epochs: Annotated[int, typer.Option(min=1, help="Epochs to train.")] = 15,
    image_size: ImageSize = None,
    seed: Seed = 0,
) -> None:
    """Trains a small classifier, whose features judge samples and whose classes test them."""
    from zoo import data as zoo_data
    from zoo.evaluation import classifiers

    check_folder(out)
    shape = None if image_size is None else zoo_data.image_shape(data, image_size)
    say(zoo_data.describe(data, image_shape=shape))
    test_accuracy = classifiers.train_classifier(
        data, out, epochs=epochs, seed=seed, image_shape=shape, verbose=2
    )
    say(f"Accuracy on the test split {test_accuracy:.4f}. Use it by --extractor {out}")


def _features(protocol: Mapping[str, Any]) -> str | None:
    """What sees the images, if anything does: two figures compare if it is the same."""
    name, resize = protocol["extractor"], protocol.get("resize")
    return f"{name} ({resize})" if resize else name
