"""Training a model into a run folder, resumable to the same weights.

A run folder holds:

    config.json       model, data, their fingerprint and classes, seed, batch size, epochs, versions
    model.keras       the latest state, from step 0 on; older ones in checkpoints/, best.keras
    history.json      one entry per finished epoch
    samples/          epoch_0001.png …
    reconstructions/  likewise, for VAEs
    logs/             TensorBoard
    .lock             while a process trains: its number and machine; other processes are refused
"""

from __future__ import annotations

import functools
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import data
from zoo.core import replicas
from zoo.io.locks import locked
from zoo.training import checks, run_files, strategies
from zoo.training.interruption import lost_workers, stop_on_signal
from zoo.training.recorder import ContinueMeans, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import keras
    import tensorflow as tf

    from zoo.core.model import ZooModel
    from zoo.data.images import Images


def total_steps(model: ZooModel, source: Any, epochs: int, batch_size: int | None = None) -> int:
    """Training steps of so many epochs; the arguments are those of `train`."""
    images = data.read(source, split="train", image_shape=model.image_shape)
    return epochs * checks.steps_per_epoch(model, images, batch_size or model.default_batch_size)


def train(
    model: ZooModel,
    source: Any,
    out: str | Path,
    *,
    epochs: int,
    batch_size: int | None = None,
    seed: int = 0,
    validation: str | None = None,
    keep: int = 3,
    best: str | None = None,
    checkpoint_every: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    recipe: Callable[[int], Sequence[keras.callbacks.Callback]] | None = None,
    recipe_steps: int | None = None,
    facts: dict[str, Any] | None = None,
    verbose: int | str = "auto",
) -> bool:
    """Trains a compiled model and leaves a run folder; continues if the model has trained before.

    Batch t and noise t depend only on (source, seed, t), so a model loaded from the folder goes
    on to the weights that an uninterrupted run reaches. Under several workers every one of them
    calls this with the same arguments; only the chief writes.

    Args:
        model: A compiled model of the zoo, created under the strategy to train with.
        source: Data for `zoo.data.training_stream`.
        out: The run folder; created if absent.
        epochs: Epochs in all, those already trained included.
        batch_size: Images per update, on all replicas together; default the model's own. A model
            with n_critic > 1 takes n_critic of them per step.
        seed: Seed of the order of the data.
        validation: Split to evaluate on after each epoch, logged as `val_…`.
        keep: Checkpoints to keep, at least 1.
        best: Logged metric whose lowest value picks `best.keras`.
        checkpoint_every: Steps between checkpoints, besides the one after each epoch.
        callbacks: Further Keras callbacks; under several workers each worker runs them.
        recipe: Function of the number of steps that a recipe spans, to further callbacks:
            `zoo.training.recipes.prepare` makes it.
        recipe_steps: That number; default: all steps. A run that goes on needs config.json's.
        facts: Further entries of config.json.
        verbose: As in `fit`.

    Returns:
        Whether training reached `epochs`: False if Ctrl-C (SIGINT) or SIGTERM stopped it. Either
        way the folder holds the state at the last step. A model that has had `epochs` already is
        left as it is, and nothing is written.

    Raises:
        ValueError: If the data cannot feed the model, or are others than the run was begun with; an
            argument is out of range; or the model could not be loaded from its checkpoints: a
            network holds a class that Keras does not know, say.
        FloatingPointError: If a loss is no number or explodes; the step is named, and the last
            checkpoint is of a step before.
        FileExistsError: If the folder holds a run with finished epochs, and the model is untrained.
        OSError: If the folder cannot be written, before training where that can be known.
        ConnectionError: If another worker is lost.
        BlockingIOError: If another process trains into the folder; nothing is written.

    Example:
        >>> import numpy as np, tempfile, zoo
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> images, out = np.zeros((8, 8, 8, 1), "float32"), tempfile.mkdtemp()
        >>> zoo.train(model, images, out, epochs=1, batch_size=4, verbose=0)
        True
        >>> zoo.load_run(out).steps_done
        2
    """
    callbacks = [*callbacks]
    checks.check_kinds(
        epochs=epochs, batch_size=batch_size, seed=seed, validation=validation, keep=keep,
        best=best, checkpoint_every=checkpoint_every,
    )  # fmt: skip
    settings = {
        "epochs": epochs,
        "batch_size": model.default_batch_size if batch_size is None else batch_size,
        "seed": seed,
        "validation": validation,
        "keep": keep,
        "best": best,
        "checkpoint_every": checkpoint_every,
        **(facts or {}),
    }
    if recipe is not None:
        settings["recipe_steps"] = recipe_steps
    out, chief = Path(out), strategies.is_chief(model.distribute_strategy)
    # One process at a time writes into a run folder; workers other than the chief write nothing.
    with locked(out) if chief else nullcontext():
        return _train(model, source, out, settings, callbacks, recipe, verbose)


