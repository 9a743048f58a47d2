"""`zoo evaluate` and `zoo report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.console import number
from zoo.cli.options import COUNTED, Data, Out, Run, SamplerName, Seed, check_file, resolve_run
from zoo.io.terminal import console, say, table_of


def evaluate(
    run: Run,
    data: Data = None,
    split: Annotated[str, typer.Option(help="Split of the data to measure on.")] = "test",
    samples: Annotated[
        int | None,
        typer.Option(
            min=2, callback=COUNTED, help="Images to generate. Default: as many as the split."
        ),
    ] = None,
    extractor: Annotated[
        str | None,
        typer.Option(
            help="Network whose features compare samples with data: inception_v3 (downloaded "
            "once), fashion_mnist_classifier (for Fashion-MNIST), or none (the samples are not "
            "measured). Default: the one made for the data."
        ),
    ] = None,
    importance_samples: Annotated[
        int,
        typer.Option(
            min=1, callback=COUNTED, help="Samples per image of the importance-weighted bound (k)."
        ),
    ] = 50,
    sampler: SamplerName = "prior",
    seed: Seed = 0,
) -> None:
    """Measures a model on the test split, and writes metrics.json into its run folder.

    With another sampler than the prior it writes metrics_SAMPLER.json. The figures of a pretrained
    model, which brings its own, are only printed.
    """
    from zoo import data as zoo_data
    from zoo.evaluation.measure import evaluate as evaluate_model
    from zoo.io.records import write_json
    from zoo.presets import is_preset
    from zoo.sampling.samplers import sampler_of_run
    from zoo.training.run_files import data_of, read_config
    from zoo.training.runs import load_run

    name = "metrics.json" if sampler == "prior" else f"metrics_{sampler}.json"
    folder = resolve_run(run)
    place = folder / name if folder.is_dir() else folder.with_suffix(f".{name}")
    if not is_preset(folder):
        check_file(place)
    config = read_config(folder)
    model, source = load_run(folder), data or data_of(config, folder)
    if model.num_classes:
        zoo_data.check_classes(source, config)
    say(zoo_data.describe(source, split=split, image_shape=model.image_shape))
    latents = None
    if sampler != "prior":
        test = zoo_data.read(source, split=split, image_shape=model.image_shape)
        samples = samples or len(test.pixels)
        labels = model.sample_labels(samples, seed)  # those of the evaluation
        latents = sampler_of_run(folder, model, sampler).sample(samples, seed, labels)
    results = evaluate_model(
        model,
        source,
        split=split,
        samples=samples,
        latents=latents,
        sampler=sampler,
        extractor=extractor,
        importance_samples=importance_samples,
        seed=seed,
    )
    if not results["metrics"]:
        raise ValueError(
            f"Nothing is left to measure: {run} holds a GAN, which is measured by its samples, and "
            "the extractor is none. Name one, such as --extractor inception_v3."
        )
    if not is_preset(folder):  # whose figures are part of it
        write_json(place, results)
    rows = [(name, number(value)) for name, value in results["metrics"].items()]
    say(f"{run} on {results['data']} ({split})")
    console.print(table_of(("metric", "value"), rows))
    say(
        f"{results['samples']} samples against {results['images']} images; "
        f"features: {results['extractor'] or 'none'}; likelihoods in nats per image"
    )


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Out = Path("report.html"),
) -> None:
    """Writes one HTML page about runs: metrics, pictures, conversions and verified exports."""
    check_file(out)
    from zoo.evaluation.report import write_report

    write_report(runs, out)
    say(f"Report: {out}")
