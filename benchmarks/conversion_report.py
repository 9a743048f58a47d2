"""The tables and curves of docs/conversion.md, from what benchmarks/conversion.py has left."""

from __future__ import annotations

import shutil
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from tables import RESULTS, write_section

from zoo.io import schemas
from zoo.io.records import read_json, write_json

mpl.use("Agg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

START, END = "<!-- conversion figures -->", "<!-- end of conversion figures -->"
VAE_METRICS = (
    "mse", "rate", "distortion", "elbo", "iwae_bound", "frechet_distance",
    "mixture_frechet_distance", "precision", "recall", "density", "coverage",
)  # fmt: skip
GAN_METRICS = ("frechet_distance", "precision", "recall", "density", "coverage")
# Arms whose samples are shown, of the first seed.
PICTURED = {
    "source_gan": "the GAN that was converted",
    "vae_joint": "the VAE made of it, after the joint recipe",
    "vae_scratch": "a VAE from scratch",
}
# Rows of the README's table.
SUMMARY = {
    "source_gan": "the GAN",
    "vae_frozen": "VAE with its generator, fixed",
    "vae_joint": "VAE with its generator, joint recipe",
    "vae_scratch": "VAE from scratch",
    "gan_whitened_generator_no_warm_up": "GAN with that VAE's decoder and posterior",
    "gan_scratch": "GAN from scratch",
}
SHARE = 0.2  # of the scratch arm's budget, for the early ELBO

Runs = dict[str, list[dict[str, Any]]]


def publish(out: Path, arms: list[str]) -> None:
    """Writes benchmarks/results/conversion.json, the curves, and the section of the document."""
    runs = collect(out, arms)
    if not runs:
        return
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / "conversion.json", runs)
    draw_curves(runs, "vae", "elbo", "ELBO, nats", RESULTS / "conversion_elbo.png")
    for family in ("vae", "gan"):
        path = RESULTS / f"conversion_{family}_frechet.png"
        draw_curves(runs, family, "frechet_distance", "Fréchet distance of prior samples", path)
    lines = [
        "### GAN → VAE",
        "",
        *table(runs, "vae", VAE_METRICS, "vae_scratch"),
        "",
        "![ELBO against steps](../benchmarks/results/conversion_elbo.png)",
        "![Fréchet distance against steps](../benchmarks/results/conversion_vae_frechet.png)",
        "",
        *pictures(out, runs),
        "",
        "### VAE → GAN",
        "",
        *table(runs, "gan", GAN_METRICS, "gan_scratch"),
        "",
        "![Fréchet distance against steps](../benchmarks/results/conversion_gan_frechet.png)",
        "",
        "### Aims",
        "",
        *aims(runs),
        "",
        provenance(runs),
    ]
    write_section(START, END, lines)
    write_section(
        "<!-- conversion summary -->", "<!-- end of conversion summary -->", summary(runs)
    )


def collect(out: Path, arms: list[str]) -> Runs:
    """Results with their curves, by arm; an arm that no seed has finished is left out."""
    runs: Runs = defaultdict(list)
    for arm in arms:
        for folder in sorted(out.glob(f"seed_*/{arm}")):
            if (folder / "result.json").exists():
                curve = read_json(folder / "curve.json", schemas.CURVE)
                result = read_json(folder / "result.json", schemas.TIMED)
                runs[arm].append({**result, "curve": curve})
    return dict(runs)


def table(runs: Runs, family: str, names: tuple[str, ...], scratch: str) -> list[str]:
    """Mean ± standard deviation over seeds of each metric, a row an arm."""
    metric = {"vae": "elbo", "gan": "frechet_distance"}[family]
    titles = [name.replace("_", " ") for name in names]
    goal = f"steps to scratch's final {metric.replace('_', ' ')}"
    header = ["arm", *titles, goal, "seconds", "diverged"]
    rows = [header, ["---"] * len(header)]
    for arm in arms_of(runs, family):
        whole = [run for run in runs[arm] if not run["diverged"]]
        cells = [spread([run["metrics"][name] for run in whole]) for name in names]
        reached = [
            steps_to(run["curve"], metric, final(other["curve"], metric))
            for run, other in paired(runs, arm, scratch)
        ]
        seconds = spread([run["seconds"] for run in runs[arm]], digits=3)
        diverged = f"{len(runs[arm]) - len(whole)} of {len(runs[arm])}"
        label = arm.removeprefix(f"{family}_").replace("_", " ")
        rows.append([label, *cells, steps_text(reached), seconds, diverged])
    return ["| " + " | ".join(row) + " |" for row in rows]


