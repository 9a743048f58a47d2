"""The benchmark: one row per model, trained for the same number of images and measured alike.

Each row and seed have a run folder, `OUT/ROW/seed_N`, as `zoo train` makes it. It holds besides:

    timing.json    images and seconds of each epoch
    metrics.json   as of `zoo evaluate`, and under `bench` the settings, throughput and machine
    failed.json    why there is no metrics.json; remove it to try again
    lock           held by the process that works on it

All rows have networks of one architecture, so that their figures compare losses and penalties. The
networks have half its width, so that a row takes minutes on a CPU. GANs have 64 latents. VAEs have
16: with 64 they are likelier, but the optimal σ lets each latent carry so many nats that few
latents lie where the prior draws.
"""

from __future__ import annotations

import fcntl
import gc
import os
import platform
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from zoo import data
from zoo.core import registry
from zoo.core.environment import onednn_is_on
from zoo.evaluation.measure import evaluate, sampler_metrics
from zoo.io import schemas
from zoo.io.names import suggestion
from zoo.io.records import read_json, write_json
from zoo.sampling.samplers import fit_sampler, training_images
from zoo.training import checkpoints
from zoo.training.loop import train
from zoo.training.run_files import read_config
from zoo.training.runs import load_run, with_classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LATENTS = {"vae": 16, "gan": 64}
OPTIONS: dict[str, dict[str, Any]] = {
    "vae": {"network": "conv-32"},
    "gan": {"network": "conv-32", "ema": 0.999},
}
# Data that need other options. A Gaussian decoder learns the mean image of sprites, which are
# mostly black. The papers on disentanglement use this likelihood too.
DATA_OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "sprites": {"vae": {"likelihood": "bernoulli"}},
}
# Images per update of a GAN: with more its generator would have a few hundred updates in all. The
# second is for n_critic > 1.
GAN_BATCH, CRITIC_BATCH = 32, 16


@dataclass(frozen=True)
class Row:
    """A model and how it is trained.

    Attributes:
        model: One of `zoo.list_models()`.
        options: The model's options besides those of its family, `OPTIONS` and `DATA_OPTIONS`.
        latent_dim: Number of latents; None takes the family's, `LATENTS`.
        batch_size: Images per update; None takes the model's own for a VAE, and `GAN_BATCH` for a
            GAN, or `CRITIC_BATCH` if its critic has several updates per step.
        note: How the row differs from its model's defaults, for the table.

    Example:
        >>> from zoo.bench.run import Row
        >>> Row("gan", {"regularizer": "r1"}, note="with R1").options
        {'regularizer': 'r1'}
    """

    model: str
    options: dict[str, Any] = field(default_factory=dict)
    latent_dim: int | None = None
    batch_size: int | None = None
    note: str = ""


# Every model has a row of its own name; these rows differ from their models' defaults.
ROWS: dict[str, Row] = {
    # With its defaults it would be DCGAN again.
    "gan": Row("gan", {"regularizer": "r1"}, note="non-saturating, R1"),
    "sagan": Row("sagan", {"network": "sagan-32"}, note="its own networks"),
    "biggan": Row("biggan", {"network": "biggan-16"}, note="its own networks"),
    "fastgan": Row("fastgan", {"network": "fastgan-16"}, note="its own networks"),
    "stylegan2": Row("stylegan2", {"network": "style-16"}, note="its own networks"),
    "vq_vae": Row("vq_vae", {"network": "grid"}, note="its own networks"),
    "autoencoder_kl": Row("autoencoder_kl", {"network": "autoencoder_kl"}, note="its own networks"),
    # The features of its perceptual loss are seen at 224 × 224, which would take hours.
    "vqgan": Row(
        "vqgan",
        {"network": "autoencoder_kl", "perceptual_weight": 0.0},
        note="its own networks, no perceptual loss",
    ),
    "vdvae": Row("vdvae", {"network": "vdvae"}, note="its own networks"),
    # It has an average of its own, by images.
    "projected_gan": Row(
        "projected_gan",
        {"ema": None, "feature_size": 64, "projection_width": 16},
        note="features of 64 × 64 pixels",
    ),
    # Its decoder plays as a generator does.
    "vae_gan": Row("vae_gan", batch_size=GAN_BATCH),
}


def list_rows() -> dict[str, Row]:
    """Rows by name: one for each registered model, then the others of `ROWS`.

    Example:
        >>> from zoo.bench.run import list_rows
        >>> list_rows()["dcgan"].model
        'dcgan'
    """
    return {name: Row(name) for name in registry.list_models()} | ROWS


