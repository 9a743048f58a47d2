"""What is shown on a terminal: text of any origin as it is, in any encoding.

Names, paths and the errors of other libraries are no markup: `r/set [old]` is shown with its
brackets. So nothing here reads markup, and what goes into a table is `plain`.
"""

from __future__ import annotations

import codecs
import sys
import unicodedata
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Control characters but newline and tab: in a name they could rewrite the screen.
_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"
}
# For terminals that cannot print them; others lose their accents, or are shown by number.
_ASCII = {
    "×": "x", "·": "*", "…": "...", "–": "-", "—": "-", "−": "-", "→": "->", "←": "<-", "⇄": "<->",
    "≤": "<=", "≥": ">=", "±": "+-", "‘": "'", "’": "'", "“": '"', "”": '"', "α": "alpha",
    "β": "beta", "γ": "gamma", "ε": "epsilon", "λ": "lambda", "σ": "sigma",
}  # fmt: skip
_HANDLER = "zoo.transliterate"

console = Console(markup=False, emoji=False, highlight=False)
errors = Console(markup=False, emoji=False, highlight=False, stderr=True)


def plain(text: object, style: str = "") -> Text:
    """Text that is shown as it is: no markup, no emoji codes, control characters by number."""
    return Text(str(text).translate(_CONTROLS), style)


def say(text: object, to: Console = console) -> None:
    """Prints a message; its lines are as long as they are."""
    to.print(plain(text), soft_wrap=True)


def say_error(text: object) -> None:
    """Prints what is wrong on standard error."""
    errors.print(Text.assemble(("Error:", "bold red"), " ", plain(text)), soft_wrap=True)


def table_of(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A table of plain cells, none of which is cut short."""
    table = Table()
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*map(plain, row))
    return table


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """Shows bars on standard error, if it is a terminal, from the first one to the block's end.

    Yields:
        A function of a bar's name, what is done, and what is to be done.
    """
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    name_of = TextColumn("{task.description}", markup=False)
    shown = errors.is_terminal
    progress = Progress(name_of, *columns, console=errors, transient=True, disable=not shown)
    tasks: dict[str, Any] = {}

    def show(name: str, done: int, of: int) -> None:
        if not tasks:  # not before: a display that runs takes what is printed to standard error
            progress.start()
        if name not in tasks:
            tasks[name] = progress.add_task(name, total=of)
        progress.update(tasks[name], completed=done, total=of)

    try:
        yield show
    finally:
        progress.stop()


def print_on_any_terminal() -> None:
    """Makes standard output and error replace what their encoding does not have."""
    codecs.register_error(_HANDLER, _transliterate)
    for stream in (sys.stdout, sys.stderr):
        # What a user set, as by PYTHONIOENCODING=ascii:ignore, stays.
        if getattr(stream, "errors", None) in ("strict", "backslashreplace"):
            stream.reconfigure(errors=_HANDLER)  # type: ignore[union-attr]


def _transliterate(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _in_ascii(character: str) -> str:
    if character in _ASCII:
        return _ASCII[character]
    letters = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return letters or character.encode("ascii", "backslashreplace").decode()
