"""How commands run: their classes, signals, and what is drawn on standard error."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from zoo.cli.faults import ROOTS, sentence
from zoo.io.terminal import errors, say, say_error

if TYPE_CHECKING:
    from collections.abc import Iterator


class TerminatedError(BaseException):
    """SIGTERM has arrived. What is under way is undone as it is after Ctrl-C."""


class ZooCommand(TyperCommand):
    """A command whose help is plain text: Typer reads markup in it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _escape_help(self)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Answers --help before anything else is looked at, such as a file of settings."""
        return super().parse_args(ctx, ["--help"] if "--help" in args else args)


class TensorFlowCommand(ZooCommand):
    """A command that imports TensorFlow, once its arguments are known to be right."""

    def invoke(self, ctx: Any) -> Any:
        """Imports TensorFlow, then runs the command; one that only prints settings needs none."""
        if not ctx.params.get("print_config"):
            with silent_stderr():
                import tensorflow as tf  # noqa: F401
        return super().invoke(ctx)


class Zoo(TyperGroup):
    """All commands. Whatever one raises ends here, as a sentence and an exit status."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _escape_help(self)

    def invoke(self, ctx: Any) -> Any:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            say("Interrupted.", errors)
            raise typer.Exit(130) from error
        except Exception as error:
            # Typer words its own, and is silent where the reader of a pipe has gone.
            own = isinstance(error, typer.Abort) or hasattr(error, "exit_code")
            if own or isinstance(error, BrokenPipeError):
                raise
            if ctx.params.get("debug") or os.environ.get("ZOO_TRACEBACK"):
                traceback.print_exception(error)
            say_error(sentence(error))
            raise typer.Exit(1) from error


def _escape_help(command: Any) -> None:
    """Escapes what Typer reads as markup."""
    for each in (command, *command.params):
        if getattr(each, "help", None):
            each.help = escape(each.help)


def terminate(number: int, frame: Any) -> None:  # noqa: ARG001  (a signal handler's arguments)
    """Handles SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
    raise TerminatedError


@contextmanager
def sigterm(handler: Any) -> Iterator[None]:
    """Handles SIGTERM so while the block runs, unless the parent process had it ignored."""
    main_thread = threading.current_thread() is threading.main_thread()
    if not main_thread or signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, terminate):
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def notices_in_one_line() -> Iterator[None]:
    """Shows what the package tells its users, such as a preset's new name, without a code line.

    These are its FutureWarnings, which are raised where it is called, and its own UserWarnings.
    """
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_notice(message: Any, category: type[Warning], file: str, *place: Any) -> None:
            own = category is UserWarning and any(Path(file).is_relative_to(r) for r in ROOTS)
            if own or category is FutureWarning:
                say(message, errors)
            else:
                show(message, category, file, *place)

        warnings.showwarning = show_notice  # type: ignore[assignment]
        yield


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Drops what C++ prints: TensorFlow 2.21's first lines ignore TF_CPP_MIN_LOG_LEVEL."""
    sys.stderr.flush()
    saved = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def number(value: Any) -> str:
    """A value of a table: floats with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
