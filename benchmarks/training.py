"""Images per second of a training step: this project, Keras's example style, PyTorch and Pythae.

    python benchmarks/training.py

The same networks, batch and optimizers for all, threads as this process has cores. TensorFlow's
oneDNN is on, as `import zoo` turns it on; Keras's contestants are tried with and without it, and
compete with what is faster. Each contestant is a process of its own; they take turns of some steps,
so that other work on the machine slows all alike. Medians over the turns; ratios are the medians of
those within a round. Prints the processor's vector instructions and tables, and writes every number
to results/training.json and the tables into the document that has their markers. Pythae takes part
where it is installed (`pip install pythae`), and `torch.compile` where it can compile the step.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from contestants import Contestant, setting
from rich.console import Console
from rich.table import Table
from tables import RESULTS, write_section

from zoo.io.records import write_json

# Python looks here first, and would take export.py for the package `export`.
sys.path.remove(str(Path(__file__).resolve().parent))

PROGRAM = Path(__file__).resolve().parent / "peers" / "contestant.py"
BATCH = 64
OURS, FED = "this project", "this project, with its data"
GANS = ("zoo", "keras", "keras_xla", "torch", "torch_compiled")
MODELS = {"vae": (*GANS, "pythae"), "dcgan": GANS, "wgan_gp": GANS}
START, END = "<!-- training figures -->", "<!-- /training figures -->"
TRIALS = 3  # turns that a setting is judged by
PACKAGES = ("tensorflow", "keras", "torch", "pythae")


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=21, help="Turns of each contestant.")
    parser.add_argument("--steps", type=int, default=20, help="Steps of a turn.")
    parser.add_argument("--out", type=Path, default=RESULTS / "training.json")
    args = parser.parse_args()
    console = Console()
    results: dict[str, Any] = {
        **setting(PACKAGES),
        "batch_size": BATCH,
        "rounds": args.rounds,
        "steps": args.steps,
        "models": {},
    }
    console.print(
        f"{results['processor']} has "
        f"{' '.join(results['vector_instructions']) or 'unknown vectors'}; "
        f"oneDNN is {'on' if results['onednn'] else 'off'}."
    )
    for model in args.models:
        rows, absent = measure(model, args.rounds, args.steps)
        results["models"][model] = {"rows": rows, "absent": absent}
        console.print(
            table(f"{model}, {results['threads']} threads of {results['processor']}", rows)
        )
        console.print(f"What the input pipeline adds: {rows[FED]['times_ours'] - 1.0:+.1%}")
        for name, error in absent.items():
            console.print(f"Without {name}: {error}")
    write_json(args.out, results)
    if args.out.parent == RESULTS:
        write_section(START, END, section(results))


def measure(
    model: str, rounds: int, steps: int
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """What each turn took, by its name; and why contestants do not compete, by theirs.

    Raises:
        RuntimeError: If this project is one of these, or a contestant dies.
    """
    contestants = {}
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}
    try:
        for name in MODELS[model]:
            contestants[name] = fastest(name, model, steps)
        if contestants["zoo"].error:
            raise RuntimeError(contestants["zoo"].error)
        running = [(c, turn) for c in contestants.values() for turn in c.turns]
        for _ in range(rounds):
            for each, turn in running:
                answer = each.take(turn)
                seconds.setdefault(turn, []).append(answer["seconds"] / steps)
                peaks[turn] = answer["peak"]
    finally:
        for each in contestants.values():
            each.stop()
    settings = {turn: each.onednn for each, turn in running}
    rows = {}
    for turn, values in seconds.items():
        median = float(np.median(values))
        rows[turn] = {
            "seconds_a_step": median,
            "images_a_second": BATCH / median,
            "times_ours": float(np.median(np.divide(values, seconds[OURS]))),
            "peak_bytes": peaks[turn],
            **({} if settings[turn] is None else {"onednn": settings[turn] == "1"}),
        }
    return rows, {name: c.error for name, c in contestants.items() if c.error}


def fastest(name: str, model: str, steps: int) -> Contestant:
    """The contestant; Keras's with oneDNN on or off, whichever takes the shorter turns."""
    if not name.startswith("keras"):
        return contestant(name, model, steps)
    tried = [contestant(name, model, steps, onednn) for onednn in ("1", "0")]
    if any(each.error for each in tried):
        best = next((each for each in tried if not each.error), tried[0])
    else:
        times = [[each.take(each.turns[0])["seconds"] for each in tried] for _ in range(TRIALS)]
        best = tried[int(np.argmin(np.median(times, axis=0)))]
    for each in tried:
        if each is not best:
            each.stop()
    return best


def contestant(name: str, model: str, steps: int, onednn: str | None = None) -> Contestant:
    """The process of a contestant."""
    return Contestant([str(PROGRAM), name, model, str(steps)], onednn)


def table(title: str, rows: dict[str, dict[str, float]]) -> Table:
    """Speed, time as a multiple of this project's, and memory."""
    made = Table(title=title)
    made.add_column("", no_wrap=True)
    for column in ("images / s", "ms a step", "× ours", "peak MB"):
        made.add_column(column, justify="right")
    for name, row in rows.items():
        made.add_row(
            name,
            f"{row['images_a_second']:,.0f}",
            f"{1e3 * row['seconds_a_step']:.1f}",
            f"{row['times_ours']:.2f}",
            f"{row['peak_bytes'] / 1e6:,.0f}",
        )
    return made


def section(results: dict[str, Any]) -> list[str]:
    """Markdown of what was measured: images a second, and how many times this project's time."""
    models = results["models"]
    names = dict.fromkeys(name for model in models.values() for name in model["rows"])
    packages = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    title = (
        f"Images per second at batch size {results['batch_size']} on {results['threads']} cores of "
        f"{results['processor']} (with {' '.join(results['vector_instructions'])}; oneDNN "
        f"{'on' if results['onednn'] else 'off'}, for Keras as is faster; {packages}), medians of "
        f"{results['rounds']} turns of "
        f"{results['steps']} steps; in brackets the time as a multiple of this project's, the "
        "median of those within a round; peak memory of the process:"
    )
    lines = [
        title,
        "",
        f"|  | {' | '.join(models)} |",
        f"| --- |{' --- |' * len(models)}",
    ]
    for name in names:
        cells = []
        for model in models.values():
            row = model["rows"].get(name)
            cells.append(
                f"{row['images_a_second']:,.0f} (× {row['times_ours']:.2f}), "
                f"{row['peak_bytes'] / 1e6:,.0f} MB"
                if row
                else ""
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    absent = [
        f"Without {name} for {model}: {error}"
        for model, each in models.items()
        for name, error in each["absent"].items()
    ]
    return [*lines, *(["", *absent] if absent else [])]


if __name__ == "__main__":
    main()
