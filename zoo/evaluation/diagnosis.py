"""What is wrong with a run, in plain words: `zoo doctor`.

It is here, beside what measures models, because it reads what training left, draws samples and
compares them with the data. The diagnoses are pure functions, in the files `signs_in_…`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo import data, metrics
from zoo.core.network_tools import copy_network, with_labels
from zoo.data.floats import as_floats
from zoo.evaluation import signs_in_data, signs_in_history, signs_in_samples, signs_in_weights
from zoo.io import schemas
from zoo.io.names import as_path
from zoo.io.records import read_json
from zoo.training.run_files import ORIGINS, data_of, read_config, run_folder
from zoo.training.runs import load_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from zoo.core.model import ZooModel
    from zoo.data.records import Records
    from zoo.evaluation.findings import Finding

IMAGES = 2000  # training images that are looked at for duplicates, evenly over the split
SAMPLES = 500  # samples, and training images that they are compared with
BATCH = 64  # for BatchNorm's statistics of a batch


class Diagnosis(NamedTuple):
    """What `doctor` found.

    Attributes:
        findings: What is wrong.
        looked_at: What was looked at, such as "3 epochs of history".
        left_out: What could not be looked at, and why, in sentences.

    Example:
        >>> from zoo.evaluation.diagnosis import Diagnosis
        >>> Diagnosis([], ["the weights"], []).text()
        'Nothing is wrong, as far as can be seen. Looked at: the weights.'
    """

    findings: list[Finding]
    looked_at: list[str]
    left_out: list[str]

    def text(self) -> str:
        """The findings, then what was looked at and what not."""
        first = [finding.text() for finding in self.findings]
        first = first or ["Nothing is wrong, as far as can be seen."]
        looked = f"Looked at: {', '.join(self.looked_at)}."
        if self.findings:
            return "\n".join([*first, looked, *self.left_out])
        return " ".join([*first, looked, *self.left_out])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        findings = [finding._asdict() for finding in self.findings]
        return {**self._asdict(), "findings": findings}


def doctor(run: str | Path, source: Any = None, *, seed: int = 0) -> Diagnosis:
    """Says what is wrong with a run, and what helps.

    It reads the history, the weights and 2,000 training images, and compares 500 samples with 500
    of these. Each diagnosis is a function of `zoo.evaluation.signs_in_history`,
    `zoo.evaluation.signs_in_samples`, `zoo.evaluation.signs_in_weights` or
    `zoo.evaluation.signs_in_data`, which states its threshold. Nothing is written.

    Args:
        run: A run folder, a checkpoint in one, or the folder of a preset.
        source: The data, as for `zoo.data.read`; default: those of the run.
        seed: Seed of the samples.

    Returns:
        The findings, and what was looked at. What a run lacks, such as data that are gone, is left
        out, and named.

    Raises:
        FileNotFoundError: If there is no run.
        ValueError: If it is damaged, or `source` does not fit the model.

    Example:
        >>> import numpy as np, tempfile, zoo
        >>> images = np.random.default_rng(0).random((40, 8, 8, 1)).astype("float32")
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> run = tempfile.mkdtemp()
        >>> _ = zoo.train(model, images, run, epochs=1, batch_size=20, verbose=0)
        >>> [finding.name for finding in zoo.doctor(run, images).findings][0]
        'too few updates'
    """
    path = as_path(run, "run")
    config = read_config(path)
    model = load_run(path)
    looked, left_out = ["the weights"], []
    findings = [signs_in_weights.grown_weights(_growth(model))]
    history = _history(path, model)
    if history:
        looked.append(f"{len(history)} epochs of history" if len(history) > 1 else "one epoch")
        findings += _of_history(model, history)
    else:
        left_out.append("There is no history.")
    records = _records(config, path, source, model, left_out)
    labels = model.sample_labels(SAMPLES, seed)
    latents = model.sample_latents(SAMPLES, seed)
    samples = model.generate_from(latents, labels)
    looked.append(f"{SAMPLES} samples")
    unsettled = _unsettled(model, latents, labels, samples)
    if records is not None:
        rows = np.unique(np.linspace(0, len(records) - 1, IMAGES).astype(np.int64))
        images = records.take(rows)
        looked.append(f"{len(images):,} training images")
        findings += _of_updates(model, config, len(records))
        findings += _of_data(records, images)
        real = slice(None, None, math.ceil(len(rows) / SAMPLES))
        some = as_floats(images[real])
        if len(some) > 5:
            findings += _of_samples(some, samples, settled=unsettled is None)
        if model.family == "vae":
            given = None
            if records.labels is not None and model.num_classes:
                given = records.labels[rows[real]]
            findings += _of_posterior(model, some, given, len(records))
    seen = [each for each in (*findings, unsettled) if each is not None]
    return Diagnosis(seen, looked, left_out)


def _history(path: Path, model: ZooModel) -> list[dict[str, Any]]:
    """The epochs that the model has had."""
    file = run_folder(path) / "history.json"
    if not file.exists():
        return []
    history: list[dict[str, Any]] = read_json(file, schemas.HISTORY)
    return [entry for entry in history if entry["step"] <= model.steps_done]


def _of_history(model: ZooModel, history: list[dict[str, Any]]) -> Iterator[Finding | None]:
    if model.family == "gan":
        loss = getattr(model, "loss_name", "non_saturating")
        yield signs_in_history.discriminator_too_strong(history, loss)
    # What other networks add to a loss, and what grows in it by plan, need not fall.
    elif len(model.players) == 1 and not model.warm_up:
        yield signs_in_history.loss_spikes(history)


def _records(
    config: dict[str, Any], path: Path, source: Any, model: ZooModel, left_out: list[str]
) -> Records | None:
    """The training images; None, with a sentence, if the run cannot tell where they are."""
    if source is None:
        try:
            source = data_of(config, path)
            return data.open(source, split="train", image_shape=model.image_shape)
        except (ValueError, FileNotFoundError, ConnectionError) as error:
            left_out.append(f"Without training images: {error}")
            return None
    return data.open(source, split="train", image_shape=model.image_shape)


def _of_updates(model: ZooModel, config: dict[str, Any], images: int) -> Iterator[Finding | None]:
    """Only a run that began from nothing needs so many."""
    facts = config.get("facts", {})
    updates = model.steps_done or facts.get("steps", 0)
    batch_size = config.get("batch_size") or facts.get("batch_size")
    begun = not any(name in where for name in ORIGINS for where in (config, facts))
    if updates and batch_size and begun:
        yield signs_in_history.too_few_updates(
            updates, images, batch_size, minibatches=model.minibatches
        )


def _of_data(records: Records, images: np.ndarray) -> Iterator[Finding | None]:
    contents = records.contents()
    if contents.counts is not None:
        yield signs_in_data.rare_class(contents.counts, contents.class_names)
    yield signs_in_data.duplicate_images(images)
    yield signs_in_data.constant_images(images)


def _of_samples(
    real: np.ndarray, samples: np.ndarray, *, settled: bool
) -> Iterator[Finding | None]:
    """If BatchNorm is not settled, the samples say nothing of the networks."""
    if settled:
        yield signs_in_samples.mode_collapse(real, samples)
        yield signs_in_samples.missed_data(real, samples)
        yield signs_in_samples.saturated_outputs(real, samples)


def _of_posterior(
    model: Any, images: np.ndarray, labels: np.ndarray | None, there: int
) -> Iterator[Finding | None]:
    if hasattr(model, "num_codes"):
        yield signs_in_weights.dead_codes(np.asarray(model.encode(images)), model.num_codes)
    if not model.has_latent_code:
        return
    means = np.asarray(model.latent_code(images, labels)[0])
    yield signs_in_weights.posterior_collapse(means)
    if "rate" in model.log_names:
        if not model.compiled:
            model.compile()
        logs = model.evaluate(images, labels, batch_size=BATCH, verbose=0, return_dict=True)
        yield signs_in_weights.rate_beyond_data(logs["rate"], there, metrics.active_units(means))


def _unsettled(
    model: ZooModel, latents: np.ndarray, labels: np.ndarray | None, samples: np.ndarray
) -> Finding | None:
    """Whether BatchNorm has settled in the network that made samples, if it has BatchNorm."""
    network = getattr(model, "sampling_generator", None)
    if network is None:
        network = model.decoder
    if not any("moving_variance" in weight.path for weight in network.weights):
        return None
    # In a copy: training mode moves the statistics, and may move more.
    network = copy_network(network, latents.shape[1:], labels=labels is not None)
    network.trainable = True  # else Keras takes the moving statistics
    recomputed = []
    for start in range(0, len(latents) - BATCH + 1, BATCH):
        part = slice(start, start + BATCH)
        inputs = with_labels(latents[part], None if labels is None else labels[part])
        outputs = network(inputs, training=True)
        images = outputs if model.family == "gan" else model.pixels.mean(outputs)
        recomputed.append(np.asarray(images))
    of_batches = np.concatenate(recomputed)
    return signs_in_samples.unsettled_statistics(samples[: len(of_batches)], of_batches)


def _growth(model: ZooModel) -> dict[str, float]:
    """By name of a kernel, its norm over that of a fresh one."""
    fresh = type(model).from_config(model.get_config())
    pairs = zip(model.trainable_variables, fresh.trainable_variables, strict=True)
    norms = {
        now.path: (float(np.linalg.norm(now)), float(np.linalg.norm(then)))
        for now, then in pairs
        if now.path.endswith("kernel")
    }
    return {name: now / then for name, (now, then) in norms.items() if then > 0.0}
