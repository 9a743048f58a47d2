"""Any exception as a sentence for the user of the command."""

from __future__ import annotations

import json
import linecache
import struct
import tarfile
import traceback
import zipfile
import zlib
from pathlib import Path
from typing import Any

ROOTS = tuple(Path(__file__).parents[2] / name for name in ("zoo", "export"))
LONGEST = 600  # characters of another library's message
SMALLER = (
    "Take smaller images (--image-size); for a model also smaller batches (--batch-size), a "
    "narrower network (--network conv-32) or fewer latent dimensions (--latent-dim)."
)
# Exceptions of other libraries, and what to say of them.
WORDS: tuple[tuple[Any, str], ...] = (
    (
        (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, struct.error),
        "{file} is damaged, cut short or of another kind ({text}).",
    ),
    (json.JSONDecodeError, "{file} is no valid JSON ({text})."),
    (UnicodeError, "{file} is no text in UTF-8 ({text})."),
    (RecursionError, "{file} holds something that is nested too deeply to be read."),
    (OverflowError, "{file} holds a number that is too large ({text})."),
    (MemoryError, f"Not enough memory: {{text}}. {SMALLER}"),
    ((ValueError, FloatingPointError, ImportError, OSError), "{text}"),
)


def sentence(error: BaseException) -> str:
    """What an exception means to a user.

    Errors that the zoo raises itself say what is wrong and what to do: their message is the
    sentence. What other libraries raise is put into words, with the file that was read or written,
    if it is known. Anything else is a fault of the program, and is said to be one.
    """
    from zoo.io.files import full_disk

    text = _message(error)
    if _is_raised_here(error):
        return text
    file = _file_of(error)
    if full_disk(error) is not None:
        place = f" ({file})" if file else ""
        return f"The disk is full{place}. Free some space, or write to another disk."
    if _name(error).startswith("tensorflow."):
        if not _name(error).endswith(".ResourceExhaustedError"):
            return f"TensorFlow failed with {type(error).__name__}: {text}"
        error = MemoryError(text)
    if type(error) is OSError and file and str(file) not in text:  # h5py's name no file
        text = f"{file}: {text}"
    words = next((words for kind, words in WORDS if isinstance(error, kind)), "")
    if not words or not text.strip():
        words = (
            f"This is a fault of the program: {type(error).__name__}: {{text}}. Run it again as "
            "`zoo --debug …` to see where it comes from, and report that."
        )
    return words.format(file=file or "Something", text=text)


def _name(error: BaseException) -> str:
    """Package and class of another library's exception: `tensorflow.NotFoundError`."""
    return f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"


def _message(error: BaseException) -> str:
    """The message; of another library's, no more than its beginning."""
    text = str(getattr(error, "message", None) or error)  # TensorFlow's without the operation
    if isinstance(error, KeyError) and error.args:
        text = f"no entry {error.args[0]!r}"
    if isinstance(error, OSError) and error.strerror:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        text = ": ".join([" → ".join(names), error.strerror]) if names else error.strerror
    if len(text) > LONGEST and not _is_raised_here(error):
        return f"{text[:LONGEST]} …"
    return text


def _is_raised_here(error: BaseException) -> bool:
    """Whether a `raise` statement of the zoo made it, which says what is wrong."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not _is_ours(frames[-1].filename):
        return False
    line = linecache.getline(frames[-1].filename, frames[-1].lineno or 0)
    return line.strip().startswith("raise ")


def _is_ours(filename: str) -> bool:
    return any(root in Path(filename).parents for root in ROOTS)


def _file_of(error: BaseException) -> Path | None:
    """The file that the zoo was at: the exception's, or the innermost path among our variables."""
    name = getattr(error, "filename", None)
    if isinstance(name, (str, bytes)) and name:
        return Path(name.decode(errors="replace") if isinstance(name, bytes) else name)
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        if _is_ours(frame.f_code.co_filename):
            paths = [value for value in frame.f_locals.values() if isinstance(value, Path)]
            files = [path for path in paths if path.is_file()]
            if paths:
                return (files or paths)[0]
    return None
