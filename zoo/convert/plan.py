"""A network that is to become a model's, with the account of its tensors: made, checked, committed.

Nothing of the target changes before `commit_all`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo.convert import rules
from zoo.convert.align import align, rows_of
from zoo.convert.forms import rewrite_towards
from zoo.convert.reading import read
from zoo.convert.report import Report, within
from zoo.convert.verification import (
    first_diverging_block,
    network_inputs,
    verified_equivalence,
)
from zoo.convert.writing import commit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import keras

    from zoo.convert.blocks import Network
    from zoo.convert.report import Equality, TensorRow


@dataclass(frozen=True)
class Plan:
    """What a network of the target is to be.

    Attributes:
        network: It, weights included.
        rows: Of its tensors, and of the source's that it does not use; without network names.
        arrays: What a given model's network takes, by `block/weight`; nothing for a new one.
        source: The source's network, in the form that was aligned.
        pairs: Block of `network` to block of `source`.
        carry: Matrix from latents of the source to those of `network`; None if they are the same.
        num_classes: Classes that both take, which latents then hold as `with_classes` adds them.
        notes: For the report.
    """

    network: Network
    rows: list[TensorRow]
    arrays: dict[str, np.ndarray | None] = field(default_factory=dict)
    source: Network | None = None
    pairs: Mapping[str, str] = field(default_factory=dict)
    carry: np.ndarray | None = None
    num_classes: int = 0
    notes: tuple[str, ...] = ()

    def inputs(self, latents: np.ndarray) -> list[np.ndarray]:
        """What `network` takes in place of latents of the source: latents float32, and labels."""
        z, *labels = network_inputs(latents, self.num_classes)
        return [z if self.carry is None else np.asarray(z @ self.carry, np.float32), *labels]

    def kind(self, strongest: str) -> str:
        """The strongest equivalence it can have: a smaller latent loses some of the function."""
        smaller = self.carry is not None and self.carry.shape[1] < self.carry.shape[0]
        return "approximate" if smaller else strongest

    def first_diverging(self, latents: np.ndarray) -> str | None:
        """The first block that differs from its partner, if one does."""
        if self.source is None or not self.pairs:
            return None
        return first_diverging_block(self.source, self.network, self.pairs, self.inputs(latents))


class Companion(NamedTuple):
    """The network beside the converted one: a VAE's encoder, or a GAN's discriminator.

    Attributes:
        model: A new model's; None where the target model is given.
        rows: Of its tensors, and of the source's that it does not use; without network names.
        arrays: What a given model's network takes, by `block/weight`.
    """

    model: keras.Model | None
    rows: list[TensorRow]
    arrays: dict[str, np.ndarray | None]


class Comparison(NamedTuple):
    """The source's images beside those that the converted network draws.

    Attributes:
        latents: float32 [n, latent_dim], prior draws of the source.
        equality: The measured difference.
        notes: For the report.
    """

    latents: np.ndarray
    equality: Equality
    notes: tuple[str, ...]


class Roles(NamedTuple):
    """Names of a conversion's networks, which are attributes of the models.

    Attributes:
        network: The target's network that the source's becomes.
        source_network: The source's.
        companion: The target's other network.
        source_companion: The source's other network, whose layers `companion` can take.
        copy: A further network of some targets, with the weights of `network`.
    """

    network: str
    source_network: str
    companion: str
    source_companion: str
    copy: str


ROLES = {
    "gan_to_vae": Roles("decoder", "generator", "encoder", "discriminator", "first_decoder"),
    "vae_to_gan": Roles("generator", "decoder", "discriminator", "encoder", "ema_generator"),
}


def plan_new(network: Network, original: Network, num_classes: int = 0) -> Plan:
    """The plan of a new network, which rules made of `original`."""
    rows = rows_of(network, original)
    return Plan(network, rows, num_classes=num_classes, notes=network.notes)


def plan_into(
    model: keras.Model,
    network: Network,
    original: Network,
    latents: np.ndarray,
    *,
    mapping: Mapping[str, str] | None,
    mode: str,
    num_classes: int = 0,
) -> Plan:
    """The plan of a given model's network.

    Args:
        model: The Keras model that takes the weights.
        network: What rules have made of the source so far.
        original: The source as it was read.
        latents: float32 [n, latent_dim], prior draws of the source, as `with_classes` gives them.
        mapping: As in `align`.
        mode: "exact" or "partial".
        num_classes: Classes that both take; 0 for none.

    Raises:
        ValueError: As `align`.
    """
    target = rules.merge_rescalings(rules.to_channels_last(read(model, model.name)))
    (old,), (new,) = (rules.latent_input(each).shape for each in (network, target))
    carry, (draws, *labels) = None, network_inputs(latents, num_classes)
    if new != old:
        # Exact on carried latents where the new size is the larger.
        carry = np.eye(old, new) if new > old else rules.latent_directions(network)[0][:, :new]
        network, draws = rules.resize_latent(network, new), draws @ carry
    network = rewrite_towards(network, target)
    given = [draws, *labels] if labels else draws
    alignment = align(network, target, mapping, mode, given, original=original)
    return Plan(
        network=with_arrays(target, alignment.arrays),
        rows=alignment.rows,
        arrays=alignment.arrays,
        source=network,
        pairs=alignment.pairs,
        carry=carry,
        num_classes=num_classes,
        notes=network.notes,
    )


def with_arrays(network: Network, arrays: dict[str, np.ndarray | None]) -> Network:
    """A network with other arrays, by `block/weight`; None leaves one as it is."""
    blocks = []
    for block in network:
        values = {}
        for key, own in block.arrays.items():
            new = arrays.get(f"{block.name}/{key}")
            values[key] = own if new is None else new
        blocks.append(replace(block, arrays=values))
    return network.replaced(*blocks)


def check_family(model: Any, family: type) -> None:
    """Raises TypeError if a model is not of the family, one of the zoo's base classes."""
    if not isinstance(model, family):
        kind = family.__name__.removeprefix("Base")
        msg = f"{kind.lower()}={model!r}: expected a {kind} of the zoo, as zoo.create makes it."
        raise TypeError(msg)


