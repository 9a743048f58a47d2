"""Any exception as a sentence for the user of the command."""

from __future__ import annotations

import errno
import json
import linecache
import struct
import tarfile
import traceback
import zipfile
import zlib
from pathlib import Path

ROOTS = tuple(Path(__file__).parents[1] / name for name in ("zoo", "export"))
# What libraries raise for a file that is cut short or is another.
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, struct.error)
LONGEST = 600  # characters of another library's message
SMALLER = (
    "Take fewer latent dimensions (--latent-dim), smaller images (--image-size), a narrower "
    "network (--network conv-32) or smaller batches (--batch-size)."
)


def sentence(error: BaseException) -> str:
    """What an exception means to a user.

    Errors that the zoo raises itself say what is wrong and what to do: their message is the
    sentence. What other libraries raise is put into words, with the file that was read or written,
    if it is known. Anything else is a fault of the program, and is said to be one.
    """
    text = _message(error)
    if _is_raised_here(error):
        return text
    file = _file_of(error)
    at = f"{file}: " if file and str(file) not in text else ""
    if _is_full(error):
        place = f" ({file})" if file else ""
        return f"The disk is full{place}. Free some space, or write to another disk."
    if isinstance(error, MemoryError) or _name(error) == "tensorflow.ResourceExhaustedError":
        return f"Not enough memory: {text.rstrip('.')}. {SMALLER}"
    if isinstance(error, DAMAGED):
        return f"{file or 'A file'} is damaged, cut short or of another kind ({text})."
    if isinstance(error, UnicodeError):
        return f"{at}expected text in UTF-8 ({text})."
    if isinstance(error, RecursionError):
        return f"{at}what it holds is nested too deeply to be read."
    if isinstance(error, OverflowError):
        return f"{at}a number is too large ({text})."
    if isinstance(error, json.JSONDecodeError):
        return f"{at}no valid JSON ({text})."
    if isinstance(error, OSError):
        # Requests' errors are OSErrors too, and of no file.
        of_network = isinstance(error, ConnectionError) or not _name(error).startswith("builtins.")
        return text if of_network else f"{at}{text}"
    if _name(error).startswith("tensorflow."):
        return f"TensorFlow failed with {type(error).__name__}: {text}"
    if isinstance(error, (ValueError, FloatingPointError, ImportError)) and text.strip():
        return text
    return (
        f"This is a fault of the program: {type(error).__name__}: {text}. Run `zoo --debug …` with "
        "the same arguments to see where it comes from, and report that."
    )


def _name(error: BaseException) -> str:
    """Package and class of another library's exception: `tensorflow.NotFoundError`."""
    return f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"


def _is_full(error: BaseException) -> bool:
    number = error.errno if isinstance(error, OSError) else None
    # TensorFlow's and h5py's writers give the system's text alone.
    return number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error)


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
            found = [path for path in paths if path.is_file()] or paths
            if found:
                return found[0]
    return None