def pictures(out: Path, runs: Runs) -> list[str]:
    """Copies sample grids, nothing selected, and shows them."""
    lines = []
    for arm, caption in PICTURED.items():
        if arm in runs:
            samples = out / f"seed_{runs[arm][0]['seed']}" / arm / "samples"
            name = f"conversion_{arm}_samples.png"
            shutil.copy(sorted(samples.glob("*.png"))[-1], RESULTS / name)
            lines.append(f"![Prior samples: {caption}](../benchmarks/results/{name})")
    shown = "; ".join(caption for arm, caption in PICTURED.items() if arm in runs)
    return [*lines, "", f"*64 prior samples each, nothing selected: {shown}.*"]


def summary(runs: Runs) -> list[str]:
    """The arms that matter most, and what they were measured with."""
    names = ("elbo", "mse", "frechet_distance", "precision", "coverage")
    header = ["", "steps", *[name.replace("_", " ") for name in names]]
    rows = [header, ["---"] * len(header)]
    for arm, label in SUMMARY.items():
        whole = [run for run in runs.get(arm, []) if not run["diverged"]]
        if whole:
            metrics = [[r["metrics"][n] for r in whole if n in r["metrics"]] for n in names]
            rows.append([label, f"{whole[0]['steps']:,}", *[spread(each) for each in metrics]])
    seeds = sorted({run["seed"] for arm in runs.values() for run in arm})
    protocol = (
        "`python benchmarks/conversion.py` on the full Fashion-MNIST, networks at half width; mean "
        f"± deviation over {len(seeds)} seeds; 5,000 samples against as many test images."
    )
    return [*["| " + " | ".join(row) + " |" for row in rows], "", protocol]


def aims(runs: Runs) -> list[str]:
    """What was aimed at, beside what was found: means over seeds of ratios within a seed."""
    joint = paired(runs, "vae_joint", "vae_scratch")
    gan = paired(runs, "gan_whitened_generator_no_warm_up", "gan_scratch")
    if not joint or not gan:
        return ["Not all arms have been run."]
    distance = ratio(joint, "frechet_distance")
    elbo = ratio(joint, "elbo")
    early = [
        (steps_to(run["curve"], "elbo", at(other["curve"], "elbo", SHARE * other["steps"])), other)
        for run, other in joint
    ]
    half = [None if s is None else s / (SHARE * other["steps"]) for s, other in early]
    to_final = [
        steps_to(run["curve"], "frechet_distance", final(other["curve"], "frechet_distance"))
        for run, other in gan
    ]
    shares = [
        None if s is None else s / o["steps"] for s, (_, o) in zip(to_final, gan, strict=True)
    ]
    coverage = [r["metrics"]["coverage"] - o["metrics"]["coverage"] for r, o in gan]
    rows = [
        ("aim", "found", "met"),
        ("---", "---", "---"),
        ("joint: Fréchet distance ≤ 0.7 × scratch's", spread(distance), yes(max(distance) <= 0.7)),
        ("joint: ELBO within 2 % of scratch's", f"{spread(elbo)} ×", yes(min(elbo) >= 0.98)),
        (
            "joint: scratch's ELBO at 20 % of the budget in half the steps",
            ", ".join("never" if s is None else f"{s:.2f} ×" for s in half),
            yes(all(s is not None and s <= 0.5 for s in half)),
        ),
        (
            "whitened, no warm-up: scratch's final Fréchet distance in ≤ 0.7 × the steps",
            ", ".join("never" if s is None else f"{s:.2f} ×" for s in shares),
            yes(all(s is not None and s <= 0.7 for s in shares)),
        ),
        (
            "whitened, no warm-up: coverage no worse than scratch's",
            f"{spread(coverage)} more",
            yes(min(coverage) >= 0),
        ),
    ]
    return ["| " + " | ".join(row) + " |" for row in rows]


