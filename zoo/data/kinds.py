"""The kinds of sources: what each says of itself, and which kind a source is of."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data import archives, arrays, folder, parquet, prepared, sprites, tfds_source
from zoo.data.images import Images
from zoo.data.records import Records
from zoo.data.trees import LocalTree, RemoteTree, Tree, is_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoo.data.contents import Contents, Shape


class Source:
    """One kind of source. Without reading it, such a source knows nothing but its name.

    Attributes:
        name: What a run folder keeps of the source.
        prepared: The folder, if `zoo data prepare` wrote it.
    """

    name: str
    prepared: Path | None = None

    def open(self, split: str, shape: Shape | None) -> Records:
        """A split, perhaps of another shape than the one asked for."""
        raise NotImplementedError

    def open_in_order(self, split: str, shape: Shape | None) -> Records:
        """As `open`, for taking images in order."""
        return self.open(split, shape)

    def splits(self) -> list[str]:
        """The names of the splits."""
        return [prepared.EVERY]

    def contents(self, split: str) -> Contents:
        """What a split holds."""
        return self.open(split, None).contents()

    def number_of_classes(self) -> int:
        """The number of classes; 0 if there are no labels."""
        return self.open("train", None).number_of_classes()

    def class_names(self) -> Sequence[str] | None:
        """The name of each class; None where they are only numbered."""
        return None

    def shape(self) -> tuple[int | None, int | None, int]:
        """(height, width, channels); None where images differ."""
        return self.open("train", None).shape


class _InMemory(Source):
    """An array, `Images`, or other records that are open."""

    name = "array"

    def __init__(self, source: np.ndarray | Records) -> None:
        self.source = source

    def open(self, split: str, shape: Shape | None) -> Records:  # noqa: ARG002  (it is every split)
        if isinstance(self.source, Records):
            return self.source
        return Images(self.source, what="The array")

    def class_names(self) -> Sequence[str] | None:
        return self.source.class_names if isinstance(self.source, Records) else None


class _ArrayFile(Source):
    def __init__(self, source: str | Path) -> None:
        self.path = Path(source).expanduser()
        self.name = str(self.path.resolve())

    def open(self, split: str, shape: Shape | None) -> Records:  # noqa: ARG002
        return arrays.open_split(self.path, split)

    def splits(self) -> list[str]:
        return arrays.splits(self.path) or super().splits()


class _Files(Source):
    """Image files in a folder, an archive or a store."""

    def __init__(self, name: str, tree: Callable[[], Tree]) -> None:
        self.name = name
        self.tree = tree

    def open(self, split: str, shape: Shape | None) -> Records:
        return folder.FileRecords(self.tree(), split, shape)

    def splits(self) -> list[str]:
        return folder.splits(self.tree())

    def contents(self, split: str) -> Contents:
        return folder.contents(self.tree(), split)

    def number_of_classes(self) -> int:
        return folder.number_of_classes(self.tree())

    def class_names(self) -> Sequence[str] | None:
        return folder.class_names(self.tree())

    def shape(self) -> tuple[int | None, int | None, int]:
        return folder.shape(self.tree())


class _Parquet(Source):
    """A folder of parquet files, as Hugging Face's `datasets` has them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.resolve())

    def open(self, split: str, shape: Shape | None) -> Records:
        return parquet.ParquetRecords(self.path, split, shape)

    def splits(self) -> list[str]:
        return parquet.splits(self.path)

    def class_names(self) -> Sequence[str] | None:
        return parquet.class_names(self.path)

    def contents(self, split: str) -> Contents:
        return dataclasses.replace(self._at_any_size(split).contents(), shape=self.shape())

    def number_of_classes(self) -> int:
        return self._at_any_size("train").number_of_classes()

    def shape(self) -> tuple[int | None, int | None, int]:
        return parquet.shape(self.path)

    def _at_any_size(self, split: str) -> Records:
        height, width, channels = self.shape()
        return self.open(split, (height or 1, width or 1, channels))


