"""`zoo evaluate` and `zoo report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.console import number
from zoo.cli.named import (
    PROTOCOLS,
    Extractor,
    ExtractorWeights,
    Resize,
    check_names,
    measure_named,
)
from zoo.cli.options import (
    COUNTED,
    Data,
    Out,
    Run,
    SamplerName,
    Seed,
    StandingStatistics,
    check_file,
    compute_anew,
    resolve_run,
)
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
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure this instead, such as fid10k_test: the name says the metric, the number "
            "of samples and the split. docs/evaluation.md lists the names. It can be given more "
            "than once.",
        ),
    ] = None,
    extractor: Extractor = None,
    extractor_weights: ExtractorWeights = None,
    resize: Resize = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="With --metric: the trained generator, not the averaged one."),
    ] = False,
    truncation: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=2.0, help="With --metric: of a stylegan2 or biggan. Default: its own."
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="With --metric fid…: an .npz of `zoo stats`, pytorch-fid or clean-fid, to compare "
            "with in place of a split."
        ),
    ] = None,
    importance_samples: Annotated[
        int,
        typer.Option(
            min=1, callback=COUNTED, help="Samples per image of the importance-weighted bound (k)."
        ),
    ] = 50,
    standing_statistics: StandingStatistics = None,
    sampler: SamplerName = "prior",
    seed: Seed = 0,
) -> None:
    """Measures a model on the test split, and writes metrics.json into its run folder.

    With another sampler than the prior it writes metrics_SAMPLER.json. With --metric it adds to
    protocols.json. The figures of a pretrained model, which brings its own, are only printed.
    """
    from zoo import data as zoo_data
    from zoo.presets import is_preset
    from zoo.training.run_files import data_of, read_config
    from zoo.training.runs import load_run

    protocol = {
        "extractor_weights": extractor_weights,
        "resize": resize,
        "weights": "raw" if raw else None,
        "truncation": truncation,
        "reference": reference,
    }
    protocol = {name: value for name, value in protocol.items() if value is not None}
    if raw and standing_statistics is not None:
        raise ValueError("--standing-statistics are of the averaged generator. Leave --raw out.")
    check_names(metric or [], protocol, sampler=sampler, samples=samples, split=split)
    name = "metrics.json" if sampler == "prior" else f"metrics_{sampler}.json"
    name = PROTOCOLS if metric else name
    folder = resolve_run(run)
    place = folder / name if folder.is_dir() else folder.with_suffix(f".{name}")
    written = None if is_preset(folder) else place  # a preset's figures are part of it
    if written is not None:
        check_file(written)
    config = read_config(folder)
    model, source = load_run(folder), data or data_of(config, folder)
    if model.num_classes:
        zoo_data.check_classes(source, config)
    if standing_statistics is not None:
        compute_anew(model, standing_statistics, seed)
    if metric:
        settings = {"extractor": extractor, "seed": seed, **protocol}
        measure_named(run, model, source, metric, written, settings)
        return
    say(zoo_data.describe(source, split=split, image_shape=model.image_shape))
    say(f"Measuring {run} …")
    settings = {"extractor": extractor, "importance_samples": importance_samples, "seed": seed}
    _measure(run, folder, model, source, written, split, samples, sampler, settings)


def _measure(
    run: str,
    folder: Path,
    model: Any,
    source: Any,
    written: Path | None,
    split: str,
    samples: int | None,
    sampler: str,
    settings: dict[str, Any],
) -> None:
    """Measures what is measured without --metric, writes and prints it."""
    from zoo import data as zoo_data
    from zoo.evaluation.extractors import note_on_features
    from zoo.evaluation.measure import evaluate as evaluate_model
    from zoo.io.records import write_json
    from zoo.sampling.samplers import sampler_of_run

    latents = None
    if sampler != "prior":
        test = zoo_data.open(source, split=split, image_shape=model.image_shape)
        samples = samples or len(test)
        labels = model.sample_labels(samples, settings["seed"])  # those of the evaluation
        latents = sampler_of_run(folder, model, sampler).sample(samples, settings["seed"], labels)
    results = evaluate_model(
        model, source, split=split, samples=samples, latents=latents, sampler=sampler, **settings
    )
    if written is not None:
        write_json(written, {**results, "step": model.steps_done})
    rows = [(name, number(value)) for name, value in results["metrics"].items()]
    say(f"{run} on {results['data']} ({split})")
    console.print(table_of(("metric", "value"), rows))
    say(
        f"{results['samples']} samples against {results['images']} images; "
        f"features: {results['extractor'] or 'none (samples not measured)'}; "
        "likelihoods in nats per image"
    )
    if note := note_on_features(model, results["extractor"]):
        say(note)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Out = Path("report.html"),
) -> None:
    """Writes one HTML page about runs: metrics, pictures, conversions and verified exports."""
    check_file(out)
    from zoo.evaluation.report import write_report

    write_report(runs, out)
    say(f"Report: {out}")
