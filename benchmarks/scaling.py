"""Step time against replicas and batch size, and what each training option costs.

    python benchmarks/scaling.py

On GPUs: images per second, and the share of the card's own matrix multiplication rate that the
step's arithmetic comes to, in float32, bfloat16 and with XLA. On a CPU, whose cores all replicas
share, the replicas show overhead and no speed-up. Writes the tables into the document that has
their markers, and every number to results/scaling_KIND.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tables import RESULTS, write_section

from zoo.bench.run import processor
from zoo.io.records import read_json, write_json
from zoo.training.launch import launch

START, END = "<!-- scaling figures -->", "<!-- end of scaling figures -->"
MODELS = ("vae", "dcgan", "wgan_gp")
BATCH_SIZES = (64, 256)
SHAPE, LATENT_DIM = (28, 28, 1), 64
OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # of create, of compile
    "float32": ({}, {}),
    "--clip-norm 1": ({}, {"clip_norm": 1.0}),
    "--accumulate 4": ({}, {"accumulate": 4}),
    "--steps-per-execution 5": ({}, {"steps_per_execution": 5}),
    "--precision mixed_bfloat16": ({"dtype": "mixed_bfloat16"}, {}),
    "--precision mixed_float16": ({"dtype": "mixed_float16"}, {}),
    "--jit": ({}, {"jit_compile": True}),
    "--jit --precision mixed_bfloat16": ({"dtype": "mixed_bfloat16"}, {"jit_compile": True}),
}
PASSES, ROUNDS, STEPS = 2, 3, 10  # steps: divisible by the steps of an execution


def main() -> None:
    """Runs each measurement in a process of its own, then writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=list(BATCH_SIZES))
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        what, path = args.measure
        measured = measure_options(args.batch_sizes[0]) if what == "options" else (
            measure_replicas(what, args.batch_sizes)
        )  # fmt: skip
        if measured:  # workers other than the chief have nothing to say
            write_json(path, measured)
        return
    sizes = ["--batch-sizes", *map(str, args.batch_sizes)]
    results: dict[str, Any] = {"replicas": {}}
    # The same in turn, more than once: other work on the machine slows whatever it meets.
    for what in [*PASSES * [*map(str, args.replicas), "2 workers"], "options"]:
        print(f"measuring: {what}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "measured.json"
            command = [sys.executable, __file__, *sizes, "--measure", what, str(path)]
            status = launch(2, command) if what == "2 workers" else (
                subprocess.run(command, check=True).returncode
            )  # fmt: skip
            if status:
                sys.exit(status)
            measured = read_json(path)
        if what == "options":
            results |= measured
        else:
            results["replicas"][what] = faster(measured, results["replicas"].get(what, measured))
    kind = "gpu" if results["gpu"] else "cpu"
    write_json(RESULTS / f"scaling_{kind}.json", results)
    write_section(START, END, tables(results))


def faster(a: dict[str, dict[str, float]], b: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The shorter time of each."""
    return {name: {size: min(a[name][size], b[name][size]) for size in a[name]} for name in a}


# Measuring, in a process of its own


def measure_replicas(what: str, batch_sizes: list[int]) -> dict[str, dict[str, float]]:
    """Milliseconds a step, by model and global batch size."""
    from zoo.training import strategies  # noqa: PLC0415  (TensorFlow)

    replicas = None if what == "2 workers" else int(what)
    devices = strategies.strategy("auto", replicas=replicas)
    milliseconds: dict[str, dict[str, float]] = {}
    for name in MODELS:
        for size in batch_sizes:
            with devices.scope():
                model = new_model(name, {}, {})
            times = [fit(model, size) for _ in range(1 + ROUNDS)][1:]
            milliseconds.setdefault(name, {})[str(size)] = 1e3 * min(times)
    return milliseconds if strategies.is_chief(devices) else {}


def measure_options(batch_size: int) -> dict[str, Any]:
    """Seconds a step with each option, interleaved; writing a checkpoint; the machine."""
    import tensorflow as tf  # noqa: PLC0415

    gpus = tf.config.list_physical_devices("GPU")
    measured: dict[str, Any] = {
        "batch_size": batch_size,
        "gpu": tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else None,
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "matmul": {dtype: matmul_rate(dtype) for dtype in ("float32", "bfloat16")},
        "options": {},
        "flops_per_image": {},
        "checkpoint": {},
    }
    for name in MODELS:
        models = {option: new_model(name, *settings) for option, settings in OPTIONS.items()}
        times: dict[str, list[float]] = {option: [] for option in OPTIONS}
        for _ in range(1 + ROUNDS):
            for option, model in models.items():
                times[option].append(fit(model, batch_size))
        measured["options"][name] = {
            option: {"first": values[0], "then": min(values[1:])}
            for option, values in times.items()
        }
        measured["flops_per_image"][name] = flops(models["float32"], batch_size) / batch_size
        measured["checkpoint"][name] = checkpoint(models["float32"])
    return measured


def new_model(name: str, create: dict[str, Any], compile_: dict[str, Any]) -> Any:
    """A compiled model; WGAN-GP with one critic update a step, to compare with the others."""
    import zoo  # noqa: PLC0415

    options = {"n_critic": 1} if name == "wgan_gp" else {}
    model = zoo.create(name, SHAPE, LATENT_DIM, **options, **create)
    model.compile(**compile_)
    return model


def fit(model: Any, batch_size: int) -> float:
    """Seconds a step, in `fit`, data included."""
    from zoo import data  # noqa: PLC0415

    stream, _ = data.training_stream("fashion_mnist_sample", batch_size=batch_size)
    begun = time.perf_counter()
    model.fit(stream, steps_per_epoch=STEPS, verbose=0, shuffle=False)
    return (time.perf_counter() - begun) / STEPS


def checkpoint(model: Any) -> dict[str, float]:
    """Seconds to write a checkpoint, and its size."""
    from zoo.training import checkpoints  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        checkpoints.save(model, Path(folder), keep=1)
        seconds = time.perf_counter() - begun
        size = (Path(folder) / checkpoints.LATEST).stat().st_size
    return {"seconds": seconds, "megabytes": size / 1e6}


def flops(model: Any, batch_size: int) -> float:
    """Floating point operations of a step's matrix multiplications and convolutions."""
    import tensorflow as tf  # noqa: PLC0415
    from tensorflow.python.profiler import model_analyzer, option_builder  # noqa: PLC0415

    spec = tf.TensorSpec([batch_size, *SHAPE])
    graph = tf.function(model.train_step).get_concrete_function(spec).graph
    options = option_builder.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return float(model_analyzer.profile(graph, options=options).total_float_ops)


def matmul_rate(dtype: str) -> float:
    """Floating point operations a second of a large square matrix multiplication."""
    import tensorflow as tf  # noqa: PLC0415

    n = 8192 if tf.config.list_physical_devices("GPU") else 2048
    a = tf.cast(tf.random.stateless_normal([n, n], [0, 0]), dtype)
    multiply = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    multiply().numpy()
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        multiply().numpy()
        times.append(time.perf_counter() - begun)
    return 2.0 * n**3 / min(times)


# Writing


def tables(results: dict[str, Any]) -> list[str]:
    """Lines of Markdown."""
    replicas, options = results["replicas"], results["options"]
    sizes = list(next(iter(replicas.values()))[MODELS[0]])
    columns = [(name, size) for name in MODELS for size in sizes]
    device = results["gpu"] or f"{results['cores']} cores of {results['processor']}"
    lines = [
        (
            f"Milliseconds per step on {device}, by global batch size, the shortest of "
            f"{PASSES * ROUNDS} times {STEPS} steps:"
        ),
        "",
        row("", *(f"{name}, {size}" for name, size in columns)),
        row(*["---"] * (1 + len(columns))),
    ]
    one = next(iter(replicas.values()))
    for what, times in replicas.items():
        label = what if "workers" in what else f"{what} replica{'s' if what != '1' else ''}"
        cells = [
            f"{times[name][size]:.0f}"
            + ("" if times is one else f" (× {times[name][size] / one[name][size]:.2f})")
            for name, size in columns
        ]
        lines.append(row(label, *cells))
    lines += [
        "",
        (
            f"Each option at batch size {results['batch_size']}: a step as a multiple of the plain "
            f"one, and how long the first {STEPS} take, with compiling:"
        ),
        "",
        row("option", *MODELS, *(f"{name}, first" for name in MODELS)),
        row(*["---"] * (1 + 2 * len(MODELS))),
    ]
    for option in OPTIONS:
        ratios = [
            options[name][option]["then"] / options[name]["float32"]["then"] for name in MODELS
        ]
        firsts = [STEPS * options[name][option]["first"] for name in MODELS]
        lines.append(row(
            f"`{option}`" if option.startswith("-") else "none",
            *(f"× {ratio:.2f}" for ratio in ratios), *(f"{first:.0f} s" for first in firsts),
        ))  # fmt: skip
    if results["gpu"]:
        lines += ["", *gpu_table(results)]
    written = ", ".join(
        f"{name} {state['megabytes']:.0f} MB in {state['seconds']:.2f} s"
        for name, state in results["checkpoint"].items()
    )
    return [*lines, "", f"A checkpoint: {written}."]


def gpu_table(results: dict[str, Any]) -> list[str]:
    """Images a second, and the share of the card's measured matrix multiplication rate."""
    shown = [option for option in OPTIONS if option == "float32" or "bfloat16" in option
             or option == "--jit"]  # fmt: skip
    rates = [f"{dtype} {rate / 1e12:.3g} TFLOP/s" for dtype, rate in results["matmul"].items()]
    lines = [
        (
            "Images per second, and the step's arithmetic as a share of the card's own matrix "
            f"multiplication ({', '.join(rates)}):"
        ),
        "",
        row("", *MODELS),
        row(*["---"] * (1 + len(MODELS))),
    ]
    for option in shown:
        rate = results["matmul"]["bfloat16" if "bfloat16" in option else "float32"]
        cells = []
        for name in MODELS:
            images = results["batch_size"] / results["options"][name][option]["then"]
            share = images * results["flops_per_image"][name] / rate
            cells.append(f"{images:,.0f} ({share:.1%})")
        lines.append(row(option, *cells))
    return lines


def row(*cells: str) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
