"""Trains the presets of saved_models/, measures them, and writes their folders and cards.

    python benchmarks/pretrained.py                       # all, one after the other; hours
    python benchmarks/pretrained.py vae_fashion_mnist     # one
    python benchmarks/pretrained.py --no-train NAME ...   # write the presets of finished runs
    python benchmarks/pretrained.py --measure NAME ...    # measure presets anew, as they are

Training goes on where it was stopped. A preset's commands, its commit, the machine and the time
they took are in its card.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from zoo.hub.catalog import current_name
from zoo.io import schemas
from zoo.io.records import read_json, write_json

ROOT = Path(__file__).parents[1]
MADE = "made.json"  # NAME.made.json, beside the run folder: commit and seconds
SEEDS = (0, 1, 2)
BFLOAT = "--precision mixed_bfloat16 --decay --keep 1"
GAN = f"--data fashion_mnist {BFLOAT} --option ema=0.999"
CLASSES = "--option num_classes=10"
ONE = "--option n_critic=1"
# γ = 0.05 on [−1, 1], where the authors' code begins on CIFAR-10; at every fourth step.
R3GAN = "--option regularizer_weight=0.0125 --option regularizer_every=4"
VAE = "--data fashion_mnist --decay --keep 1 --latent-dim 16 --network conv-32"
INTRO = f"{BFLOAT} --latent-dim 16 --data fashion_mnist --network resnet-16"
VQ = f"{BFLOAT} --network grid --latent-dim 16"
COLOUR = "--data ./emoji --image-size 32 --option num_codes=256"
RANDOM = "--discriminator-init random"
# Commands that fetch the colour images into ./emoji: Google's Noto Emoji, Apache 2.0.
EMOJI = (
    "npm pack emoji-datasource-google@16.0.0",
    "tar -xzf emoji-datasource-google-16.0.0.tgz",
    "mv package/img/google/64 emoji",
)
# `zoo` commands; RUN is the run folder, and RUN:NAME another beside it.
RECIPES: dict[str, list[str]] = {
    "dcgan_conditional_fashion_mnist": [
        f"train dcgan {GAN} {CLASSES} --epochs 15 --batch-size 64 --out RUN"
    ],
    "projection_gan_fashion_mnist": [
        f"train projection_gan {GAN} {ONE} --epochs 30 --batch-size 64 --network conv --out RUN"
    ],
    "sngan_conditional_fashion_mnist": [
        f"train sngan {GAN} {CLASSES} {ONE} --epochs 12 --network resnet-32 --out RUN"
    ],
    "r3gan_conditional_fashion_mnist": [
        f"train r3gan {GAN} {CLASSES} {R3GAN} --network conv --epochs 20 --batch-size 64 --out RUN"
    ],
    "wgan_gp_conditional_fashion_mnist": [
        f"train wgan_gp {GAN} {CLASSES} {ONE} --option ttur=3 --epochs 30 --batch-size 64 --out RUN"
    ],
    "vae_fashion_mnist": [f"train vae {VAE} --epochs 40 --out RUN"],
    "beta_vae_fashion_mnist": [f"train beta_vae {VAE} --epochs 30 --option beta=2 --out RUN"],
    "gan_to_vae_fashion_mnist": [
        f"train dcgan {GAN} --epochs 40 --batch-size 64 --out RUN:dcgan",
        "convert RUN:dcgan --to vae --out RUN",
        "train RUN --recipe joint --epochs 12",
    ],
    "vae_to_gan_conditional_fashion_mnist": [
        "train vae --data fashion_mnist --decay --keep 1 --epochs 10 --out RUN:vae_64",
        f"convert RUN:vae_64 --to gan {RANDOM} {CLASSES} --option ema=0.999 --out RUN",
        "train RUN --recipe plain --decay --epochs 25 --batch-size 64",
    ],
    "vq_vae_fashion_mnist": [f"train vq_vae {VQ} --data fashion_mnist --epochs 12 --out RUN"],
    "vq_vae_emoji": [f"train vq_vae {VQ} {COLOUR} --epochs 80 --batch-size 32 --out RUN"],
    "soft_intro_vae_fashion_mnist": [
        f"train soft_intro_vae {INTRO} --batch-size 64 --epochs 16 --out RUN"
    ],
    "cvae_fashion_mnist": [f"train cvae {VAE} --option likelihood=bernoulli --epochs 30 --out RUN"],
}

# What a card says beside `LIMITS`: where a preset departs from its paper, or falls short of it.
NOTES = {
    "dcgan_conditional_fashion_mnist": "It knows the class, which the paper's model does not.",
    "sngan_conditional_fashion_mnist": "One discriminator update for one of the "
    "generator, where the paper's residual networks have five, and a quarter of their width. "
    "It knows the class, as the model of arXiv 1802.05637 does: projection_gan_fashion_mnist is "
    "the same with DCGAN's networks.",
    "r3gan_conditional_fashion_mnist": "It knows the class, as the paper's model of CIFAR-10 "
    "does, and has DCGAN's networks, where the paper's are deep residual ones. Penalties at "
    "every fourth step.",
    "wgan_gp_conditional_fashion_mnist": "One critic update for one of the generator, at three "
    "times its learning rate (arXiv 1706.08500), where the paper has five; and it knows the class.",
    "gan_to_vae_fashion_mnist": "Latents and networks are those of its source, a DCGAN: more "
    "than vae_fashion_mnist has. docs/conversion.md compares at equal size and budget.",
    "vae_to_gan_conditional_fashion_mnist": "Latents and networks are those of its source, a VAE "
    "of ten epochs; unlike it, it knows the class. docs/conversion.md compares a GAN that does not "
    "with one from scratch at equal budget.",
    "soft_intro_vae_fashion_mnist": "It falls short of its paper: some of its samples have a "
    "plaid texture, or no shape. The networks are narrow, and 16 epochs are few.",
    "vq_vae_emoji": "Samples are measured in the features of a network for photographs, which may "
    "see emoji otherwise than people do; and with 378 images for 1,280 features the Fréchet "
    "distance is mostly bias. 3,408 images were trained on.",
}


def main() -> None:
    """Trains and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", type=current_name, help="Presets; default: all.")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "pretrained")
    parser.add_argument("--no-train", action="store_true", help="The runs are finished.")
    parser.add_argument("--measure", action="store_true", help="Measure presets that are there.")
    args = parser.parse_args()
    for name in args.names:
        if name not in RECIPES:
            parser.error(f"{name} is none of {', '.join(RECIPES)}.")
    for name in args.names or RECIPES:
        if args.measure:
            measure_anew(name)
            continue
        if not args.no_train:
            train(name, args.runs)
        publish(name, args.runs)
    import tables  # noqa: PLC0415  (TensorFlow, after the training)

    tables.write_presets()


