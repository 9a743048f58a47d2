"""Going on with a run, to the weights that it would have reached without a stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.io.names import as_path
from zoo.presets import is_preset
from zoo.training import recipes, strategies
from zoo.training.checkpoints import usable
from zoo.training.loop import total_steps, train
from zoo.training.measuring import of
from zoo.training.run_files import LATEST, ORIGINS, data_of, read_config
from zoo.training.runs import load_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import keras
    import tensorflow as tf

    from zoo.core.model import ZooModel

# Arguments of `train` that are chosen when the training of a run begins.
SETTINGS = (
    "batch_size", "validation", "keep", "best", "checkpoint_every", "mirror", "random_crop",
)  # fmt: skip
EARLIER = {"mirror": False, "random_crop": 0}  # of runs by versions that had no such settings
NO_DECAY = "decay is for a new run: a continued one keeps its learning rates. Leave it out."


class Ready(NamedTuple):
    """A model that is ready to train, and what `train` needs besides the run folder."""

    model: ZooModel
    source: Any
    options: dict[str, Any]  # keyword arguments of `train`


def resume(
    run: str | Path,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    images: int | None = None,
    source: Any = None,
    recipe: str | None = None,
    decay: bool = False,
    patience: int | None = None,
    settings: Mapping[str, Any] | None = None,
    compile_options: Mapping[str, Any] | None = None,
    strategy: tf.distribute.Strategy | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
) -> ZooModel:
    """Goes on with a run up to a step, with the settings that it was begun with.

    On a CPU the weights, optimizers and averages are bitwise those of a run that never stopped.
    Batch size, seed, learning rates, recipe, checkpoints and devices are those of the run.

    A run that `zoo.convert` or `zoo convert` made has no such settings before its first training.
    `recipe`, `decay`, `settings` and `compile_options` are for that training.

    Args:
        run: A run folder, as `zoo.train`, `zoo train` and `zoo convert` make.
        epochs: Epochs in all, those already trained included; or
        steps: training steps in all; or
        images: images in all, as for `zoo.train`.
        source: The data, as for `zoo.data.read`, if they have moved; default: where they were.
        recipe: One of `zoo.training.recipes.RECIPES` of the model's family; default: the first.
        decay: The same as `compile_options={"schedule": "linear"}`.
        patience: As for `zoo.train`; default: the run's.
        settings: Any of `batch_size`, `validation`, `keep`, `best`, `checkpoint_every`, `mirror`
            and `random_crop`, as `zoo.train` takes them.
        compile_options: As `model.compile` takes them, such as `{"clip_norm": 1.0}`. A schedule
            that falls does so over `epochs`, and needs the recipe "plain".
        strategy: Where to train; default: on as many devices as before.
        callbacks: Further Keras callbacks; `zoo.evaluation.EpochMetrics` if the run has one.
        verbose: As in `fit`.

    Returns:
        The model, compiled, at the step that it has reached: the last, or less if Ctrl-C
        (SIGINT), SIGTERM, `patience` or a callback stopped it. The folder holds its state.

    Raises:
        FileNotFoundError: If there is no run in the folder, or its data are gone.
        ValueError: If the data are others than the run was begun with; an argument is given that a
            trained run has fixed; the recipe is unknown, or no recipe of the model; or the devices
            are not there. Also as `zoo.train`.
        FloatingPointError, OSError, ConnectionError, BlockingIOError: As `zoo.train`.

    Example:
        >>> import numpy as np, tempfile, zoo
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> run, images = tempfile.mkdtemp(), np.zeros((8, 8, 8, 1), "float32")
        >>> _ = zoo.train(model, images, run, epochs=1, batch_size=4, verbose=0)
        >>> zoo.resume(run, epochs=2, source=images, verbose=0).steps_done
        4
    """
    _check_measured(run, callbacks)
    ready = prepare(
        run,
        epochs=epochs,
        steps=steps,
        images=images,
        source=source,
        recipe=recipe,
        decay=decay,
        patience=patience,
        settings=settings,
        compile_options=compile_options,
        strategy=strategy,
    )
    train(ready.model, ready.source, run, **ready.options, callbacks=callbacks, verbose=verbose)
    return ready.model


def prepare(
    run: str | Path,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    images: int | None = None,
    source: Any = None,
    recipe: str | None = None,
    decay: bool = False,
    patience: int | None = None,
    settings: Mapping[str, Any] | None = None,
    compile_options: Mapping[str, Any] | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> Ready:
    """Loads the model of a run for `train`; arguments and errors as for `resume`."""
    config = begun_with(check_run(run))
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    _check_given(run, config, given, compile_options, decay=decay)
    source = data_of(config, run) if source is None else source
    options = {name: config[name] for name in ("seed", *SETTINGS) if name in config} | given
    if strategy is None:
        strategy = _stored_strategy(config)
    with strategy.scope():
        model = load_run(run)
        recipe = _recipe_of(config, recipe, model)
        begin = recipes.prepare(model, recipe) if recipe else None
        if not was_trained(config):
            length = {"epochs": epochs, "steps": steps, "images": images}
            _compile(model, source, length, options, recipe, compile_options or {}, decay=decay)
    kept = {name: config.get(name) for name in (*ORIGINS, "command")}
    facts = {**kept, "recipe": recipe}
    return Ready(
        model,
        source,
        {
            **options,
            "epochs": epochs,
            "steps": steps,
            "images": images,
            "patience": config.get("patience") if patience is None else patience,
            "recipe": begin,
            "recipe_steps": config.get("recipe_steps"),
            "facts": {name: value for name, value in facts.items() if value},
        },
    )


def _check_measured(run: str | Path, callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Refuses to go on without the metrics that a run was begun with."""
    config = read_config(check_run(run))
    names = config.get("metrics")
    given = {name for each in of(callbacks) for name in each.settings.get("metrics", [])}
    if names and not set(names) <= given:
        msg = (
            f"{run} measures {', '.join(names)} while it trains. Give "
            f"callbacks=[zoo.evaluation.EpochMetrics.of_run({str(run)!r})]; `zoo train {run}` does "
            "so."
        )
        raise ValueError(msg)


