"""`zoo train`: new runs, their settings, and what a resumed run ignores."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zoo
from tests.support.command import copy_of, fails, run_zoo
from tests.support.image_files import save_image
from zoo.core import registry


@pytest.mark.parametrize(
    "model",
    ["vq_vae", *(pytest.param(m, marks=pytest.mark.slow) for m in ("stylegan2", "sngan", "dcgan"))],
)
def test_a_model_has_its_own_network(
    model: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Those of the first two are the only ones that fit."""
    create, made = registry.create, []

    def stop(*args: Any, **options: Any) -> Any:
        made.append(create(*args, **options))
        raise ValueError("enough seen")

    monkeypatch.setattr("zoo.core.registry.create", stop)
    text = fails(capsys, "train", model, "--data", source, "--out", tmp_path / "run")
    assert "enough seen" in text
    assert made[0].network == zoo.create(model, (28, 28, 1), 64).network


@pytest.mark.slow
def test_progress_is_readable(source: Path, tmp_path: Path, capsys) -> None:
    """Off a terminal, a line an epoch; negative values too as plain numbers."""
    run_zoo(
        "train", "vae", "--data", source, "--out", tmp_path / "x", "--epochs", 2,
        "--batch-size", 20, "--network", "mlp",
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines.pop(0) == f"Data: {source}, train: 150 images of 28 × 28 × 1, no classes."
    assert lines.pop(0) == (
        "Too few updates: 7 updates per epoch, 14 in all; with fewer than 1,000, samples hardly "
        "have a shape. Take --epochs 500."
    )
    means = r"distortion -?[\d.]+  loss -?[\d.]+  rate [\d.]+"
    rate, memory = r"[\d.,]+ images/s", r"[\d.]+ GB"
    assert re.fullmatch(rf"epoch 1/2  {rate}  [\d:]+( s)? left  {memory}  {means}", lines[0])
    assert re.fullmatch(rf"epoch 2/2  {rate}  {memory}  {means}", lines[1])


def test_a_rare_class_is_told_before_training(tmp_path: Path, capsys) -> None:
    """Of the labels, which cost nothing to count."""
    labels = np.zeros(404, np.int64)
    labels[:4] = 1
    path = tmp_path / "x.npz"
    images = np.random.default_rng(0).random((404, 8, 8, 1)).astype(np.float32)
    np.savez(path, x_train=images, y_train=labels, x_test=images[:9], y_test=labels[:9])
    run_zoo(
        "train", "vae", "--data", path, "--out", tmp_path / "run", "--epochs", 1, "--batch-size",
        101, "--network", "mlp",
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == (
        "Too few updates: 4 updates per epoch, 4 in all; with fewer than 1,000, samples hardly "
        "have a shape. Take --batch-size 32 and --epochs 200."
    )
    assert lines[2] == (
        "Rare class: Class 1 has 4 images, and Class 0 400: 100 times as many. The model hardly "
        "sees it. Collect more, leave it out, or take fewer of the others."
    )
    assert lines[3].startswith("epoch 1/1")


def test_train_wrote_a_run(gan: Path) -> None:
    config = json.loads((gan / "config.json").read_text())
    assert (config["model"], config["epochs"], config["batch_size"]) == ("dcgan", 2, 20)
    assert len(json.loads((gan / "history.json").read_text())) == 2


@pytest.mark.slow
def test_a_run_killed_before_its_first_step_starts_anew(gan: Path, tmp_path: Path, capsys) -> None:
    config = json.loads((gan / "config.json").read_text())
    arguments = ["train", "dcgan", "--data", config["data"], "--out", tmp_path, "--epochs", 1]
    arguments += ["--network", "mlp"]
    (tmp_path / "config.json").write_text(json.dumps(config))  # all that such a kill leaves
    assert "no run to resume" in fails(capsys, *arguments, "--resume")
    run_zoo(*arguments, "--batch-size", 50)
    assert json.loads((tmp_path / "config.json").read_text())["batch_size"] == 50


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_epochs_it_was_begun_with(tiny: Path, tmp_path: Path) -> None:
    run = copy_of(tiny / "gan", tmp_path)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "epochs": 12}))
    run_zoo("train", run)
    assert len(json.loads((run / "history.json").read_text())) == 12


