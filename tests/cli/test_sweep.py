"""`zoo sweep`: a grid of runs, its interruptions, its table."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests.cases import assert_same_state
from tests.support.command import fails, run_zoo
from zoo.cli import app, config, main, sweep
from zoo.training.runs import load_run

TRAIN: Any = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]
TEXT = """model = "beta_vae"
data = {data}
latent_dim = 2
network = "mlp"
batch_size = 30
steps = 3

[option]
likelihood = "bernoulli"

[grid]
option.beta = [1, 4.5]
seed = [0, 1]
"""
NAMES = [f"option.beta={beta},seed={seed}" for beta in ("1", "4.5") for seed in (0, 1)]


@pytest.fixture
def file(small: Path, tmp_path: Path) -> Path:
    path = tmp_path / "sweep.toml"
    path.write_text(TEXT.format(data=json.dumps(str(small))))
    return path


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of a sweep, which run in this process."""
    seen: list[list[str]] = []

    def run(arguments: list[str]) -> int:
        seen.append(arguments)
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        return int(stop.value.code or 0)

    monkeypatch.setattr(sweep, "run", run)
    return seen


def _history(run: Path) -> list[dict[str, Any]]:
    return json.loads((run / "history.json").read_text())


@pytest.mark.slow
def test_a_sweep(file: Path, tmp_path: Path, commands: list[list[str]], capsys) -> None:
    """One cell by its index, then all others, then none; the table is that of their losses."""
    out = tmp_path / "runs"
    run_zoo("sweep", file, "--out", out, "--list")
    said = capsys.readouterr().out
    assert all(name in said for name in NAMES)
    assert said.count("new") == 4
    assert not out.exists()
    run_zoo("sweep", file, "--out", out, "--index", 3)
    assert [command[0] for command in commands] == ["train"]
    assert sorted(each.name for each in out.iterdir()) == [NAMES[3], f"{NAMES[3]}.toml"]
    run_zoo("sweep", file, "--out", out)
    assert [command[0] for command in commands[1:]] == ["sweep", *["train"] * 3]
    model = load_run(out / NAMES[3])
    assert (model.get_config()["beta"], model.get_config()["likelihood"]) == (4.5, "bernoulli")
    capsys.readouterr()
    run_zoo("sweep", file, "--out", out, "--metric", "loss")
    assert len(commands) == 5  # nothing is left to do
    assert capsys.readouterr().out.count("finished before") == 4
    losses = [_history(out / name)[-1]["loss"] for name in NAMES]
    rows = (out / "sweep.md").read_text().splitlines()
    assert rows[:2] == ["| option.beta | loss |", "| --- | --- |"]
    for row, beta, pair in zip(rows[2:], ("1", "4.5"), (losses[:2], losses[2:]), strict=True):
        mean, spread = statistics.mean(pair), abs(pair[0] - pair[1]) / 2**0.5
        assert row == f"| {beta} | {mean:.4g} ± {spread:.4g} |"
    metrics = {"data": "x", "split": "test", "images": 1, "samples": 2, "extractor": None}
    (out / NAMES[0] / "metrics.json").write_text(json.dumps({**metrics, "metrics": {"fid": 2.5}}))
    run_zoo("sweep", file, "--out", out)
    assert "| 1 | 2.5 (1 of 2) |\n| 4.5 | – |" in (out / "sweep.md").read_text()
    assert "--metric fidd: no run has it" in fails(
        capsys, "sweep", file, "--out", out, "--metric", "fidd"
    )
    file.write_text(file.read_text().replace("latent_dim = 2", "latent_dim = 3"))
    said = fails(capsys, "sweep", file, "--out", out)
    assert "was begun with latent_dim = 2, and not with latent_dim = 3." in said


def _pretend(arguments: list[str]) -> int:
    """Leaves the files of a run that has ended, as `zoo train` does."""
    if arguments[0] != "train":
        return 0
    context = TRAIN.make_context("train", arguments[1:])
    run, seed = context.params["out"], context.params["seed"]
    (run / "checkpoints").mkdir(parents=True)
    (run / "model.keras").write_text("x")
    (run / "checkpoints" / "step_00000003.keras").hardlink_to(run / "model.keras")
    figures = {"epoch": 2, "step": 3, "loss": 1.0 + seed}
    (run / "history.json").write_text(json.dumps([figures]))
    entries = {"format": 1, "model": "beta_vae", "image_shape": [8, 8, 1], "latent_dim": 2}
    entries |= {
        "versions": {},
        "epochs": 2,
        "steps": 3,
        "command": config.settings_of(context, ("out",)),
    }
    (run / "config.json").write_text(json.dumps(entries))
    return 0


