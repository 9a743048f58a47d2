"""Run folders: what training leaves and every later command takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import data
from zoo.core import registry
from zoo.core.model import check_model
from zoo.io.locks import locked
from zoo.io.names import as_path
from zoo.io.records import write_json
from zoo.presets import is_preset, load_preset
from zoo.training import checkpoints, loading
from zoo.training.run_files import describe, read_config

if TYPE_CHECKING:
    from zoo.core.model import ZooModel


def load_run(path: str | Path, *, compiled: bool = True) -> ZooModel:
    """Loads the model of a run, compiled, with its optimizers' state; or that of a preset.

    Args:
        path: A run folder, for its latest state, or one of its checkpoints, such as
            `runs/vae/best.keras` or `runs/vae/checkpoints/step_00001200.keras`; or the folder of a
            preset, whose model has no optimizers.
        compiled: Whether to compile it as it was; else it has no optimizers.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file is damaged or of another model, or is of a later format.

    Example:
        >>> import tempfile, zoo
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> run = tempfile.mkdtemp()
        >>> zoo.training.save_run(model, run, {"data": "fashion_mnist", "epochs": 0})
        >>> zoo.load_run(run).generate(3, seed=0).shape
        (3, 8, 8, 1)
    """
    path = as_path(path, "path")
    if is_preset(path):
        return load_preset(path)
    config = read_config(path)
    file = path if path.suffix == ".keras" else path / checkpoints.LATEST
    if not file.exists():
        others = checkpoints.usable(file, config["model"])
        msg = (
            f"{file} does not exist: the training stopped before its first step. "
            "Train again, without --resume."
            if file.name == checkpoints.LATEST and not others
            else f"{file} does not exist. {others}".strip()
        )
        raise FileNotFoundError(msg)
    model = loading.load(file, config["model"], compiled=compiled)
    for key in ("image_shape", "latent_dim"):
        if (held := model.get_config()[key]) != config[key]:
            msg = f"{file} is of another run: its {key} is {held}, but the run's {config[key]}."
            raise ValueError(msg)
    model.loaded_from = file.resolve()
    return model


def is_lone_file(path: str | Path) -> bool:
    """Whether a path is a model's file of its own, and no checkpoint of the run it lies in.

    What else lies beside it, such as the `config.json` of another program, does not matter.
    """
    path = Path(path)
    if not path.is_file():
        return False
    try:
        read_config(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return True
    return not checkpoints.may_be_checkpoint(path)


def save_run(
    model: ZooModel,
    out: str | Path,
    config: dict[str, Any],
    conversion: dict[str, Any] | None = None,
) -> None:
    """Writes a run folder for a model that was not trained there.

    Args:
        model: A compiled model.
        out: The folder. It must not hold a run yet.
        config: Entries of `config.json` besides those that describe the model: data, seed, ….
        conversion: `to_dict()` of the report, if the model was converted.

    Raises:
        FileExistsError: If `out` holds a run.
        ValueError: If the model could not be loaded from there.
        BlockingIOError: If another process writes into it.
        OSError: If it cannot be written. Nothing of it is left.

    Example:
        >>> import os, tempfile, zoo
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> run = tempfile.mkdtemp()
        >>> zoo.training.save_run(model, run, {"data": "fashion_mnist", "epochs": 0})
        >>> sorted(os.listdir(run))
        ['config.json', 'model.keras']
    """
    check_model(model)
    out = as_path(out, "out")
    if (out / checkpoints.LATEST).exists():
        msg = f"{out} holds a run already. Choose another folder, or remove it."
        raise FileExistsError(msg)
    loading.check_loadable(model)
    with locked(out):
        try:
            write_json(out / "config.json", {**config, **describe(model)})
            checkpoints.save(model, out)
            if conversion is not None:
                write_json(out / "conversion.json", conversion)
        except BaseException:
            for name in ("config.json", checkpoints.LATEST):
                (out / name).unlink(missing_ok=True)
            raise


def with_classes(model: str, options: dict[str, Any], source: Any) -> dict[str, Any]:
    """The options of a new model, with `num_classes` of the data where it needs and lacks them.

    Args:
        model: One of `zoo.list_models()`.
        options: The options given.
        source: Data as for `zoo.data.read`.

    Raises:
        ValueError: If the data have no labels.
    """
    if not registry.is_conditional(model) or "num_classes" in options:
        return options
    return {**options, "num_classes": data.number_of_classes(source)}
