"""A trained VAE's decoder as the generator of a GAN, and its encoder as the discriminator's trunk.

The generator draws, from N(0, I), what the decoder draws from a Gaussian with the moments of the
aggregate posterior: where a VAE's posterior and prior differ, its decoder knows the former.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import layers

from zoo.convert import rules, trunks
from zoo.convert.align import align, normal
from zoo.convert.blocks import Block
from zoo.convert.building import build, in_float32
from zoo.convert.plan import (
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
from zoo.convert.sources import check_choice, decoded, in_float32_only, run
from zoo.convert.verification import claim, measure, normal_draws, prior_latents
from zoo.core import registry
from zoo.gan.base import BaseGAN
from zoo.sampling.posterior import aggregate_moments
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import keras

    from zoo.convert.blocks import Network

MOMENT_LATENTS = 2048


def vae_to_gan(
    vae: BaseVAE,
    gan: BaseGAN | None = None,
    *,
    images: np.ndarray | None = None,
    whiten_posterior: bool = True,
    discriminator_init: str = "encoder",
    batch_norm: str = "insert",
    mode: str = "exact",
    mapping: Mapping[str, str] | None = None,
    model: str = "dcgan",
    dry_run: bool = False,
    seed: int = 0,
    **options: Any,
) -> tuple[Any, Report]:
    """Turns a VAE into a GAN that starts from its decoder and encoder.

    Args:
        vae: A VAE of the zoo. It is not changed.
        gan: The GAN that takes the weights, changed in place and only if all goes well; None makes
            one.
        images: float32 [n, height, width, channels] in [0, 1], training images that the aggregate
            posterior is taken over: needed for `whiten_posterior`.
        whiten_posterior: Fold z = A ε + m, A Aᵀ = S, into the first layer, with m and S the moments
            of the aggregate posterior. Else the generator draws the VAE's own prior samples.
        discriminator_init: `"encoder"` takes the discriminator's layers but the last from the
            encoder; `"random"`.
        batch_norm: For a new generator: `"insert"` BatchNorms that change nothing but how it
            trains, or `"none"`.
        mode: `"exact"`: the generator computes the decoder's images, or the conversion fails.
            `"partial"`: what fits is copied, and the difference stated.
        mapping: Regular expressions from block names of the decoder to those of the generator,
            where the structure leaves a choice; see `zoo.convert.align`.
        model: Name of a new GAN's model.
        dry_run: Only report: nothing is changed, and no new GAN returned.
        seed: Seed of the check's latents and of a new GAN's training noise.
        **options: Further arguments of a new GAN, such as `ema=0.999`; its `discriminator` too, if
            that is not made from the encoder. With `num_classes` the GAN is conditional: at first
            it draws the decoder's images whatever the class, and training teaches it to heed it.

    Returns:
        The GAN, not compiled if it is new (`zoo.training.recipes.DiscriminatorWarmUp` is how to
        begin), and the report. In a dry run without `gan`, None and the report.

    Raises:
        TypeError: If `vae` is no VAE or `gan` no GAN of the zoo.
        ValueError: If an option is none of the above; images are needed and absent; a network
            cannot be read, does not fit, or could go to the GAN in several ways; or if in exact
            mode the images turn out unequal.
    """
    check_choice("discriminator_init", discriminator_init, ("encoder", "random"))
    check_choice("batch_norm", batch_norm, ("insert", "none"))
    made = {"generator"} | ({"discriminator"} if discriminator_init == "encoder" else set())
    _check(vae, gan, images, mode, model, options, made, whiten_posterior=whiten_posterior)
    classes = 0 if gan is not None else int(options.get("num_classes", 0))
    mean, factor = np.zeros(vae.latent_dim), np.eye(vae.latent_dim)
    original = rules.unwrap_spectral_norm(read(vae.decoder, "decoder"))
    original = network = rules.to_channels_last(original)
    if whiten_posterior:
        mean, covariance = aggregate_moments(vae, np.asarray(images))
        factor = np.linalg.cholesky(covariance)
        network = rules.affine_latent(network, factor, mean)
    draws = normal_draws(MOMENT_LATENTS, vae.latent_dim, seed + 1)
    if gan is None:
        if batch_norm == "insert":
            network = rules.insert_batch_norm(network, draws, use_bias=False)
        if classes:
            network = rules.add_label(network, classes)
        plan = plan_new(rules.images_from_logits(network), original)
    else:
        network = _ending_as(gan.generator, network)
        plan = plan_into(gan.generator, network, original, draws, mapping=mapping, mode=mode)
    generator = build(plan.network)
    latents = prior_latents(vae.latent_dim, seed)

    def decoder_images(decoder: Any, dtype: Any) -> Callable[[np.ndarray], np.ndarray]:
        images = decoded(decoder)
        return lambda z: images((np.asarray(z, np.float64) @ factor.T + mean).astype(dtype))

    def generator_images(z: np.ndarray) -> np.ndarray:
        labels = (np.arange(len(z), dtype=np.int32) % classes,) if classes else ()
        return run(generator, plan.carried(z), *labels)

    exact = build(original, "float64")
    equality = measure(
        decoder_images(in_float32(vae.decoder), np.float32),
        generator_images,
        decoder_images(exact, np.float64),
        latents,
    )
    discriminator, discriminator_rows, arrays = _discriminator(
        vae, gan, discriminator_init, model, options.pop("discriminator", None), classes
    )
    report = Report(
        source=vae.model_name,
        target=model if gan is None else gan.model_name,
        weights="raw",
        equivalence=claim(
            equality, plan.rows, plan.kind("distributional" if whiten_posterior else "bitwise")
        ),
        equality=equality,
        rows=[*within(plan.rows, target="generator", source="decoder"), *discriminator_rows],
        direction="vae_to_gan",
        mode=mode,
        network="generator",
        source_network="decoder",
        batch_norm=_inserted(plan.rows),
        prior="N(0, I) carried to the aggregate posterior's Gaussian" if whiten_posterior else "",
        output="logits to images in [0, 1]",
        first_diverging=plan.first_diverging(latents),
        notes=(*plan.notes, *in_float32_only(exact)),
    )
    check_exact(report)
    if dry_run:
        return gan, report
    if gan is None:
        options = {"network": vae.network, "generator": generator, "seed": seed, **options}
        options |= {"discriminator": discriminator}
        return registry.create(model, vae.image_shape, vae.latent_dim, **options), report
    commit_all(
        gan,
        {"generator": plan.arrays, "discriminator": arrays},
        copies={"ema_generator": "generator"},
    )
    return gan, report


def _check(
    vae: BaseVAE,
    gan: BaseGAN | None,
    images: Any,
    mode: str,
    model: str,
    options: Mapping[str, Any],
    made: set[str],
    *,
    whiten_posterior: bool,
) -> None:
    check_choice("mode", mode, ("exact", "partial"))
    check_family(vae, BaseVAE)
    check_plain(vae)
    if whiten_posterior:
        _check_images(images, vae.image_shape)
    if gan is None:
        check_choice("model", model, registry.list_models("gan"))
        if options.get("num_classes") and "discriminator" in made:
            msg = (
                f"num_classes={options['num_classes']} with discriminator_init='encoder': the "
                "encoder knows no classes. Take discriminator_init='random'."
            )
            raise ValueError(msg)
        if own := made & options.keys():
            msg = f"{', '.join(sorted(own))}: made from the VAE. Give a GAN of your own as gan=…."
            raise ValueError(msg)
    else:
        check_family(gan, BaseGAN)
        check_plain(gan)
        if options:
            msg = f"{', '.join(options)}: options are for a new GAN; the given one has its own."
            raise ValueError(msg)
        check_shapes("decoder", (vae.image_shape, vae.latent_dim), gan, mode)


def _check_images(images: Any, shape: tuple[int, ...]) -> None:
    if images is None:
        msg = "whiten_posterior=True takes the posterior of images: give images=…, or turn it off."
        raise ValueError(msg)
    images = np.asarray(images)
    fits = images.ndim == 4 and images.shape[1:] == tuple(shape) and len(images) > 1
    if not fits or images.dtype.kind != "f":
        msg = (
            f"images are {images.dtype} of shape {images.shape}: expected float32 in [0, 1], "
            f"[n, {', '.join(map(str, shape))}] with n ≥ 2, as the VAE was trained on."
        )
        raise ValueError(msg)


def _ending_as(generator: Any, network: Network) -> Network:
    """A decoder with the output activation of a given generator: sigmoid, or tanh and rescaling."""
    target = normal(read(generator, "generator"))
    if target[target.outputs[0].block].activation != "sigmoid":
        return rules.images_from_logits(network)
    (last,) = network.outputs
    sigmoid = Block(
        "sigmoid", layers.Activation, {"activation": "sigmoid"}, shape=network[last.block].shape
    )
    return network.inserted(sigmoid, after=last.block)


def _inserted(rows: list[TensorRow]) -> str:
    names = dict.fromkeys(r.target.partition("/")[0] for r in rows if "BatchNorm" in r.rule)
    return f"the identity in {', '.join(names)}" if names else "none"


def _discriminator(
    vae: BaseVAE, gan: BaseGAN | None, init: str, model: str, own: keras.Model | None, classes: int
) -> tuple[Any, list[TensorRow], dict[str, np.ndarray | None]]:
    """(a new GAN's discriminator, its rows and the encoder's, what a given one takes)."""
    discriminator: Any = None
    arrays: dict[str, np.ndarray | None] = {}
    if init == "encoder":
        encoder = read(vae.encoder, "encoder")
        trunk = trunks.trunk_of(encoder, heads=2)
        if gan is None:
            given = discriminator = trunks.discriminator_on(trunk)
        else:
            given = gan.discriminator
        target = read(given, "discriminator")
        found = align(trunk, target, mode="partial", original=encoder)
        rows, arrays = found.rows, found.arrays
    else:
        if gan is None:
            shapes = (vae.image_shape, vae.latent_dim)
            asked: dict[str, Any] = {"num_classes": classes} if classes else {}
            discriminator = (
                own or registry.create(model, *shapes, network=vae.network, **asked).discriminator
            )
            rows = trunks.rows_as_they_are(discriminator, "REINITIALISED")
        else:
            rows = trunks.rows_as_they_are(gan.discriminator, "KEPT")
        rows += trunks.rows_as_they_are(vae.encoder, "UNUSED")
    return discriminator, within(rows, target="discriminator", source="encoder"), arrays
