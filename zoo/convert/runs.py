"""The conversion of a run into a run: loaded, converted, and written with all that it needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from zoo import data as zoo_data
from zoo.convert.gan_to_vae import gan_to_vae
from zoo.convert.sources import check_choice, load_file
from zoo.convert.vae_to_gan import vae_to_gan
from zoo.io.names import as_path
from zoo.training.run_files import LATEST, read_config
from zoo.training.runs import is_lone_file, load_run, save_run

if TYPE_CHECKING:
    from zoo.convert.report import Report
    from zoo.core.model import ZooModel

WHITENED = 10_000  # training images that the aggregate posterior is taken over


def convert_run(
    run: str | Path,
    to: str,
    out: str | Path | None = None,
    *,
    into: str | Path | None = None,
    data: str | None = None,
    seed: int = 0,
    name: str | None = None,
    dry_run: bool = False,
    **options: Any,
) -> tuple[Any, Report]:
    """Converts the model of a run, and writes the new model as a run that `zoo.resume` trains on.

    Args:
        run: A run folder, a checkpoint or a preset's folder; or the `.keras` or `.h5` file of any
            generator. It is not changed.
        to: The family to convert to: "vae" or "gan".
        out: The new run folder. It must not hold a run yet.
        into: A run whose model takes the weights; it is not changed. None makes a new model.
        data: The data that the new run trains on, as for `zoo.data.read`; default: those of `run`.
        seed: Seed of the conversion and of the new run.
        name: How the new run names its source, such as a preset's handle; default: `run`.
        dry_run: Only report: nothing is written, and `out` is not needed.
        **options: Further arguments of `gan_to_vae` or `vae_to_gan`, such as `mode` or `model`.
            The images and labels that `vae_to_gan` needs are taken from the data.

    Returns:
        The new model, compiled, and the report. In a dry run what `gan_to_vae` and `vae_to_gan`
        return.

    Raises:
        FileNotFoundError: If there is no such run.
        FileExistsError: If `out` holds a run.
        ValueError: If the run is of that family already, or `into` is not; if the run does not know
            its data; or as `gan_to_vae` and `vae_to_gan`. Nothing is written then.
        OSError: If `out` cannot be written.

    Example:
        >>> import tempfile, zoo
        >>> gan = zoo.create("dcgan", (8, 8, 1), 2, network="mlp")
        >>> gan.compile()
        >>> run, new = tempfile.mkdtemp(), tempfile.mkdtemp()
        >>> zoo.training.save_run(gan, run, {"data": "fashion_mnist", "epochs": 0})
        >>> vae, report = zoo.convert.convert_run(run, "vae", new)
        >>> report.equivalence
        'tolerance'
        >>> zoo.load(new).generate(3, seed=0).shape
        (3, 8, 8, 1)
    """
    check_choice("to", to, ("vae", "gan"))
    run = as_path(run, "run")
    if out is None and not dry_run:
        msg = "out=None: expected a folder for the new run. Give one, or only report with dry_run."
        raise ValueError(msg)
    if out is not None and not dry_run:
        check_new_run(as_path(out, "out"))
    foreign = is_lone_file(run)
    config = {} if foreign else read_config(run)
    source: Any = load_file(run) if foreign else load_run(run)
    data = data or config.get("data")
    if data is None:
        msg = f"{run} does not know its data: name them with --data, or as `data` in Python."
        raise ValueError(msg)
    if getattr(source, "family", "gan") == to:  # a network is taken for a generator
        held = getattr(source, "model_name", "generator")
        msg = f"{run} holds a {held}, a {to.upper()} already."
        raise ValueError(msg)
    keras.utils.set_random_seed(seed)
    target = None if into is None else _target(into, to)
    options |= {"seed": seed, "dry_run": dry_run}
    if to == "vae":
        converted, report = gan_to_vae(source, target, **options)
    else:
        if options.get("whiten_posterior", True):
            taken = zoo_data.to_array(
                data, split="train", limit=WHITENED, image_shape=source.image_shape,
                labels=bool(source.num_classes),
            )  # fmt: skip
            both = taken if isinstance(taken, tuple) else (taken,)
            options |= dict(zip(("images", "labels"), both, strict=False))
        converted, report = vae_to_gan(source, target, **options)
    if out is not None and not dry_run:
        # A trained `into` has steps and an optimizer: the new run begins now, recipe and all.
        converted.step.assign(0)
        converted.compile()
        facts = {"epochs": 0, "seed": seed, "converted_from": name or str(run)}
        save_run(converted, out, facts | _facts(config, data, converted), report.to_dict())
    return converted, report


def _target(run: str | Path, family: str) -> Any:
    model = load_run(run)
    if model.family != family:
        msg = f"into={run} holds a {model.model_name}, no {family.upper()}. Give a run of one."
        raise ValueError(msg)
    return model


def check_new_run(out: str | Path) -> None:
    """Raises FileExistsError if a folder holds a run."""
    if (Path(out) / LATEST).exists():
        msg = f"{out} holds a run already. Choose another folder, or remove it."
        raise FileExistsError(msg)


def _facts(config: dict[str, Any], data: str, model: ZooModel) -> dict[str, Any]:
    """What the new run takes over from the old one."""
    facts = {"data": data, "batch_size": model.default_batch_size}
    facts |= {name: config[name] for name in ("class_names",) if name in config}
    images = (config.get("data_fingerprint") or {}).get("images")
    if data == config.get("data") and images is not None and images < model.default_batch_size:
        facts["batch_size"] = config["batch_size"]  # too few for a batch of the default
    return facts
