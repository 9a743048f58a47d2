"""The estimate of a training's memory, against the model's own bytes and against measured peaks."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.support.command import fails
from tests.support.replicas import replicated
from zoo.training import liveness
from zoo.training.memory import ERROR, Memory, check_memory, estimate, limit_of_group

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (8, 8, 1)
FLOAT = 4


def _graph(function: Any, *shapes: Any) -> Any:
    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    return tf.function(function).get_concrete_function(*specs).graph


def test_the_fullest_moment_of_a_graph() -> None:
    """Of 1,000 numbers: two products at once, an activation in place of its input, a view."""

    def products(x: Any) -> Any:
        one, two = tf.linalg.matmul(x, x), tf.linalg.matmul(x, x, transpose_a=True)
        return tf.linalg.matmul(one, two)

    assert liveness.peak(_graph(products, [100, 100])).bytes == 3 * 10_000 * FLOAT

    def chain(x: Any) -> Any:
        for _ in range(5):
            x = tf.reshape(tf.nn.relu(tf.reshape(tf.linalg.matmul(x, x), [-1])), [100, 100])
        return x

    assert liveness.peak(_graph(chain, [100, 100])).bytes == 2 * 10_000 * FLOAT


def test_what_the_backward_pass_takes_is_kept() -> None:
    """d/dx of Σ sin ∘ sin ∘ sin takes three inputs, x among them."""

    def gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(tf.sin(tf.sin(tf.sin(x))))
        return tape.gradient(y, x)

    found = liveness.peak(_graph(gradient, [1000]))
    assert found.forward == 3 * 1000 * FLOAT
    assert found.backward == 2 * 1000 * FLOAT


def test_the_larger_branch_counts() -> None:
    def either(x: Any) -> Any:
        large = lambda: tf.reduce_sum(tf.linalg.matmul(x, x, transpose_a=True))  # noqa: E731
        return tf.cond(tf.reduce_sum(x) > 0.0, large, lambda: tf.reduce_sum(x))

    found = liveness.peak(_graph(either, [1, 100])).bytes
    assert 10_000 * FLOAT <= found < 10_103 * FLOAT


def test_a_batch_size_that_is_not_known() -> None:
    graph = _graph(lambda x: tf.concat([x, x], axis=1), [None, 10])
    assert liveness.peak(graph, unknown=7).bytes == 7 * (10 + 20) * FLOAT


@pytest.mark.slow
def test_parts_that_are_known_exactly() -> None:
    """A GAN with an average and Adam: m and v of each weight, a rate and a count per player."""
    gan = zoo.create("dcgan", SHAPE, 3, network="mlp", ema=0.9)
    gan.compile()
    memory = estimate(gan, 16)
    held = [v.numpy() if hasattr(v, "numpy") else np.asarray(v) for v in gan.variables]
    assert memory.averages == sum(np.asarray(w).nbytes for w in gan.ema_generator.get_weights())
    assert memory.weights + memory.averages == sum(value.nbytes for value in held)
    trained = sum(np.asarray(v).nbytes for v in gan.trainable_variables)
    scalars = 2 * (4 + 8)  # a rate in float32, and a count in int64
    assert memory.optimizers == 2 * trained + scalars
    twice = estimate(gan, 32)
    assert twice.held == memory.held
    assert twice.total > memory.total


@pytest.mark.slow
def test_parts_of_a_batch_and_checkpointing_take_less() -> None:
    gan = zoo.create("dcgan", (32, 32, 1), 3, network="conv-4")
    found = []
    for options in ({}, {"accumulate": 4}, {"remat": True}):
        gan.compile(**options)
        memory = estimate(gan, 64)
        found.append(memory.activations + memory.gradients)
    assert found[1] < 0.5 * found[0]
    assert found[2] < found[0]


@pytest.mark.slow
def test_replicas_on_the_cpu_count_together() -> None:
    """Each has its copy of the weights, and its share of the batch."""
    found = []
    for n in (1, 2):
        with replicated(n).scope():
            model = zoo.create("vae", SHAPE, 3, network="mlp")
            model.compile()
        found.append(estimate(model, 32))
    one, two = found
    assert two.held == 2 * one.held
    assert two.activations == pytest.approx(one.activations, rel=0.1)


def test_what_cannot_fit_is_refused() -> None:
    """Above what there is by more than the error; the sentence says what helps."""
    model = zoo.create("vae", SHAPE, 3, network="mlp")
    model.compile()
    needed = estimate(model, 64).total
    assert isinstance(check_memory(model, 64, round(needed / (1.0 + ERROR)) + 1), Memory)
    words = (
        r"Training this vae on images of 8 × 8 pixels in batches of 64 needs about 0\.\d+ GB, and "
        r"there are 0\.\d+ GB. What helps: --accumulate 32, with the same gradients, --remat, with "
        r"the same gradients, --precision mixed_bfloat16, --batch-size 32 or less, a narrower "
        r"--network, a smaller --image-size. --no-memory-check trains regardless."
    )
    with pytest.raises(MemoryError, match=words):
        check_memory(model, 64, round(needed / (1.0 + ERROR)) - 1)
    assert check_memory(model, 64) is None  # by far


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("batch_size=0: expected at least 1", {"batch_size": 0}),
        ("call model.compile\\(\\) first", {}),
    ],
)
def test_bad_arguments(message: str, options: Any) -> None:
    with pytest.raises(ValueError, match=message):
        estimate(zoo.create("vae", SHAPE, 3, network="mlp"), **options)


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (("memory.max", "memory.current", "memory.stat"), "anon 5\ninactive_file 300\n"),
        (
            ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
            "inactive_file 7\ntotal_inactive_file 300\n",
        ),
    ],
)
def test_the_limit_of_a_container(tmp_path: Path, names: Any, counts: str) -> None:
    """Files' caches give way."""
    (tmp_path / "memory").mkdir()
    for name, text in zip(names, ("5000\n", "1300\n", counts), strict=True):
        (tmp_path / name).write_text(text)
    assert limit_of_group(tmp_path) == 5000 - (1300 - 300)
    (tmp_path / names[0]).write_text("max\n")
    assert limit_of_group(tmp_path) is None


