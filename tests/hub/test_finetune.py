"""`zoo.finetune`: from a run to a run on other data, with its origin, and bitwise resumption."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zoo
from tests.support.full_disk import full_disk
from tests.support.image_files import save_image
from zoo.io.files import sha256

RNG = np.random.default_rng(0)
IMAGES = RNG.random((8, 8, 8, 1)).astype(np.float32)
SETTINGS: dict[str, Any] = {"batch_size": 4, "verbose": 0}


def folder_of(path: Path, *classes: str) -> Path:
    """Four images of each class."""
    for name in classes:
        (path / name).mkdir(parents=True)
        for number in range(4):
            pixels = RNG.integers(0, 255, (8, 8), np.uint8)
            save_image(path / name / f"{number}.png", pixels)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional GAN of three classes, with an average."""
    folder = tmp_path_factory.mktemp("source")
    data = folder_of(folder / "data", "bag", "boot", "coat")
    model = zoo.create("dcgan", (8, 8, 1), 2, network="mlp", num_classes=3, ema=0.9)
    model.compile()
    zoo.train(model, data, folder / "run", epochs=1, **SETTINGS)
    return folder / "run"


@pytest.mark.slow
def test_a_run_goes_on_with_other_classes(run: Path, tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", "coat", "shoe")
    source = zoo.load(run)
    model, report = zoo.finetune(run, data, classes={"shoe": "boot"}, freeze_discriminator=1)
    assert [start.text for start in report.classes] == ["class 2 (coat)", "class 1 (boot)"]
    latents = source.sample_latents(5, 0)
    for new, old in enumerate((2, 1)):
        wanted = source.generate_from(latents, old)
        np.testing.assert_allclose(model.generate_from(latents, new), wanted, atol=2e-6)
    model.compile()
    out = tmp_path / "new"
    zoo.train(model, data, out, epochs=1, **SETTINGS)
    config, saved = (json.loads((out / x).read_text()) for x in ("config.json", "report.json"))
    origin = config["finetuned_from"]
    assert origin["sha256"] == sha256(run / "model.keras")
    assert (origin["handle"], origin["step"]) == (str(run), 2)
    assert origin["provenance"]["data"] == str(run.parent / "data")
    assert [row["target"] for row in saved["rows"]] == [row.target for row in report.rows]
    assert config["class_names"] == ["coat", "shoe"]
    # A preset of it, a run from that preset, and a resumed run keep where it came from.
    zoo.hub.save_run_as_preset(out, tmp_path / "preset")
    _, again = zoo.finetune(tmp_path / "preset", data)
    assert again.origin["provenance"]["finetuned_from"] == origin
    assert again.max_error == 0.0
    zoo.resume(out, epochs=2, verbose=0)
    assert json.loads((out / "config.json").read_text())["finetuned_from"] == origin


@pytest.mark.slow
def test_it_resumes_bitwise(run: Path, tmp_path: Path) -> None:
    models = []
    for name, epochs in (("whole", 2), ("parts", 1)):
        model, _ = zoo.finetune(run, IMAGES, num_classes=0, classes={"all": "bag"}, seed=5)
        model.compile(learning_rate=1e-4)
        zoo.train(model, IMAGES, tmp_path / name, epochs=epochs, **SETTINGS)
        models.append(model)
    resumed = zoo.resume(tmp_path / "parts", epochs=2, source=IMAGES, verbose=0)
    assert resumed.ema_start == 2
    for one, other in zip(models[0].variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_the_source_is_not_compiled(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With XLA, say, it could not be on the replicas of the new model."""

    def refuse(*_: Any) -> None:
        raise ValueError("jit_compile=True with 2 replicas")

    monkeypatch.setattr(zoo.gan.DCGAN, "compile_from_config", refuse)
    model, report = zoo.finetune(run, num_classes=3)
    assert not model.compiled
    assert report.origin["step"] == 2


KILLED = """
import os, signal, sys, keras, zoo
run, images, out = sys.argv[1:]
class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.steps_done == 7:
            os.kill(os.getpid(), signal.SIGKILL)
model, _ = zoo.finetune(run, images, num_classes=0, classes={"all": "bag"}, seed=5)
model.compile(learning_rate=1e-4)
settings = {"epochs": 2, "batch_size": 2, "checkpoint_every": 3}
zoo.train(model, images, out, **settings, callbacks=[Kill()], verbose=0)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_resumes_bitwise(run: Path, tmp_path: Path) -> None:
    """Within its second epoch, from the checkpoint of step 6."""
    images, killed = tmp_path / "images.npz", tmp_path / "killed"
    np.savez(images, x_train=IMAGES, x_test=IMAGES)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(run), str(images), str(killed)], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert zoo.load(killed).steps_done == 6
    resumed = zoo.resume(killed, epochs=2, verbose=0)
    whole, _ = zoo.finetune(run, images, num_classes=0, classes={"all": "bag"}, seed=5)
    whole.compile(learning_rate=1e-4)
    settings = {"epochs": 2, "batch_size": 2, "checkpoint_every": 3, "verbose": 0}
    zoo.train(whole, images, tmp_path / "whole", **settings)
    assert whole.steps_done == resumed.steps_done == 8
    for one, other in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_classes_follow_the_data(run: Path) -> None:
    """Unlabelled data take the label away; numbered classes say nothing of named ones."""
    model, report = zoo.finetune(run, IMAGES)
    assert (model.num_classes, report.max_error) == (0, None)
    same, report = zoo.finetune(run)
    assert (same.num_classes, report.max_error) == (3, 0.0)
    assert zoo.finetune(same, IMAGES, num_classes=0)[0].num_classes == 0


def test_labels_that_a_model_needs_are_asked_for(tmp_path: Path) -> None:
    model = zoo.create("cvae", (8, 8, 1), 2, network="mlp", num_classes=2)
    with pytest.raises(ValueError, match="a cvae needs classes. Give data with labels"):
        zoo.finetune(model, IMAGES, num_classes=0)
    with pytest.raises(ValueError, match="has no labels, which a conditional model needs"):
        zoo.finetune(model, IMAGES)


def test_a_full_disk_leaves_no_half_of_a_run(tmp_path: Path) -> None:
    """Its config.json fits; report.json, which is longer, does not."""
    model, report = zoo.finetune(zoo.create("vae", (8, 8, 1), 2, network="mlp"), IMAGES)
    model.compile()
    size = len(json.dumps(report.to_dict())) - 1
    with pytest.raises(OSError, match=r"report\.json"), full_disk(size):
        zoo.train(model, IMAGES, tmp_path / "run", epochs=1, **SETTINGS)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_bad_sources_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        zoo.finetune(tmp_path / "none")
    with pytest.raises(ValueError, match="The handle of a model is 7"):
        zoo.finetune(7)  # type: ignore[arg-type]
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(run / "config.json", begun)
    with pytest.raises(FileNotFoundError, match="stopped before its first step"):
        zoo.finetune(begun)
    model = zoo.create("dcgan", (8, 8, 1), 2, network="mlp")
    zoo.save_preset(model, tmp_path / "preset")
    weights = tmp_path / "preset" / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="sha256"):
        zoo.finetune(tmp_path / "preset")
