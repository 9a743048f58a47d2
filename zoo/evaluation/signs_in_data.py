"""What is wrong with training images. Pure functions, to a finding or None."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoo.data.info import pixel_hash
from zoo.evaluation.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

# A class 100 × rarer than the largest is in fewer than one batch of 100 images.
RARE = 100
# A tenth of the images: the model sees them twice as often as it should, and copies them first.
DUPLICATES = 0.1
# One in a hundred: most batches of 64 to 128 hold one.
CONSTANT = 0.01


def rare_class(counts: np.ndarray, names: Sequence[str] | None = None) -> Finding | None:
    """Whether a class that has images has a hundredth of those of the largest, or less.

    Args:
        counts: Images of each class, int [classes].
        names: The name of each class; default: their numbers.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.signs_in_data import rare_class
        >>> rare_class(np.array([5000, 50, 900]), ["boot", "bag", "coat"]).seen
        'bag has 50 images, and boot 5,000: 100 times as many.'
        >>> rare_class(np.array([5000, 51])) is None
        True
    """
    counts = np.asarray(counts)
    there = np.flatnonzero(counts)
    if len(there) < 2:
        return None
    rarest, most = int(there[counts[there].argmin()]), int(counts.argmax())
    if counts[most] < RARE * counts[rarest]:
        return None
    rare, common = (names[i] if names else f"Class {i}" for i in (rarest, most))
    images = "image" if counts[rarest] == 1 else "images"
    return Finding(
        "rare class",
        f"{rare} has {counts[rarest]:,} {images}, and {common} {counts[most]:,}: "
        f"{counts[most] // counts[rarest]:,} times as many.",
        "The model hardly sees it. Collect more, leave it out, or take fewer of the others.",
        "arXiv 1710.05381",
    )


def duplicate_images(images: np.ndarray) -> Finding | None:
    """Whether more than a tenth of images equal an earlier one, pixel by pixel.

    Args:
        images: [n, height, width, channels] of any type.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.signs_in_data import duplicate_images
        >>> duplicate_images(np.zeros((4, 8, 8, 1))).seen
        '3 of 4 training images equal an earlier one (more than 10 %).'
    """
    repeated = len(images) - len({pixel_hash(image) for image in images})
    if repeated <= DUPLICATES * len(images):
        return None
    return Finding(
        "duplicate images",
        f"{repeated:,} of {len(images):,} training images equal an earlier one (more than 10 %).",
        "A model copies what it sees often. Leave them out; `zoo data info` lists them.",
        "arXiv 2107.06499; 2212.03860",
    )


def constant_images(images: np.ndarray) -> Finding | None:
    """Whether more than one image in a hundred has the same value in all pixels of each channel.

    Args:
        images: [n, height, width, channels] of any type.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.signs_in_data import constant_images
        >>> constant_images(np.ones((4, 8, 8, 1))).seen
        '4 of 4 training images have one colour (more than 1 %).'
    """
    plain = (images == images[:, :1, :1]).reshape(len(images), -1).all(axis=1)
    if plain.sum() <= CONSTANT * len(images):
        return None
    return Finding(
        "constant images",
        f"{plain.sum():,} of {len(images):,} training images have one colour (more than 1 %).",
        "They are often files that were not exported rightly, or transparent ones that became "
        "white (--channels 4 keeps transparency). Leave them out.",
        "docs/data.md",
    )
