"""From a run folder to a preset that says how it was made and how good it is; and to others."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import data
from zoo.hub import huggingface
from zoo.hub.measuring import measure
from zoo.presets import FILES, is_preset, load_preset, save_preset
from zoo.sampling.samplers import fit_sampler, training_images
from zoo.training.runs import load_run, read_config, required

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.core.model import ZooModel
    from zoo.sampling.samplers import Sampler

RECORDED = ("epochs", "batch_size", "seed", "decay_steps", "accumulate", "precision", "versions")
PICTURED = 32  # test images whose reconstructions are shown
COMPONENTS = 50  # of a VAE's mixture: 10 draw worse, 100 hardly better
FEWEST = 10  # images of a class, for a mixture of its own


def save_run_as_preset(
    run: str | Path,
    folder: str | Path,
    *,
    facts: Mapping[str, Any] | None = None,
    source: Any = None,
    seeds: Sequence[int] = (),
    extractor: str | None = None,
    precision: str = "float16",
) -> None:
    """Writes the model of a run as a preset.

    Args:
        run: A run folder or a checkpoint, as for `zoo.load_run`.
        folder: The new folder; its name is the preset's.
        facts: What the run does not know: `command`, `commit`, `hardware`, `time`, `limits`, …
        source: Test data; default: the run's.
        seeds: Seeds to measure with, at least two; none: the preset has no metrics, no
            reconstructions and no sampler, and no data are read. Else a VAE with Gaussian
            posteriors gets a mixture fitted to its training images, and measured too.
        extractor: As for `zoo.evaluate`.
        precision: As for `save_preset`. What is measured are the stored weights.

    Raises:
        FileNotFoundError: If there is no run.
        FileExistsError: If `folder` exists.
        ValueError: If the run or the data cannot be used.
    """
    config = read_config(run)
    trained_on = required(config, "data", run)
    model = load_run(run)
    known = {key: config[key] for key in RECORDED if config.get(key) is not None}
    with tempfile.TemporaryDirectory() as scratch:
        save_preset(model, Path(scratch) / "rounded", precision=precision)
        model = load_preset(Path(scratch) / "rounded")
    source = source if source is not None else trained_on
    sampler = _mixture(model, config) if seeds else None
    save_preset(
        model,
        folder,
        data=Path(trained_on).name,
        facts={"steps": model.steps_done, **known, **(facts or {})},
        metrics=measure(model, source, seeds, sampler, extractor=extractor) if seeds else None,
        examples=_examples(model, source) if seeds else (),
        sampler=sampler,
        precision=precision,
    )


def push(source: str | Path | ZooModel, handle: str, *, private: bool = False) -> str:
    """Publishes a preset on Hugging Face, in a repository that is made if need be.

    Args:
        source: A preset's folder, a run folder, or a model.
        handle: `hf://org/repo`.
        private: Whether a new repository is private.

    Returns:
        The address of the commit.

    Raises:
        ValueError: If the handle has another form, or the preset cannot be loaded.
        OSError: If it cannot be uploaded: log in with `hf auth login`.
        ImportError: If huggingface_hub is not installed.
    """
    repo, revision = huggingface.parse(handle)
    if revision is not None:
        msg = f"{handle}: a revision cannot be pushed to; expected hf://org/repo."
        raise ValueError(msg)
    api = huggingface.huggingface_hub().HfApi()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / repo.split("/")[1]
        if not isinstance(source, (str, Path)):
            save_preset(source, folder)
        elif is_preset(source):
            folder = Path(source)
        else:
            save_run_as_preset(source, folder)
        load_preset(folder)  # what others could not load is not published
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=list(FILES),
            commit_message=f"Preset {folder.name}",
        )
    return str(done.commit_url)


def _mixture(model: ZooModel, config: Mapping[str, Any]) -> Sampler | None:
    """A mixture fitted to the posteriors of the run's training images.

    None if the model has no latent code, or where a class has too few images.
    """
    if not getattr(model, "has_latent_code", False):
        return None
    images, labels = training_images(model, config["data"])
    if labels is not None and np.bincount(labels, minlength=model.num_classes).min() < FEWEST:
        return None
    components = min(COMPONENTS, len(images) // 10 or 1)
    return fit_sampler(
        model, images, labels=labels, components=components, seed=config.get("seed", 0)
    )


def _examples(model: ZooModel, source: Any) -> tuple[Any, ...]:
    """Test images to reconstruct, and their labels of a conditional model; none if it cannot."""
    if not hasattr(model, "reconstruct"):
        return ()
    labels = bool(model.num_classes)
    found = data.to_array(source, split="test", image_shape=model.image_shape, labels=labels)
    return tuple(x[:PICTURED] for x in (found if labels else (found,)))