def check_plain(model: Any, *, source: bool = False) -> None:
    """Raises ValueError if a model's images are another function of N(0, I) than its network's.

    A conversion carries networks over: a decoder from N(0, I) to logits whose sigmoid is the image,
    or a generator. Either may take labels, too. A decoder that is the source may also take the
    latents as a grid, and give values that are the image where they are cut off at 0 and 1.

    Args:
        model: The model.
        source: Whether it is converted, and not to take the weights.
    """
    likelihood = getattr(model, "likelihood", None)
    decoder = getattr(model, "decoder", None)
    reasons = {
        f"its prior is {model.prior}": model.prior != "standard_normal",
        "its images are no plain function of one decoder": not model.single_decoder,
        "its mean image is not the sigmoid of the logits": (
            likelihood in ("continuous_bernoulli", "discretized_logistic_mixture")
            or (likelihood == "laplace_linear" and not source)
        ),
        "its decoder takes grids of latents": (
            decoder is not None and takes_grids(decoder) and not source
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            msg = f"This {model.model_name} cannot be converted: {reason}."
            raise ValueError(msg)


def takes_grids(decoder: Any) -> bool:
    """Whether a decoder takes latents [batch, height, width, channels]."""
    inputs: Any = getattr(decoder, "inputs", None)  # a subclassed network has none
    return bool(inputs) and len(inputs[0].shape) == 4


def check_classes(name: str, num_classes: int, model: Any) -> None:
    """Raises ValueError if a given model has other classes than the network it is to take.

    Args:
        name: What the network is.
        num_classes: Its number of classes; 0 for none.
        model: The model of the zoo that is to take it.
    """
    if model.num_classes == num_classes:
        return
    one = (
        " To convert one class of it, fix that with zoo.convert.rules.fix_label."
        if num_classes and not model.num_classes
        else ""
    )
    msg = (
        f"The {name} has {num_classes or 'no'} classes, the {model.family.upper()} "
        f"{model.num_classes or 'none'}. Create it with num_classes={num_classes}.{one}"
    )
    raise ValueError(msg)


def check_shapes(name: str, source: tuple[Any, int], model: Any, mode: str) -> None:
    """Raises ValueError if a given model cannot take the networks of `source`.

    Args:
        name: What `source` is.
        source: (image_shape, latent_dim).
        model: The model of the zoo that is to take them.
        mode: "exact", "partial" or "distill".
    """
    image_shape, latent_dim = source
    if tuple(model.image_shape) != tuple(image_shape):
        msg = (
            f"The {name}'s images are {tuple(image_shape)}, but the {model.family.upper()}'s "
            f"{model.image_shape}. Create it with image_shape={tuple(image_shape)}."
        )
        raise ValueError(msg)
    smaller, other = model.latent_dim < latent_dim, model.latent_dim != latent_dim
    if (mode == "exact" and smaller) or (mode == "distill" and other):
        needed = "as many" if mode == "distill" else "at least as many"
        msg = (
            f"The {name} has {latent_dim} latent dimensions, the {model.family.upper()} "
            f"{model.latent_dim}: mode={mode!r} needs {needed}. Create it with "
            f"latent_dim={latent_dim}, or take mode='partial', which keeps the main directions."
        )
        raise ValueError(msg)


def check_exact(report: Report) -> None:
    """Raises ValueError if a conversion in exact mode is not exact.

    Blocks count as well as images: dim images hide a difference.
    """
    if report.mode != "exact" or (report.equality.passed and report.first_diverging is None):
        return
    where = f" They part at {report.first_diverging}." if report.first_diverging else ""
    msg = (
        f"The {report.network} does not compute the {report.source_network}'s images: "
        f"{report.summary()}.{where}"
    )
    raise ValueError(msg)


def conclude(
    given: Any,
    plan: Plan,
    companion: Companion,
    compared: Comparison,
    *,
    direction: str,
    strongest: str,
    new: Callable[[], Any],
    dry_run: bool,
    **facts: Any,
) -> tuple[Any, Report]:
    """Reports a conversion, checks it, and only then makes or changes the target model.

    Args:
        given: The target model to change, or None.
        plan: The converted network's.
        companion: The network beside it.
        compared: How its images differ from the source's.
        direction: One of `ROLES`.
        strongest: The strongest equivalence that this conversion can have.
        new: Makes the target model, where none is given.
        dry_run: Whether to stop after the check.
        **facts: Further attributes of the `Report`.

    Returns:
        The given or new model (None in a dry run without a given one), and the report.

    Raises:
        ValueError: If the mode is "exact" and the conversion is not; nothing is changed then.
    """
    roles = ROLES[direction]
    report = Report(
        equivalence=verified_equivalence(compared.equality, plan.rows, plan.kind(strongest)),
        equality=compared.equality,
        rows=[
            *within(plan.rows, target=roles.network, source=roles.source_network),
            *within(companion.rows, target=roles.companion, source=roles.source_companion),
        ],
        direction=direction,
        network=roles.network,
        source_network=roles.source_network,
        first_diverging=plan.first_diverging(compared.latents),
        notes=(*plan.notes, *compared.notes),
        **facts,
    )
    check_exact(report)
    if dry_run:
        return given, report
    if given is None:
        return new(), report
    arrays = {roles.network: plan.arrays, roles.companion: companion.arrays}
    commit_all(given, arrays, copies={roles.copy: roles.network})
    return given, report


def commit_all(
    model: Any, arrays: Mapping[str, Mapping[str, Any]], copies: Mapping[str, str]
) -> None:
    """Sets networks of a model, all or none.

    Args:
        model: A model of the zoo.
        arrays: For each network (an attribute's name) what `commit` takes.
        copies: Networks that are to equal others afterwards, by name; absent ones are passed over.
    """
    before = [np.asarray(variable).copy() for variable in model.variables]
    try:
        for role, values in arrays.items():
            commit(getattr(model, role), values)
        for copy, role in copies.items():
            if getattr(model, copy, None) is not None:
                getattr(model, copy).set_weights(getattr(model, role).get_weights())
    except BaseException:
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)
        raise
