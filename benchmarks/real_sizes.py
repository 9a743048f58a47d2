"""A training step and generation of StyleGAN2 and BigGAN-deep at 64 and 128 pixels, and PyTorch's.

    python benchmarks/real_sizes.py
    python benchmarks/real_sizes.py --sizes 64 --models stylegan2 --profile

The peers are a port of our networks (`peers/torch_stylegan2.py`, `peers/torch_biggan.py`) and, for
images of BigGAN-deep at 128 pixels, `pytorch-pretrained-biggan` where it is installed. Before
anything is timed each peer computes the images of our weights, and the losses of two training steps
on our noise; where these differ by more than rounding, the run stops.

Training: one update of each player on gradients from one batch of fakes, without penalties and
without an averaged generator, the same in both; one batch in memory. Generation: a batch of latents
to images, ours by the exported generator in ONNX Runtime, the peers' in `torch.inference_mode()`.
Threads are as many as this process has cores. Each contestant is a process of its own; they take
turns, so that other work on the machine slows all alike. Medians over the turns; ratios are the
medians of those within a round, and the only figures that are printed of speed.

Writes results/real_sizes.json, and the table into the document that has its markers. A run that was
interrupted goes on after the last model and size measured: what it has is in
results/real_sizes.partial.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from contestants import Contestant, setting
from rich.console import Console
from tables import RESULTS, write_section

from zoo.io.records import read_json, write_json

# Python looks here first, and would take export.py for the package `export`.
sys.path.remove(str(Path(__file__).resolve().parent))

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "benchmarks" / "peers" / "sized.py"
WIDTHS = {"stylegan2": 512, "biggan_deep": 64}  # the paper's, and the default of this project
CONTESTANTS = ("zoo", "onnx", "torch", "torch_channels_last", "pretrained")
OURS = {
    "training": "training, this project",
    "generation": "generation, this project in ONNX Runtime",
}
AIMS = {"training": 1.2, "generation": 1.5}
PACKAGES = ("tensorflow", "keras", "onnxruntime", "torch", "pytorch-pretrained-biggan")
START, END = "<!-- real sizes -->", "<!-- /real sizes -->"


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=WIDTHS, default=list(WIDTHS))
    parser.add_argument(
        "--sizes", nargs="+", type=int, choices=(16, 32, 64, 128), default=[64, 128]
    )
    parser.add_argument("--width", type=int, help="In place of each model's: for trials.")
    parser.add_argument("--batch", type=int, default=8, help="Images; a multiple of 4.")
    parser.add_argument("--rounds", type=int, default=7, help="Turns of each contestant.")
    parser.add_argument("--steps", type=int, default=1, help="Steps, or batches, of a turn.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "real_sizes.json")
    parser.add_argument("--profile", action="store_true", help="Only say what takes the time.")
    args = parser.parse_args()
    if args.batch < 4 or args.batch % 4 or args.rounds < 1 or args.steps < 1:
        parser.error("expected --batch to be a multiple of 4, and --rounds and --steps at least 1")
    results: dict[str, Any] = {
        **setting(PACKAGES),
        "widths": {name: args.width or width for name, width in WIDTHS.items()},
        "batch_size": args.batch,
        "rounds": args.rounds,
        "steps": args.steps,
        "seed": args.seed,
    }
    names = [(model, size) for model in args.models for size in args.sizes]
    if args.profile:
        for model, size in names:
            with tempfile.TemporaryDirectory() as folder:
                profile(Path(folder), settings_of(results, model, size))
        return
    partial = args.out.with_suffix(".partial.json")
    before = read_json(partial) if partial.exists() else {}
    # Go on with what a run of these settings has measured.
    results = before if results.items() <= before.items() else {**results, "measured": {}}
    for model, size in names:
        if f"{model} {size}" in results["measured"]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            settings = settings_of(results, model, size)
            rows, absent = measure(Path(folder), settings, args.rounds)
        results["measured"][f"{model} {size}"] = {"rows": rows, "absent": absent}
        write_json(partial, results)
    measured = results["measured"]
    results["measured"] = {f"{m} {size}": measured[f"{m} {size}"] for m, size in names}
    write_json(args.out, results)
    partial.unlink(missing_ok=True)
    lines = section(results)
    Console().print("\n".join(lines), markup=False)
    if args.out.parent == RESULTS:
        write_section(START, END, lines)


def settings_of(results: dict[str, Any], model: str, size: int) -> dict[str, Any]:
    """What the contestants are told."""
    return {
        "model": model,
        "size": size,
        "width": results["widths"][model],
        "batch": results["batch_size"],
        "steps": results["steps"],
        "seed": results["seed"],
    }


def measure(
    folder: Path, settings: dict[str, Any], rounds: int
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Seconds and ratios of each turn, by its name; and why contestants are absent, by theirs.

    Raises:
        RuntimeError: If a contestant computes other numbers, or dies.
    """
    contestants = {}
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}
    write_json(folder / "settings.json", settings)
    started("prepare", folder).stop()
    try:
        for name in CONTESTANTS:
            contestants[name] = started(name, folder)
        running = [(each, turn) for each in contestants.values() for turn in each.turns]
        for _ in range(rounds):
            for each, turn in running:
                answer = each.take(turn)
                seconds.setdefault(turn, []).append(answer["seconds"] / settings["steps"])
                peaks[turn] = answer["peak"]
    finally:
        for each in contestants.values():
            each.stop()
    rows = {}
    for turn, values in seconds.items():
        ours = seconds[OURS[turn.partition(",")[0]]]
        rows[turn] = {
            "seconds_a_step": float(np.median(values)),
            "times_ours": float(np.median(np.divide(values, ours))),
            "peak_bytes": peaks[turn],
        }
    return rows, {name: each.error for name, each in contestants.items() if each.error}