def bench(
    names: Sequence[str],
    source: Any,
    out: str | Path,
    *,
    epochs: int,
    seeds: Sequence[int] = (0,),
    extractor: str | None = None,
    say: Callable[[str], None] = print,
) -> bool:
    """Trains and measures rows, each of them once.

    It passes over a row that is finished, has failed, or is in another process's hands. A row that
    fails is noted in its folder, and the others go on. A second call goes on where the first was
    stopped; several processes may work through the same rows at once.

    Args:
        names: Names of `list_rows()`; empty for all.
        source: Labelled data as `zoo.data.read` takes them, with a test split.
        out: Folder of the run folders.
        epochs: Passes over the training images, the same for every row whatever its batches.
        seeds: Seeds of weights, order and noise; all rows have the first before any has the second.
        extractor: As for `zoo.evaluate`, which generates as many images as there are test images.
        say: Takes lines on the progress.

    Returns:
        True at the end; False if Ctrl-C (SIGINT) or SIGTERM stopped it.

    Raises:
        ValueError: If there is no such row, or a folder holds a run with other settings.

    Example:
        >>> from zoo.bench.run import bench
        >>> bench(["vae"], "fashion_mnist", "runs/bench", epochs=10)  # doctest: +SKIP
        True
    """
    rows = list_rows()
    for name in names:
        if name not in rows:
            msg = f"Unknown row {name!r}. {suggestion(name, rows)}"
            raise ValueError(msg)
    common = {
        "data": data.source_name(source),
        "image_shape": list(data.image_shape(source)),
        "epochs": epochs,
        "extractor": extractor,
    }
    settings_of = {name: _settings(name, rows[name], source) for name in names or rows}
    runs = [
        (Path(out) / name / f"seed_{seed}", {**settings_of[name], **common, "seed": seed})
        for seed in seeds
        for name in names or rows
    ]
    for folder, settings in runs:
        _check_begun(folder, settings)
    say(data.describe(source))
    return all(_run_once(folder, source, settings, say) for folder, settings in runs)


def _settings(name: str, row: Row, source: Any) -> dict[str, Any]:
    """The row in full, as JSON has it."""
    family = next(m.family for m in registry.describe_models() if m.name == row.model)
    of_data = DATA_OPTIONS.get(data.source_name(source), {}).get(family, {})
    options = with_classes(row.model, {**OPTIONS[family], **of_data, **row.options}, source)
    latent_dim = row.latent_dim or LATENTS[family]
    return {
        "row": name,
        "family": family,
        "note": row.note,
        "model": row.model,
        "latent_dim": latent_dim,
        "options": options,
        "batch_size": row.batch_size,
    }


def _check_begun(folder: Path, settings: dict[str, Any]) -> None:
    if not (folder / "config.json").exists():
        return
    begun = read_config(folder).get("bench", {})
    for name, value in settings.items():
        if name != "note" and begun.get(name) != value:
            msg = (
                f"{folder} was begun with {name}={begun.get(name)!r}, and not {value!r}. "
                "Choose another --out, or remove it."
            )
            raise ValueError(msg)


def _run_once(
    folder: Path, source: Any, settings: dict[str, Any], say: Callable[[str], None]
) -> bool:
    """Finishes a run, unless it is finished, failed or another process's; False if stopped."""
    label = f"{settings['row']}, seed {settings['seed']}"
    with _locked(folder) as mine:
        if not mine:
            say(f"{label}: another process is at it.")
        elif _is_measured(folder):
            say(f"{label}: done before.")
        elif (folder / "failed.json").exists():
            say(f"{label}: failed before; remove {folder / 'failed.json'} to try again.")
        else:
            try:
                if not _run(folder, source, settings, lambda text: say(f"{label}: {text}")):
                    return False
            except OSError:  # a full disk is no fault of the row
                raise
            except Exception as error:  # noqa: BLE001  (whatever it is, the other rows go on)
                failure = {"error": f"{type(error).__name__}: {error}", "bench": settings}
                write_json(folder / "failed.json", failure)
                say(f"{label}: {failure['error']}")
    return True


def _is_measured(folder: Path) -> bool:
    """`zoo evaluate` writes metrics.json too, without throughput and settings."""
    place = folder / "metrics.json"
    return place.exists() and "bench" in read_json(place, schemas.METRICS)


