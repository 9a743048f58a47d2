"""The command line, as a user types it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zoo
from zoo.cli import main
from zoo.core import registry
from zoo.hub import measuring


def _zoo(*arguments: object) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0


def _fails(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code != 0
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    rng = np.random.default_rng(0)
    images = np.kron(rng.random((150, 2, 2, 1)), np.ones((1, 14, 14, 1))).astype(np.float32)
    np.savez(path, x_train=images, x_test=images[:40])
    return path


@pytest.fixture(scope="module")
def gan(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "gan"
    _zoo(
        "train", "dcgan", "--data", source, "--out", run, "--epochs", 2, "--batch-size", 20,
        "--latent-dim", 4, "--option", "ema=0.9", "--network", "conv-8",
    )  # fmt: skip
    return run


@pytest.mark.parametrize("model", ["vq_vae", "stylegan2", "sngan", "dcgan"])
def test_a_model_has_its_own_network(
    model: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Those of the first two are the only ones that fit."""
    create, made = registry.create, []

    def stop(*args: Any, **options: Any) -> Any:
        made.append(create(*args, **options))
        raise ValueError("enough seen")

    monkeypatch.setattr("zoo.core.registry.create", stop)
    text = _fails(capsys, "train", model, "--data", source, "--out", tmp_path / "run")
    assert "enough seen" in text
    assert made[0].network == zoo.create(model, (28, 28, 1), 64).network


