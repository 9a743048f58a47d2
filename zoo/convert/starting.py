"""A new model that starts as a trained one, for data of other classes or of another size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.convert import rules
from zoo.convert.align import rows_of
from zoo.convert.building import build
from zoo.convert.carrying import Labels, NoBiasError, carried, renumbered
from zoo.convert.classes import Start, matrix
from zoo.convert.growing import factor_of, grown, networks_of, others_of
from zoo.convert.reading import read
from zoo.convert.report import TensorRow, within
from zoo.convert.start_report import StartReport
from zoo.convert.verification import EXTREMES
from zoo.convert.writing import commit
from zoo.gan._started import OPTIONS
from zoo.gan.acgan import ACGAN
from zoo.gan.base import BaseGAN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import keras

    from zoo.convert.blocks import Network
    from zoo.core.model import ZooModel

# What makes the networks; a source's are taken as they are.
ARCHITECTURE = (
    "network", "normalization", "latent_dim", "num_classes",
    "generator", "discriminator", "encoder", "decoder", "transfer", "new_layers", "ema_start",
)  # fmt: skip
# What the source's data have moved, and new data move anew: p of an augmentation, LeCam's averages.
OF_DATA = ("augment_p", "signs", "logit_averages")
DECODERS = ("generator", "decoder")  # of latents, which the rules of conversion rewrite
TOLERANCE = 5e-5  # of pixels: the largest that rounding may cause in a conversion
COMPARED = 61  # latents of the comparison, besides the extremes
MOST = 32  # classes that are compared


def start_from(
    source: ZooModel,
    classes: Sequence[Start],
    *,
    image_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[ZooModel, StartReport]:
    """Makes a model of the source's architecture, weights and averages, at step 0.

    Args:
        source: A model of the zoo. It is not changed.
        classes: What each class starts as; one entry for a model without classes.
        image_shape: The new model's; default: the source's. Height and width may be 2, 4, … times
            as large, where the networks can grow.
        num_classes: Classes of the new model, 0 for none; default: the source's.
        options: Options of the model that do not define its networks, in place of the source's.

    Returns:
        The model, not compiled, and the report.

    Raises:
        ValueError: If an option defines the networks, the source's networks cannot take the classes
            or the size, or `carried_rate` is given and no layer is new.

    Example:
        >>> import zoo
        >>> from zoo.convert.classes import starts
        >>> from zoo.convert.starting import start_from
        >>> source = zoo.create("cvae", (8, 8, 1), 2, network="mlp", num_classes=2)
        >>> model, _ = start_from(source, starts("abc", "ab", {"c": "a"}), num_classes=3)
        >>> model.generate(2, seed=0, labels=2).shape
        (2, 8, 8, 1)
    """
    options = dict(options or {})
    check_options(source, options)
    shape = tuple(source.image_shape if image_shape is None else image_shape)
    factor = factor_of(source, shape)
    new = source.num_classes if num_classes is None else num_classes
    labels = Labels(matrix(classes, source.num_classes), source.num_classes, new)
    config = {**_config(source), **options}
    model, rows = _with_labels(source, config, labels)
    compared, error = (0, None) if factor > 1 else _compare(source, model, classes)
    notes: tuple[str, ...] = ()
    if factor > 1:
        model, rows = grown(model, shape, factor, rows)
        fresh = sum(not row.source for row in rows)
        notes = (f"{fresh} tensors next to the image are new, for {shape[0]} × {shape[1]} pixels.",)
    _name_new_layers(model, rows)
    return model, StartReport(source.model_name, [*classes], rows, compared, error, notes)


def check_options(source: ZooModel, options: Mapping[str, Any]) -> None:
    """Raises ValueError if an option would define the networks anew."""
    for name in options:
        if name in ARCHITECTURE:
            held = source.get_config().get(name)
            has = f"{name}={held!r}" if isinstance(held, (str, int, float)) else "its own networks"
            msg = (
                f"{name}={options[name]!r}: the networks are those of the source, a "
                f"{source.model_name} of {has}. Leave {name} out."
            )
            raise ValueError(msg)


def _name_new_layers(model: Any, rows: Sequence[TensorRow]) -> None:
    """Tells a model whose carried layers are slower which layers are new."""
    rate = getattr(model, "carried_rate", 1.0)
    if rate == 1.0:
        return
    model.new_layers = tuple(
        dict.fromkeys(row.target.rpartition("/")[0] for row in rows if not row.source)
    )
    if not model.new_layers:
        msg = (
            f"carried_rate={rate}: every layer is carried over, and none is new. Leave it out, "
            "and lower the learning rate of all."
        )
        raise ValueError(msg)


def _config(source: Any) -> dict[str, Any]:
    """The source's arguments for a model that begins: nothing frozen, its average gone on with."""
    left = ("name", "num_classes", *OPTIONS)
    config = {k: v for k, v in source.get_config().items() if k not in left}
    if not isinstance(source, BaseGAN):
        return config
    behind = 0 if source.ema_generator is None else source.ema_start + source.steps_done
    return {**config, "ema_start": behind}


