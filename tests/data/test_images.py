"""What a description of images says."""

from __future__ import annotations

import numpy as np

from tests.support.image_files import random_pixels
from zoo import data


def test_many_classes_are_shortened() -> None:
    images = data.Images(random_pixels(100), np.arange(100), [f"c{i}" for i in range(100)])
    text = data.describe(images)
    assert "100 classes: 0 = c0 (1), 1 = c1 (1)," in text
    assert text.endswith("9 = c9 (1), …, 99 = c99 (1).")
    assert "3 classes (0 to 2)." in data.describe(data.Images(random_pixels(3), np.arange(3)))
