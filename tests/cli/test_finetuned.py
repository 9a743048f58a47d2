"""`zoo train --from`: what it says and writes, and what it refuses with nothing written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import zoo
from tests.support.command import config_of, fails, run_zoo


def test_a_run_starts_from_a_run(tiny: Path, small: Path, tmp_path: Path, capsys) -> None:
    """Without the name of the model. The report is on the screen, and in the run."""
    out, source = tmp_path / "new", tiny / "gan"
    run_zoo(
        "train", "--from", source, "--data", small, "--out", out, "--epochs", 1,
        "--batch-size", 20, "--freeze-discriminator", 1, "--freeze-generator", 1,
        "--option", "diff_augment=color",
    )  # fmt: skip
    text = capsys.readouterr().out
    assert "hidden_0/kernel" in text
    assert "The images start as all images of the source." in text
    assert "Trained dcgan to 1 epoch" in text
    assert config_of(out)["finetuned_from"]["handle"] == str(source)
    assert json.loads((out / "report.json").read_text())["max_error"] == 0.0
    model, old = zoo.load(out), zoo.load(source)
    frozen, theirs = (each.discriminator.get_layer("hidden_0").kernel for each in (model, old))
    np.testing.assert_array_equal(frozen, theirs)
    assert (model.diff_augment, model.latent_dim) == ("color", 3)
    run_zoo("info", out)
    assert "finetuned_from" in capsys.readouterr().out
    fails(capsys, "train", "--from", source, "--data", small, "--out", out)  # it holds a run
    # The run goes on with the file that it was begun from, as those of a sweep do.
    run_zoo(
        "train", "--config", out / "config.json", "--out", out, "--resume",
        "--freeze-generator", 2,
    )  # fmt: skip
    text = capsys.readouterr().out
    assert "has had 1 epoch or more: nothing to do" in text
    assert "--freeze-generator 2 is ignored: the run has 1." in text


def test_a_run_that_goes_on_keeps_its_classes(tiny: Path, capsys) -> None:
    for resume in ((tiny / "gan",), ("dcgan", "--out", tiny / "gan", "--resume")):
        said = fails(capsys, "train", *resume, "--class", "boot=9")
        assert f"--class boot=9: {tiny / 'gan'} has had its classes since it was begun" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--latent-dim", 5], "--latent-dim 5: the networks are those of"),
        (["--network", "conv"], "--network conv: the networks are those of"),
        (["--channels", 3], "--channels 3: the networks are those of .* of 1. Leave it out"),
        (["--resume"], "--resume goes on with a run that was begun, and --from"),
        (["--recipe", "plain"], "--recipe goes on with a run"),
        (["--image-size", 12], "mlp networks take 8 × 8 pixels"),
        (["--class", "boot=9"], "boot=9: the source has no classes"),
        (["--class", "boot"], "--class boot: expected name=value"),
        (["--option", "normalization=none"], "normalization='none': the networks are those"),
        (["--option", "emma=0.9"], "dcgan has no option 'emma'"),
        (["--freeze-discriminator", 3], "freeze_discriminator=3: the discriminator has the blocks"),
        (["--carried-rate", 0.1], "carried_rate=0.1: every layer is carried over"),
    ],
)
def test_what_does_not_fit_is_refused(
    arguments: list, message: str, tiny: Path, small: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "new"
    text = fails(capsys, "train", "--from", tiny / "gan", "--data", small, "--out", out, *arguments)
    assert re.search(message, " ".join(text.split()))
    assert not out.exists()


def test_the_model_must_agree_and_the_source_be_there(
    tiny: Path, small: Path, tmp_path: Path, capsys
) -> None:
    source, out = tiny / "gan", tmp_path / "new"
    data = ["--data", small, "--out", out]
    assert "is a dcgan, not a vae" in fails(capsys, "train", "vae", "--from", source, *data)
    assert "Unknown preset 'dcgam'" in fails(capsys, "train", "--from", "dcgam", *data)
    assert "or --from" in fails(capsys, "train", *data)
    for option in (("--class", "a=b"), ("--freeze-generator", 1), ("--carried-rate", 0.5)):
        assert "give --from too" in fails(capsys, "train", "dcgan", *option, *data)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.json").write_bytes((source / "config.json").read_bytes())
    assert "stopped before its first step" in fails(capsys, "train", "--from", begun, *data)
    assert not out.exists()
