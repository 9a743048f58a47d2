"""`zoo push`."""

from __future__ import annotations

from typing import Annotated

import typer

from zoo.cli.options import Run, resolve_run
from zoo.io.terminal import say


def push(
    run: Run,
    repository: Annotated[str, typer.Argument(help="hf://ORGANISATION/NAME, created if needed.")],
    *,
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
) -> None:
    """Publishes a model on Hugging Face, where `zoo.load` and `hf://` find it."""
    from zoo.hub import push as push_preset

    address = push_preset(resolve_run(run), repository, private=private)
    say(f"Published: {address}")
