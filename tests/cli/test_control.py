"""Optimizers, schedules and standing statistics on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.command import config_of, copy_of, fails, run_zoo
from zoo.cli import train_options
from zoo.core.optimizers import ALGORITHMS
from zoo.training.runs import load_run

SMALL = ("--network", "mlp", "--batch-size", 20, "--latent-dim", 3)


@pytest.mark.slow
def test_an_optimizer_and_a_schedule(small: Path, tmp_path: Path, capsys) -> None:
    """A run goes on with them; other ones that are given then are named, and ignored."""
    run = tmp_path / "run"
    run_zoo(
        "train", "dcgan", "--data", small, "--out", run, "--epochs", 1, *SMALL,
        "--optimizer", "adamw", "--optimizer-option", "beta_2=0.9", "--weight-decay", 0.1,
        "--schedule", "cosine", "--warmup-steps", 1, "--learning-rate", 1e-3,
    )  # fmt: skip
    assert (
        config_of(run).items()
        >= {"schedule": "cosine", "warmup_steps": 1, "decay_steps": 3}.items()
    )
    optimizer = load_run(run).discriminator_optimizer
    assert type(optimizer).__name__ == "AdamW"
    # β₁ is the paper's.
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.weight_decay) == (0.5, 0.9, 0.1)
    capsys.readouterr()
    run_zoo(
        "train", run, "--epochs", 1, "--optimizer", "sgd", "--weight-decay", 0.2,
        "--schedule", "linear", "--warmup-steps", 2,
    )  # fmt: skip
    said = capsys.readouterr().out
    for text in ("sgd is ignored: the run has adamw", "0.2 is ignored: the run has 0.1"):
        assert text in said
    for text in ("linear is ignored: the run has cosine", "2 is ignored: the run has 1"):
        assert text in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--optimizer", "adamv"), "Unknown optimizer 'adamv'. Did you mean adam"),
        (("--optimizer", "sgd", "--optimizer-option", "beta_1=0.4"), "sgd has no option 'beta_1'"),
        (("--optimizer-option", "beta1=0.4"), "adam has no option 'beta1'. Did you mean beta_1"),
        (("--optimizer-option", "beta_1=1"), "beta_1=1 of adam: expected a number from 0 to below"),
        (("--optimizer-option", "use_ema=true"), "No optimizer here keeps averages"),
        (
            ("--optimizer-option", "beta_1=0.4", "--optimizer-option", "beta_1=0.5"),
            "--optimizer-option beta_1 is given twice, at last as beta_1=0.5. Give it once",
        ),
        (("--option", "ema=0.9", "--option", "ema=0.8"), "--option ema is given twice"),
        (("--optimizer-option", "beta_1"), "--optimizer-option beta_1: expected name=value"),
        (("--weight-decay", 0, "--optimizer-option", "weight_decay=1"), "Give one"),
        (("--schedule", "cosin"), "--schedule cosin: expected one of .* Did you mean cosine"),
        (("--schedule", "cosine", "--decay"), "--decay is --schedule linear"),
        (("--schedule", "linear", "--warmup-steps", 3), "warmup_steps=3: expected less than decay"),
    ],
)
def test_bad_input_writes_nothing(
    options: tuple[object, ...], message: str, small: Path, tmp_path: Path, capsys
) -> None:
    run = tmp_path / "run"
    text = fails(
        capsys, "train", "dcgan", "--data", small, "--out", run, "--epochs", 1, *SMALL, *options
    )
    assert re.search(message, text), text
    assert not run.exists()


def test_the_help_names_every_optimizer() -> None:
    (option,) = train_options.Optimizer.__metadata__  # type: ignore[attr-defined]
    for name in ALGORITHMS:
        assert f" {name}" in option.help


@pytest.mark.slow
def test_a_recipe_takes_no_schedule(tiny: Path, tmp_path: Path, capsys) -> None:
    run = copy_of(tiny / "vae", tmp_path)
    train = ("train", run, "--epochs", 1, "--batch-size", 20, "--schedule", "cosine")
    assert "schedule: recipe 'joint' sets the learning rates" in fails(capsys, *train)


@pytest.mark.slow
def test_standing_statistics(gan: Path, tiny: Path, tmp_path: Path, capsys) -> None:
    """In what an evaluation writes; refused where there is nothing to compute anew."""
    run = copy_of(gan, tmp_path)
    run_zoo(
        "evaluate", run, "--samples", 20, "--extractor", "fashion_mnist_classifier",
        "--standing-statistics", 2, "--seed", 3,
    )  # fmt: skip
    assert "anew, from 2 batches of 128 latents" in capsys.readouterr().out
    written = json.loads((run / "metrics.json").read_text())
    assert written["standing_statistics"] == {"batches": 2, "batch_size": 128, "seed": 3}
    text = fails(
        capsys, "evaluate", run, "--raw", "--metric", "fid20_test", "--standing-statistics", 2
    )
    assert "are of the averaged generator" in text
    out = tmp_path / "export"
    text = fails(capsys, "export", tiny / "gan", "--out", out, "--standing-statistics", 2)
    assert "has no BatchNorm" in text
    assert not out.exists()
