"""What a network is given."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def images_judged(model: Any) -> Iterator[list[Any]]:
    """The images that a GAN's discriminator is given within the block, one entry per call."""
    seen: list[Any] = []
    discriminator = model.discriminator

    def noted(images: Any, training: bool) -> Any:
        seen.append(images)
        return discriminator(images, training=training)

    model.discriminator = noted
    try:
        yield seen
    finally:
        model.discriminator = discriminator
