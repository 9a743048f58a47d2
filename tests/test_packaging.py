"""The wheel holds what it needs and works from any directory."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import zoo

ROOT = Path(__file__).resolve().parent.parent
CODE = """
import zoo, export
from pathlib import Path
assert Path(zoo.__file__).is_relative_to({root!r}), zoo.__file__
images = zoo.data.to_array(zoo.data.DEFAULT_SOURCE, split="test")
features = zoo.metrics.load_extractor("fashion_mnist_classifier")(images[:5])
model = zoo.create("dcgan", images.shape[1:], 8)
print(images.shape, features.shape, model.generate(2, seed=0).shape)
preset = zoo.list_pretrained()[0]
assert zoo.load_pretrained(preset.name).generate(2, seed=0).shape == (2, *preset.image_shape)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", str(folder), str(ROOT)],
        check=True,
    )  # fmt: skip
    return next(folder.glob("vaegan_zoo-*.whl"))


def test_contents(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"zoo", "export"}
    for wanted in (
        "zoo/data/fashion_mnist_sample/LICENSE",
        "zoo/data/fashion_mnist_sample/dataset_info.json",
        "zoo/metrics/classifiers/fashion_mnist/model.weights.h5",
        "zoo/metrics/classifiers/fashion_mnist/config.json",
        *(
            f"zoo/metrics/classifiers/efficientnet_lite0/{name}"
            for name in ("weights.npz", "config.json", "LICENSE", "NOTICE")
        ),
        "zoo/metrics/lpips_weights/vgg16.npz",
        "zoo/metrics/lpips_weights/LICENSE",
        "zoo/hub/saved_models/registry.json",
        *(f"zoo/hub/saved_models/{p.name}/model.weights.h5" for p in zoo.list_pretrained()),
        "export/web/page/index.html",
    ):
        assert wanted in names
    assert wheel.stat().st_size < 50e6


@pytest.mark.slow
def test_works_from_any_directory(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    work = tmp_path / "elsewhere"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(root=str(site))],
        cwd=work, env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "(2000, 28, 28, 1) (5, 64) (2, 28, 28, 1)"


@pytest.mark.slow
def test_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """Its dependencies suffice, none of them is CUDA, and the command is there."""
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    python = str(binaries / "python")
    constraints = str(ROOT / "constraints.txt")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "-c", constraints, str(wheel)], check=True
    )
    listed = subprocess.run(
        [python, "-m", "pip", "list"], capture_output=True, text=True, check=True
    ).stdout
    assert "nvidia" not in listed
    run = tmp_path / "run"
    for command in (
        ["train", "vae", "--epochs", "1", "--latent-dim", "8", "--out", run],
        ["evaluate", run, "--importance-samples", "2"],
        ["export", run, "--format", "onnx", "--out", run / "onnx"],
        ["verify", run / "onnx"],
    ):
        subprocess.run([str(binaries / "zoo"), *map(str, command)], cwd=tmp_path, check=True)
