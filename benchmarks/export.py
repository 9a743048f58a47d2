"""How fast generators draw in each runtime they are exported to, and how long exporting takes.

    python benchmarks/export.py

Generators with fresh weights: speed does not depend on their values. All runtimes have as many
threads as this process has cores, and take turns; medians of what each call took. The plain export
is what `tf2onnx.convert.from_function` makes of the same function. Prints tables, writes every
number to results/export.json, and the tables to docs/export.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tables import RESULTS, write_section

from zoo.bench.run import processor
from zoo.io.records import write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    Runs = dict[str, Callable[[np.ndarray], Any]]

# Python looks here first, and would take this file for the package `export`.
sys.path.remove(str(Path(__file__).resolve().parent))

LATENT_DIM = 64
SHAPES = {"28 × 28 × 1": (28, 28, 1), "64 × 64 × 3": (64, 64, 3)}
BATCHES = (1, 64, 256)
PLAIN, OURS = "tf2onnx, plain", "ONNX Runtime"
START, END = "<!-- export figures -->", "<!-- end of export figures -->"
LARGE = {"image_shape": (64, 64, 3), "latent_dim": 256, "network": "conv-192"}


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="Calls of each runtime.")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--out", type=Path, default=RESULTS / "export.json")
    args = parser.parse_args()
    import tensorflow as tf  # noqa: PLC0415  (after the arguments are known to be right)

    threads = len(os.sched_getaffinity(0))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    results: dict[str, Any] = {
        "processor": processor(),
        "threads": threads,
        "rounds": args.rounds,
        "milliseconds": {},
    }
    console = Console()
    for shape in args.shapes:
        with tempfile.TemporaryDirectory() as folder:
            runs, parameters = runtimes(SHAPES[shape], Path(folder), threads)
            times = {batch: measure(runs, batch, args.rounds) for batch in args.batches}
        results["milliseconds"][shape] = {
            name: {str(batch): 1e3 * times[batch][name] for batch in times} for name in runs
        }
        title = f"dcgan, {shape}, {parameters / 1e6:.1f} M parameters, {threads} threads"
        console.print(table(title, results["milliseconds"][shape]))
    results["export"] = export_time()
    console.print(
        "Exporting to ONNX and verifying {parameters:,} parameters: {export:.1f} s + "
        "{verify:.1f} s".format(**results["export"])
    )
    write_json(args.out, results)
    write_section(START, END, section(results))


def section(results: dict[str, Any]) -> list[str]:
    """Markdown of what was measured."""
    times = results["milliseconds"]
    batches = list(next(iter(times.values()))[OURS])
    columns = [(shape, batch) for shape in times for batch in batches]
    rows = [
        ["generate", *(f"{shape}, batch {batch}" for shape, batch in columns)],
        ["---"] * (len(columns) + 1),
    ]
    for name in next(iter(times.values())):
        cells = [
            (times[shape][name][batch], times[shape][PLAIN][batch]) for shape, batch in columns
        ]
        rows.append([name, *(f"{ms:.3g} (× {plain / ms:.2f})" for ms, plain in cells)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    large = results["export"]
    about = (
        f"Milliseconds per batch of `dcgan` (× the speed of `tf2onnx` alone), medians of "
        f"{results['rounds']} calls in turn on {results['threads']} cores of "
        f"{results['processor']}. Exporting "
        f"{large['parameters'] / 1e6:.1f} M parameters to ONNX took "
        f"{large['export']:.0f} s, verifying them {large['verify']:.0f} s."
    )
    return [about, "", *lines]


def runtimes(shape: tuple[int, int, int], folder: Path, threads: int) -> tuple[Runs, int]:
    """Each runtime's function of latents, by name, and the generator's number of parameters."""
    import onnxruntime  # noqa: PLC0415
    import openvino  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415
    import tf2onnx  # noqa: PLC0415

    import zoo  # noqa: PLC0415
    from export import endpoints, export_model  # noqa: PLC0415

    gan = zoo.create("dcgan", shape, LATENT_DIM)
    (generate,) = endpoints(gan, functions=["generate"])
    signature = generate.signature()
    function = tf.function(generate.function, input_signature=signature)
    saved = export_model(gan, folder / "saved_model")
    files = {
        precision: export_model(
            gan, folder / precision, format="onnx", functions=["generate"], precision=precision
        )
        / "generate.onnx"
        for precision in ("float32", "float16", "int8")
    }
    tf2onnx.convert.from_function(
        function, signature, opset=18, output_path=str(folder / "plain.onnx")
    )
    loaded = tf.saved_model.load(str(saved))
    served = loaded.signatures["generate"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Else the threads of one session, waiting for its next turn, take the processor from others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def session(file: Path) -> Callable[[np.ndarray], Any]:
        made = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        (latent,) = made.get_inputs()
        return lambda x: made.run(None, {latent.name: x})

    core = openvino.Core()

    def compiled(hint: str) -> Callable[[np.ndarray], Any]:
        settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}
        made = core.compile_model(files["float32"], "CPU", settings)
        return lambda x: made([x])

    runs: Runs = {
        "Keras predict": lambda x: gan.generator.predict(x, batch_size=len(x), verbose=0),
        "tf.function": lambda x: function(tf.constant(x))["image"].numpy(),
        # The default holds on to `loaded`, whose variables would go with it.
        "SavedModel": lambda x, _=loaded: served(latent=tf.constant(x))["image"].numpy(),
        PLAIN: session(folder / "plain.onnx"),
        OURS: session(files["float32"]),
        f"{OURS}, float16": session(files["float16"]),
        f"{OURS}, int8": session(files["int8"]),
        "OpenVINO": compiled("f32"),
        "OpenVINO, bfloat16": compiled("bf16"),
    }
    return runs, gan.generator.count_params()


def measure(runs: Runs, batch: int, rounds: int) -> dict[str, float]:
    """Median seconds of a call, each in turn."""
    latents = np.random.default_rng(0).standard_normal((batch, LATENT_DIM), np.float32)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(-2, rounds):  # the first two trace, and fill caches
        for name, run in runs.items():
            begun = time.perf_counter()
            run(latents)
            if turn >= 0:
                times[name].append(time.perf_counter() - begun)
    return {name: float(np.median(values)) for name, values in times.items()}


def table(title: str, times: dict[str, dict[str, float]]) -> Table:
    """Milliseconds per batch, and the speed as a multiple of the plain export's."""
    made = Table(title=title)
    made.add_column("milliseconds a batch (× the speed of tf2onnx's plain export)")
    for batch in times[OURS]:
        made.add_column(batch, justify="right")
    for name, values in times.items():
        cells = [f"{ms:.2f} (× {times[PLAIN][batch] / ms:.2f})" for batch, ms in values.items()]
        made.add_row(name, *cells)
    return made


def export_time() -> dict[str, float]:
    """Seconds to export a generator of about 10 M parameters to ONNX, and to verify it."""
    import zoo  # noqa: PLC0415
    from export import export_model, verify  # noqa: PLC0415

    gan = zoo.create("dcgan", **LARGE)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        path = export_model(gan, Path(folder) / "onnx", format="onnx")
        exported = time.perf_counter()
        report = verify(path, gan)
        verified = time.perf_counter()
    if not report.passed:
        msg = f"The export is not equal: {report.problems or report.rows}"
        raise RuntimeError(msg)
    return {
        "parameters": gan.generator.count_params(),
        "export": exported - begun,
        "verify": verified - exported,
    }


if __name__ == "__main__":
    main()
