"""Layer sizes of the convolutional networks (arXiv 1511.06434, figure 1: doubling channels)."""

from __future__ import annotations

from typing import Any

import pytest

from zoo.networks import conv


def _channels(model: Any, *names: str) -> list[int]:
    return [model.get_layer(name).output.shape[-1] for name in names]


@pytest.mark.parametrize("options", [{}, {"width": 8}], ids=str)
@pytest.mark.parametrize(("side", "stages"), [(28, 2), (48, 3), (64, 4), (128, 5)])
def test_channels_double_as_the_side_halves(side: int, stages: int, options: dict) -> None:
    width = options.get("width", 64)
    widths = [min(width << i, 512) for i in range(stages)]
    shape, start = (side, side, 3), side >> stages
    for build in (conv.generator, conv.decoder):
        model = build(shape, 5, **options)
        assert model.get_layer("project").units == start * start * widths[-1]
        assert model.get_layer("reshape").output.shape[1:] == (start, start, widths[-1])
        names = [f"conv_transpose_{i}" for i in range(1, stages)]
        assert _channels(model, *names, "logits") == [*widths[:-1], 3]
    for model in (conv.encoder(shape, 5, **options), conv.discriminator(shape, **options)):
        assert _channels(model, *[f"conv_{i}" for i in range(stages)]) == widths