def test_the_command_refuses_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zoo.training.memory.available", lambda: 10**6)
    source = tmp_path / "x.npz"
    np.savez(source, images=np.zeros((40, 8, 8, 1), np.float32))
    options = ("train", "vae", "--data", source, "--network", "mlp", "--batch-size", 8)
    text = fails(capsys, *options, "--out", tmp_path / "run")
    assert "What helps: --accumulate 4" in text
    assert not (tmp_path / "run").exists()


# The peak of a process, in one of its own.

PEAK = """
import json, sys
import numpy as np, psutil, tensorflow as tf
import zoo
from zoo.training.memory import estimate
name, size, batch, options, compiled = json.loads(sys.argv[1])
images = np.random.default_rng(0).random((batch, size, size, 3), np.float32)
data = tf.data.Dataset.from_tensors(images).repeat()
before = psutil.Process().memory_info().rss
model = zoo.create(name, (size, size, 3), 64, **options)
model.compile(**compiled)
model.fit(data, steps_per_epoch=3, epochs=1, verbose=0)
lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak = int(lines["VmHWM"].split()[0]) * 1024 - before
print(json.dumps([peak, *estimate(model, batch)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "size", "batch", "options", "compiled"),
    [
        ("sagan", 128, 48, {"network": "sagan-8"}, {}),
        ("sagan", 128, 48, {"network": "sagan-8"}, {"remat": True}),
        ("vae", 128, 64, {"network": "resnet-8"}, {}),
        ("vae", 128, 64, {"network": "resnet-8"}, {"remat": True}),
        ("dcgan", 64, 16, {}, {}),
        ("stylegan2", 64, 32, {"network": "style-8"}, {}),
    ],
)
def test_the_estimate_is_near_the_peak(
    name: str, size: int, batch: int, options: Any, compiled: Any
) -> None:
    """Within a quarter of it: of the process, above what it had before the model was made."""
    arguments = json.dumps([name, size, batch, options, compiled])
    done = subprocess.run(
        [sys.executable, "-c", PEAK, arguments], capture_output=True, text=True, check=True
    )
    peak, *parts = json.loads(done.stdout.splitlines()[-1])
    total = Memory(*parts).total
    assert abs(total - peak) <= ERROR * peak, (total, peak, parts)
