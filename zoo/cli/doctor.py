"""`zoo doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from zoo.cli.options import Data, Run, Seed, resolve_run
from zoo.io.terminal import say


def doctor(
    run: Run,
    data: Data = None,
    seed: Seed = 0,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Says what is wrong with a run, how it knows, and what helps.

    It looks at the history, at samples beside training images, and at the weights. Nothing is
    written. The exit status is 0 whatever it finds; scripts read the findings of --json.
    """
    from zoo.evaluation.diagnosis import doctor as examine

    diagnosis = examine(resolve_run(run), data, seed=seed)
    if as_json:
        print(json.dumps(diagnosis.to_dict(), ensure_ascii=False))  # noqa: T201
    else:
        say(diagnosis.text())
