"""Every kind of source gives the same batches for the same images."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.image_files import random_pixels, save_image
from zoo import data
from zoo.data import images
from zoo.data.kinds import kind_of

PIXELS = random_pixels(20, (8, 6, 3))
LABELS = np.arange(20) // 10


def _folder(root: Path) -> Path:
    for i, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        save_image(root / "images" / "train" / "ab"[label] / f"{i:02}.png", pixels)
    return root / "images"


def _archive(root: Path, kind: str) -> Path:
    return Path(shutil.make_archive(str(root / "packed"), kind, _folder(root)))


def _npz(root: Path) -> Path:
    np.savez(root / "x.npz", x_train=PIXELS, y_train=LABELS)
    return root / "x.npz"


def _prepared(root: Path) -> Path:
    data.prepare(data.Images(PIXELS, LABELS), root / "prepared")
    return root / "prepared"


def _parquet(root: Path) -> Path:
    rows = []
    for pixels in PIXELS:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    (root / "saved").mkdir()
    pq.write_table(
        pa.table({"image": rows, "label": LABELS}),
        root / "saved" / "train-0-of-1.parquet",
        row_group_size=6,
    )
    pq.write_table(pa.table({"image": rows[:1], "label": [0]}), root / "saved" / "test.parquet")
    return root / "saved"


KINDS: dict[str, Callable[[Path], Path]] = {
    "folder": _folder,
    "zip": lambda root: _archive(root, "zip"),
    "tar": lambda root: _archive(root, "tar"),
    "npz": _npz,
    "prepared": _prepared,
    "parquet": _parquet,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(8, 6, 3), (4, 4, 1)])
def test_batches_are_the_same(
    kind: str, shape: tuple[int, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From memory and streamed; as they are, and cropped and resized."""
    source = KINDS[kind](tmp_path)

    def batches(of: object) -> list[tuple[np.ndarray, np.ndarray]]:
        stream, _ = data.training_stream(
            of, batch_size=6, image_shape=shape, labels=True, seed=5, start_step=2
        )
        return list(stream.take(4).as_numpy_iterator())

    wanted = batches(data.Images(PIXELS, LABELS))
    for limit in (1 << 30, 0):
        monkeypatch.setattr(images, "MEMORY_LIMIT", limit)
        for found, expected in zip(batches(source), wanted, strict=True):
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])
    assert kind_of(source).name == str(source)
    assert data.number_of_classes(source) == 2
