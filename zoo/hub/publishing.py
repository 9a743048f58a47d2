"""Makes a preset of a run, with how it was made and how good it is, and publishes presets."""

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
from zoo.training.run_files import class_names, data_of, read_config
from zoo.training.runs import load_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.core.model import ZooModel
    from zoo.sampling.samplers import Sampler

RECORDED = (
    "epochs", "batch_size", "seed", "decay_steps", "accumulate", "precision", "versions",
    "finetuned_from",
)  # fmt: skip
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
        folder: The new folder. Its name becomes the preset's name.
        facts: Facts that the run does not record: `command`, `commit`, `hardware`, `time`,
            `limits`, …
        source: Test data; the default is the run's data.
        seeds: Seeds to measure with, at least two. A VAE with a latent code then gets a
            mixture that is fitted to its training images, and the mixture is measured too. Without
            seeds the preset has no metrics, reconstructions or mixture, and no data are read.
        extractor: As for `zoo.evaluate`.
        precision: As for `save_preset`. The stored weights are measured.

    Raises:
        FileNotFoundError: If there is no run.
        FileExistsError: If `folder` exists.
        ValueError: If the run or the data cannot be used.

    Example:
        >>> import zoo
        >>> model = zoo.create("dcgan", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> zoo.training.runs.save_run(model, "run", {"data": "fashion_mnist_sample"})
        >>> zoo.hub.save_run_as_preset("run", "my_dcgan", facts={"license": "mit"})
        >>> zoo.load("./my_dcgan").generate(2, seed=0).shape
        (2, 8, 8, 1)
    """
    config = read_config(run)
    trained_on = data_of(config, run)
    model = load_run(run)
    known = {key: config[key] for key in RECORDED if config.get(key) is not None}
    if model.num_classes and class_names(config):
        known["class_names"] = class_names(config)
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
    """Publishes a preset on Hugging Face. A repository that does not exist is created.

    Args:
        source: A preset's folder, a run folder, or a model.
        handle: `hf://org/repo`.
        private: Whether a new repository is private.

    Returns:
        The address of the commit.

    Raises:
        ValueError: If the handle is not `hf://org/repo`, or the preset cannot be loaded.
        OSError: If it cannot be uploaded: log in with `hf auth login`.
        ImportError: If huggingface_hub is not installed.

    Example:
        >>> import zoo
        >>> zoo.hub.push("runs/vae", "hf://me/my_vae")  # doctest: +SKIP
        'https://huggingface.co/me/my_vae/commit/…'
    """
    repo, subfolder, revision = huggingface.parse(handle)
    if revision is not None or subfolder:
        what = "a subfolder" if subfolder else "a revision"
        msg = f"{handle}: {what} cannot be pushed to; expected hf://org/repo."
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
    """Test images to reconstruct, with labels for a conditional model; none without an encoder."""
    if not hasattr(model, "reconstruct"):
        return ()
    labels = bool(model.num_classes)
    arrays = data.to_array(
        source, split="test", limit=PICTURED, image_shape=model.image_shape, labels=labels
    )
    return arrays if labels else (arrays,)
