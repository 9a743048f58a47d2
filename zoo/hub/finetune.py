"""Training that starts from a trained model: a preset, a run, or a model in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zoo import data as zoo_data
from zoo.convert.classes import starts
from zoo.convert.starting import start_from
from zoo.core.model import ZooModel
from zoo.hub.loading import resolve
from zoo.io.files import sha256 as sha256_of
from zoo.io.names import printable
from zoo.presets import is_preset
from zoo.training.run_files import LATEST, ORIGINS, class_names, read_config
from zoo.training.runs import load_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from zoo.convert.start_report import StartReport

# Entries of a source's config.json that say where it came from itself.
PROVENANCE = ("data", "seed", "epochs", *ORIGINS)


def finetune(
    source: ZooModel | str | Path,
    data: Any = None,
    *,
    image_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
    classes: Mapping[Any, Any] | None = None,
    sha256: str | None = None,
    **options: Any,
) -> tuple[ZooModel, StartReport]:
    """Makes a model that starts as a trained one, for other data.

    Weights, averages and architecture are the source's; step and optimizers are new. Where the data
    have other classes, the label's weights are renumbered, added or removed, and each new class
    first draws exactly what it starts as: the old class of the same name, the one that `classes`
    names, or all images of a source without classes. A class that has none starts as the mean of
    the old classes' weights, which draws what no old class did; the report says so.

    Args:
        source: A model of the zoo, or a handle as for `zoo.load`. It is not changed.
        data: The data to train on, as for `zoo.data.read`, whose classes a conditional model takes;
            None keeps the source's classes.
        image_shape: The new model's; default: the source's, to which data are converted. Height
            and width may be 2 or 4 times the source's for `conv`, `resnet`, `stylegan2` and
            small `style` networks: the blocks next to the image are new then.
        num_classes: Number of classes, 0 for none; default: that of the data for a conditional
            source, and 0 for one without classes.
        classes: Old class by new class, by name or number: `{"boot": "ankle_boot", "hat": 3}`. The
            new class of a model without classes is called "all": `{"all": 3}`.
        sha256: As for `zoo.load`.
        **options: Options of the model that do not define its networks, such as `ema`,
            `diff_augment` or `freeze_discriminator`, in place of the source's.

    Returns:
        The model at step 0, not compiled, and the report. A run that `zoo.train` makes of the model
        keeps the report as report.json, and where the source came from in config.json.

    Raises:
        FileNotFoundError: If there is no such source.
        ValueError: If an option defines the networks; a class is unknown; the networks cannot take
            the classes or the size; or as `zoo.load` and `zoo.data.read`.

    Example:
        >>> import numpy as np, tempfile, zoo
        >>> images, out = np.zeros((8, 28, 28, 1), "float32"), tempfile.mkdtemp()
        >>> model, report = zoo.finetune("vae_fashion_mnist", images)
        >>> model.compile(learning_rate=1e-4)
        >>> zoo.train(model, images, out, epochs=1, batch_size=4, verbose=0)
        True
        >>> report.max_error
        0.0
    """
    model, origin = _loaded(source, sha256)
    new = _number_of_classes(model, data, num_classes)
    old_names = _names(model.num_classes, origin.pop("class_names", None))
    given_names = None if data is None else zoo_data.class_names(data)
    if data is None and new == model.num_classes:
        given_names = old_names
    # Numbers alone say nothing of what a class is, where the other side has names.
    named = [names is not None and names != _names(len(names), None)
             for names in (given_names, old_names)]  # fmt: skip
    chosen = starts(
        _names(new, given_names),
        old_names,
        {str(key): str(value) for key, value in (classes or {}).items()},
        same_names=named[0] == named[1],
    )
    made, report = start_from(
        model, chosen, image_shape=image_shape, num_classes=new, options=options
    )
    hint = _how_to_choose([start.name for start in chosen if start.old is None], old_names)
    handle = origin.get("handle", report.source)
    report = replace(report, source=handle, origin=origin, notes=(*report.notes, *hint))
    made.started_from = report
    return made, report


def _how_to_choose(new: list[str], old: Sequence[str]) -> list[str]:
    """How classes that start as a mean could start as a class of the source."""
    if not (new and old):
        return []
    listed = ", ".join([*old[:20], *(["…"] if len(old) > 20 else [])])
    return [f"To start as a class of the source, give --class {new[0]}=OLD: one of {listed}."]


def _loaded(source: Any, sha256: str | None) -> tuple[ZooModel, dict[str, Any]]:
    """The source model, and where it came from."""
    if isinstance(source, ZooModel):
        return source, {"model": source.model_name, "step": source.steps_done}
    path = resolve(source, sha256=sha256)
    config = read_config(path)
    # Its devices and XLA need not be those of the new model.
    model = load_run(path, compiled=False)
    file = path if path.is_file() else path / ("config.json" if is_preset(path) else LATEST)
    facts = config.get("facts", {})
    known = {name: config[name] for name in PROVENANCE if config.get(name) is not None}
    provenance = {**facts, **known}
    names = provenance.pop("class_names", None) or class_names(config)
    handle = str(source)
    return model, {
        "handle": printable(handle if handle != str(path) else str(path.absolute())),
        "sha256": sha256_of(file),
        "model": model.model_name,
        "step": model.steps_done,
        "class_names": names,
        "provenance": provenance,
    }


def _number_of_classes(model: ZooModel, data: Any, given: int | None) -> int:
    """The classes of the new model."""
    if given is not None:
        wanted: int = given
    elif data is None or not model.num_classes:
        wanted = model.num_classes
    elif model.conditional or _has_labels(data):
        wanted = zoo_data.number_of_classes(data)
    else:
        wanted = 0
    if model.conditional and not wanted:
        msg = f"num_classes=0: a {model.model_name} needs classes. Give data with labels."
        raise ValueError(msg)
    return wanted


def _has_labels(data: Any) -> bool:
    try:
        zoo_data.number_of_classes(data)
    except ValueError:
        return False
    return True


def _names(count: int, names: Sequence[str] | None) -> list[str]:
    """A name for each class: its number, where there is none."""
    given = list(names or ())[:count]
    return given + [str(number) for number in range(len(given), count)]
