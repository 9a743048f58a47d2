"""This project's side of `benchmarks/real_sizes.py`: what it trains, exports and compares with."""

from __future__ import annotations

import collections
import shutil
from typing import TYPE_CHECKING, Any

import zoo  # first: it turns on oneDNN

# isort: split

import keras
import numpy as np
import tensorflow as tf
from contestant import THREADS
from sized import CLASSES, LATENT_DIM, NUMBERS, ONNX

from export import export_model
from zoo.convert.writing import variables
from zoo.layers import SpectralLayer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POWER_ITERATIONS = 20


def model_of(settings: dict[str, Any]) -> Any:
    """The model without penalties and without an average, one update of each player per step."""
    shape, width = (settings["size"], settings["size"], 3), settings["width"]
    options: dict[str, Any] = {"ema": None, "seed": settings["seed"]}
    keras.utils.set_random_seed(settings["seed"])
    if settings["model"] == "stylegan2":
        return zoo.create(
            "stylegan2", shape, width, network=f"stylegan2-{width}", style_dim=width,
            regularizer=None, path_length_weight=0.0, **options,
        )  # fmt: skip
    return zoo.create(
        "biggan", shape, LATENT_DIM, network=f"biggan_deep-{width}", n_critic=1,
        orthogonal_weight=0.0, num_classes=CLASSES, **options,
    )  # fmt: skip


def data_of(settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a batch."""
    rng = np.random.default_rng(settings["seed"])
    shape = (settings["batch"], settings["size"], settings["size"], 3)
    return rng.random(shape, np.float32), rng.integers(0, CLASSES, shape[0], np.int32)


def training(settings: dict[str, Any]) -> Callable[[], Any]:
    """A turn: so many steps on one batch."""
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    model = model_of(settings)
    model.compile()
    batch = zoo.data.untuned(tf.data.Dataset.from_tensors(data_of(settings)).repeat())
    return lambda: model.fit(batch, steps_per_epoch=settings["steps"], verbose=0, shuffle=False)


def prepare(folder: Path, settings: dict[str, Any]) -> None:
    """Writes weights, images, and two steps' noise and losses; and the exported generator."""
    model = model_of(settings)
    model.compile()
    shake(model, settings["seed"])
    images, labels = data_of(settings)
    latents = model.sample_latents(settings["batch"], seed=settings["seed"])
    numbers = {"latent": latents, "label": labels, "reals": images}
    given = (labels,) if model.num_classes else ()
    numbers["images"] = model.generate_from(latents, *given)
    for role in ("generator", "discriminator"):
        weights = variables(getattr(model, role))
        numbers |= {f"{role}:{name}": np.asarray(value) for name, value in weights.items()}
    path = export_model(model, folder / "export", format="onnx", functions=["generate"])
    (path / ONNX).replace(folder / ONNX)
    shutil.rmtree(path)
    for step in range(2):
        model.step.assign(step)
        noise = model.batch_noise(model.noise_source(tf.constant(images)))
        numbers |= {f"noise_{step}:{name}": np.asarray(value) for name, value in noise.items()}
    model.step.assign(0)
    data = tf.data.Dataset.from_tensors((images, labels))
    history = model.fit(data, epochs=2, verbose=0, shuffle=False).history
    for name in ("discriminator_loss", "generator_loss"):
        numbers[name] = np.array(history[name])
    np.savez(folder / NUMBERS, **numbers)


def profile(take: Callable[[], Any], folder: Path) -> list[str]:
    """Milliseconds of a turn by kind of operation, summed over threads: the twenty largest."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2  # noqa: PLC0415

    take()
    with tf.profiler.experimental.Profile(str(folder)):
        take()
    space = xplane_pb2.XSpace()
    (trace,) = folder.rglob("*.xplane.pb")
    space.ParseFromString(trace.read_bytes())
    totals: collections.Counter[str] = collections.Counter()
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            name, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")[::2]
            if "/" in name and "::" not in name:  # an operation of the graph, not of TensorFlow
                totals[kind] += event.duration_ps
    return [f"{picoseconds / 1e9:10.1f} ms  {kind}" for kind, picoseconds in totals.most_common(20)]


def shake(model: Any, seed: int) -> None:
    """Moves weights that start as 0 or 1, so that a comparison sees them.

    Spectral norms are those after some training: from random vectors they are too small, and
    features that grow from layer to layer amplify rounding.
    """
    rng = np.random.default_rng(seed)
    for network in (model.generator, model.discriminator):
        for weight in network.weights:
            if weight.name in ("bias", "beta", "moving_mean", "strength"):
                weight.assign_add(0.1 * rng.standard_normal(weight.shape))
            if weight.name in ("gamma", "moving_variance"):
                weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        for layer in network._flatten_layers():
            if isinstance(layer, SpectralLayer):
                for _ in range(POWER_ITERATIONS):
                    layer.normalized_kernel(training=True)
