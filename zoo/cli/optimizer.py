"""The options of `zoo train` on optimizers and schedules, as `compile` takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.cli.options import parse_values

if TYPE_CHECKING:
    from collections.abc import Sequence


def optimizer_arguments(
    optimizer: str | None, pairs: Sequence[str], weight_decay: float | None
) -> dict[str, Any]:
    """`algorithm` and `optimizer_options`.

    A named optimizer and its options are checked here, before data are read; options of the paper's
    when the model compiles.

    Raises:
        ValueError: If the optimizer is unknown, or has not such an option.
    """
    options = parse_values(pairs, "--optimizer-option")
    if weight_decay is not None:
        if "weight_decay" in options:
            raise ValueError(
                "--weight-decay is given, and weight_decay as an option too. Give one."
            )
        options["weight_decay"] = weight_decay
    if optimizer is not None:
        from zoo.core.optimizers import check_options

        check_options(optimizer, options)
    return {"algorithm": optimizer, "optimizer_options": options or None}


def schedule_arguments(schedule: str, warmup_steps: int, *, decay: bool) -> dict[str, Any]:
    """`schedule` and `warmup_steps`; `decay` is an earlier name of the linear one.

    Raises:
        ValueError: If there is no such schedule.
    """
    from zoo.core.schedules import SHAPES
    from zoo.io.names import suggestion

    if schedule not in SHAPES:
        near = suggestion(schedule, SHAPES)
        raise ValueError(f"--schedule {schedule}: expected one of {', '.join(SHAPES)}. {near}")
    if decay and schedule == "cosine":
        raise ValueError("--decay is --schedule linear. Leave it out for --schedule cosine.")
    return {"schedule": "linear" if decay else schedule, "warmup_steps": warmup_steps}
