"""The `zoo` command. Heavy imports wait inside the commands: `zoo --help` answers at once."""

from __future__ import annotations

import logging
import os
import sys
from copy import copy
from typing import TYPE_CHECKING

import typer
from typer.main import get_command_name

from zoo.cli import (
    bench,
    convert,
    data,
    doctor,
    evaluate,
    export,
    importing,
    named,
    neighbours,
    push,
    sample,
    show,
    sweep,
    train,
)
from zoo.cli.console import (
    TensorFlowCommand,
    TerminatedError,
    Zoo,
    ZooCommand,
    notices_in_one_line,
    sigterm,
    terminate,
)
from zoo.io.terminal import errors, print_on_any_terminal, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typer.models import CommandInfo

app = typer.Typer(
    cls=Zoo,
    help="VAEs and GANs in Keras 3: train, evaluate, convert, export, verify.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.callback()(show.options_of_all)
app.command("list", cls=ZooCommand)(show.list_command)
app.command(cls=ZooCommand)(show.info)
app.command(cls=TensorFlowCommand)(train.train)
app.command(
    cls=ZooCommand,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(train.launch)
for command in (
    sample.sample,
    sample.interpolate,
    evaluate.evaluate,
    doctor.doctor,
    neighbours.neighbours,
    named.stats,
    named.train_classifier,
    convert.convert,
    export.export,
    export.verify,
    bench.bench,
    push.push,
):
    app.command(cls=TensorFlowCommand)(command)
app.command("import", cls=TensorFlowCommand)(importing.import_command)
app.command(cls=ZooCommand)(export.serve)
app.command(cls=ZooCommand)(evaluate.report)
app.command(cls=ZooCommand)(sweep.sweep)
app.add_typer(data.app, name="data")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line. It ends with a status; errors are sentences on standard error."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors reach Python as exceptions
    # Functions are traced for several sizes on purpose, which TensorFlow warns of.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    print_on_any_terminal()
    try:
        with sigterm(terminate), notices_in_one_line():
            _app_of(sys.argv[1:] if arguments is None else arguments)(arguments, prog_name="zoo")
    except TerminatedError:  # here, for it may come while Typer still makes the commands
        say("Ended by SIGTERM.", errors)
        sys.exit(143)


def _app_of(arguments: Sequence[str]) -> typer.Typer:
    """The commands with the one alone that is asked for: Typer makes all their parsers at once."""
    named = arguments[0] if arguments else ""
    commands = {_name_of(command): command for command in app.registered_commands}
    if named not in commands:
        return app
    asked = copy(app)
    wanted = {named, "train"} if named == "sweep" else {named}  # a sweep takes train's options
    asked.registered_commands = [commands[name] for name in wanted]
    asked.registered_groups = []
    return asked


def _name_of(command: CommandInfo) -> str:
    return command.name or get_command_name(getattr(command.callback, "__name__", ""))