def _run(folder: Path, source: Any, settings: dict[str, Any], say: Callable[[str], None]) -> bool:
    """Trains, from where it was left, and measures; False if stopped."""
    keras.utils.clear_session()
    gc.collect()  # the last row's graphs
    model = load_run(folder) if (folder / checkpoints.LATEST).exists() else _new_model(settings)
    batch_size = settings["batch_size"] or _batch_size(model)
    finished = train(
        model,
        source,
        folder,
        epochs=settings["epochs"],
        batch_size=batch_size,
        seed=settings["seed"],
        keep=1,
        callbacks=[_Clock(folder, batch_size, say)],
        facts={"bench": settings},
        verbose=0,
    )
    if not finished:
        return False
    results = evaluate(model, source, extractor=settings["extractor"], seed=settings["seed"])
    measured = "frechet_distance" in results["metrics"]
    if measured and model.family == "vae" and model.has_latent_code:
        images, labels = training_images(model, source)
        sampler = fit_sampler(model, images, "gmm", labels=labels, seed=settings["seed"])
        of_sampler = sampler_metrics(model, source, sampler, results)
        results["metrics"]["frechet_distance_gmm"] = of_sampler["frechet_distance_gmm"]
    results["bench"] = {
        **settings,
        "parameters": model.count_params(),
        "images_per_second": _images_per_second(folder),
        "machine": machine(),
    }
    write_json(folder / "metrics.json", results)
    say(
        f"Fréchet distance {results['metrics']['frechet_distance']:.4g}" if measured else "measured"
    )
    return True


def _batch_size(model: Any) -> int:
    if model.family == "vae":
        return model.default_batch_size
    return CRITIC_BATCH if model.minibatches > 1 else GAN_BATCH


def _new_model(settings: dict[str, Any]) -> Any:
    keras.utils.set_random_seed(settings["seed"])
    model = registry.create(
        settings["model"],
        settings["image_shape"],
        settings["latent_dim"],
        seed=settings["seed"],
        **settings["options"],
    )
    model.compile()
    return model


def _images_per_second(folder: Path) -> float | None:
    """Median over the epochs; None where each was a single batch."""
    if not (folder / "timing.json").exists():
        return None
    epochs = read_json(folder / "timing.json", schemas.TIMING)
    return median(epoch["images"] / epoch["seconds"] for epoch in epochs)


class _Clock(keras.callbacks.Callback):
    """Times each epoch from the end of its first batch on: the step may be compiled for that."""

    def __init__(self, folder: Path, batch_size: int, say: Callable[[str], None]) -> None:
        super().__init__()
        self.place = folder / "timing.json"
        self.batch_size = batch_size
        self.say = say
        self.times: list[float] = []  # of the first and the last batch's end
        self.batches = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self.times, self.batches = [], 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        self.times = [*self.times[:1], time.perf_counter()]
        self.batches += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        if self.batches < 2:
            return
        images = (self.batches - 1) * self.batch_size * self.model.minibatches
        seconds = self.times[1] - self.times[0]
        before = read_json(self.place, schemas.TIMING) if self.place.exists() else []
        write_json(self.place, [*before, {"images": images, "seconds": seconds}])
        self.say(f"epoch {epoch + 1}, {images / seconds:.0f} images/s")


def machine() -> dict[str, Any]:
    """Describes the machine: processor, the cores that this process may use, GPUs, TensorFlow.

    The vector instructions, and whether TensorFlow uses oneDNN, decide the speed of a processor.

    Example:
        >>> from zoo.bench.run import machine
        >>> sorted(machine())
        ['cores', 'gpus', 'onednn', 'processor', 'tensorflow', 'vector_instructions']
    """
    gpus = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    may_use = getattr(os, "sched_getaffinity", None)  # not on macOS
    return {
        "processor": processor(),
        "vector_instructions": vector_instructions(),
        "onednn": onednn_is_on(),
        "cores": len(may_use(0)) if may_use else os.cpu_count(),
        "gpus": [gpu.get("device_name", "GPU") for gpu in gpus],
        "tensorflow": tf.__version__,
    }


def processor() -> str:
    """The processor's name.

    Example:
        >>> from zoo.bench.run import processor
        >>> len(processor()) > 0
        True
    """
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def vector_instructions() -> list[str]:
    """The processor's vector instructions as Linux names them; an empty list on other systems.

    Example:
        >>> from zoo.bench.run import vector_instructions
        >>> all(name.islower() for name in vector_instructions())
        True
    """
    flags = (_cpuinfo("flags") or _cpuinfo("Features")).split()  # the latter on ARM
    return [flag for flag in flags if flag.startswith(("avx", "fma", "amx", "asimd", "sve"))]


def _cpuinfo(key: str) -> str:
    """A value that Linux states for the first core, or an empty string."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    values = [line.partition(":")[2].strip() for line in lines if line.split(":")[0].strip() == key]
    return values[0] if values else ""


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether this process has the folder to itself; the file says which has it.

    The system frees the lock when a process ends, in whatever way, so that none is ever stale.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield True
