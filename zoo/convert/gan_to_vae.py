"""A trained GAN's generator as the decoder of a VAE, computing the same images.

The generator is read as a network of blocks and rewritten by rules into a decoder: BatchNorm folded
into the linear layers, the output tanh turned into the sigmoid of a VAE's decoder, another prior
carried over from N(0, I). Either that network becomes the decoder of a new VAE, or its arrays go to
the decoder of a given one, block by block. The result is compared with the generator before
anything of the given VAE is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from zoo import networks
from zoo.convert import rules, trunks
from zoo.convert.align import align
from zoo.convert.building import build
from zoo.convert.distillation import distill
from zoo.convert.plan import (
    Companion,
    Comparison,
    Plan,
    check_classes,
    check_family,
    check_plain,
    check_shapes,
    conclude,
    plan_into,
    plan_new,
)
from zoo.convert.reading import read
from zoo.convert.report import TensorRow
from zoo.convert.sources import (
    Generator,
    check_choice,
    decoded,
    generator_of,
    images_in_float64,
)
from zoo.convert.verification import measure, normal_draws, prior_latents, with_classes
from zoo.core.contracts import unchecked
from zoo.core.network_tools import copy_network
from zoo.layers import ConditionalBatchNormalization
from zoo.vae.base import BaseVAE
from zoo.vae.cvae import CVAE
from zoo.vae.vae import VAE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from zoo.convert.blocks import Network
    from zoo.convert.report import Report
    from zoo.gan.base import BaseGAN

# Weights of a new VAE's terms: the ELBO alone, until a recipe moves them.
TRANSFER = (1.0, 1.0, 0.0, 0.0)
# BatchNorm statistics as far as this from the true ones (in standard deviations, or as the log of a
# ratio of variances) have not converged: several times the noise that a momentum of 0.9 leaves.
DRIFTED = 0.5
RECALIBRATION_LATENTS = 8192
NORMS = (keras.layers.BatchNormalization, ConditionalBatchNormalization)


def gan_to_vae(
    gan: BaseGAN | keras.Model | str | Path,
    vae: BaseVAE | None = None,
    *,
    mode: str = "exact",
    weights: str = "auto",
    batch_norm: str = "fold",
    mapping: Mapping[str, str] | None = None,
    encoder_init: str = "random",
    prior: str = "standard_normal",
    network: str | None = None,
    distill_steps: int = 2000,
    dry_run: bool = False,
    seed: int = 0,
) -> tuple[Any, Report]:
    """Turns a GAN into a VAE whose prior samples are the GAN's, and checks that they are.

    Args:
        gan: A GAN of the zoo; or any Keras generator of images in [0, 1] or [−1, 1] (functional,
            sequential, or subclassed), or the path of its `.keras` file. It is not changed.
        vae: The VAE whose decoder takes the weights, changed only if all goes well. None makes one
            around the rewritten generator: a `vae`; from a conditional GAN a `cvae` of its classes.
        mode: `"exact"`: the decoder computes the generator's images, or the conversion fails.
            `"partial"`: what fits is copied, and the difference stated. `"distill"`: the decoder,
            of any architecture, is trained to draw the generator's images.
        weights: For a GAN of the zoo: `"ema"`, `"raw"`, or `"auto"`: the average if there is one.
        batch_norm: `"fold"` into the linear layers; `"keep"` the layers, which do not train on; or
            `"recalibrate"`: set their statistics to those under the prior, then fold. The VAE then
            draws what the generator would with converged statistics.
        mapping: Regular expressions from block names of the generator to those of the decoder,
            where the structure leaves a choice; see `zoo.convert.align`.
        encoder_init: `"discriminator"` takes the encoder's first layers from the discriminator.
        prior: Law of the latents of a generator from outside the zoo: one of `zoo.layers.PRIORS`.
        network: Architecture of a new VAE's encoder; default the GAN's own, or conv.
        distill_steps: Training steps of `mode="distill"`, of 128 latents each.
        dry_run: Only report: nothing is changed, and no new VAE returned.
        seed: Seed of the check's latents, the distillation and a new VAE's training noise.

    Returns:
        The VAE, not compiled if it is new (its encoder is to be trained: `zoo.training.recipes`),
        and the report. In a dry run without `vae`, None and the report.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If `gan` is no model, or `vae` no VAE of the zoo.
        ValueError: If an option is none of the above; the generator cannot be read; what it
            computes is no decoder's function, does not fit the VAE's decoder, or could go to it in
            several ways; or if in exact mode the images turn out unequal.

    Example:
        >>> import zoo
        >>> from zoo.convert import gan_to_vae
        >>> vae, report = gan_to_vae(zoo.create("dcgan", (8, 8, 1), 2, network="mlp"))
        >>> vae.generate(3, seed=0).shape, report.equivalence
        ((3, 8, 8, 1), 'tolerance')
    """
    check_choice("mode", mode, ("exact", "partial", "distill"))
    check_choice("batch_norm", batch_norm, ("fold", "keep", "recalibrate"))
    check_choice("encoder_init", encoder_init, ("random", "discriminator"))
    source = generator_of(gan, weights, prior)
    discriminator = getattr(gan, "discriminator", None)
    _check(source, vae, mode, batch_norm, encoder_init, discriminator)
    architecture = str(network or getattr(gan, "network", "conv"))
    latents = with_classes(prior_latents(source.latent_dim, seed), source.num_classes)
    if mode == "distill":
        reference, statistics = source.network, ""
        plan = _distilled(source, vae, architecture, distill_steps, seed)
    else:
        reference, statistics = _reference(source, batch_norm, latents, seed)
        plan = _planned(source, reference, vae, latents, batch_norm, mapping, mode)
    decoder = build(plan.network)
    compared = _compared(source, reference, batch_norm, plan, decoder, latents)
    encoder = _encoder(source, vae, discriminator, encoder_init, architecture)
    return conclude(
        vae,
        plan,
        encoder,
        compared,
        direction="gan_to_vae",
        strongest=_strongest(source, mode),
        new=lambda: _new_vae(source, decoder, encoder.model, architecture, seed),
        dry_run=dry_run,
        source=source.name,
        target=_new_class(source).model_name if vae is None else vae.model_name,
        weights=source.weights,
        mode=mode,
        batch_norm=statistics,
        prior="" if source.prior == "standard_normal" else f"{source.prior} from N(0, I)",
        output=f"images in [{source.image_range[0]:.0f}, 1] to logits",
    )


def _check(
    source: Generator,
    vae: BaseVAE | None,
    mode: str,
    batch_norm: str,
    encoder_init: str,
    discriminator: Any,
) -> None:
    if encoder_init == "discriminator" and discriminator is None:
        msg = "encoder_init='discriminator': a generator alone has none. Take 'random'."
        raise ValueError(msg)
    if mode == "distill" and batch_norm != "fold":
        msg = f"batch_norm={batch_norm!r} rewrites layers, which mode='distill' does not read."
        raise ValueError(msg)
    if mode == "distill" and source.num_classes:
        msg = (
            f"mode='distill' is for a generator without classes, and this has {source.num_classes}."
            " Take 'exact', or fix a class with zoo.convert.rules.fix_label."
        )
        raise ValueError(msg)
    if vae is not None:
        check_family(vae, BaseVAE)
        check_plain(vae)
        check_classes("generator", source.num_classes, vae)
        check_shapes("generator", (source.image_shape, source.latent_dim), vae, mode)


def _reference(
    source: Generator, batch_norm: str, latents: np.ndarray, seed: int
) -> tuple[Network, str]:
    """(the generator to convert, what the report says of its BatchNorm statistics)."""
    network = source.readable()
    statistics = _provenance(source, network, latents)
    if batch_norm != "recalibrate":
        return network, statistics
    draws = normal_draws(RECALIBRATION_LATENTS, source.latent_dim, seed + 1)
    draws = with_classes(draws, source.num_classes)
    network = rules.recalibrate_batch_norm(network, source.carried(draws))
    return network, f"{statistics}; recalibrated on the prior"


def _planned(
    source: Generator,
    reference: Network,
    vae: BaseVAE | None,
    latents: np.ndarray,
    batch_norm: str,
    mapping: Mapping[str, str] | None,
    mode: str,
) -> Plan:
    """The plan of the generator as a decoder: logits of its images, of latents from N(0, I)."""
    network = reference if batch_norm == "keep" else rules.fold_norms(reference)
    network = rules.logits_from_images(network)
    if source.prior != "standard_normal":
        network = rules.transport_prior(network, source.prior)
    if vae is None:
        return plan_new(network, reference, source.num_classes)
    return plan_into(
        vae.decoder, network, reference, latents, mapping=mapping, mode=mode,
        num_classes=source.num_classes,
    )  # fmt: skip


def _provenance(source: Generator, network: Network, latents: np.ndarray) -> str:
    """Where BatchNorm's statistics come from, and whether they have converged."""
    drift = rules.batch_norm_drift(network, source.carried(latents[:1024]))
    if not drift:
        return "none"
    worst = max(drift, key=lambda name: drift[name])
    average = ", of the raw generator as it trained" if source.weights == "ema" else ""
    verdict = (
        "NOT CONVERGED: batch_norm='recalibrate' sets them to those of the prior"
        if drift[worst] > DRIFTED
        else "converged"
    )
    return f"moving statistics{average}; {drift[worst]:.2g} off the prior's at {worst}: {verdict}"


