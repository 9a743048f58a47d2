"""`zoo info MODEL --memory`."""

from __future__ import annotations

from typing import Any

from zoo.cli.console import silent_stderr
from zoo.cli.options import resolve_run
from zoo.core import registry
from zoo.io.terminal import console, say, table_of

MEANINGS = {
    "weights": "weights and states of the networks",
    "averages": "averaged and frozen copies of networks",
    "optimizers": "slots of the optimizers",
    "activations": "forward pass and updates, at a step's fullest moment",
    "gradients": "backward pass, at that moment",
    "program": "TensorFlow's graph of the step",
}


def show_memory(
    model: str,
    image_shape: tuple[int, int, int],
    latent_dim: int,
    options: dict[str, Any],
    batch_size: int | None,
    accumulate: int,
    *,
    remat: bool | None,
) -> None:
    """Prints what a training takes of memory, by part.

    Args:
        model: A model of `zoo list`; or a run, which has its own images, options and parts.
        image_shape: (height, width, channels), for a new model, as the next two are.
        latent_dim: Its latent dimensions.
        options: Its options, `dtype` among them.
        batch_size: Images per update; None takes the model's.
        accumulate: Parts of an update, of a new model.
        remat: Whether to compute activations again; None leaves it to the run.
    """
    named = model in registry.list_models()
    if named:
        registry.check_options(model, options)
    path = None if named else resolve_run(model)
    with silent_stderr():
        import tensorflow as tf  # noqa: F401
    from zoo.training.memory import ERROR, MIB, available, estimate
    from zoo.training.runs import load_run

    if path is not None:
        made = load_run(path)
        if not made.compiled:  # a preset
            made.compile()
        if remat is not None:
            made.set_remat(remat)
    else:
        made = registry.create(model, image_shape, latent_dim, **options)
        made.compile(accumulate=accumulate, remat=bool(remat))
    memory = estimate(made, batch_size)
    rows = [(part, f"{n / MIB:,.1f}", MEANINGS[part]) for part, n in memory._asdict().items()]
    rows.append(("total", f"{memory.total / MIB:,.1f}", f"within {ERROR:.0%} of the peak"))
    there = available() + memory.held
    rows.append(("available", f"{there / MIB:,.1f}", "what this machine or its GPU has for it"))
    height, width, channels = made.image_shape
    size = made.default_batch_size if batch_size is None else batch_size
    say(f"Training on images of {height} × {width} × {channels} in batches of {size}:")
    console.print(table_of(("memory", "MiB", "what it is"), rows))
