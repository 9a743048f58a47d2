"""`zoo evaluate` and `zoo report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.named import (
    Extractor,
    ExtractorWeights,
    Resize,
    check_names,
    show_figures,
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
    resolve_run,
)
from zoo.io.terminal import bars, say


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
    from zoo.evaluation.of_run import evaluate_run, figures_file

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
    metrics = metric or []
    check_names(metrics, protocol, sampler=sampler, samples=samples, split=split)
    folder = resolve_run(run)
    if (file := figures_file(folder, sampler, named=bool(metrics))) is not None:
        check_file(file)
    with bars() as progress:
        results = evaluate_run(
            folder, data, metrics=metrics, split=split, samples=samples, sampler=sampler,
            importance_samples=importance_samples, seed=seed, extractor=extractor,
            standing_batches=standing_statistics, progress=progress, tell=say, **protocol,
        )  # fmt: skip
    show_figures(run, results, split)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Out = Path("report.html"),
) -> None:
    """Writes one HTML page about runs: metrics, pictures, conversions and verified exports."""
    check_file(out)
    from zoo.evaluation.report import write_report

    write_report(runs, out)
    say(f"Report: {out}")
