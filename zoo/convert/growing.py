"""A model for images of 2, 4, … times the side: new blocks next to the image, the rest kept.

The built-in networks double their channels from the image inwards. One of half the width has, one
stage further in, the same layers; so it takes them, and is new next to the image alone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras

from zoo.convert.report import TensorRow
from zoo.convert.writing import variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.core.model import ZooModel

# Defaults of the architectures that can grow.
WIDTHS = {"conv": 64, "resnet": 64, "style": 32, "stylegan2": 512}
BY_SIDE = ("stylegan2",)  # whose channels follow from the side: they keep their width
# Layers that count their stages from the image, and those next to it, which are new.
STAGES = re.compile(r"^(conv|conv_transpose|batch_norm|block|to_rgb)_(\d+)(?=_|/)")
OUTER = re.compile(r"^(logits|output_\w+|output|from_rgb)/")


def networks_of(model: ZooModel) -> dict[str, Any]:
    """A model's networks by attribute.

    Example:
        >>> import zoo
        >>> from zoo.convert.growing import networks_of
        >>> [*networks_of(zoo.create("vae", (8, 8, 1), 2, network="mlp"))]
        ['encoder', 'decoder']
    """
    return {name: value for name, value in vars(model).items() if isinstance(value, keras.Model)}


def others_of(model: ZooModel) -> list[Any]:
    """A model's variables outside its networks, without its step and running means."""
    inside = {id(v) for network in networks_of(model).values() for v in network.variables}
    inside |= {id(v) for v in (model.step, *model.running_means.variables)}
    return [v for v in model.variables if id(v) not in inside]


def factor_of(source: Any, shape: Sequence[int]) -> int:
    """How many times the side of the source's images is in a shape: 1, 2, 4, ….

    Raises:
        ValueError: If the source's networks cannot have that shape; those that fit are named.
    """
    height, width, channels = source.image_shape
    factor = max(int(shape[0]) // height, 1)
    if tuple(shape) == (height, width, channels):
        return 1
    name = source.network.partition("-")[0]
    grows = name in WIDTHS and not source._own_networks
    fits = [f"{height} × {width}"]
    if grows:
        fits += [f"{k * height} × {k * width}" for k in (2, 4) if _width(source, k)]
    scaled = tuple(shape) == (factor * height, factor * width, channels)
    if not scaled or not grows or factor & (factor - 1) or not _width(source, factor):
        msg = (
            f"Images of {' × '.join(map(str, shape))}: the source's {source.network} networks take "
            f"{' or '.join(fits)} pixels of {channels} channel{'s' * (channels > 1)}. Take one "
            "of these sizes, or leave the size out: images are converted."
        )
        raise ValueError(msg)
    return factor


def grown(
    model: Any, shape: Sequence[int], factor: int, rows: Sequence[TensorRow]
) -> tuple[ZooModel, list[TensorRow]]:
    """The model for larger images.

    Args:
        model: A model whose networks are built in.
        shape: (height, width, channels) of the larger images.
        factor: By which height and width are larger.
        rows: What became of the model's tensors so far.

    Returns:
        The larger model, and the rows of its tensors.

    Raises:
        ValueError: If a layer that should be kept has another shape there.
    """
    name = model.network.partition("-")[0]
    config = {**model.get_config(), "image_shape": [*shape]}
    config["network"] = f"{name}-{_width(model, factor)}"
    config.pop("name", None)
    larger = type(model).from_config(config)
    before = {row.target: row for row in rows}
    filled: list[TensorRow] = []
    for role, network in networks_of(larger).items():
        filled += _filled(role, network, getattr(model, role), factor, before)
    for ours, theirs in zip(others_of(larger), others_of(model), strict=True):
        if ours.shape != theirs.shape:
            msg = f"{ours.name} of a {model.model_name} is of the images' size: it cannot grow."
            raise ValueError(msg)
        ours.assign(theirs)
    filled += [row for row in rows if row.target.startswith("model/")]
    return larger, filled


def _filled(
    role: str, network: Any, smaller: Any, factor: int, before: Mapping[str, TensorRow]
) -> list[TensorRow]:
    """Gives a network the layers of the smaller one, and returns the rows of its tensors."""
    have, wanted = variables(smaller), variables(network)
    stages = factor.bit_length() - 1
    if _shapes(have) == _shapes(wanted):  # a network that does not depend on the images' size
        stages = 0
    inner = {path: _inner(path, stages) for path in wanted}
    fresh = set()  # layers that are new, with all that is in them
    for path, variable in wanted.items():
        given, size = have.get(inner[path]), tuple(variable.shape)
        if given is None or tuple(given.shape) != size:
            fresh.add(path.rpartition("/")[0])
        if given is not None and tuple(given.shape) != size and not _is_outer(inner[path]):
            msg = (
                f"The {role} cannot grow: {path} would have the shape {size}, and has "
                f"{tuple(given.shape)}. Take the source's size, or a conv or resnet model."
            )
            raise ValueError(msg)
    rows = []
    for path, variable in wanted.items():
        target, size = f"{role}/{path}", tuple(variable.shape)
        if path.rpartition("/")[0] in fresh:
            rows.append(TensorRow(target, "", "", size, "REINITIALISED"))
            continue
        variable.assign(have[inner[path]])
        old = f"{role}/{inner[path]}"
        row = before.get(old, TensorRow(old, old, "copy", size, "COPIED", size))
        rows.append(replace(row, target=target))
    return rows


def _shapes(weights: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {path: tuple(weight.shape) for path, weight in weights.items()}


def _width(model: Any, factor: int) -> int:
    """The width for images of so many times the side; 0 if there is none."""
    name, _, width = model.network.partition("-")
    own = int(width) if width else WIDTHS[name]
    if name in BY_SIDE:
        return own
    return 0 if own % factor else own // factor


def _inner(path: str, stages: int) -> str:
    """The path of the same layer in the smaller network, whose stages are so many fewer."""
    stage = STAGES.match(path)
    if stage is None:
        return path
    number = int(stage[2]) - stages
    return f"{stage[1]}_{number}{path[stage.end() :]}" if number >= 0 else ""


def _is_outer(path: str) -> bool:
    """Whether a layer of the smaller network is next to the image."""
    stage = STAGES.match(path)
    return OUTER.match(path) is not None or (stage is not None and int(stage[2]) == 0)
