"""`zoo export`, `zoo verify` and `zoo serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import zoo
from zoo.cli.console import silent_stderr
from zoo.cli.options import (
    Out,
    Run,
    StandingStatistics,
    check_folder,
    preset_names,
    resolve_run,
)
from zoo.io.terminal import console, errors, say


def export(
    run: Run,
    out: Out,
    format: Annotated[  # noqa: A002
        str,
        typer.Option(help="saved_model, onnx, web, triton, or diffusers (an autoencoder_kl)."),
    ] = "saved_model",
    opset: Annotated[int, typer.Option(help="Version of the ONNX operators: 13 to 18.")] = 18,
    precision: Annotated[
        str,
        typer.Option(
            help="Precision of ONNX weights: float32, float16 or int8. The loss of precision is "
            "measured."
        ),
    ] = "float32",
    external_data: Annotated[
        bool,
        typer.Option("--external-data", help="Write ONNX weights into files beside the graphs."),
    ] = False,
    function: Annotated[
        list[str] | None,
        typer.Option(
            help="A function to export besides generate, such as encode, sample, interpolate or "
            "discriminate. Repeatable. Formats web and diffusers take none. Default: those usual "
            "for the format."
        ),
    ] = None,
    standing_statistics: StandingStatistics = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify",
            help="Compare every exported function with the model's, on a few inputs, before the "
            "export is put in its place.",
        ),
    ] = True,
) -> None:
    """Writes a SavedModel, ONNX files, a web page, a Triton repository or diffusers' files."""
    from export import FORMATS, export_model
    from zoo.training.runs import load_run

    if format not in FORMATS:
        raise ValueError(f"--format {format}: expected one of {', '.join(FORMATS)}.")
    given = {
        "opset": (opset, 18, ("onnx", "triton")),
        "precision": (precision, "float32", ("onnx", "triton")),
        "external_data": (external_data, False, ("onnx", "triton")),
        "functions": (function or None, None, ("saved_model", "onnx", "triton")),
    }
    options = {name: value for name, (value, default, _) in given.items() if value != default}
    for name in options:
        if format not in given[name][2]:
            option = name.removesuffix("s").replace("_", "-")
            raise ValueError(f"--{option} is of {', '.join(given[name][2])}, and not of {format}.")
    _check_export(out, format)
    folder = resolve_run(run)
    model = load_run(folder)
    if standing_statistics is not None:
        zoo.standing_statistics(model, standing_statistics)
        say(model.standing.text())
    run_folder = str(folder.resolve())
    written = export_model(model, out, format=format, run=run_folder, verify=verify, **options)
    checked = "" if verify else " (not compared with the model)"
    say(f"Exported {format}: {written}{checked}")


def verify(
    path: Annotated[Path, typer.Argument(help="An export, as `zoo export` makes it.")],
    against: Annotated[
        str | None,
        typer.Option(help="The run or pretrained model. Default: the one it was exported from."),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="What runs the export: TensorFlow for a SavedModel; 'ONNX Runtime', 'ONNX "
            "reference' or OpenVINO for ONNX; Keras or diffusers for diffusers. Repeatable. "
            "Default: all that are installed."
        ),
    ] = None,
) -> None:
    """Compares every exported function with the Keras model; exits 1 if one is out of tolerance."""
    from export import read_export
    from export import verify as verify_export
    from zoo.training.runs import load_run

    run = read_export(path)["run"] if against is None else resolve_run(against)
    if run is None:
        raise ValueError(f"{path} does not name the run it came from. Give it with --against.")
    report = verify_export(path, load_run(run), runtimes=runtime)
    console.print(report.table())
    if not report.passed:
        say("The export does not compute what the model computes.", errors)
        raise typer.Exit(1)


def serve(
    path: Annotated[
        str,
        typer.Argument(
            help="A run folder, a pretrained model, or an export of format web or onnx. The "
            "playground of a run is exported into RUN/export/web if it is not there yet.",
            autocompletion=preset_names,
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen at. The server has no authentication.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at. 0 takes a free one.")
    ] = 8000,
    max_batch: Annotated[
        int, typer.Option(min=1, help="Most images that a request may have.")
    ] = 256,
    max_values: Annotated[
        int,
        typer.Option(min=1, help="Most numbers that an answer may have: images times their size."),
    ] = 2**20,
    timeout: Annotated[
        float,
        typer.Option(min=0.1, help="Seconds to receive a request, to compute it, and to send it."),
    ] = 30.0,
) -> None:
    """Serves the playground, and the Open Inference Protocol under /v2, until Ctrl-C."""
    say(f"Starting the server for {path}: this takes some seconds.")
    with silent_stderr():
        import tensorflow as tf  # noqa: F401
    from export.serving.server import export_of
    from export.serving.server import serve as serve_export

    export = export_of(resolve_run(path), say)
    say(f"Serving {export}. It is ready when its address is shown.")
    serve_export(
        export,
        host=host,
        port=port,
        max_batch=max_batch,
        max_values=max_values,
        timeout=timeout,
    )


def _check_export(out: Path, format_name: str) -> None:
    """A SavedModel's folder takes further versions; the others are new."""
    from export.metadata import check_new

    check_folder(out)
    if (out / "config.json").exists():
        raise FileExistsError(f"{out} is a run or a preset. Give --out a folder of its own.")
    if format_name != "saved_model":
        check_new(out)
