"""`zoo convert`, and the training of what it made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import config_of, copy_of, fails, images_of, run_zoo
from zoo.cli import main


@pytest.mark.slow
def test_gan_to_vae_to_gan(tiny: Path, tmp_path: Path) -> None:
    """All three draw the same images, and the page tells each conversion's direction."""
    wanted = images_of(tiny / "gan")
    np.testing.assert_allclose(images_of(tiny / "vae"), wanted, atol=5e-6)
    config = config_of(tiny / "vae")
    assert (config["epochs"], config["converted_from"]) == (0, str(tiny / "gan"))
    assert config["data"] == config_of(tiny / "gan")["data"]
    again = tmp_path / "again"
    run_zoo(
        "convert", tiny / "vae", "--to", "gan", "--out", again, "--no-whiten", "--option",
        "ema=0.9", "--model", "wgan_gp",
    )  # fmt: skip
    np.testing.assert_allclose(images_of(again), wanted, atol=5e-6)
    assert config_of(again)["model"] == "wgan_gp"
    run_zoo("report", tiny / "vae", again, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "100% of the decoder's parameters come from the generator" in page
    assert "100% of the generator's parameters come from the decoder" in page
    assert "the decoder's own float32 noise" in page


@pytest.mark.slow
def test_whitened_conversion(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "gan"
    run_zoo("convert", tiny / "vae", "--to", "gan", "--out", out)
    report = json.loads((out / "conversion.json").read_text())
    assert report["equivalence"] == "distributional"
    assert np.abs(images_of(out) - images_of(tiny / "vae")).max() > 1e-3


def test_a_dry_run_writes_nothing(tiny: Path, tmp_path: Path, capsys) -> None:
    before = sorted(tmp_path.parent.rglob("*"))
    capsys.readouterr()
    run_zoo("convert", tiny / "gan", "--to", "vae", "--dry-run")
    printed = capsys.readouterr().out
    assert "decoder" in printed
    assert "tolerance" in printed
    assert sorted(tmp_path.parent.rglob("*")) == before
    assert "Give --out" in fails(capsys, "convert", tiny / "gan", "--to", "vae")


@pytest.mark.slow
def test_into_a_trained_run(tiny: Path, small: Path, tmp_path: Path, capsys) -> None:
    """The copy begins at step 0 with the encoder as it was; the run it is from stays."""
    from zoo.training.runs import load_run

    into, out = tmp_path / "into", tmp_path / "out"
    run_zoo(
        "train", "vae", "--data", small, "--out", into, "--epochs", 2, "--batch-size", 20,
        "--latent-dim", 3, "--network", "mlp",
    )  # fmt: skip
    before = (into / "model.keras").read_bytes()
    run_zoo("convert", tiny / "gan", "--to", "vae", "--into", into, "--out", out)
    assert (into / "model.keras").read_bytes() == before
    np.testing.assert_allclose(images_of(out), images_of(tiny / "gan"), atol=5e-6)
    converted, old = load_run(out), load_run(into)
    for a, b in zip(converted.encoder.get_weights(), old.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (converted.steps_done, old.steps_done) == (0, 6)
    assert "no transfer" in fails(capsys, "train", out, "--recipe", "joint")
    run_zoo("train", out, "--epochs", 1, "--batch-size", 20)
    assert (load_run(out).steps_done, config_of(out)["recipe"]) == (3, "plain")
    assert "holds a dcgan, no VAE" in fails(
        capsys, "convert", tiny / "gan", "--to", "vae", "--into", tiny / "gan", "--out",
        tmp_path / "x",
    )  # fmt: skip


@pytest.mark.slow
def test_a_generator_from_outside(small: Path, tmp_path: Path, capsys) -> None:
    import keras

    from zoo.training.runs import load_run

    latent = keras.Input((3,))
    pixels = keras.layers.Dense(64, activation="tanh")(latent)
    generator = keras.Model(latent, keras.layers.Reshape((8, 8, 1))(pixels))
    path, out = tmp_path / "generator.keras", tmp_path / "vae"
    generator.save(path)
    convert = ["convert", path, "--to", "vae", "--out", out]
    assert "name them with --data" in fails(capsys, *convert)
    run_zoo(*convert, "--data", small)
    z = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    wanted = (np.asarray(generator(z)) + 1) / 2
    np.testing.assert_allclose(load_run(out).generate_from(z), wanted, atol=5e-6)
    run_zoo("train", out, "--epochs", 1, "--batch-size", 20)
    config = config_of(out)
    assert (config["data"], config["converted_from"]) == (str(small), str(path))
    assert (config["recipe"], config["recipe_steps"]) == ("joint", 3)
    assert "does not exist" in fails(
        capsys, "convert", tmp_path / "no.keras", "--to", "vae", "--out", tmp_path / "x",
        "--data", small,
    )  # fmt: skip


@pytest.mark.slow
def test_the_recipe_of_a_converted_vae(tiny: Path, tmp_path: Path, capsys) -> None:
    """Training begins it, is given its settings, and goes on within it."""
    run = copy_of(tiny / "vae", tmp_path)
    assert "recipe='warm-up': expected one of joint, frozen, plain" in fails(
        capsys, "train", run, "--recipe", "warm-up"
    )
    assert "leave out --out" in fails(capsys, "train", run, "--out", tmp_path / "x")
    assert (config_of(run)["epochs"], config_of(run)["batch_size"]) == (0, 20)  # of 60 images
    capsys.readouterr()
    run_zoo("train", run, "--epochs", 2, "--batch-size", 20, "--accumulate", 2, "--seed", 7)
    said = capsys.readouterr().out
    assert said.count("ignored") == said.count("--seed 7 is ignored: the run has 0.") == 1
    config = config_of(run)
    assert (config["recipe"], config["recipe_steps"], config["epochs"]) == ("joint", 6, 2)
    assert (config["batch_size"], config["accumulate"]) == (20, 2)
    assert config["converted_from"] == str(tiny / "gan")
    history = json.loads((run / "history.json").read_text())
    assert {"sleep", "anchor", "distortion", "rate"} <= set(history[0])
    run_zoo("train", run, "--epochs", 3)
    config = config_of(run)
    assert (config["recipe"], config["recipe_steps"], config["epochs"]) == ("joint", 6, 3)
    assert config["converted_from"] == str(tiny / "gan")
    assert "recipe='frozen': the run was begun with 'joint'. Leave recipe out" in fails(
        capsys, "train", run, "--epochs", 4, "--recipe", "frozen"
    )


@pytest.mark.slow
def test_a_frozen_recipe(tiny: Path, tmp_path: Path) -> None:
    """To its end and beyond, resumed, the VAE draws what it drew."""
    run = copy_of(tiny / "vae", tmp_path)
    wanted = images_of(run)
    run_zoo("train", run, "--epochs", 2, "--batch-size", 20, "--recipe", "frozen")
    np.testing.assert_array_equal(images_of(run), wanted)
    run_zoo("train", run, "--epochs", 4)
    np.testing.assert_array_equal(images_of(run), wanted)
    assert config_of(run)["recipe"] == "frozen"


@pytest.mark.slow
def test_the_recipe_of_a_converted_gan(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "gan"
    run_zoo("convert", tiny / "vae", "--to", "gan", "--out", out, "--no-whiten")
    run_zoo("train", out, "--epochs", 1, "--batch-size", 20)
    config = config_of(out)
    assert (config["recipe"], config["recipe_steps"]) == ("warm-up", 3)


@pytest.mark.slow
def test_a_converted_run_decays_if_nothing_else_moves_its_rates(
    tiny: Path, tmp_path: Path, capsys
) -> None:
    from zoo.training.runs import load_run

    out = tmp_path / "gan"
    run_zoo("convert", tiny / "vae", "--to", "gan", "--out", out, "--no-whiten")
    train = ("train", out, "--epochs", 1, "--batch-size", 20, "--decay")
    assert "recipe 'warm-up' sets the learning rates. Take recipe 'plain'" in fails(capsys, *train)
    assert config_of(out)["epochs"] == 0
    run_zoo(*train, "--recipe", "plain")
    optimizer = load_run(out).generator_optimizer
    assert float(optimizer.learning_rate) == 0.0
    assert config_of(out)["decay_steps"] == int(optimizer.iterations) == 3
    assert "a continued one keeps its learning rates" in fails(capsys, *train)


def test_recipes_of_ordinary_runs_are_refused(tiny: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "x"
    assert "--recipe is for a run that `zoo convert` made" in fails(
        capsys, "train", "vae", "--out", out, "--recipe", "joint"
    )
    assert "recipe='warm-up': the run was trained without one" in fails(
        capsys, "train", tiny / "gan", "--epochs", 2, "--recipe", "warm-up"
    )
    assert not out.exists()
    assert "recipe" not in config_of(tiny / "gan")


@pytest.mark.slow
def test_a_converted_run_killed_at_its_first_step(tiny: Path, tmp_path: Path, monkeypatch) -> None:
    """It goes on with the settings that its training was begun with."""
    from zoo.core.model import ZooModel
    from zoo.training.runs import load_run

    class KilledError(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    run = copy_of(tiny / "vae", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ZooModel, "fit", killed)
        with pytest.raises(KilledError):
            main(["train", str(run), "--epochs", "1", "--batch-size", "20", "--clip-norm", "1"])
    assert load_run(run).optimizer.global_clipnorm == 1.0
    run_zoo("train", run, "--epochs", 1)
    assert (load_run(run).steps_done, config_of(run)["recipe"]) == (3, "joint")
