"""`zoo.training.resume.resume`: from Python, a run goes on as if it had never stopped."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM, assert_same_state
from zoo.io.records import read_json
from zoo.training import checkpoints
from zoo.training.loop import train
from zoo.training.resume import resume
from zoo.training.run_files import read_config
from zoo.training.runs import load_run, save_run


def _gan(**options: Any) -> Any:
    keras.utils.set_random_seed(0)
    return zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM, network="mlp", **options)


@pytest.fixture
def source(images: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "images.npz"
    np.savez(path, x_train=images, x_test=images[:10])
    return path


@pytest.fixture
def converted(source: Path, tmp_path: Path) -> Path:
    """A GAN that `zoo convert` might have made; nothing has trained it."""
    model = _gan()
    model.compile()
    facts = {"data": str(source), "epochs": 0, "seed": 0, "converted_from": "runs/vae"}
    save_run(model, tmp_path / "converted", facts)
    return tmp_path / "converted"


@pytest.mark.slow
def test_two_epochs_and_two_more_are_four(source: Path, tmp_path: Path) -> None:
    """Weights, slots, averages, rising and falling rates, history and settings: bitwise."""
    settings = {"batch_size": 20, "keep": 2, "best": "discriminator_loss", "seed": 3, "verbose": 0}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for out, epochs in ((whole, 4), (parts, 2)):
        model = _gan(ema_images=50)
        model.compile(algorithm="adamw", schedule="cosine", warmup_steps=2, decay_steps=12)
        assert train(model, source, out, epochs=epochs, **settings)
    resumed = resume(parts, epochs=4, verbose=0)
    assert resumed.steps_done == 12
    assert_same_state(resumed, load_run(whole))
    assert_same_state(load_run(parts), resumed)
    for name in ("history.json", "config.json"):
        assert (parts / name).read_text() == (whole / name).read_text()
    kept = [sorted(path.name for path in (run / "checkpoints").iterdir()) for run in (whole, parts)]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 2


@pytest.mark.slow
def test_a_converted_run_begins_with_its_recipe(converted: Path) -> None:
    settings = {"batch_size": 20, "keep": 1}
    with pytest.raises(ValueError, match="learning_rate: recipe 'warm-up' sets the learning rates"):
        resume(converted, epochs=2, compile_options={"learning_rate": 1e-3}, verbose=0)
    begun = resume(
        converted, epochs=2, settings=settings, compile_options={"clip_norm": 1.0}, verbose=0
    )
    assert begun.generator_optimizer.global_clipnorm == 1.0
    config = read_config(converted)
    assert (config["recipe"], config["recipe_steps"], config["keep"]) == ("warm-up", 6, 1)
    assert config["converted_from"] == "runs/vae"
    # It goes on with all that, and is told when it could not.
    assert resume(converted, epochs=3, verbose=0).steps_done == 9
    config = read_config(converted)
    assert (config["recipe"], config["recipe_steps"], config["batch_size"]) == ("warm-up", 6, 20)
    for options, message in (
        ({"settings": {"batch_size": 30}}, r"batch_size=30: .* was begun with 20. Leave"),
        ({"settings": {"epoch": 30}}, "settings: 'epoch'; expected some of batch_size"),
        ({"compile_options": {"clip_norm": 2.0}}, "keeps its optimizers"),
        ({"recipe": "plain"}, "was begun with 'warm-up'"),
        ({"decay": True}, "decay is for a new run"),
    ):
        with pytest.raises(ValueError, match=message):
            resume(converted, epochs=4, **options)
    assert read_config(converted)["epochs"] == 3


@pytest.mark.slow
def test_data_that_have_moved(source: Path, converted: Path, images: np.ndarray) -> None:
    assert resume(converted, epochs=1, settings={"batch_size": 20}, verbose=0).steps_done == 3
    moved = source.rename(source.with_name("moved.npz"))
    with pytest.raises(FileNotFoundError, match=r"images\.npz does not exist. .* as `source`"):
        resume(converted, epochs=2)
    with pytest.raises(ValueError, match="pixels"):
        resume(converted, epochs=2, source=1.0 - images)
    assert resume(converted, epochs=2, source=moved, verbose=0).steps_done == 6
    assert read_config(converted)["data"] == str(moved)
    assert resume(converted, epochs=3, source=images, verbose=0).steps_done == 9
    with pytest.raises(ValueError, match="was trained on an array. Give the data as `source`"):
        resume(converted, epochs=4)


def test_what_is_no_run(converted: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no run to resume"):
        resume(tmp_path / "nowhere", epochs=1)
    with pytest.raises(ValueError, match="is one checkpoint"):
        resume(converted / "model.keras", epochs=1)
    with pytest.raises(ValueError, match="is a preset"):
        resume(Path(__file__).parents[1] / "frozen_preset" / "dcgan", epochs=1)
    copy = (converted / "model.keras").rename(converted / "best.keras")
    with pytest.raises(FileNotFoundError, match=r"no model\.keras\): Usable: .*best\.keras; copy"):
        resume(converted, epochs=1)
    with pytest.raises(FileNotFoundError, match=r"does not exist\. Usable: .*best\.keras; copy"):
        zoo.load(converted)
    copy.unlink()
    with pytest.raises(FileNotFoundError, match=r"before its first checkpoint. Train a new one, i"):
        resume(converted, epochs=1)


@pytest.mark.slow
def test_a_run_without_a_checkpoint_is_begun_anew(images: np.ndarray, tmp_path: Path) -> None:
    """What was killed right after it wrote config.json: the same command, without resuming."""
    for _ in range(2):
        model = zoo.create("vae", images.shape[1:], 2, network="mlp")
        model.compile()
        zoo.train(model, images, tmp_path / "run", epochs=1, batch_size=20, verbose=0)
        assert model.steps_done > 0
        (tmp_path / "run" / "config.json").rename(tmp_path / "config.json")
        shutil.rmtree(tmp_path / "run")
        (tmp_path / "run").mkdir()
        (tmp_path / "config.json").rename(tmp_path / "run" / "config.json")


@pytest.mark.slow
def test_a_kill_between_the_files_of_the_first_epoch(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """history.json has the epoch, and the checkpoint is still that of step 0."""
    save, saved = checkpoints.save, []

    def killed(*args: Any, **options: Any) -> None:
        if saved:
            raise KeyboardInterrupt
        saved.append(save(*args, **options))

    for out in ("whole", "parts"):
        model = _gan()
        model.compile()
        with monkeypatch.context() as patch:
            if out == "parts":
                patch.setattr(checkpoints, "save", killed)
            with pytest.raises(KeyboardInterrupt) if out == "parts" else nullcontext():
                train(model, images, tmp_path / out, epochs=1, batch_size=20, verbose=0)
    assert read_json(tmp_path / "parts" / "history.json")[0]["epoch"] == 1
    assert load_run(tmp_path / "parts").steps_done == 0
    resumed = resume(tmp_path / "parts", source=images, epochs=1, verbose=0)
    assert_same_state(resumed, load_run(tmp_path / "whole"))
    fresh = _gan()
    fresh.compile()
    with pytest.raises(FileExistsError, match="has not been trained"):
        train(fresh, images, tmp_path / "whole", epochs=1, batch_size=20, verbose=0)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 2.5}, {"seed": "x"}, {"batch_size": "x"}, {"keep": "x"}]
)
def test_settings_of_another_type_change_nothing(
    wrong: dict[str, Any], images: np.ndarray, tmp_path: Path
) -> None:
    """They would be written into config.json, which no command could then read."""
    model = zoo.create("vae", images.shape[1:], 2, network="mlp")
    model.compile()
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))}=.*: expected a whole number"):
        zoo.train(model, images, tmp_path / "run", **{"epochs": 1, **wrong})
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_names_of_classes_are_kept(images: np.ndarray, tmp_path: Path) -> None:
    """Also where the run goes on with the same images without their names."""
    labels, names = np.arange(60) % 3, ["bag", "boot, high", "2"]
    model = zoo.create("cvae", IMAGE_SHAPE, LATENT_DIM, network="mlp", num_classes=3)
    model.compile()
    named = zoo.data.Images(images, labels, names)
    zoo.train(model, named, tmp_path / "run", epochs=1, batch_size=60, verbose=0)
    resume(tmp_path / "run", epochs=2, source=zoo.data.Images(images, labels), verbose=0)
    assert read_config(tmp_path / "run")["class_names"] == names
