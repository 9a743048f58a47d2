"""Whether data are those that a run was begun with."""

from __future__ import annotations

import hashlib
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data import kinds, sources
from zoo.data.contents import shortened
from zoo.data.records import CHUNK
from zoo.io.names import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.data.records import Records

HASHED = 1 << 30  # bytes of pixels that are hashed: in a second or two


def fingerprint(
    images: Records, *, labels: bool, like: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Marks that tell these images from others, ready for JSON.

    Args:
        images: A split.
        labels: Whether the labels matter too.
        like: The fingerprint of a run that this one is compared with, whose marks are taken.

    Returns:
        `images`, their number; `shape`, of one; and `labels`, the SHA-256 of the labels, if they
        matter. Then `pixels`, the SHA-256 of all, or beyond 1 GiB of every k-th image; or, for
        records that are not in memory but have an index, `index`, the SHA-256 of that: names and
        sizes of files, or hashes of shards; and `bytes`, the SHA-256 of the beginnings of up to 256
        files, where the index is of names and sizes. Runs of earlier versions have no `bytes`.

    Raises:
        ValueError: As `Records.labels`, if they matter; as `Records.take`.

    Example:
        >>> import numpy as np, zoo
        >>> images = zoo.data.Images(np.zeros((3, 8, 8), "float32"))
        >>> marks = zoo.data.fingerprint(images, labels=False)
        >>> marks["images"], marks["shape"]
        (3, [8, 8, 1])
    """
    marks: dict[str, Any] = {"images": len(images), "shape": list(images.shape)}
    index = None if "pixels" in (like or {}) else images.index()
    marks |= {"pixels": _sha256_of_pixels(images)} if index is None else {"index": index}
    sampled = images.sampled() if index and "bytes" in (like or {"bytes"}) else None
    marks |= {} if sampled is None else {"bytes": sampled}
    if labels and images.labels is not None:
        marks["labels"] = _sha256(images.labels)
    return marks


def check_unchanged(begun: Mapping[str, Any], now: Mapping[str, Any], run: str) -> None:
    """Refuses to go on with a run on other images than it was begun with.

    Args:
        begun: The `fingerprint` in the run's config.json.
        now: The `fingerprint` of the data as they are.
        run: The run folder, for the error.

    Raises:
        ValueError: If they differ; what differs and the remedy are named.

    Example:
        >>> import zoo
        >>> zoo.data.check_unchanged({"images": 5}, {"images": 5}, "runs/vae")
    """
    different = [name for name in {**begun, **now} if begun.get(name) != now.get(name)]
    if not different:
        return
    what = ", ".join(
        f"{name} ({begun.get(name)}, now {now.get(name)})" if name in ("images", "shape") else name
        for name in different
    )
    msg = (
        f"The training data are not those that {run} was begun with. These differ: {what}. Restore "
        "the data; or train a new run; or, to go on with the changed data all the same, remove "
        f"data_fingerprint from {run}/config.json."
    )
    raise ValueError(msg)


def check_classes(source: Any, config: Mapping[str, Any]) -> None:
    """Refuses labelled data whose class numbers mean other classes than a run's.

    Where a run or the data have no names of classes, there is nothing to compare.

    Args:
        source: As for `zoo.data.read`.
        config: The run's config.json.

    Raises:
        ValueError: If the names differ; and as `zoo.data.read`.

    Example:
        >>> import zoo
        >>> zoo.data.check_classes("sprites", {"class_names": ["square", "ellipse", "heart"]})
    """
    now = sources.class_names(source)
    begun = config.get("class_names")
    if now is None:
        return
    earlier = config.get("epochs", 0) > 0 and "data_fingerprint" not in config
    if begun is None and earlier and kinds.is_folder(source):
        begun = sorted(now)  # earlier versions, which wrote no names, sorted folders as text
    if begun is None or begun == now:
        return
    name = printable(sources.source_name(source))
    pairs = enumerate(itertools.zip_longest(begun, now))
    first = next(number for number, (before, after) in pairs if before != after)
    msg = (
        f"{name} has the classes {shortened(now)}; the run was trained with {shortened(begun)}. "
        f"Number {first} would mean another class. Give data with folders "
        "for the same classes, or train a new run."
    )
    raise ValueError(msg)


def _sha256_of_pixels(images: Records) -> str:
    digest = hashlib.sha256()
    step = math.ceil(images.nbytes / HASHED)
    chosen = np.arange(0, len(images), step)
    for some in np.array_split(chosen, math.ceil(images.nbytes / step / CHUNK)):
        digest.update(np.ascontiguousarray(images.take(some)).data)
    return digest.hexdigest()


def _sha256(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()