def check_run(run: str | Path) -> Path:
    """The run folder.

    Raises:
        FileNotFoundError: If it holds no run that training can go on with.
        ValueError: If it is a preset, or one of the checkpoints of a run.
    """
    run = as_path(run, "run")
    if is_preset(run):
        msg = (
            f"{run} is a preset, which has no optimizers to go on with. Load it with zoo.load, "
            "compile it, and train it into a new folder with zoo.train."
        )
        raise ValueError(msg)
    if run.suffix == ".keras":
        msg = (
            f"{run} is one checkpoint: a run goes on from its latest, {LATEST}. Give the run folder"
            f"; to go on from this checkpoint, copy it over {LATEST} first."
        )
        raise ValueError(msg)
    if not (run / LATEST).exists():
        begun = (run / "config.json").exists()
        others = usable(run / LATEST, read_config(run)["model"]) if begun else ""
        new = "none was begun there, or it stopped before its first checkpoint. "
        new += "Train a new one, into this folder or another: leave out --resume."
        msg = f"{run} holds no run to resume (no {LATEST}): {others or new}"
        raise FileNotFoundError(msg)
    return run


def begun_with(run: str | Path) -> dict[str, Any]:
    """The config.json of a run; settings that an earlier version did not know are as it had them.

    Raises:
        FileNotFoundError, ValueError: As `zoo.training.run_files.read_config`.
    """
    config = read_config(run)
    return {**EARLIER, **config} if was_trained(config) else config


def was_trained(config: Mapping[str, Any]) -> bool:
    """Whether the training of a run has begun, given its config.json."""
    return config.get("epochs", 0) > 0


def _check_given(
    run: str | Path,
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
    compile_options: Mapping[str, Any] | None,
    *,
    decay: bool,
) -> None:
    """Refuses what a run that was trained has fixed."""
    for name in settings:
        if name not in SETTINGS:
            msg = f"settings: {name!r}; expected some of {', '.join(SETTINGS)}."
            raise ValueError(msg)
    if not was_trained(config):
        if decay and "converted_from" not in config:
            raise ValueError(NO_DECAY)
        return
    if decay:
        raise ValueError(NO_DECAY)
    for name, value in settings.items():
        if name in config and config[name] != value:
            msg = f"{name}={value!r}: {run} was begun with {config[name]!r}. Leave {name} out."
            raise ValueError(msg)
    if compile_options:
        msg = (
            f"compile_options={dict(compile_options)}: {run} was trained, and keeps its optimizers."
            " Leave them out."
        )
        raise ValueError(msg)


def _stored_strategy(config: Mapping[str, Any]) -> tf.distribute.Strategy:
    """The devices that a run was trained on."""
    kind = config.get("strategy", "none")
    return strategies.strategy(
        kind, replicas=config.get("replicas") if kind == "mirrored" else None
    )


def _recipe_of(config: Mapping[str, Any], given: str | None, model: ZooModel) -> str | None:
    """The recipe of a run: as it was begun, or as given for a converted run that begins now."""
    begun = config.get("recipe")
    if begun is not None and given not in (None, begun):
        msg = f"recipe={given!r}: the run was begun with {begun!r}. Leave recipe out."
        raise ValueError(msg)
    if begun is None and given is not None and was_trained(config):
        msg = f"recipe={given!r}: the run was trained without one. Leave recipe out."
        raise ValueError(msg)
    if begun is None and "converted_from" in config and not was_trained(config):
        # A VAE that another VAE's decoder was put into trains without a recipe.
        plain = model.family == "vae" and model.transfer is None
        return given or ("plain" if plain else recipes.RECIPES[model.family][0])
    return begun or given


def _compile(
    model: ZooModel,
    source: Any,
    length: Mapping[str, Any],
    settings: Mapping[str, Any],
    recipe: str | None,
    compile_options: Mapping[str, Any],
    *,
    decay: bool,
) -> None:
    """Compiles a model that was not trained yet."""
    options = {**compile_options, **({"schedule": "linear"} if decay else {})}
    moving = {name: options.get(name) for name in ("learning_rate", "schedule", "warmup_steps")}
    for name, given in {"decay": decay, **moving}.items():
        if given not in (None, False, 0, "constant") and recipe not in (None, "plain"):
            msg = f"{name}: recipe {recipe!r} sets the learning rates. Take recipe 'plain'."
            raise ValueError(msg)
    settings = {**length, "batch_size": settings.get("batch_size")}
    model.compile(**over_all_steps(options, model, source, settings))


def over_all_steps(
    compile_options: Mapping[str, Any],
    model: ZooModel,
    source: Any,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Arguments of `compile`, in which a schedule that falls does so over all steps of a training.

    Args:
        compile_options: The arguments. `decay_steps` that are given stay.
        model: The model.
        source: The data.
        settings: `batch_size`, and one of `epochs`, `steps` and `images`, as for `train`.
    """
    falls = compile_options.get("schedule") not in (None, "constant")
    if not falls or compile_options.get("decay_steps") is not None:
        return {**compile_options}
    length = {name: settings.get(name) for name in ("epochs", "steps", "images", "batch_size")}
    return {**compile_options, "decay_steps": total_steps(model, source, **length)}
