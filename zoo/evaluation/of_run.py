"""Measuring the model of a run folder, whose files keep the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import data
from zoo.evaluation import measure
from zoo.evaluation.extractors import extractor_of, note_on_features
from zoo.evaluation.named import evaluate_named
from zoo.evaluation.needs import features_compared, in_words
from zoo.evaluation.protocols import parse, parse_all
from zoo.io import schemas
from zoo.io.records import read_json, write_json
from zoo.presets import is_preset
from zoo.sampling.samplers import sampler_of_run
from zoo.sampling.standing import standing_statistics
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


def evaluate_run(
    path: Path,
    source: Any = None,
    *,
    metrics: Sequence[str] = (),
    split: str = "test",
    samples: int | None = None,
    sampler: str = "prior",
    importance_samples: int = 50,
    seed: int = 0,
    extractor: str | None = None,
    standing_batches: int | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    tell: Callable[[str], None] = lambda _: None,
    **protocol: Any,
) -> dict[str, Any]:
    """Loads the model of a run, measures it, and writes the figures into `figures_file`.

    Args:
        path: A run folder, a checkpoint or a preset.
        source: Data for `zoo.data.load`; default: those of the run.
        metrics: Names of metrics; none for all that `zoo.evaluate` measures without names.
        split: Without `metrics`: split of the data.
        samples: Without `metrics`: number of images to generate.
        sampler: Without `metrics`: what draws the latents.
        importance_samples: Without `metrics`: samples of the importance-weighted bound.
        seed: Seed of the samples.
        extractor: As for `zoo.evaluate`.
        standing_batches: Batches of latents to compute standing statistics from first, or None.
        progress: Is told what is being measured, how much is done, and of how much.
        tell: Is told in sentences what will be measured, and what to know of the figures.
        **protocol: With `metrics`: its further arguments, as `zoo.evaluate` takes them.

    Returns:
        What `zoo.evaluate` returns.

    Raises:
        FileNotFoundError: If there is no run, or its data are gone.
        ValueError: As `zoo.evaluate`, and if the model has no such sampler, or the classes of the
            data are not those of the model.

    Example:
        >>> import numpy as np, tempfile, zoo
        >>> from pathlib import Path
        >>> from zoo.evaluation.of_run import evaluate_run, figures_file
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> images, run = np.zeros((16, 8, 8, 1), "float32"), Path(tempfile.mkdtemp())
        >>> _ = zoo.train(model, images, run, epochs=1, batch_size=4, verbose=0)
        >>> results = evaluate_run(run, images, extractor="none", importance_samples=1)
        >>> figures_file(run).name, results["metrics"]["mse"] >= 0
        ('metrics.json', True)
    """
    config, model = read_config(path), load_run(path)
    source = data_of(config, path) if source is None else source
    if model.num_classes:
        data.check_classes(source, config)
    if standing_batches is not None:
        standing_statistics(model, standing_batches, seed=seed)
        tell(model.standing.text())
    _announce(model, source, metrics, split, extractor, tell)
    file = figures_file(path, sampler, named=bool(metrics))
    settings = {"extractor": extractor, "seed": seed, "progress": progress, **protocol}
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


def _announce(
    model: ZooModel,
    source: Any,
    metrics: Sequence[str],
    split: str,
    extractor: str | None,
    tell: Callable[[str], None],
) -> None:
    """Tells what will be measured, and what to know of the figures."""
    shape = model.image_shape
    if metrics:
        tell(f"Measuring {in_words(metrics, source, extractor, shape)} …")
        compared: Sequence[str | None] = features_compared(
            parse_all(metrics), source, extractor, shape
        )
    else:
        tell(data.describe(source, split=split, image_shape=shape))
        tell(f"Measuring the {model.model_name} …")
        compared = [extractor_of(model, source, extractor)]
    for name in compared:
        if note := note_on_features(model, name):
            tell(note)


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