def _compared(
    source: Generator,
    reference: Network | None,
    batch_norm: str,
    plan: Plan,
    decoder: keras.Model,
    latents: np.ndarray,
) -> Comparison:
    """The generator's images beside the decoder's."""
    wanted, images = source.images_of(source.model), decoded(decoder)
    if reference is not None and batch_norm == "recalibrate":
        wanted = source.images_of(build(reference))
    exact, notes = images_in_float64(source, reference)
    equality = measure(wanted, lambda z: images(*plan.inputs(z)), exact, latents)
    return Comparison(latents, equality, notes)


def _strongest(source: Generator, mode: str) -> str:
    """The strongest equivalence that the conversion can have."""
    if mode == "distill":
        return "approximate"
    return "bitwise" if source.prior == "standard_normal" else "distributional"


def _distilled(
    source: Generator, vae: BaseVAE | None, architecture: str, steps: int, seed: int
) -> Plan:
    if vae is None:
        decoder = networks.build(architecture, "decoder", source.image_shape, source.latent_dim)
    else:
        decoder = copy_network(vae.decoder, (vae.latent_dim,))
        decoder.trainable = True
    distill(source.images, decoder, source.latent_dim, steps=steps, seed=seed)
    network = read(decoder, "decoder")
    arrays: dict[str, Any] = {f"{b.name}/{key}": a for b in network for key, a in b.arrays.items()}
    rows = trunks.rows_as_they_are(decoder, "REINITIALISED", rule="distilled from the images")
    return Plan(network, rows + _unused(source), arrays)