def provenance(runs: Runs) -> str:
    """Budget, seeds and machine."""
    every = [run for arm in runs.values() for run in arm]
    budgets = {run["steps"] for arm in runs if arm != "source_gan" for run in runs[arm]}
    processors = sorted({run["processor"] for run in every})
    sources = runs.get("source_gan", [])
    source = spread([run["metrics"]["frechet_distance"] for run in sources])
    seconds = spread([run["seconds"] for run in sources], digits=3)
    return (
        f"{' or '.join(f'{n:,}' for n in sorted(budgets))} steps of 128 images per arm; seeds "
        f"{', '.join(map(str, sorted({run['seed'] for run in every})))}; one core of "
        f"{', '.join(processors)} per arm. The GAN that the VAEs come from: "
        f"{sources[0]['steps']:,} steps, {seconds} s, Fréchet distance {source}."
    )


def draw_curves(runs: Runs, family: str, metric: str, label: str, path: Path) -> None:
    """Each arm's mean over seeds, with the range, against steps."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for arm in arms_of(runs, family):
        curves = [run["curve"] for run in runs[arm] if not run["diverged"]]
        if not curves:
            continue
        steps = [point["step"] for point in curves[0]]
        values = np.array([[point[metric] for point in curve] for curve in curves])
        name = arm.removeprefix(f"{family}_").replace("_", " ")
        (line,) = axes.plot(steps, values.mean(axis=0), label=name)
        axes.fill_between(steps, values.min(0), values.max(0), color=line.get_color(), alpha=0.15)
    axes.set_xlabel("training steps")
    axes.set_ylabel(label)
    if metric == "elbo":
        axes.set_ylim(bottom=-200)  # the first steps of some arms are far below
    else:
        axes.set_yscale("log")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def arms_of(runs: Runs, family: str) -> list[str]:
    """The arms that train a model of a family."""
    return [arm for arm in runs if arm.startswith(f"{family}_")]


def paired(runs: Runs, arm: str, other: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(run of an arm, run of another with the same seed); without diverged ones."""
    by_seed = {run["seed"]: run for run in runs.get(other, []) if not run["diverged"]}
    return [
        (run, by_seed[run["seed"]])
        for run in runs.get(arm, [])
        if run["seed"] in by_seed and not run["diverged"]
    ]


def ratio(pairs: list[tuple[dict[str, Any], dict[str, Any]]], name: str) -> list[float]:
    """A metric over that of the other arm, seed by seed."""
    return [run["metrics"][name] / other["metrics"][name] for run, other in pairs]


def final(curve: list[dict[str, float]], metric: str) -> float:
    """The last point."""
    return curve[-1][metric]


def at(curve: list[dict[str, float]], metric: str, step: float) -> float:
    """The value at a step, between points linearly."""
    return float(np.interp(step, [p["step"] for p in curve], [p[metric] for p in curve]))


def steps_to(curve: list[dict[str, float]], metric: str, value: float) -> float | None:
    """Steps until a curve is as good as `value`, between points linearly; None if it never is."""
    sign = -1.0 if metric == "elbo" else 1.0
    before = None
    for point in curve:
        if sign * point[metric] <= sign * value:
            if before is None:
                return point["step"]
            share = (before[metric] - value) / (before[metric] - point[metric])
            return before["step"] + share * (point["step"] - before["step"])
        before = point
    return None


def steps_text(reached: list[float | None]) -> str:
    """The mean, if all seeds get there."""
    if not reached or None in reached:
        there = sum(step is not None for step in reached)
        return f"{there} of {len(reached)} seeds" if there else "never"
    return f"{np.mean([step for step in reached if step is not None]):,.0f}"


def spread(values: list[float], digits: int = 4) -> str:
    """Mean ± standard deviation."""
    if not values:
        return ""
    deviation = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}g}{deviation}"


def yes(met: bool) -> str:  # noqa: FBT001
    """In words."""
    return "yes" if met else "no"
