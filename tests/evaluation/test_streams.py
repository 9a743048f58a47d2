"""Streams of features: no more memory than a batch, and the same on several workers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zoo
from tests.support import measuring_worker
from tests.support.replicas import replicated
from zoo import metrics
from zoo.data.arrays import Mapped
from zoo.evaluation import references, streams
from zoo.training.launch import launch

MEMORY = """
import resource
import sys
import numpy as np
import zoo
from zoo import metrics
from zoo.evaluation.protocols import parse_all
from zoo.evaluation.scores import Scores

rng = np.random.default_rng(0)
project = rng.normal(size=(64, 2048)).astype(np.float32)
features = metrics.FeatureExtractor(
    "wide", 2048, None, lambda x: np.tanh(np.asarray(x).reshape(-1, 64) @ project)
)
vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
images = rng.integers(0, 256, (int(sys.argv[2]), 8, 8, 1)).astype(np.uint8)
vae.generate(300, seed=0)
Scores(vae, images[:300], parse_all(["fid300_test", "kid300_test"]), features).measure()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Scores(vae, images, parse_all([sys.argv[1]]), features).measure()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)  # MB
"""


def test_batches_are_all_images_in_order() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (603, 4, 4, 1)).astype(np.uint8)
    batches = list(streams.real(pixels, "train", None))
    assert [len(batch.images) for batch in batches] == [250, 250, 103]
    whole = np.concatenate([batch.images for batch in batches])
    np.testing.assert_array_equal(whole, pixels / np.float32(255))
    with pytest.raises(ValueError, match="no labels"):
        next(streams.real(pixels, "train", None, labels=True))


@pytest.mark.slow
def test_nothing_reads_a_large_split_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit of memory both ways to measure take images batch by batch, to one figure."""
    images = np.random.default_rng(0).integers(0, 256, (520, 28, 28, 1)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    gan = zoo.create("dcgan", (28, 28, 1), 2, network="mlp", seed=0)
    features = "fashion_mnist_classifier"
    options: dict[str, Any] = {"extractor": features, "samples": 80}
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "held"))
    held = zoo.evaluate(gan, images, **options)["metrics"]
    named = zoo.evaluate(gan, images, extractor=features, metrics=["fid80_test"])["metrics"]

    taken = []
    take = Mapped.take

    def count(self: Mapped, indices: Any) -> np.ndarray:
        taken.append(len(indices))
        return take(self, indices)

    monkeypatch.setattr(Mapped, "take", count)
    monkeypatch.setattr("zoo.data.images.MEMORY_LIMIT", 0)
    monkeypatch.setattr("zoo.data.unchanged.CHUNK", 100 * 28 * 28)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "streamed"))
    source = tmp_path / "images.npy"
    assert zoo.evaluate(gan, source, **options)["metrics"] == pytest.approx(held, rel=1e-4)
    streamed = zoo.evaluate(gan, source, extractor=features, metrics=["fid80_test"])["metrics"]
    assert streamed == pytest.approx(named, rel=1e-4)
    assert max(taken) <= 250


def test_an_image_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.data.images.MEMORY_LIMIT", 0)
    for i in range(4):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:50])
    with pytest.raises(ValueError, match=r"2\.png is not a readable image"):
        list(streams.real(tmp_path, "train", (8, 8, 1)))


def test_folders_with_one_index_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two folders of files of the same names and sizes do not share their statistics."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("zoo.data.images.MEMORY_LIMIT", 0)
    found = []
    extractor = metrics.load_extractor("fashion_mnist_classifier")
    for name, shade in (("dark", 0), ("light", 255)):
        (tmp_path / name).mkdir()
        for i in range(12):
            Image.new("L", (28, 28), shade).save(tmp_path / name / f"{i}.bmp")
        found.append(references.statistics(tmp_path / name, "train", (28, 28, 1), extractor))
    assert not np.allclose(found[0].mean, found[1].mean)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "images"), [("fid50k_full", 50_000), ("kid50k_full", 50_000), ("pr5k3_full", 5_000)]
)
def test_memory(name: str, images: int) -> None:
    """50,000 × 2,048 features, real and generated, in at most 1 GB."""
    found = subprocess.run(
        [sys.executable, "-c", MEMORY, name, str(images)],
        check=True,
        capture_output=True,
        text=True,
    )
    megabytes = float(found.stdout.split()[-1])
    print(f"{name}: {megabytes:.0f} MB")
    assert megabytes < (400 if name.startswith("fid") else 1024)


@pytest.mark.slow
def test_two_workers(tmp_path: Path) -> None:
    """Each makes its share of the samples, and both have the features of all."""
    assert launch(2, [sys.executable, "-m", "tests.support.measuring_worker", str(tmp_path)]) == 0
    measuring_worker.found(replicated(1), tmp_path, "one")
    one, *workers = (np.load(tmp_path / f"{n}.npz") for n in ("one", "worker_0", "worker_1"))
    for worker in workers:
        np.testing.assert_array_equal(worker["labels"], one["labels"])
        np.testing.assert_allclose(worker["features"], one["features"], atol=1e-5)
    whole, shared = (
        json.loads((tmp_path / f"run_{name}" / "history.json").read_text())
        for name in ("one", "worker_0")
    )
    assert [e["fid70_full"] for e in shared] == pytest.approx(
        [e["fid70_full"] for e in whole], rel=1e-3
    )
    assert (tmp_path / "run_worker_0" / "best.keras").exists()