class _Prepared(Source):
    """A folder that `zoo data prepare` wrote."""

    def __init__(self, source: str | Path) -> None:
        self.path = self.prepared = Path(source).expanduser()
        self.name = str(self.path.resolve())

    def open(self, split: str, shape: Shape | None) -> Records:  # noqa: ARG002
        return prepared.Prepared(self.path, split)

    def splits(self) -> list[str]:
        return list(prepared.read_dataset(self.path)["splits"])

    def contents(self, split: str) -> Contents:
        return prepared.contents(self.path, split)

    def number_of_classes(self) -> int:
        return prepared.number_of_classes(self.path)

    def class_names(self) -> Sequence[str] | None:
        return prepared.read_dataset(self.path)["class_names"]

    def shape(self) -> Shape:
        height, width, channels = prepared.read_dataset(self.path)["image_shape"]
        return height, width, channels


class _Sprites(Source):
    name = sprites.NAME

    def open(self, split: str, shape: Shape | None) -> Records:  # noqa: ARG002
        return Images(*sprites.read(split), sprites.SHAPES, what=self.name)

    def splits(self) -> list[str]:
        return list(sprites.SPLITS)

    def class_names(self) -> Sequence[str] | None:
        return sprites.SHAPES


class _DataSet(Source):
    """A data set of TFDS."""

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self, split: str, shape: Shape | None) -> Records:
        return tfds_source.open_split(self.name, split, shape)

    def open_in_order(self, split: str, shape: Shape | None) -> Records:
        return tfds_source.open_in_order(self.name, split, shape)

    def splits(self) -> list[str]:
        return tfds_source.splits(self.name)

    def contents(self, split: str) -> Contents:
        return tfds_source.contents(self.name, split)

    def number_of_classes(self) -> int:
        return tfds_source.number_of_classes(self.name) or super().number_of_classes()

    def class_names(self) -> Sequence[str] | None:
        return tfds_source.class_names(self.name)

    def shape(self) -> tuple[int | None, int | None, int]:
        return tfds_source.shape(self.name)


def kind_of(source: Any) -> Source:
    """A source as one of the kinds above.

    Raises:
        ValueError: If it is of none.
    """
    if isinstance(source, (Records, np.ndarray)):
        return _InMemory(source)
    if is_remote(source):
        prepared.check_not_prepared(source)
        archived = archives.is_archive(source)
        tree: Callable[[str], Tree] = archives.tree_of if archived else RemoteTree
        return _Files(source, functools.partial(tree, source))
    if _is_array_file(source) or is_folder(source):
        return _on_disk(Path(source).expanduser())
    if not isinstance(source, str):
        msg = f"A source of type {type(source).__name__}: expected a name, path or NumPy array."
        raise ValueError(msg)  # noqa: TRY004  (as for what is no source otherwise)
    return _Sprites() if source == sprites.NAME else _DataSet(source)


def _on_disk(path: Path) -> Source:
    if archives.is_archive(path):
        return _Files(str(path.resolve()), functools.partial(archives.tree_of, path))
    if _is_array_file(path):
        return _ArrayFile(path)
    if prepared.is_prepared(path):
        return _Prepared(path)
    if tfds_source.is_prepared(path):
        return _DataSet(str(path.resolve()))
    if parquet.is_parquet(path):
        return _Parquet(path)
    return _Files(str(path.resolve()), functools.partial(LocalTree, path))


def is_folder(source: Any) -> bool:
    """Whether a source is meant as a folder: it is one, or is spelled as a path."""
    if not isinstance(source, (str, Path)) or not str(source) or _is_array_file(source):
        return False
    return (
        isinstance(source, Path)
        or Path(source).is_dir()
        or source.startswith((".", "/", "~"))
        or "\\" in source
    )


def _is_array_file(source: Any) -> bool:
    """Whether a source is meant as a file: it is one, or has the suffix and is no folder."""
    if not isinstance(source, (str, Path)):
        return False
    path = Path(source).expanduser()
    return path.is_file() or (path.suffix.lower() in arrays.SUFFIXES and not path.is_dir())