def started(name: str, folder: Path) -> Contestant:
    """A contestant, which may be absent only because a package is.

    Raises:
        RuntimeError: If it computes other numbers than this project, or fails.
    """
    each = Contestant([str(PROGRAM), name, str(folder)])
    absent = ("ImportError", "ModuleNotFoundError")
    if each.error and (name in ("prepare", "zoo", "onnx") or not each.error.startswith(absent)):
        each.stop()
        msg = f"{name} cannot be timed. {each.error}"
        raise RuntimeError(msg)
    return each


def section(results: dict[str, Any]) -> list[str]:
    """Markdown of what was measured."""
    packages = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    widths = ", ".join(f"`{model}-{width}`" for model, width in results["widths"].items())
    about = (
        "Time of the peer over the time of this project (more than 1: this project is faster), "
        f"medians over {results['rounds']} turns of {results['steps']} steps; {widths}, batches of "
        f"{results['batch_size']}, seed {results['seed']}, {results['threads']} threads of "
        f"{results['processor']} (with {' '.join(results['vector_instructions'])}; oneDNN "
        f"{'on' if results['onednn'] else 'off'}; {packages}):"
    )
    lines = [
        about,
        "",
        "| model and pixels | what | peer | × ours | aim |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, each in results["measured"].items():
        for turn, row in each["rows"].items():
            what, _, peer = turn.partition(", ")
            if turn not in OURS.values():
                ratio = f"× {row['times_ours']:.2f}"
                lines.append(f"| {name} | {what} | {peer} | {ratio} | × {AIMS[what]} |")
    absent = [
        f"Without {peer} for {name}: {error}"
        for name, each in results["measured"].items()
        for peer, error in each["absent"].items()
    ]
    return [*lines, *(["", *absent] if absent else [])]


def profile(folder: Path, settings: dict[str, Any]) -> None:
    """Prints the operations that take most of a training step, ours and PyTorch's."""
    write_json(folder / "settings.json", settings)
    started("prepare", folder).stop()
    for name in ("profile_zoo", "profile_torch"):
        print(f"\n{settings['model']}, {settings['size']} pixels, {name}", flush=True)
        each = Contestant([str(PROGRAM), name, str(folder)])
        each.stop()
        print(each.error or (folder / f"{name}.txt").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
