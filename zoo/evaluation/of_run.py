"""Measuring the model of a run folder, whose files keep the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import data
from zoo.evaluation import measure
from zoo.evaluation.named import evaluate_named
from zoo.evaluation.protocols import parse
from zoo.io import schemas
from zoo.io.records import read_json, write_json
from zoo.presets import is_preset
from zoo.sampling.samplers import sampler_of_run
from zoo.training.run_files import data_of, read_config
from zoo.training.runs import load_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from zoo.core.model import ZooModel

PROTOCOLS = "protocols.json"  # what was measured by name


def figures_file(path: Path, sampler: str = "prior", *, named: bool = False) -> Path | None:
    """Where the figures of a run are kept: beside a checkpoint, and nowhere for a preset.

    Args:
        path: A run folder, a checkpoint or a preset, which brings figures of its own.
        sampler: What draws the latents; each has a file of its own.
        named: Whether metrics are measured by name.

    Example:
        >>> from pathlib import Path
        >>> from zoo.evaluation.of_run import figures_file
        >>> figures_file(Path("runs/vae/best.keras"), "gmm").name
        'best.metrics_gmm.json'
    """
    if is_preset(path):
        return None
    name = "metrics.json" if sampler == "prior" else f"metrics_{sampler}.json"
    name = PROTOCOLS if named else name
    return path / name if path.is_dir() else path.with_suffix(f".{name}")


def model_and_data(path: Path, source: Any = None) -> tuple[ZooModel, Any]:
    """The model of a run or preset, and what to measure it on: by default the data of the run.

    Raises:
        FileNotFoundError: If there is no run, or its data are gone.
        ValueError: If the classes of the data are not those of the model.

    Example:
        >>> from zoo.evaluation.of_run import model_and_data
        >>> from zoo.hub import resolve
        >>> model_and_data(resolve("vae_fashion_mnist"))[1]
        'fashion_mnist'
    """
    config = read_config(path)
    model, source = load_run(path), source or data_of(config, path)
    if model.num_classes:
        data.check_classes(source, config)
    return model, source


def evaluate_run(
    path: Path,
    model: ZooModel,
    source: Any,
    *,
    metrics: Sequence[str] = (),
    split: str = "test",
    samples: int | None = None,
    sampler: str = "prior",
    importance_samples: int = 50,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    **settings: Any,
) -> dict[str, Any]:
    """Measures the model of a run, and writes the figures into `figures_file`.

    Args:
        path: A run folder, a checkpoint or a preset.
        model: Its model.
        source: Data for `zoo.data.load`.
        metrics: Names of metrics; none for all that `zoo.evaluate` measures without names.
        split: Without `metrics`: split of the data.
        samples: Without `metrics`: number of images to generate.
        sampler: Without `metrics`: what draws the latents.
        importance_samples: Without `metrics`: samples of the importance-weighted bound.
        seed: Seed of the samples.
        progress: Is told what is being measured, how much is done, and of how much.
        **settings: As `zoo.evaluate` takes them: `extractor`, and with `metrics` its protocol.

    Returns:
        What `zoo.evaluate` returns.

    Raises:
        ValueError: As `zoo.evaluate`, and if the model has no such sampler.

    Example:
        >>> import numpy as np, tempfile, zoo
        >>> from pathlib import Path
        >>> from zoo.evaluation.of_run import evaluate_run, figures_file
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> images, run = np.zeros((16, 8, 8, 1), "float32"), Path(tempfile.mkdtemp())
        >>> _ = zoo.train(model, images, run, epochs=1, batch_size=4, verbose=0)
        >>> found = evaluate_run(run, model, images, extractor="none", importance_samples=1)
        >>> figures_file(run).name, found["metrics"]["mse"] >= 0
        ('metrics.json', True)
    """
    file = figures_file(path, sampler, named=bool(metrics))
    settings |= {"seed": seed, "progress": progress}
    if metrics:
        return _by_name(file, model, source, metrics, **settings)
    latents = None
    if sampler != "prior":
        test = data.open(source, split=split, image_shape=model.image_shape)
        samples = samples or len(test)
        labels = model.sample_labels(samples, seed)  # those of the evaluation
        latents = sampler_of_run(path, model, sampler).sample(samples, seed, labels)
    settings |= {"split": split, "samples": samples, "latents": latents, "sampler": sampler}
    settings |= {"importance_samples": importance_samples}
    results = measure.evaluate(model, source, **settings)
    if file is not None:
        write_json(file, {**results, "step": model.steps_done})
    return results


def _by_name(
    file: Path | None, model: ZooModel, source: Any, metrics: Sequence[str], **settings: Any
) -> dict[str, Any]:
    """Measures named metrics, and adds them to the file."""
    before = read_json(file, schemas.PROTOCOLS) if file is not None and file.exists() else []
    results = evaluate_named(model, source, metrics, **settings)
    entries = [
        {
            **record,
            "data": results["data"],
            "step": model.steps_done,
            "metrics": {each: results["metrics"][each] for each in parse(name).directions},
        }
        for name, record in results["protocols"].items()
    ]
    if file is not None:
        kept = [entry for entry in before if entry["name"] not in results["protocols"]]
        write_json(file, [*kept, *entries])
    return results