def fetch(name: str) -> None:
    """Fetches the data of a preset, unless they are there."""
    for command in fetched(name) if not Path("emoji").exists() else ():
        subprocess.run(shlex.split(command), check=True)


def train(name: str, runs: Path) -> None:
    """Runs the commands of a preset, from where they were left."""
    fetch(name)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    file = runs / f"{name}.{MADE}"
    for command in commands(name, runs):
        out = Path(command[command.index("--out") + 1] if "--out" in command else command[1])
        begun = (out / "model.keras").exists()
        config = read_json(out / "config.json", schemas.RUN) if begun else {}
        if command[0] == "train" and config.get("epochs", 0) > 0:
            command = ["train", str(out), "--epochs", command[command.index("--epochs") + 1]]  # noqa: PLW2901
        elif command[0] == "convert" and begun:
            continue
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "zoo", *command], check=True)
        made = read_json(file, schemas.TIMED) if file.exists() else {"seconds": 0.0}
        seconds = made["seconds"] + time.perf_counter() - start
        write_json(file, {"commit": commit, **made, "seconds": seconds})


def fetched(name: str) -> tuple[str, ...]:
    """Shell commands that fetch a preset's data, where it is no data set of TFDS."""
    return EMOJI if COLOUR in RECIPES[name][0] else ()


def commands(name: str, runs: Path) -> list[list[str]]:
    """The commands of a preset, as arguments of `zoo`."""
    return [
        [
            str(runs / name) if word == "RUN" else word.replace("RUN:", f"{runs}/")
            for word in shlex.split(command)
        ]
        for command in RECIPES[name]
    ]


def publish(name: str, runs: Path) -> None:
    """Measures a finished run, and writes its preset."""
    from zoo.bench.run import machine  # noqa: PLC0415  (TensorFlow, after the training)
    from zoo.bench.table import describe_machine  # noqa: PLC0415
    from zoo.hub import save_run_as_preset, write_registry  # noqa: PLC0415
    from zoo.presets.cards import LIMITS  # noqa: PLC0415

    run, folder = runs / name, ROOT / "saved_models" / name
    made = read_json(runs / f"{name}.{MADE}", schemas.TIMED)
    facts: dict[str, Any] = {
        "command": "; ".join(f"zoo {each}" for each in RECIPES[name])
        .replace("RUN:", "runs/")
        .replace("RUN", f"runs/{name}"),
        "commit": made["commit"],
        "hardware": describe_machine(machine()),
        "time": f"{made['seconds'] / 60:.0f} min",
    }
    if name in NOTES:
        facts["limits"] = f"{LIMITS} {NOTES[name]}"
    if fetched(name):
        facts["fetch"] = "; ".join(fetched(name))
    if folder.exists():
        shutil.rmtree(folder)
    save_run_as_preset(run, folder, facts=facts, seeds=SEEDS)
    write_registry()


def measure_anew(name: str) -> None:
    """Measures a preset as it is, and writes its metrics and what its card says of them."""
    from zoo.hub import load_sampler, measure  # noqa: PLC0415  (TensorFlow)
    from zoo.io.files import sha256  # noqa: PLC0415
    from zoo.presets import load_preset, read_config  # noqa: PLC0415
    from zoo.presets.cards import LIMITS  # noqa: PLC0415
    from zoo.presets.files import CONFIG, METRICS, SAMPLER  # noqa: PLC0415

    fetch(name)
    folder = ROOT / "saved_models" / name
    config = read_config(folder)
    sampler = load_sampler(folder) if SAMPLER in config["files"] else None
    write_json(folder / METRICS, measure(load_preset(folder), config["data"], SEEDS, sampler))
    config["files"][METRICS] = sha256(folder / METRICS)
    if name in NOTES:
        config["facts"]["limits"] = f"{LIMITS} {NOTES[name]}"
    write_json(folder / CONFIG, config)


if __name__ == "__main__":
    main()