def test_progress_is_readable(source: Path, tmp_path: Path, capsys) -> None:
    """Off a terminal, a line an epoch; negative values too as plain numbers."""
    _zoo(
        "train", "vae", "--data", source, "--out", tmp_path / "x", "--epochs", 2,
        "--batch-size", 20, "--network", "mlp",
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines.pop(0) == f"Data: {source}, train: 150 images of 28 × 28 × 1, no classes."
    assert re.fullmatch(r"epoch 1/2  distortion -?[\d.]+  loss -?[\d.]+  rate [\d.]+", lines[0])
    assert lines[1].startswith("epoch 2/2  distortion ")


def test_train_wrote_a_run(gan: Path) -> None:
    config = json.loads((gan / "config.json").read_text())
    assert (config["model"], config["epochs"], config["batch_size"]) == ("dcgan", 2, 20)
    assert len(json.loads((gan / "history.json").read_text())) == 2


def test_the_walk(gan: Path, tmp_path: Path) -> None:
    """evaluate → convert → train the encoder → export → verify → report."""
    vae = tmp_path / "vae"
    extractor = ["--extractor", "fashion_mnist_classifier"]
    _zoo("evaluate", gan, *extractor)
    assert "frechet_distance" in json.loads((gan / "metrics.json").read_text())["metrics"]
    _zoo("convert", gan, "--to", "vae", "--out", vae)
    assert json.loads((vae / "conversion.json").read_text())["passed"]
    _zoo("train", "vae", "--out", vae, "--epochs", 1, "--resume")
    _zoo("evaluate", vae, *extractor, "--importance-samples", 3)
    found = json.loads((vae / "metrics.json").read_text())
    assert found["extractor"] == "fashion_mnist_classifier"
    assert {"elbo", "iwae_bound", "mse", "bits_per_dim"} <= set(found["metrics"])
    for format_ in ("saved_model", "onnx"):
        _zoo("export", vae, "--format", format_, "--out", vae / "export" / format_)
        _zoo("verify", vae / "export" / format_)
    _zoo("info", vae)
    _zoo("report", gan, vae, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png") == 3
    assert page.count(": equal in ") == 2


def test_pictures(gan: Path, tmp_path: Path) -> None:
    _zoo("sample", gan, "--out", tmp_path / "a.png", "--n", 9)
    assert Image.open(tmp_path / "a.png").width >= 480
    _zoo("sample", gan, "--out", tmp_path / "a.npy", "--n", 9, "--seed", 1)
    assert np.load(tmp_path / "a.npy").shape == (9, 28, 28, 1)
    _zoo("interpolate", gan, "--out", tmp_path / "b.png", "--rows", 2, "--steps", 5)
    assert (tmp_path / "b.png").exists()


def test_a_class_by_its_name(tiny: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """Names come first: a class may be called 1 and be the first."""
    from zoo.core.model import ZooModel

    asked = []
    monkeypatch.setattr(
        ZooModel, "checked_labels", lambda self, labels, n: asked.append((labels, n))
    )
    run = _copy(tiny / "gan", tmp_path)
    config = _config(run) | {"class_names": ["1", "trouser", "ankle boot"]}
    (run / "config.json").write_text(json.dumps(config))
    for label in ("trouser", "1", "2", "-1"):
        _zoo("sample", run, "--n", 2, "--label", label, "--out", tmp_path / "x.npy")
    assert asked == [(1, 2), (0, 2), (2, 2), (-1, 2)]
    said = _fails(capsys, "sample", run, "--label", "boot", "--out", tmp_path / "x.npy")
    assert "--label boot: no such class. Did you mean" in said
    assert "ankle boot" in said


def test_a_disk_is_no_folder_of_images(tmp_path: Path, capsys, monkeypatch) -> None:
    """It is refused before all of it is read."""
    out = tmp_path / "run"
    assert "/ is a whole file system" in _fails(capsys, "train", "vae", "--data", "/", "--out", out)
    monkeypatch.setattr("zoo.data.folder.WITHOUT_IMAGES", 3)
    for name in ("a", "b", "c", "d/e"):
        (tmp_path / "deep" / name).mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "deep" / "d" / "e" / "x.png")
    arguments = ("train", "vae", "--data", tmp_path / "deep", "--out", out)
    assert "the 3 folders nearest to its top hold no images" in _fails(capsys, *arguments)
    assert not out.exists()


def test_a_wrong_export_exits_with_1(tiny: Path, small: Path, tmp_path: Path, capsys) -> None:
    """Verified against another run, the export must fail."""
    other = tmp_path / "other"
    _zoo(
        "train", "dcgan", "--data", small, "--out", other, "--epochs", 1, "--batch-size", 20,
        "--latent-dim", 3, "--network", "mlp", "--seed", 1,
    )  # fmt: skip
    _zoo("export", tiny / "gan", "--format", "onnx", "--out", tmp_path / "onnx")
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["verify", str(tmp_path / "onnx"), "--against", str(other)])
    assert stop.value.code == 1


def test_a_run_killed_before_its_first_step_starts_anew(gan: Path, tmp_path: Path, capsys) -> None:
    config = json.loads((gan / "config.json").read_text())
    arguments = ["train", "dcgan", "--data", config["data"], "--out", tmp_path, "--epochs", 1]
    arguments += ["--network", "mlp"]
    (tmp_path / "config.json").write_text(json.dumps(config))  # all that such a kill leaves
    assert "no run to resume" in _fails(capsys, *arguments, "--resume")
    _zoo(*arguments, "--batch-size", 50)
    assert json.loads((tmp_path / "config.json").read_text())["batch_size"] == 50


def test_options_of_scale(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """All at once, resumed, and the best checkpoint evaluated and exported."""
    run = tmp_path / "run"
    _zoo(
        "train", "dcgan", "--data", source, "--out", run, "--epochs", 2, "--batch-size", 30,
        "--network", "mlp", "--latent-dim", 4, "--strategy", "mirrored", "--replicas", 2,
        "--precision", "mixed_bfloat16", "--accumulate", 3, "--steps-per-execution", 5,
        "--clip-norm", 1, "--validation", "test", "--best", "val_generator_loss", "--keep", 1,
    )  # fmt: skip
    assert "30 images per update: 15 on each of 2 replicas." in capsys.readouterr().out
    _zoo("train", "dcgan", "--out", run, "--epochs", 3, "--resume")
    history = json.loads((run / "history.json").read_text())
    assert [entry["step"] for entry in history] == [5, 10, 15]
    config = json.loads((run / "config.json").read_text())
    wanted = {
        "precision": "mixed_bfloat16", "accumulate": 3, "steps_per_execution": 5, "keep": 1,
        "best": "val_generator_loss", "validation": "test", "strategy": "none", "replicas": 1,
    }  # fmt: skip
    assert {name: config[name] for name in wanted} == wanted
    best = min(history, key=lambda entry: entry["val_generator_loss"])
    _zoo("info", run / "best.keras")
    _zoo("evaluate", run / "best.keras", "--extractor", "fashion_mnist_classifier")
    assert (run / "best.metrics.json").exists()
    _zoo("export", run / "best.keras", "--format", "onnx", "--out", run / "onnx")
    _zoo("verify", run / "onnx")
    from zoo.training.runs import load_run

    assert int(load_run(run / "best.keras").step) == best["step"]
    assert len(list((run / "checkpoints").iterdir())) == 1


def test_errors_are_sentences(gan: Path, tmp_path: Path, capsys) -> None:
    assert "holds a run already" in _fails(capsys, "train", "dcgan", "--out", gan)
    assert "holds a dcgan" in _fails(capsys, "train", "vae", "--out", gan, "--resume")
    assert "no run to resume" in _fails(capsys, "train", "vae", "--out", tmp_path / "x", "--resume")
    assert "--precision half: expected one of float32" in _fails(
        capsys, "train", "vae", "--out", tmp_path / "x", "--precision", "half"
    )
    assert "strategy='two'" in _fails(
        capsys, "train", "vae", "--out", tmp_path / "x", "--strategy", "two"
    )
    assert "Expected a train command" in _fails(capsys, "launch", 2, "evaluate", gan)
    assert "'vea'" in _fails(capsys, "train", "vea", "--out", tmp_path / "x")
    assert "not a run folder" in _fails(capsys, "info", tmp_path)
    assert "vae is a model: `zoo train vae` trains one" in _fails(capsys, "info", "vae")
    assert "--option ema" in _fails(
        capsys, "train", "dcgan", "--out", tmp_path / "x", "--option", "ema"
    )
    assert "expected a decay" in _fails(
        capsys, "train", "dcgan", "--out", tmp_path / "x", "--option", "ema=2"
    )
    assert "a .png or .npy" in _fails(capsys, "sample", gan, "--out", tmp_path / "x.jpg")
    assert "batch_size=64 × 5 minibatches a step: expected 1 to the 150" in _fails(
        capsys, "train", "wgan_gp", "--out", tmp_path / "x",
        "--data", json.loads((gan / "config.json").read_text())["data"],
    )  # fmt: skip
    assert "holds a dcgan, a GAN already" in _fails(
        capsys, "convert", gan, "--to", "gan", "--out", tmp_path / "x"
    )
    assert not (tmp_path / "x").exists()


# Conversions


def _config(run: Path) -> dict:
    return json.loads((run / "config.json").read_text())


def _images_of(run: Path) -> np.ndarray:
    from zoo.training.runs import load_run

    return load_run(run).generate(50, seed=3)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images of 8 × 8 pixels."""
    path = tmp_path_factory.mktemp("data") / "small.npz"
    rng = np.random.default_rng(0)
    images = np.kron(rng.random((60, 2, 2, 1)), np.ones((1, 4, 4, 1))).astype(np.float32)
    np.savez(path, x_train=images, x_test=images[:10])
    return path


@pytest.fixture(scope="module")
def tiny(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GAN of one epoch; and a VAE made of it, which has not been trained."""
    folder = tmp_path_factory.mktemp("tiny")
    _zoo(
        "train", "dcgan", "--data", small, "--out", folder / "gan", "--epochs", 1,
        "--batch-size", 20, "--latent-dim", 3, "--network", "mlp",
    )  # fmt: skip
    _zoo("convert", folder / "gan", "--to", "vae", "--out", folder / "vae")
    return folder


def _copy(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to / run.name))


def test_gan_to_vae_to_gan(tiny: Path, tmp_path: Path) -> None:
    """All three draw the same images, and the page tells each conversion's direction."""
    wanted = _images_of(tiny / "gan")
    np.testing.assert_allclose(_images_of(tiny / "vae"), wanted, atol=5e-6)
    config = _config(tiny / "vae")
    assert (config["epochs"], config["converted_from"]) == (0, str(tiny / "gan"))
    assert config["data"] == _config(tiny / "gan")["data"]
    again = tmp_path / "again"
    _zoo(
        "convert", tiny / "vae", "--to", "gan", "--out", again, "--no-whiten", "--option",
        "ema=0.9", "--model", "wgan_gp",
    )  # fmt: skip
    np.testing.assert_allclose(_images_of(again), wanted, atol=5e-6)
    assert _config(again)["model"] == "wgan_gp"
    _zoo("report", tiny / "vae", again, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "100% of the decoder's parameters come from the generator" in page
    assert "100% of the generator's parameters come from the decoder" in page
    assert "the decoder's own float32 noise" in page


def test_whitened_conversion(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "gan"
    _zoo("convert", tiny / "vae", "--to", "gan", "--out", out)
    report = json.loads((out / "conversion.json").read_text())
    assert report["equivalence"] == "distributional"
    assert np.abs(_images_of(out) - _images_of(tiny / "vae")).max() > 1e-3


def test_a_dry_run_writes_nothing(tiny: Path, tmp_path: Path, capsys) -> None:
    before = sorted(tmp_path.parent.rglob("*"))
    capsys.readouterr()
    _zoo("convert", tiny / "gan", "--to", "vae", "--dry-run")
    printed = capsys.readouterr().out
    assert "decoder" in printed
    assert "tolerance" in printed
    assert sorted(tmp_path.parent.rglob("*")) == before
    assert "Give --out" in _fails(capsys, "convert", tiny / "gan", "--to", "vae")


def test_into_a_trained_run(tiny: Path, small: Path, tmp_path: Path, capsys) -> None:
    """The copy begins at step 0 with the encoder as it was; the run it is from stays."""
    from zoo.training.runs import load_run

    into, out = tmp_path / "into", tmp_path / "out"
    _zoo(
        "train", "vae", "--data", small, "--out", into, "--epochs", 2, "--batch-size", 20,
        "--latent-dim", 3, "--network", "mlp",
    )  # fmt: skip
    before = (into / "model.keras").read_bytes()
    _zoo("convert", tiny / "gan", "--to", "vae", "--into", into, "--out", out)
    assert (into / "model.keras").read_bytes() == before
    np.testing.assert_allclose(_images_of(out), _images_of(tiny / "gan"), atol=5e-6)
    converted, old = load_run(out), load_run(into)
    for a, b in zip(converted.encoder.get_weights(), old.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (converted.steps_done, old.steps_done) == (0, 6)
    assert "no transfer" in _fails(capsys, "train", out, "--recipe", "joint")
    _zoo("train", out, "--epochs", 1, "--batch-size", 20)
    assert (load_run(out).steps_done, _config(out)["recipe"]) == (3, "plain")
    assert "DCGAN is no VAE" in _fails(
        capsys, "convert", tiny / "gan", "--to", "vae", "--into", tiny / "gan", "--out",
        tmp_path / "x",
    )  # fmt: skip


def test_a_generator_from_outside(small: Path, tmp_path: Path, capsys) -> None:
    import keras

    from zoo.training.runs import load_run

    latent = keras.Input((3,))
    pixels = keras.layers.Dense(64, activation="tanh")(latent)
    generator = keras.Model(latent, keras.layers.Reshape((8, 8, 1))(pixels))
    path, out = tmp_path / "generator.keras", tmp_path / "vae"
    generator.save(path)
    convert = ["convert", path, "--to", "vae", "--out", out]
    assert "name them with --data" in _fails(capsys, *convert)
    _zoo(*convert, "--data", small)
    z = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    wanted = (np.asarray(generator(z)) + 1) / 2
    np.testing.assert_allclose(load_run(out).generate_from(z), wanted, atol=5e-6)
    _zoo("train", out, "--epochs", 1, "--batch-size", 20)
    config = _config(out)
    assert (config["data"], config["converted_from"]) == (str(small), str(path))
    assert (config["recipe"], config["recipe_steps"]) == ("joint", 3)
    assert "does not exist" in _fails(
        capsys, "convert", tmp_path / "no.keras", "--to", "vae", "--out", tmp_path / "x",
        "--data", small,
    )  # fmt: skip


def test_the_recipe_of_a_converted_vae(tiny: Path, tmp_path: Path, capsys) -> None:
    """Training begins it, is given its settings, and goes on within it."""
    run = _copy(tiny / "vae", tmp_path)
    assert "recipe='warm-up': expected one of joint, frozen, plain" in _fails(
        capsys, "train", run, "--recipe", "warm-up"
    )
    assert "leave out --out" in _fails(capsys, "train", run, "--out", tmp_path / "x")
    assert _config(run)["epochs"] == 0
    capsys.readouterr()
    _zoo("train", run, "--epochs", 2, "--batch-size", 20, "--accumulate", 2, "--seed", 7)
    said = capsys.readouterr().out
    assert said.count("ignored") == said.count("--seed 7 is ignored: the run has 0.") == 1
    config = _config(run)
    assert (config["recipe"], config["recipe_steps"], config["epochs"]) == ("joint", 6, 2)
    assert (config["batch_size"], config["accumulate"]) == (20, 2)
    assert config["converted_from"] == str(tiny / "gan")
    history = json.loads((run / "history.json").read_text())
    assert {"sleep", "anchor", "distortion", "rate"} <= set(history[0])
    _zoo("train", run, "--epochs", 3)
    config = _config(run)
    assert (config["recipe"], config["recipe_steps"], config["epochs"]) == ("joint", 6, 3)
    assert config["converted_from"] == str(tiny / "gan")
    assert "recipe='frozen': the run was begun with 'joint'. Leave recipe out" in _fails(
        capsys, "train", run, "--epochs", 4, "--recipe", "frozen"
    )


def test_a_frozen_recipe(tiny: Path, tmp_path: Path) -> None:
    """To its end and beyond, resumed, the VAE draws what it drew."""
    run = _copy(tiny / "vae", tmp_path)
    wanted = _images_of(run)
    _zoo("train", run, "--epochs", 2, "--batch-size", 20, "--recipe", "frozen")
    np.testing.assert_array_equal(_images_of(run), wanted)
    _zoo("train", run, "--epochs", 4)
    np.testing.assert_array_equal(_images_of(run), wanted)
    assert _config(run)["recipe"] == "frozen"


def test_the_recipe_of_a_converted_gan(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "gan"
    _zoo("convert", tiny / "vae", "--to", "gan", "--out", out, "--no-whiten")
    _zoo("train", out, "--epochs", 1, "--batch-size", 20)
    config = _config(out)
    assert (config["recipe"], config["recipe_steps"]) == ("warm-up", 3)


def test_a_converted_run_decays_if_nothing_else_moves_its_rates(
    tiny: Path, tmp_path: Path, capsys
) -> None:
    from zoo.training.runs import load_run

    out = tmp_path / "gan"
    _zoo("convert", tiny / "vae", "--to", "gan", "--out", out, "--no-whiten")
    train = ("train", out, "--epochs", 1, "--batch-size", 20, "--decay")
    assert "recipe 'warm-up' sets the learning rates. Take recipe 'plain'" in _fails(capsys, *train)
    assert _config(out)["epochs"] == 0
    _zoo(*train, "--recipe", "plain")
    optimizer = load_run(out).generator_optimizer
    assert float(optimizer.learning_rate) == 0.0
    assert _config(out)["decay_steps"] == int(optimizer.iterations) == 3
    assert "a continued one keeps its learning rates" in _fails(capsys, *train)


def test_recipes_of_ordinary_runs_are_refused(tiny: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "x"
    assert "--recipe is for a run that `zoo convert` made" in _fails(
        capsys, "train", "vae", "--out", out, "--recipe", "joint"
    )
    assert "recipe='warm-up': the run was trained without one" in _fails(
        capsys, "train", tiny / "gan", "--epochs", 2, "--recipe", "warm-up"
    )
    assert not out.exists()
    assert "recipe" not in _config(tiny / "gan")


def test_a_converted_run_killed_at_its_first_step(tiny: Path, tmp_path: Path, monkeypatch) -> None:
    """It goes on with the settings that its training was begun with."""
    from zoo.core.model import ZooModel
    from zoo.training.runs import load_run

    class KilledError(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    run = _copy(tiny / "vae", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ZooModel, "fit", killed)
        with pytest.raises(KilledError):
            main(["train", str(run), "--epochs", "1", "--batch-size", "20", "--clip-norm", "1"])
    assert load_run(run).optimizer.global_clipnorm == 1.0
    _zoo("train", run, "--epochs", 1)
    assert (load_run(run).steps_done, _config(run)["recipe"]) == (3, "joint")


# Words


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
    assert words in _fails(
        capsys, "train", "beta_vae", "--data", small, "--out", out, "--option", option
    )
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
    assert "enough seen" in _fails(
        capsys, "train", "gan", "--data", small, "--out", tmp_path / "x", "--seed", 5, *words
    )
    wanted = {"diff_augment": "color", "ema": None, "ttur": 2, "seed": 3, "num_classes": 4}
    assert found == {**wanted, "dtype": "float32"}


def test_a_resume_lists_what_it_ignores(tiny: Path, small: Path, tmp_path: Path, capsys) -> None:
    run = _copy(tiny / "gan", tmp_path)
    capsys.readouterr()
    _zoo(
        "train", "dcgan", "--out", run, "--resume", "--epochs", 1, "--batch-size", 30, "--data",
        tmp_path / "x.npz", "--latent-dim", 5, "--network", "conv", "--seed", 7, "--accumulate", 2,
        "--jit", "--clip-norm", 1, "--keep", 9, "--precision", "mixed_bfloat16", "--image-size",
        16, "--option", "ema=0.5", "--option", "emma=1", "--best", "loss",
        "--steps-per-execution", 3, "--checkpoint-every", 5, "--validation", "test",
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
    }
    _zoo(
        "train", run, "--epochs", 1, "--batch-size", 20, "--data", small, "--latent-dim", 3,
        "--network", "mlp", "--seed", 0, "--image-size", 8,
    )  # fmt: skip
    assert "ignored" not in capsys.readouterr().out


def test_nothing_left_to_measure(tiny: Path, tmp_path: Path, capsys) -> None:
    run = _copy(tiny / "gan", tmp_path)
    said = _fails(capsys, "evaluate", run, "--extractor", "none")
    assert "Nothing is left to measure" in said
    assert not (run / "metrics.json").exists()


def test_data_of_another_shape_are_said_to_be_converted(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    data, vae = tmp_path / "large.npz", _copy(tiny / "vae", tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 12, 10, 3)).astype(np.uint8)
    np.savez(data, x_train=pixels, x_test=pixels[:10])
    found = {"data": "x", "samples": 1, "images": 1, "extractor": None, "metrics": {"mse": 1.0}}
    monkeypatch.setattr("zoo.evaluation.measure.evaluate", lambda *_, **__: found)
    capsys.readouterr()

    def said(*arguments: object) -> str:
        _zoo(*arguments)
        return capsys.readouterr().out

    for arguments in (("evaluate", vae), ("convert", vae, "--to", "gan", "--dry-run")):
        told = said(*arguments, "--data", data)
        assert str(data) in told
        assert re.search("12 × 10 × 3.*onverted", told, re.DOTALL)
        assert "8 × 8 × 1" in told
    assert "onverted" not in said("evaluate", vae)
    folder = tmp_path / "of several sizes"
    folder.mkdir()
    for i, image in enumerate(pixels[:20]):
        Image.fromarray(image[: 8 + i % 2]).save(folder / f"{i}.png")
    told = said("evaluate", vae, "--data", folder)
    assert str(folder) in told
    assert re.search("onverted.*8 × 8 × 1", told)


def test_a_range_shows_what_is_wrong_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not "0 to 1; expected [0, 1]"."""
    import keras

    from export.endpoints import as_model
    from zoo.convert import sources

    latent = keras.Input((3,))
    pixels = keras.layers.Dense(64, "sigmoid", bias_initializer=keras.initializers.Constant(99.0))
    images = keras.layers.Reshape((8, 8, 1))(pixels(latent))
    with pytest.raises(ValueError, match=r"to 1\.00000048; expected images in \[0, 1\]"):
        as_model(keras.Model(latent, keras.layers.Rescaling(1.0000005)(images)))
    drawn = np.array([0.0, 1.0002], np.float32)
    monkeypatch.setattr(sources, "run", lambda *_: drawn)
    parts: Any = ("x", None, None, "standard_normal", "raw", (0.0, 1.0), 3, (8, 8, 1))
    generator = sources.Generator(*parts)
    with pytest.raises(ValueError, match=r"to 1\.0002; expected|to 1\.00020003; expected"):
        sources._range_of(generator)


# Pretrained models


FROZEN = Path(__file__).parents[1] / "frozen_preset" / "dcgan"


@pytest.fixture
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with one preset, `little`."""
    from zoo.hub import catalog, write_registry

    shutil.copytree(FROZEN, tmp_path / "saved_models" / "little")
    monkeypatch.setattr(catalog, "saved_models", lambda: tmp_path / "saved_models")
    write_registry()
    return tmp_path / "saved_models"


def test_a_pretrained_model_by_name(presets: Path, tmp_path: Path, capsys) -> None:
    _zoo("list", "--pretrained", "lit*")
    assert "little" in capsys.readouterr().out
    _zoo("list", "--pretrained", "*_other")
    assert "little" not in capsys.readouterr().out
    _zoo("sample", "little", "--n", 4, "--out", tmp_path / "x.npy")
    expected = np.load(FROZEN.parent / "dcgan.npy")
    np.testing.assert_allclose(np.load(tmp_path / "x.npy")[:4], expected[:4], atol=1e-6)
    _zoo("info", "little")
    assert "dcgan" in capsys.readouterr().out


@pytest.mark.slow
def test_the_walk_of_a_pretrained_model(presets: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in (presets / "little").iterdir()}
    _zoo(
        "export", "little", "--format", "onnx", "--out", tmp_path / "onnx", "--function", "generate"
    )
    _zoo("verify", tmp_path / "onnx", "--runtime", "ONNX Runtime")
    facts = json.loads((tmp_path / "onnx" / "zoo_export.json").read_text())
    assert (facts["preset"], facts["license"]) == ("little", "mit")
    assert facts["metrics"]["extractor"] == json.loads(before["metrics.json"])["extractor"]
    _zoo("convert", "little", "--to", "vae", "--data", "x", "--out", tmp_path / "vae")
    assert {path.name: path.read_bytes() for path in (presets / "little").iterdir()} == before


def test_a_preset_whose_figures_have_changed(
    presets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The measuring itself is tested in test_pretrained.py."""
    monkeypatch.setattr("zoo.hub.measuring.check", lambda name: [])
    _zoo("bench", "--pretrained")
    assert "little: as its card says" in capsys.readouterr().out
    monkeypatch.setattr("zoo.hub.measuring.check", lambda name: [f"{name}: mse is 3."])
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--pretrained", "little"])
    assert stop.value.code == 1
    assert "little: mse is 3." in capsys.readouterr().out

    def fail(error: Exception) -> None:
        raise error

    missing = measuring.NoTestDataError("Fetch them.")
    monkeypatch.setattr("zoo.hub.measuring.check", lambda _: fail(missing))
    _zoo("bench", "--pretrained")
    assert "little: not measured. Fetch them." in capsys.readouterr().out
    # A preset that has lost a file is no such case.
    monkeypatch.setattr("zoo.hub.measuring.check", lambda _: fail(FileNotFoundError("h5")))
    assert "h5" in _fails(capsys, "bench", "--pretrained")


def test_an_earlier_name_of_a_preset(capsys) -> None:
    """It loads, with a notice of one line; the list shows the present name alone."""
    _zoo("info", "dcgan_fashion_mnist")
    shown = capsys.readouterr()
    notice = "The preset dcgan_fashion_mnist is now called dcgan_conditional_fashion_mnist.\n"
    assert shown.err == notice
    assert "dcgan_conditional_fashion_mnist" in shown.out
    _zoo("list", "--pretrained", "*dcgan*")
    shown = capsys.readouterr()
    assert "dcgan_fashion_mnist" not in shown.out
    assert shown.out.count("dcgan_conditional_fashion_mnist") == 1
    assert "classes" in shown.out


def test_wrong_pretrained_models(presets: Path, tmp_path: Path, capsys) -> None:
    (presets / "little" / "config.json").write_text("{}")
    assert "Install the package anew" in _fails(capsys, "sample", "little")
    assert "expected hf://org/repo" in _fails(capsys, "sample", "hf://nonsense")
    assert "sha256" in _fails(capsys, "sample", "https://example.org/x.zip")
    assert "Did you mean little?" in _fails(capsys, "sample", "litle")
    assert "not a run folder" in _fails(capsys, "sample", "runs/litle")
    assert "by pattern" in _fails(capsys, "list", "lit*")
