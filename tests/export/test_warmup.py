"""Warm-up requests are TF Serving's own messages, and the SavedModel answers each of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

import zoo
from export import endpoints, export_model, read_export
from export.warmup import BATCHES, NAME, write_warmup
from tests.cases import IMAGE_SHAPE, LATENT_DIM


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return zoo.create("cvae", IMAGE_SHAPE, LATENT_DIM, num_classes=3)


@pytest.fixture(scope="module")
def saved(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("warmup") / "cvae"
    return export_model(
        model, path, functions=("generate", "encode", "sample"), warmup=True, verify=False
    )


def _requests(folder: Path) -> list[object]:
    records = tf.data.TFRecordDataset(str(folder / "assets.extra" / NAME))
    return [PredictionLog.FromString(r.numpy()).predict_log.request for r in records]


def test_each_signature_of_batches_answers_each_size(saved: Path) -> None:
    loaded = tf.saved_model.load(str(saved))
    seen = set()
    for request in _requests(saved):
        assert request.model_spec.name == "cvae"
        signature = loaded.signatures[request.model_spec.signature_name]
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        assert inputs.keys() == signature.structured_input_signature[1].keys()
        answers = signature(**{name: tf.constant(x) for name, x in inputs.items()})
        (size,) = {len(tensor) for tensor in answers.values()}
        for tensor in answers.values():
            assert tensor.dtype != tf.float32 or np.isfinite(tensor).all()
        seen.add((request.model_spec.signature_name, size))
    # Not of `sample`: TF Serving's batching refuses scalars, and with a failed request the model.
    assert seen == {(name, n) for name in loaded.signatures if name != "sample" for n in BATCHES}
    assert seen >= {("serving_default", 1), ("encode", 8)}


def test_the_file_is_small_and_always_the_same(model: keras.Model, tmp_path: Path) -> None:
    first, second = (
        write_warmup(tmp_path / name, endpoints(model), "cvae").read_bytes() for name in ("a", "b")
    )
    assert first == second
    assert len(first) < 5_000


def test_the_batching_of_the_docs_takes_the_requests() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    (largest,) = re.findall(r"max_batch_size \{ value: (\d+) \}", docs)
    assert int(largest) >= max(BATCHES)
    assert f"`max_batch_size` must be at least {max(BATCHES)}" in docs


def test_without_the_protos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(ImportError, match=r"pip install 'vaegan-zoo\[serving\]'"):
        write_warmup(tmp_path, [], "x")
    assert not list(tmp_path.iterdir())


REPLAY = """
import sys
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
loaded = tf.saved_model.load(sys.argv[1])
for record in tf.data.TFRecordDataset(sys.argv[1] + "/assets.extra/tf_serving_warmup_requests"):
    log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
    request = log.predict_log.request
    inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
    signature = loaded.signatures[request.model_spec.signature_name]
    signature(**{name: tf.constant(x) for name, x in inputs.items()})
    print(request.model_spec.signature_name)
assert "zoo" not in sys.modules
"""


@pytest.mark.slow
def test_a_process_without_the_zoo_replays_it(saved: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, str(saved)],
        check=True, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    names = ["serving_default", *(n for n in read_export(saved)["endpoints"] if n != "sample")]
    assert done.stdout.split() == [name for name in names for _ in BATCHES]


@pytest.mark.slow
def test_saved_model_cli_runs_a_signature(saved: Path, model: keras.Model, tmp_path: Path) -> None:
    tool = Path(sys.executable).parent / "saved_model_cli"
    latents, labels = model.sample_latents(2, seed=0), np.array([0, 2], np.int32)
    np.savez(tmp_path / "in.npz", latent=latents, label=labels)
    inputs = ";".join(f"{name}={tmp_path}/in.npz[{name}]" for name in ("latent", "label"))
    command = ["run", "--dir", saved, "--tag_set", "serve", "--signature_def", "generate"]
    subprocess.run(
        [tool, *command, "--inputs", inputs, "--outdir", tmp_path], check=True, capture_output=True
    )
    wanted = model.generate_from(latents, labels)
    np.testing.assert_allclose(np.load(tmp_path / "image.npy"), wanted, atol=1e-6)
