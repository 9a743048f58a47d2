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
    Plan,
    check_exact,
    check_family,
    check_plain,
    check_shapes,
    commit_all,
    plan_into,
    plan_new,
)
from zoo.convert.reading import read
from zoo.convert.report import Report, TensorRow, within
from zoo.convert.sources import (
    Generator,
    check_choice,
    decoded,
    generator_of,
    images_in_float64,
)
from zoo.convert.verification import claim, measure, normal_draws, prior_latents
from zoo.core.contracts import unchecked
from zoo.core.network_tools import copy_network
from zoo.vae.base import BaseVAE
from zoo.vae.vae import VAE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from zoo.convert.blocks import Network
    from zoo.gan.base import BaseGAN

# Weights of a new VAE's terms: the ELBO alone, until a recipe moves them.
TRANSFER = (1.0, 1.0, 0.0, 0.0)
# BatchNorm statistics as far as this from the true ones (in standard deviations, or as the log of a
# ratio of variances) have not converged: several times the noise that a momentum of 0.9 leaves.
DRIFTED = 0.5
RECALIBRATION_LATENTS = 8192


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
        vae: The VAE whose decoder takes the weights, changed in place and only if all goes well;
            None makes one around the rewritten generator.
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
    """
    check_choice("mode", mode, ("exact", "partial", "distill"))
    check_choice("batch_norm", batch_norm, ("fold", "keep", "recalibrate"))
    check_choice("encoder_init", encoder_init, ("random", "discriminator"))
    source = generator_of(gan, weights, prior)
    discriminator = getattr(gan, "discriminator", None)
    _check(source, vae, mode, batch_norm, encoder_init, discriminator)
    architecture = str(network or getattr(gan, "network", "conv"))
    latents = prior_latents(source.latent_dim, seed)
    recalibrated = batch_norm == "recalibrate"
    if mode == "distill":
        facts = ""
        reference = source.network
        plan = _distilled(source, vae, architecture, distill_steps, seed)
    else:
        original = source.readable()
        facts = _provenance(source, original, latents)
        reference = original
        if recalibrated:
            draws = normal_draws(RECALIBRATION_LATENTS, source.latent_dim, seed + 1)
            reference = rules.recalibrate_batch_norm(original, source.carried(draws))
            facts += "; recalibrated on the prior"
        decoder = _to_logits(reference, source.prior, keep=batch_norm == "keep")
        plan = (
            plan_new(decoder, reference)
            if vae is None
            else plan_into(vae.decoder, decoder, reference, latents, mapping=mapping, mode=mode)
        )
    model = build(plan.network)
    images = decoded(model)
    exact, notes = images_in_float64(source, reference)
    equality = measure(
        source.images_of(build(reference)) if reference and recalibrated else source.images,
        lambda z: images(plan.carried(z)),
        exact,
        latents,
    )
    kind = "bitwise" if source.prior == "standard_normal" else "distributional"
    encoder, encoder_rows, encoder_arrays = _encoder(
        source, vae, discriminator, encoder_init, architecture
    )
    report = Report(
        source=source.name,
        target="vae" if vae is None else vae.model_name,
        weights=source.weights,
        equivalence=claim(
            equality, plan.rows, "approximate" if mode == "distill" else plan.kind(kind)
        ),
        equality=equality,
        rows=[*within(plan.rows, target="decoder", source="generator"), *encoder_rows],
        mode=mode,
        batch_norm=facts,
        prior="" if source.prior == "standard_normal" else f"{source.prior} from N(0, I)",
        output=f"images in [{source.image_range[0]:.0f}, 1] to logits",
        first_diverging=plan.first_diverging(latents),
        notes=(*plan.notes, *notes),
    )
    check_exact(report)
    if dry_run:
        return vae, report
    if vae is None:
        return _new_vae(source, model, encoder, architecture, seed), report
    commit_all(
        vae,
        {"decoder": plan.arrays, "encoder": encoder_arrays},
        copies={"first_decoder": "decoder"},
    )
    return vae, report


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
    if vae is not None:
        check_family(vae, BaseVAE)
        check_plain(vae)
        check_shapes("generator", (source.image_shape, source.latent_dim), vae, mode)


def _to_logits(network: Network, prior: str, *, keep: bool) -> Network:
    """A generator as a decoder: logits of its images, of latents from N(0, I)."""
    decoder = rules.logits_from_images(network if keep else rules.fold_norms(network))
    return decoder if prior == "standard_normal" else rules.transport_prior(decoder, prior)


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
    """Rows of a generator of which only the images count."""
    if source.network is not None:
        return trunks.rows_as_they_are(source.model, "UNUSED")
    shapes = {weight.path: tuple(weight.shape) for weight in source.model.weights}
    return [TensorRow("", path, "", shape, "UNUSED", shape) for path, shape in shapes.items()]


def _encoder(
    source: Generator, vae: BaseVAE | None, discriminator: Any, init: str, architecture: str
) -> tuple[Any, list[TensorRow], dict[str, np.ndarray | None]]:
    """(a new VAE's encoder, its rows and the discriminator's, what a given VAE's encoder takes)."""
    trunk = trunks.encoder_trunk(discriminator) if init == "discriminator" else None
    encoder: Any = None
    arrays: dict[str, np.ndarray | None] = {}
    if vae is None and trunk is not None:
        encoder = trunks.encoder_on(trunk, source.latent_dim)
    elif vae is None:
        shapes = (source.image_shape, source.latent_dim)
        encoder = trunks.clamped(networks.build(architecture, "encoder", *shapes))
    if trunk is not None:
        network = read(encoder if vae is None else vae.encoder, "encoder")
        found = align(trunk, network, mode="partial", original=read(discriminator, "discriminator"))
        rows, arrays = found.rows, found.arrays
    else:
        kept = "REINITIALISED" if vae is None else "KEPT"
        rows = trunks.rows_as_they_are(encoder if vae is None else vae.encoder, kept)
        if discriminator is not None:
            rows += trunks.rows_as_they_are(discriminator, "UNUSED")
    return encoder, within(rows, target="encoder", source="discriminator"), arrays


def _new_vae(
    source: Generator, decoder: keras.Model, encoder: keras.Model, architecture: str, seed: int
) -> VAE:
    # The name tells the decoder from the generator in summaries and checkpoints.
    decoder = keras.Model(decoder.inputs[0], decoder.outputs[0], name="decoder")
    for layer in decoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # its statistics are the generator's
    with unchecked():  # the decoder was compared with the generator, whatever its logits' range
        return VAE(
            image_shape=source.image_shape,
            latent_dim=source.latent_dim,
            network=architecture,
            encoder=encoder,
            decoder=decoder,
            transfer=TRANSFER,
            seed=seed,
        )
