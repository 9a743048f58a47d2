"""`--config` and `--print-config` of `zoo train`, and when its runs end."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests.cases import assert_same_state
from tests.support.command import config_of, copy_of, fails, run_zoo
from zoo.cli import app, config
from zoo.training.runs import load_run

TRAIN: Any = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]


def _context(*arguments: object) -> Any:
    return TRAIN.make_context("train", [str(argument) for argument in arguments])


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ("vae",),
        ("vae", "--steps", 7, "--mirror", "--clip-norm", 1e-5, "--out", 'a "b"\\\té\x7f'),
        ("vae", "--option", "beta=2.0", "--option", "likelihood=bernoulli", "--option", 'x="1"'),
        ("vae", "--option", "ema=null", "--option", "a.b=[1, true]", "--option", "c={"),
        ("vae", "--option", 'a={"b c": [1e400, {}]}', "--option", "d=", "--option", "e=[null]"),
        ("vae", "--metric", "fid5k_test", "--metric", "is5k", "--images", 10**12),
    ],
    ids=lambda arguments: " ".join(map(str, arguments))[:40],
)
def test_what_is_printed_gives_the_same_settings(
    arguments: tuple[Any, ...], tmp_path: Path
) -> None:
    before = _context(*arguments)
    text = config.to_toml(config.settings_of(before))
    after = _context("--config", _written(tmp_path, text))
    assert config.length_of(after) == config.length_of(before)
    ends = {"config": None, **dict.fromkeys(config.LENGTHS)}
    as_lists = [
        {k: [*v] if isinstance(v, tuple) else v for k, v in {**each.params, **ends}.items()}
        for each in (before, after)
    ]
    assert as_lists[0] == as_lists[1]
    assert config.to_toml(config.settings_of(after)) == text


def test_every_option_is_a_key() -> None:
    names = set(inspect.signature(inspect.unwrap(TRAIN.callback)).parameters) - {"context"}
    known = {each.name for each in config.parameters(_context("vae")).values()}
    assert known == names - set(config.NO_SETTINGS)


def test_a_former_name_is_printed_only_if_it_was_given() -> None:
    assert "decay" not in config.settings_of(_context("vae"))
    assert config.settings_of(_context("vae", "--decay"))["decay"] is True


def test_printing_trains_nothing(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    text = 'model = "vae"\nepochs = 3\nlearning_rate = 1\n[option]\nbeta = 2\nwarm_up = 4'
    file = _written(tmp_path, text)
    given = ("--steps", 5, "--option", "warm_up=6", "--print-config")
    run_zoo("train", "beta_vae", "--config", file, *given)
    said = capsys.readouterr().out.splitlines()
    assert {'model = "beta_vae"', "steps = 5", "learning_rate = 1.0", "beta = 2"} <= {*said}
    assert "warm_up = 6" in said
    assert not {"epochs = 3", "warm_up = 4"} & {*said}  # the command line comes first
    assert [*tmp_path.iterdir()] == [file]


def test_printing_imports_no_tensorflow() -> None:
    code = "import sys; from zoo.cli import app; app(sys.argv[1:], standalone_mode=False); "
    code += "print('tensorflow' in sys.modules)"
    arguments = [sys.executable, "-c", code, "train", "vae", "--print-config"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == 'model = "vae"'
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('epochs = "ten"', ': epochs = "ten": expected a whole number'),
        ("epochs = 2.5", ": epochs = 2.5: expected a whole number"),
        ("epochs = true", ": epochs = true: expected a whole number"),
        ("epochs = 0", ": epochs = 0: Input should be greater than or equal to 1"),
        ("mirror = 1", ": mirror = 1: expected true or false"),
        ("network = 1979-05-27", ": network = 1979-05-27: expected text"),
        ("batchsize = 3", ": batchsize is no option of the command. Did you mean batch_size?"),
        ("learning_rate = [1, 2]", "expected a finite number. Lists of values go into [grid]"),
        ("[grid]\nseed = [1]", ": grid: a grid is for `zoo sweep"),
        ("option = 3", ": option = 3: expected a list of texts, or a table"),
        ("option.x = 1979-05-27", ": option.x = 1979-05-27: expected a number"),
        ('out = "s3://x"', "is no place on a disk"),
        ("epochs = ", " is no valid TOML"),
        ("epochs = 1\nsteps = 2", "--epochs 1 and --steps 2: training has one end"),
        ("a = " + "[" * 5000, " is no valid TOML"),
        ('model = "dcgan"\n[option]\nbeta = 2', "beta=2: dcgan has no option 'beta'"),
        ("max_minutes = -1", "minutes=-1.0: expected a number of minutes"),
    ],
)
def test_wrong_files(text: str, words: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    text = text if text.startswith(("model", "[")) else f'model = "vae"\n{text}'
    file = _written(tmp_path, text)
    said = " ".join(fails(capsys, "train", "--config", file).split())
    assert words in said
    assert str(file) in said or "--" in words or "=" in words
    assert [*tmp_path.iterdir()] == [file]


def test_files_that_are_none(tmp_path: Path, capsys) -> None:
    entries = {"format": 1, "model": "vae", "image_shape": [8, 8, 1], "latent_dim": 2}
    entries |= {"versions": {}, "converted_from": "runs/gan"}
    for name, text in (("run", json.dumps(entries)), ("cut", "{"), ("other", "[1]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    for path, words in (
        (tmp_path / "x.toml", "x.toml does not exist."),
        (tmp_path / "run", f"{tmp_path / 'run'} is a folder. Give a file, as"),
        (tmp_path / "run" / "config.json", "is of a run that `zoo convert` made"),
        (tmp_path / "cut" / "config.json", "config.json is not valid JSON"),
        (tmp_path / "other" / "config.json", "should be the config.json of a run, as `zoo train`"),
    ):
        assert words in " ".join(fails(capsys, "train", "vae", "--config", path).split())


@pytest.mark.slow
def test_a_run_is_trained_again_from_its_config(small: Path, tmp_path: Path) -> None:
    """To bitwise the same weights, though the options of the model are in no other entry."""
    first, second = tmp_path / "first", tmp_path / "second"
    run_zoo(
        "train", "beta_vae", "--data", small, "--out", first, "--images", 31, "--batch-size", 15,
        "--latent-dim", 3, "--network", "mlp", "--option", "beta=2", "--learning-rate", 0.01,
        "--clip-norm", 1, "--seed", 5, "--mirror",
    )  # fmt: skip
    run_zoo("train", "--config", first / "config.json", "--out", second)
    assert_same_state(load_run(second), load_run(first))
    configs = [config_of(run) for run in (first, second)]
    assert configs[0]["steps"] == configs[1]["steps"] == 3
    # of Python, or an earlier version
    of_python = {key: value for key, value in configs[0].items() if key != "command"}
    (first / "config.json").write_text(json.dumps(of_python))
    found = config.settings_of(_context("--config", first / "config.json"))
    options = found.pop("option")
    noted = {**configs[1]["command"], "channels": 1, "image_size": 8, "steps": 3}
    for name in ("option", "images", "learning_rate", "clip_norm", "network"):
        noted.pop(name, None)
    assert found == noted
    assert {"beta=2", "seed=5", 'network="mlp"'} <= {*options}


@pytest.mark.slow
def test_a_run_goes_on_with_its_file(tiny: Path, small: Path, tmp_path: Path, capsys) -> None:
    """To the end that the file says, until the command line says another."""
    run = copy_of(tiny / "gan", tmp_path)
    file = _written(
        tmp_path, f"data = {json.dumps(str(small))}\nsteps = 4\nbatch_size = 20\nkeep = 2"
    )
    run_zoo("train", run, "--config", file)
    said = capsys.readouterr().out
    assert f"Trained dcgan to 4 steps: {run}" in said
    assert "--keep 2 is ignored: the run has 3." in said
    assert "--batch-size" not in said
    run_zoo("train", run, "--max-minutes", 1e-9)
    assert "4 steps or more: nothing to do." in capsys.readouterr().out
    run_zoo("train", run, "--max-minutes", 1e-9, "--steps", 9)
    said = capsys.readouterr().out
    assert "The time is over. Stopped at step 5;" in said
    assert f"  zoo train {run} --steps 9" in said


@pytest.mark.slow
def test_patience_says_so(small: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    options = ["--data", small, "--out", run, "--network", "mlp", "--batch-size", 60]
    assert "Give best (--best)" in fails(capsys, "train", "vae", *options, "--patience", 2)
    assert not run.exists()
    # A rate so small that the loss is noise, and a metric that cannot fall for long.
    options += ["--learning-rate", 1e-12, "--patience", 1, "--best", "rate", "--epochs", 50]
    run_zoo("train", "vae", *options)
    said = capsys.readouterr().out
    assert f"No better rate in 1 epoch: {run} ends at step " in said
    run_zoo("train", run)
    assert f"No better rate in 1 epoch: {run} ends at step " in capsys.readouterr().out