def test_what_a_sweep_runs(file: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """What is not finished, once; a cell whose last checkpoint was not written goes on."""
    seen: list[list[str]] = []
    monkeypatch.setattr(
        sweep, "run", lambda arguments: seen.append(arguments) or _pretend(arguments)
    )
    out = tmp_path / "runs"
    run_zoo("sweep", file, "--out", out, "--index", 3)
    run_zoo("sweep", file, "--out", out)
    first = ["train", "--config", str(out / f"{NAMES[0]}.toml"), "--out", str(out / NAMES[0])]
    assert [each[0] for each in seen] == ["train", "sweep", "train", "train", "train"]
    assert seen[2] == first
    assert "| 1 | 1.5 ± 0.7071 |\n| 4.5 | 1.5 ± 0.7071 |" in (out / "sweep.md").read_text()
    (out / NAMES[0] / "model.keras").unlink()
    (out / NAMES[0] / "model.keras").write_text("of the epoch before")
    monkeypatch.setattr(sweep, "run", lambda arguments: seen.append(arguments) or 1)
    assert f"Not finished: {NAMES[0]}. The same" in fails(capsys, "sweep", file, "--out", out)
    assert seen[5:] == [[*first, "--resume"]]
    run_zoo("sweep", file, "--out", out, "--list")
    said = capsys.readouterr().out
    assert said.count("finished") == 3
    assert "at step 3" in said
    monkeypatch.setattr(sweep, "run", lambda arguments: seen.append(arguments) or 130)
    file.write_text(file.read_text().replace("steps = 3", "steps = 4"))
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(file), "--out", str(out)])
    assert stop.value.code == 130
    assert len(seen) == 7  # the first of them is stopped: no other begins
    file.write_text(file.read_text().replace("latent_dim = 2", "latent_dim = 3"))
    said = fails(capsys, "sweep", file, "--out", out)
    assert "was begun with latent_dim = 2, and not with latent_dim = 3." in said