def _unused(source: Generator) -> list[TensorRow]:
    """Rows of a generator whose images alone count."""
    if source.network is not None:
        return trunks.rows_as_they_are(source.model, "UNUSED")
    shapes = {weight.path: tuple(weight.shape) for weight in source.model.weights}
    return [TensorRow("", path, "", shape, "UNUSED", shape) for path, shape in shapes.items()]


def _encoder(
    source: Generator, vae: BaseVAE | None, discriminator: Any, init: str, architecture: str
) -> Companion:
    """A new VAE's encoder, or what a given VAE's takes."""
    trunk = trunks.encoder_trunk(discriminator) if init == "discriminator" else None
    encoder: Any = None
    arrays: dict[str, np.ndarray | None] = {}
    if vae is None and trunk is not None:
        encoder = trunks.encoder_on(trunk, source.latent_dim)
    elif vae is None:
        shapes = (source.image_shape, source.latent_dim)
        options = {"num_classes": source.num_classes} if source.num_classes else {}
        encoder = trunks.clamped(networks.build(architecture, "encoder", *shapes, **options))
    target = encoder if vae is None else vae.encoder
    if trunk is not None:
        original = read(discriminator, "discriminator")
        alignment = align(trunk, read(target, "encoder"), mode="partial", original=original)
        rows, arrays = alignment.rows, alignment.arrays
    else:
        rows = trunks.rows_as_they_are(target, "REINITIALISED" if vae is None else "KEPT")
        if discriminator is not None:
            rows += trunks.rows_as_they_are(discriminator, "UNUSED")
    return Companion(encoder, rows, arrays)


def _new_class(source: Generator) -> type[VAE | CVAE]:
    return CVAE if source.num_classes else VAE


def _new_vae(
    source: Generator, decoder: keras.Model, encoder: Any, architecture: str, seed: int
) -> VAE | CVAE:
    # The name tells the decoder from the generator in summaries and checkpoints.
    inputs = decoder.inputs if source.num_classes else decoder.inputs[0]
    decoder = keras.Model(inputs, decoder.outputs[0], name="decoder")
    for layer in decoder.layers:
        if isinstance(layer, NORMS):
            layer.trainable = False  # its statistics are the generator's
    options: Any = {"num_classes": source.num_classes} if source.num_classes else {}
    with unchecked():  # the decoder was compared with the generator, whatever its logits' range
        return _new_class(source)(
            image_shape=source.image_shape,
            latent_dim=source.latent_dim,
            network=architecture,
            encoder=encoder,
            decoder=decoder,
            transfer=TRANSFER,
            seed=seed,
            **options,
        )