@pytest.mark.slow
def test_options_of_scale(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """All at once, resumed, and the best checkpoint evaluated and exported."""
    run = tmp_path / "run"
    run_zoo(
        "train", "dcgan", "--data", source, "--out", run, "--epochs", 2, "--batch-size", 30,
        "--network", "mlp", "--latent-dim", 4, "--strategy", "mirrored", "--replicas", 2,
        "--precision", "mixed_bfloat16", "--accumulate", 2, "--steps-per-execution", 5,
        "--clip-norm", 1, "--validation", "test", "--best", "val_generator_loss", "--keep", 1,
        "--generator-learning-rate", 1e-4,
    )  # fmt: skip
    assert "30 images per update: 15 on each of 2 replicas." in capsys.readouterr().out
    run_zoo("train", "dcgan", "--out", run, "--epochs", 3, "--resume")
    history = json.loads((run / "history.json").read_text())
    assert [entry["step"] for entry in history] == [5, 10, 15]
    config = json.loads((run / "config.json").read_text())
    wanted = {
        "precision": "mixed_bfloat16", "accumulate": 2, "steps_per_execution": 5, "keep": 1,
        "best": "val_generator_loss", "validation": "test", "strategy": "none", "replicas": 1,
    }  # fmt: skip
    assert {name: config[name] for name in wanted} == wanted
    trained = zoo.load_run(run)
    assert float(trained.generator_optimizer.learning_rate) == pytest.approx(1e-4)
    assert float(trained.discriminator_optimizer.learning_rate) == pytest.approx(2e-4)
    best = min(history, key=lambda entry: entry["val_generator_loss"])
    run_zoo("info", run / "best.keras")
    run_zoo("evaluate", run / "best.keras", "--extractor", "fashion_mnist_classifier")
    assert (run / "best.metrics.json").exists()
    run_zoo("export", run / "best.keras", "--format", "onnx", "--out", run / "onnx")
    run_zoo("verify", run / "onnx")
    from zoo.training.runs import load_run

    assert int(load_run(run / "best.keras").step) == best["step"]
    assert len(list((run / "checkpoints").iterdir())) == 1


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("beta=abc", "beta='abc': expected a finite number"),
        ("beta=1e400", "beta=inf: expected a finite number"),
        ("beta=" + "[" * 5000, "expected a finite number or None (null)."),
        ("beta=" + "9" * 5000, "expected a finite number or None (null)."),
        ("gama=3", "gama=3: beta_vae has no option 'gama'. Did you mean gamma"),
        ("seed=2.5", "seed=2.5: expected a whole number of 64 bits."),
        ("seed=Infinity", "seed=inf: expected a whole number of 64 bits."),
        ("latent_dim=3", "--option latent_dim=3: expected --latent-dim."),
        ("dtype=float16", "--option dtype=float16: expected --precision."),
        ("name=x", "--option name=x: expected no name"),
        ("beta", "--option beta: expected name=value"),
    ],
    ids=lambda text: text[:20],
)
def test_options_are_checked(option: str, words: str, small: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "x"
    assert words in fails(
        capsys, "train", "beta_vae", "--data", small, "--out", out, "--option", option
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("vae", "--generator-learning-rate", 1e-3), "has 'generator_optimizer', but the optimize"),
        (("dcgan", "--learning-rate", 0), "learning_rate=0.0 of generator_optimizer: expected"),
        (
            ("dcgan", "--learning-rate", 1e-3, "--generator-learning-rate", 1e-3),
            "--learning-rate 0.001 is of all optimizers.",
        ),
    ],
)
def test_learning_rates_are_checked(
    options: tuple[Any, ...], words: str, small: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "x"
    model, *rates = options
    assert words in fails(capsys, "train", model, "--data", small, "--out", out, *rates)
    assert not out.exists()


def test_options_that_fit(small: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """As text, numbers and null."""
    found = {}

    def stop(*_: object, **options: Any) -> None:
        found.update(options)
        raise ValueError("enough seen")

    monkeypatch.setattr("zoo.core.registry.create", stop)
    pairs = ("diff_augment=color", "ema=null", "ttur=2", "seed=3", "num_classes=4")
    words = [word for pair in pairs for word in ("--option", pair)]
    assert "enough seen" in fails(
        capsys, "train", "gan", "--data", small, "--out", tmp_path / "x", "--seed", 5, *words
    )
    wanted = {"diff_augment": "color", "ema": None, "ttur": 2, "seed": 3, "num_classes": 4}
    assert found == {**wanted, "dtype": "float32"}


def test_channels_and_augmentation_reach_the_run(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(model: Any, *_: Any, **options: Any) -> None:
        found.append((model.image_shape, options["mirror"], options["random_crop"]))
        raise ValueError("enough seen")

    found: list[Any] = []
    monkeypatch.setattr("zoo.training.loop.train", stop)
    for i in range(4):
        save_image(tmp_path / "x" / f"{i}.png", np.full((8, 8, 4), 9, np.uint8))
    command = [
        "train",
        "vae",
        "--data",
        tmp_path / "x",
        "--network",
        "mlp",
        "--out",
        tmp_path / "r",
    ]
    for options in ([], ["--channels", 4, "--mirror"], ["--channels", 1, "--random-crop", 2]):
        assert "enough seen" in fails(capsys, *command, *options)
    assert found == [((8, 8, 3), False, 0), ((8, 8, 4), True, 0), ((8, 8, 1), False, 2)]
    said = fails(capsys, *command, "--channels", 2)
    assert "channels=2: expected 1, 3, 4, as the images of " in said


def test_a_resume_lists_what_it_ignores(tiny: Path, small: Path, tmp_path: Path, capsys) -> None:
    run = copy_of(tiny / "gan", tmp_path)
    capsys.readouterr()
    run_zoo(
        "train", "dcgan", "--out", run, "--resume", "--epochs", 1, "--batch-size", 30, "--data",
        tmp_path / "x.npz", "--latent-dim", 5, "--network", "conv", "--seed", 7, "--accumulate", 2,
        "--jit", "--clip-norm", 1, "--keep", 9, "--precision", "mixed_bfloat16", "--image-size",
        16, "--option", "ema=0.5", "--option", "emma=1", "--best", "loss",
        "--steps-per-execution", 3, "--checkpoint-every", 5, "--validation", "test",
        "--mirror", "--random-crop", 4, "--channels", 3, "--learning-rate", 0.5,
    )  # fmt: skip
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"Data: {small}")
    assert said[1] == f"Resuming {run}, as it was begun."
    assert set(said[2:-1]) == {
        f"--data {tmp_path / 'x.npz'} is ignored: the run has {small}.",
        "--batch-size 30 is ignored: the run has 20.",
        "--latent-dim 5 is ignored: the run has 3.",
        "--network conv is ignored: the run has mlp.",
        "--seed 7 is ignored: the run has 0.",
        "--accumulate 2 is ignored: the run has 1.",
        "--jit is ignored: the run has none.",
        "--clip-norm 1.0 is ignored: the run has none.",
        "--keep 9 is ignored: the run has 3.",
        "--precision mixed_bfloat16 is ignored: the run has float32.",
        "--image-size 16 is ignored: the run has 8.",
        "--option ema=0.5 is ignored: the run has ema=None.",
        "--option emma=1 is ignored: the run has no such option.",
        "--best loss is ignored: the run has none.",
        "--steps-per-execution 3 is ignored: the run has 1.",
        "--checkpoint-every 5 is ignored: the run has none.",
        "--validation test is ignored: the run has none.",
        "--mirror is ignored: the run has none.",
        "--random-crop 4 is ignored: the run has 0.",
        "--channels 3 is ignored: the run has 1.",
        "--learning-rate 0.5 is ignored: the run has 0.0002.",
    }
    run_zoo(
        "train", run, "--epochs", 1, "--batch-size", 20, "--data", small, "--latent-dim", 3,
        "--network", "mlp", "--seed", 0, "--image-size", 8,
    )  # fmt: skip
    assert "ignored" not in capsys.readouterr().out


def test_a_disk_is_no_folder_of_images(tmp_path: Path, capsys, monkeypatch) -> None:
    """It is refused before all of it is read."""
    out = tmp_path / "run"
    assert "/ is a whole file system" in fails(capsys, "train", "vae", "--data", "/", "--out", out)
    monkeypatch.setattr("zoo.data.trees.WITHOUT_IMAGES", 3)
    for name in ("a", "b", "c", "d/e"):
        (tmp_path / "deep" / name).mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "deep" / "d" / "e" / "x.png")
    arguments = ("train", "vae", "--data", tmp_path / "deep", "--out", out)
    assert "the 3 folders nearest to its top hold no images" in fails(capsys, *arguments)
    assert not out.exists()