def _with_labels(
    source: Any, config: dict[str, Any], labels: Labels
) -> tuple[ZooModel, list[TensorRow]]:
    """The model with the new classes, and the rows of its tensors."""
    if labels.new:
        config = {**config, "num_classes": labels.new}
    rewritten = {} if labels.old == labels.new else _own_networks(source, config, labels)
    try:
        return _filled(source, type(source).from_config({**config, **rewritten}), labels, rewritten)
    except NoBiasError as error:
        role = str(error.args[1])
        if role not in DECODERS:
            raise
        # As no layer of the architecture can stand for the class, the model keeps a network.
        rewritten[role] = build(_rewritten(source, role, labels))
    return _filled(source, type(source).from_config({**config, **rewritten}), labels, rewritten)


def _filled(
    source: Any, model: Any, labels: Labels, rewritten: Mapping[str, Any]
) -> tuple[ZooModel, list[TensorRow]]:
    """The new model with what is the source's, and the rows of its tensors."""
    rows: list[TensorRow] = []
    for role, network in networks_of(model).items():
        given = getattr(source, role, None) or getattr(source, "generator", None)
        made_of = "generator" if role == "ema_generator" else role
        heads = ("head_0",) if isinstance(source, ACGAN) and role == "discriminator" else ()
        labelled = _takes_labels(given) or _takes_labels(network) or bool(heads)
        if labels.unchanged or not labelled or not labels.old + labels.new:
            some = _copied(given, network)
        elif made_of in rewritten and labels.old * labels.new == 0:
            rule_made = _rewritten(source, role, labels)
            commit(
                network, {f"{b.name}/{key}": a for b in rule_made for key, a in b.arrays.items()}
            )
            some = rows_of(rule_made, read(given))
        else:
            part = carried(given, network, labels, heads, role)
            commit(network, part.arrays)
            some = part.rows
        rows += within(some, target=role, source=role if getattr(source, role, None) else made_of)
    held = {variable.name: variable for variable in others_of(source)}
    for ours in others_of(model):
        if ours.name in held and ours.name not in OF_DATA:
            ours.assign(held[ours.name])
            rows.append(_copy_row(f"model/{ours.name}", tuple(ours.shape)))
    return model, rows


def _takes_labels(network: Any) -> bool:
    return len(getattr(network, "inputs", None) or ()) > 1


def _copied(given: keras.Model, network: keras.Model) -> list[TensorRow]:
    """Copies all variables of a network of the same configuration."""
    rows = []
    for ours, theirs in zip(network.variables, given.variables, strict=True):
        ours.assign(theirs)
        rows.append(_copy_row(ours.path, tuple(ours.shape)))
    return rows


def _copy_row(path: str, shape: tuple[int, ...]) -> TensorRow:
    return TensorRow(path, path, "copy", shape, "COPIED", shape)


def _own_networks(source: Any, config: Mapping[str, Any], labels: Labels) -> dict[str, Any]:
    """The networks of the user's own, with inputs for the new classes."""
    networks = {}
    for role in source._own_networks:
        labelled = _takes_labels(getattr(source, role))
        if labels.old and labels.new:
            if labelled:
                networks[role] = renumbered(config[role], labels.new)
        elif role in DECODERS:
            networks[role] = build(_rewritten(source, role, labels))
        elif labelled or labels.new:
            msg = (
                f"The source's {role} is of its own kind, which takes "
                f"{'labels' if labels.old else 'no labels'}: give data "
                f"{'with' if labels.old else 'without'} classes, or another source."
            )
            raise ValueError(msg)
    return networks


def _rewritten(source: Any, role: str, labels: Labels) -> Network:
    """The source's generator or decoder with a label, or of one class, by the converter's rules."""
    given = getattr(source, role)
    if not labels.old:
        return rules.add_label(read(given), labels.new)
    row = labels.weights[0]
    if row.max() == 1.0:
        return rules.fix_label(read(given), int(row.argmax()))
    # Of all classes alike: two classes that are that, of which one is fixed.
    twice = Labels(np.tile(row, (2, 1)), labels.old, 2)
    middle, _ = _with_labels(source, _config(source), twice)
    return rules.fix_label(read(getattr(middle, role)), 0)


def _compare(
    source: ZooModel, model: ZooModel, classes: Sequence[Start]
) -> tuple[int, float | None]:
    """(classes compared, largest difference of their images from those that they start as).

    Raises:
        ValueError: If they differ by more than rounding.
    """
    if source.dtype_policy.name != model.dtype_policy.name:
        return 0, None
    latents = _latents(source)
    errors: list[float] = []
    for number, start in enumerate(classes):
        if (source.num_classes and start.old is None) or len(errors) == MOST:
            continue
        wanted = source.generate_from(latents, start.old)
        drawn = model.generate_from(latents, number if model.num_classes else None)
        errors.append(float(np.abs(drawn - wanted).max()))
        if not errors[-1] <= TOLERANCE:
            msg = f"Class {start.name} does not draw what {start.text} does: {errors[-1]:.2g} off."
            raise ValueError(msg)
    return len(errors), max(errors, default=None)


def _latents(source: ZooModel) -> np.ndarray:
    drawn = source.sample_latents(COMPARED, 0)
    return np.concatenate([drawn, *(np.full_like(drawn[:1], x) for x in EXTREMES)])