def _train(
    model: ZooModel,
    source: Any,
    out: Path,
    settings: dict[str, Any],
    callbacks: Sequence[keras.callbacks.Callback],
    recipe: Callable[[int], Sequence[keras.callbacks.Callback]] | None,
    verbose: int | str,
) -> bool:
    """Checks everything, then fits to the last step; `settings` are entries of config.json."""
    checks.check_name(out)
    checks.check_new_run(model, out)
    images = data.read(source, split="train", image_shape=model.image_shape)
    fingerprint = checks.check_data(model, source, images, out)
    steps_per_epoch = checks.check_settings(model, images, settings)
    steps = settings["epochs"] * steps_per_epoch
    if model.steps_done >= steps:
        if not (out / "config.json").exists():  # `fit` has trained it, and no run is there
            had = model.steps_done // steps_per_epoch
            warnings.warn(
                f"The model has been trained for {had} epochs, and epochs={settings['epochs']} "
                f"counts those: nothing is trained, and {out} is not written. Give more epochs.",
                stacklevel=3,
            )
        return True
    validation_data = _validation_data(model, source, settings)
    if recipe is not None:
        settings["recipe_steps"] = settings["recipe_steps"] or steps
        callbacks = [*recipe(settings["recipe_steps"]), *callbacks]
    config = {**_config(model, source, images, fingerprint), **settings}
    options = {name: settings[name] for name in ("keep", "best", "checkpoint_every")}
    recorder = Recorder(model, out, source, steps_per_epoch, **options)
    recorder.begin(config)
    with stop_on_signal(model) as stopped, lost_workers(recorder):
        while model.steps_done < steps and not stopped:
            epoch, done = divmod(model.steps_done, steps_per_epoch)
            model.fit(
                _stream(
                    model, images, settings["batch_size"] * model.minibatches, settings["seed"]
                ),
                initial_epoch=epoch,
                epochs=epoch + 1 if done else settings["epochs"],
                steps_per_epoch=steps_per_epoch - done,
                validation_data=validation_data,
                callbacks=[*([ContinueMeans(model)] if done else []), recorder, *callbacks],
                shuffle=False,
                verbose=verbose,
            )
    if stopped:
        recorder.save()
    return not stopped


def _validation_data(model: ZooModel, source: Any, settings: dict[str, Any]) -> Any:
    """Batches of the split to evaluate on, if there is one."""
    if not settings["validation"]:
        return None
    return data.load(
        source,
        split=settings["validation"],
        batch_size=settings["batch_size"],
        image_shape=model.image_shape,
        labels=bool(model.num_classes),
    )


def _config(
    model: ZooModel, source: Any, images: Images, fingerprint: dict[str, Any]
) -> dict[str, Any]:
    """The entries of config.json on the model, its compilation, the data and the devices."""
    return {
        **run_files.describe(model),
        "data": data.source_name(source),
        "data_fingerprint": fingerprint,
        **({"class_names": list(images.class_names)} if images.class_names else {}),
        "accumulate": model.accumulate,
        "decay_steps": model.decay_steps,
        "steps_per_execution": model.steps_per_execution,
        "jit_compile": model.jit_compile,
        **strategies.describe(model.distribute_strategy),
    }


def _stream(model: ZooModel, images: Images, batch_size: int, seed: int) -> Any:
    """Batches from the model's step on, of which a worker looks up only its own share."""
    stream = functools.partial(
        data.training_stream,
        images,
        batch_size=batch_size,
        labels=bool(model.num_classes),
        seed=seed,
        start_step=model.steps_done,
    )
    strategy = model.distribute_strategy
    if not replicas.is_multi_worker(strategy):
        return stream()[0]

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        replicas = context.num_replicas_in_sync
        local = replicas // context.num_input_pipelines
        return stream(share=(context.input_pipeline_id * local, local, replicas))[0]

    return strategy.distribute_datasets_from_function(of_worker)