def test_a_cell_whose_minutes_are_over_is_not_finished(
    file: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Though its command ends without an error."""
    file.write_text(f"max_minutes = 1\n{file.read_text()}")
    monkeypatch.setattr(sweep, "run", lambda _: 0)
    said = fails(capsys, "sweep", file, "--out", tmp_path / "runs", "--index", 1)
    assert f"Not finished: {NAMES[1]}. The same command" in said


def _forbidden(*_: object) -> int:
    raise AssertionError("it has begun")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seed = [0, 1]", "seed = []", "grid.seed is an empty list: expected a list of values"),
        ("seed = [0, 1]", "seed = 3", "grid.seed is 3: expected a list of values"),
        ("seed = [0, 1]", "seed = [0, 0]", "two cells are called option.beta=1,seed=0"),
        ("seed = [0, 1]", "sede = [0, 1]", "grid.sede: Did you mean seed?"),
        ("seed = [0, 1]", 'seed = [0, "x"]', 'seed = "x": expected a whole number'),
        ("seed = [0, 1]", 'out = ["a"]', "grid.out"),
        ("steps = 3", "steps = [3, 4]", "Lists of values go into [grid]"),
        ("steps = 3", "epoch = 3", "epoch is no option of the command. Did you mean epochs?"),
        ("steps = 3", 'out = "x"', "the runs of a sweep lie in its --out"),
        ('model = "beta_vae"', "", 'expected a model of `zoo list`, such as model = "vae"'),
        ("[grid]\noption.beta = [1, 4.5]\nseed = [0, 1]", "", "has no [grid]"),
        ("[grid]\noption.beta = [1, 4.5]\nseed = [0, 1]", "[grid]", "has no [grid]"),
        ("[1, 4.5]", '["' + "x" * 300 + '"]', "the name of a folder has at most 200 bytes"),
        ("[grid]", "[grid", "is no valid TOML"),
    ],
)
def test_wrong_grids(
    old: str, new: str, words: str, file: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(sweep, "run", _forbidden)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    said = fails(capsys, "sweep", file, "--out", tmp_path / "runs")
    assert words in said
    assert str(file) in said
    assert not (tmp_path / "runs").exists()


def test_wrong_indices(file: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sweep, "run", _forbidden)
    for index in (-1, 4):
        said = fails(capsys, "sweep", file, "--out", tmp_path / "runs", "--index", index)
        assert f"--index {index}: expected 0 to 3" in said
    assert "x.toml does not exist" in fails(
        capsys, "sweep", tmp_path / "x.toml", "--out", tmp_path / "runs"
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param("[1, 4.5]", "[1, -1]", "beta=-1", marks=pytest.mark.slow),
        pytest.param("[1, 4.5]", '[1, "x"]', "beta='x'", marks=pytest.mark.slow),
        ("batch_size = 30", "batch_size = 0", "batch_size = 0"),
        ("[1, 4.5]\nseed = [0, 1]", "[1]\naccumulate = [1, 40]", "batch_size=30"),
        ("[1, 4.5]\nseed = [0, 1]", '[1]\nvalidation = ["val"]', "no array 'x_val'"),
        pytest.param(
            "seed = [0, 1]",
            'model = ["beta_vae", "dcgan"]',
            "dcgan has no option",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_all_cells_are_checked_before_one_is_trained(
    old: str, new: str, words: str, file: Path, tmp_path: Path, commands: Any, capsys
) -> None:
    """Though only the last is wrong."""
    file.write_text(file.read_text().replace(old, new))
    assert words in fails(capsys, "sweep", file, "--out", tmp_path / "runs")
    assert [command[0] for command in commands] in ([], ["sweep"])
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_figure_that_no_run_will_have_is_refused_before_one_is_trained(
    file: Path, tmp_path: Path, commands: list[list[str]], capsys
) -> None:
    file.write_text(file.read_text().replace("[1, 4.5]\nseed = [0, 1]", "[1]"))
    said = fails(capsys, "sweep", file, "--out", tmp_path / "runs", "--metric", "fid10k_test")
    assert "--metric fid10k_test: no run has it. They have loss, distortion, rate" in said
    assert [command[0] for command in commands] == ["sweep"]
    assert not (tmp_path / "runs").exists()
    run_zoo("sweep", file, "--out", tmp_path / "runs", "--check", "--metric", "rate")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1.0, 2.0, 3.0], "2 ± 1"),
        ([2.5], "2.5"),
        ([None, 2.0, 4.0], "3 ± 1.414 (2 of 3)"),
        ([None, None], "–"),
    ],
)
def test_mean_and_spread(values: list[float | None], text: str) -> None:
    assert sweep.mean_and_spread(values) == text


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_sweep_that_is_stopped(number: int, file: Path, tmp_path: Path) -> None:
    """In processes of their own; it goes on to the weights of one that was not."""
    text = (
        file.read_text().replace("steps = 3", "steps = 40").replace("seed = [0, 1]", "seed = [1]")
    )
    file.write_text(text)
    command = [sys.executable, "-m", "zoo", "sweep", str(file), "--out"]
    process = subprocess.Popen([*command, str(tmp_path / "parts")], start_new_session=True)
    first = tmp_path / "parts" / NAMES[1]
    while not (first / "history.json").exists():
        assert process.poll() is None
        time.sleep(0.1)
    if number == signal.SIGTERM:
        process.terminate()  # it alone, which passes it on
    else:
        os.killpg(process.pid, number)
    assert process.wait(60) == (-9 if number == signal.SIGKILL else 130)
    assert not (tmp_path / "parts" / NAMES[3]).exists()
    assert load_run(first).steps_done < 40
    for out in ("parts", "whole"):
        subprocess.run([*command, str(tmp_path / out)], check=True)
    for name in (NAMES[1], NAMES[3]):
        assert_same_state(load_run(tmp_path / "parts" / name), load_run(tmp_path / "whole" / name))
    assert (tmp_path / "parts" / "sweep.md").read_text() == (
        tmp_path / "whole" / "sweep.md"
    ).read_text()
