"""A trained VAE's decoder as the generator of a GAN, and its encoder as the discriminator's trunk.

The generator draws, from N(0, I), what the decoder draws from a Gaussian with the moments of the
aggregate posterior: where a VAE's posterior and prior differ, its decoder knows the former.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers

from zoo.convert import rules, trunks
from zoo.convert.align import align, normal
from zoo.convert.blocks import Block
from zoo.convert.building import build, in_float32
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
    takes_grids,
)
from zoo.convert.reading import nodes_restored, read
from zoo.convert.sources import check_choice, in_float32_only, run
from zoo.convert.verification import (
    measure,
    network_inputs,
    normal_draws,
    prior_latents,
    with_classes,
)
from zoo.core import registry
from zoo.gan.base import BaseGAN
from zoo.networks import GRID_ONLY
from zoo.sampling.posterior import aggregate_moments
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zoo.convert.blocks import Network
    from zoo.convert.report import Report, TensorRow

MOMENT_LATENTS = 2048


def vae_to_gan(
    vae: BaseVAE,
    gan: BaseGAN | None = None,
    *,
    images: np.ndarray | None = None,
    labels: np.ndarray | None = None,
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
        vae: A VAE of the zoo. It is not changed. If its decoder takes grids, the GAN's are flat.
        gan: The GAN that takes the weights. It is changed only if all goes well. None makes one.
        images: float32 [n, height, width, channels] in [0, 1], training images that the aggregate
            posterior is taken over: needed for `whiten_posterior`.
        labels: Their classes, int32 [n], for a conditional VAE.
        whiten_posterior: Fold z = A ε + m, A Aᵀ = S, into the first layer, with m and S the moments
            of the aggregate posterior. Else the generator draws the VAE's own prior samples.
        discriminator_init: `"encoder"`: it takes the encoder's layers but the last; or `"random"`,
            the only one where the encoder gives grids.
        batch_norm: In a new generator: `"insert"` ones that change only training, or `"none"`.
        mode: `"exact"`: the generator computes the decoder's images, or the conversion fails.
            `"partial"`: what fits is copied, and the difference stated.
        mapping: Regular expressions from the decoder's block names to the generator's, where the
            structure leaves a choice; see `zoo.convert.align`.
        model: Name of a new GAN's model.
        dry_run: Only report: nothing is changed, and no new GAN returned.
        seed: Seed of the check's latents and of a new GAN's training noise.
        **options: Further arguments of a new GAN, such as `ema=0.999`; its `discriminator` too, if
            that is not made from the encoder. A GAN has the VAE's classes. With `num_classes`, that
            of a VAE without them is conditional: at first it draws the same for each class.

    Returns:
        The GAN, not compiled if it is new (`zoo.training.recipes.DiscriminatorWarmUp` is how to
        begin), and the report. In a dry run without `gan`, None and the report.

    Raises:
        TypeError: If `vae` is no VAE or `gan` no GAN of the zoo.
        ValueError: If an option is none of the above; images are needed and absent; a network
            cannot be read, does not fit, or could go to the GAN in several ways; or if in exact
            mode the images turn out unequal.

    Example:
        >>> import zoo
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> gan, report = zoo.convert.vae_to_gan(vae, whiten_posterior=False)
        >>> gan.generate(3, seed=0).shape, report.equivalence
        ((3, 8, 8, 1), 'tolerance')
    """
    _check(vae, gan, mode, model, options, discriminator_init, batch_norm)
    classes = {"num_classes": vae.num_classes} if vae.num_classes else {}
    added = 0 if classes else int(options.get("num_classes", 0))
    original = rules.to_channels_last(rules.unwrap_spectral_norm(_read_decoder(vae)))
    posterior = _posterior(vae, images, labels, whiten=whiten_posterior)
    network = rules.affine_latent(original, *posterior) if whiten_posterior else original
    if gan is None:
        network = _new_generator(vae, network, batch_norm, added, seed)
        plan = plan_new(network, original, vae.num_classes)
    else:
        plan = _plan_into(vae, gan, network, original, mapping, mode, seed)
    generator = build(plan.network)
    compared = _compared(vae, original, posterior, plan, generator, added, seed)
    discriminator = _discriminator(vae, gan, discriminator_init, model, options | classes)
    options = {"network": _architecture(vae), "seed": seed, **options, **classes,
               "generator": generator, "discriminator": discriminator.model}  # fmt: skip
    return conclude(
        gan,
        plan,
        discriminator,
        compared,
        direction="vae_to_gan",
        strongest="distributional" if whiten_posterior else "bitwise",
        new=lambda: registry.create(model, vae.image_shape, vae.noise_dim, **options),
        dry_run=dry_run,
        source=vae.model_name,
        target=model if gan is None else gan.model_name,
        weights="raw",
        mode=mode,
        batch_norm=_inserted(plan.rows),
        prior="N(0, I) carried to the aggregate posterior's Gaussian" if whiten_posterior else "",
        output=f"{'values' if _is_linear(vae) else 'logits'} to images in [0, 1]",
    )


def _check(
    vae: Any,
    gan: Any,
    mode: str,
    model: str,
    options: Mapping[str, Any],
    discriminator_init: str,
    batch_norm: str,
) -> None:
    """Checks the VAE, and the given GAN or the options of a new one."""
    check_choice("batch_norm", batch_norm, ("insert", "none"))
    check_choice("discriminator_init", discriminator_init, ("encoder", "random"))
    check_choice("mode", mode, ("exact", "partial"))
    check_family(vae, BaseVAE)
    check_plain(vae, source=True)
    if takes_grids(vae.decoder) and discriminator_init == "encoder":
        msg = (
            f"discriminator_init='encoder': the encoder of this {vae.model_name} gives grids, and "
            "has no features of whole images. Take discriminator_init='random' "
            "(--discriminator-init random)."
        )
        raise ValueError(msg)
    if gan is not None:
        check_family(gan, BaseGAN)
        check_plain(gan)
        if options:
            msg = f"{', '.join(options)}: options are for a new GAN; the given one has its own."
            raise ValueError(msg)
        check_classes("decoder", vae.num_classes, gan)
        check_shapes("decoder", (vae.image_shape, vae.noise_dim), gan, mode)
        return
    check_choice("model", model, registry.list_models("gan"))
    made = {"generator"} | ({"discriminator"} if discriminator_init == "encoder" else set())
    if vae.num_classes and options.get("num_classes", vae.num_classes) != vae.num_classes:
        msg = (
            f"num_classes={options['num_classes']}: the {vae.model_name} has {vae.num_classes} "
            "classes, and so has the GAN that is made of it. Leave it out."
        )
        raise ValueError(msg)
    if options.get("num_classes") and not vae.num_classes and "discriminator" in made:
        msg = (
            f"num_classes={options['num_classes']} with discriminator_init='encoder': the "
            "encoder knows no classes. Take discriminator_init='random'."
        )
        raise ValueError(msg)
    if own := made & options.keys():
        msg = f"{', '.join(sorted(own))}: made from the VAE. Give a GAN of your own as gan=…."
        raise ValueError(msg)


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


def _posterior(
    vae: BaseVAE, images: Any, labels: Any, *, whiten: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(A, m) of z = A ε + m, with the aggregate posterior's moments; (I, 0) for the VAE's prior."""
    if not whiten:
        return np.eye(vae.noise_dim), np.zeros(vae.noise_dim)
    _check_images(images, vae.image_shape)
    if vae.num_classes or labels is not None:
        labels = vae.checked_labels(labels, len(images))
    mean, covariance = aggregate_moments(vae, np.asarray(images), labels)
    try:
        return np.linalg.cholesky(covariance), mean
    except np.linalg.LinAlgError:  # deviations that rounding takes for 0, and fewer images than d
        values, vectors = np.linalg.eigh(covariance)
        return vectors * np.sqrt(np.maximum(values, 0.0)), mean


def _read_decoder(vae: BaseVAE) -> Network:
    """The decoder of latents [batch, noise_dim], which are a grid flattened if it takes grids."""
    decoder = vae.decoder
    if not takes_grids(decoder):
        return read(decoder, "decoder")
    with nodes_restored(decoder):
        latents = keras.Input((vae.noise_dim,), name="latent_vector")
        grids = layers.Reshape(vae.grid, name="to_grid")(latents)
        return read(keras.Model(latents, decoder(grids), name=decoder.name), "decoder")


def _architecture(vae: BaseVAE) -> str:
    """The architecture of those networks of a new GAN that are not made from the VAE."""
    return "conv" if vae.network in GRID_ONLY else vae.network


def _is_linear(vae: BaseVAE) -> bool:
    """Whether the decoder's values are the pixels."""
    return vae.likelihood == "laplace_linear"


def _new_generator(
    vae: BaseVAE, network: Network, batch_norm: str, added: int, seed: int
) -> Network:
    """A decoder to logits as a new GAN's generator; with `added` classes, if there are any."""
    if batch_norm == "insert":
        draws = network_inputs(_draws(vae, seed), vae.num_classes)
        network = rules.insert_batch_norm(network, draws, use_bias=False)
    if added:
        network = rules.add_label(network, added)
    end = rules.images_from_values if _is_linear(vae) else rules.images_from_logits
    return end(network)


def _plan_into(
    vae: BaseVAE,
    gan: BaseGAN,
    network: Network,
    original: Network,
    mapping: Mapping[str, str] | None,
    mode: str,
    seed: int,
) -> Plan:
    """The plan of a given GAN's generator."""
    if _is_linear(vae):
        network = rules.images_from_values(network)
    else:
        network = _ending_as(gan.generator, network)
    return plan_into(
        gan.generator, network, original, _draws(vae, seed),
        mapping=mapping, mode=mode, num_classes=vae.num_classes,
    )  # fmt: skip


def _draws(vae: BaseVAE, seed: int) -> np.ndarray:
    """Latents for BatchNorm's moments, with classes where the VAE has them."""
    return with_classes(normal_draws(MOMENT_LATENTS, vae.noise_dim, seed + 1), vae.num_classes)


def _compared(
    vae: BaseVAE,
    original: Network,
    posterior: tuple[np.ndarray, np.ndarray],
    plan: Plan,
    generator: keras.Model,
    added: int,
    seed: int,
) -> Comparison:
    """The decoder's images beside the generator's, of any of the classes that were added."""
    factor, mean = posterior
    latents = with_classes(prior_latents(vae.noise_dim, seed), vae.num_classes)

    def decoder_images(decoder: keras.Model, dtype: Any) -> Callable[[np.ndarray], np.ndarray]:
        shape = vae.grid if takes_grids(decoder) else (vae.noise_dim,)

        def of_normals(given: np.ndarray) -> np.ndarray:
            z, *labels = network_inputs(np.asarray(given, np.float64), vae.num_classes)
            z = (z @ factor.T + mean).astype(dtype)
            return np.asarray(vae.pixels.mean(run(decoder, z.reshape(-1, *shape), *labels)))

        return of_normals

    def generator_images(given: np.ndarray) -> np.ndarray:
        labels = (np.arange(len(given), dtype=np.int32) % added,) if added else ()
        return run(generator, *plan.inputs(given), *labels)

    wanted = decoder_images(in_float32(vae.decoder), np.float32)
    in_double = build(original, "float64")
    exact = decoder_images(in_double, np.float64)
    equality = measure(wanted, generator_images, exact, latents)
    return Comparison(latents, equality, in_float32_only(in_double))


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
    vae: BaseVAE, gan: BaseGAN | None, init: str, model: str, options: Mapping[str, Any]
) -> Companion:
    """A new GAN's discriminator, or what a given GAN's takes."""
    discriminator: Any = None
    arrays: dict[str, np.ndarray | None] = {}
    if init == "encoder":
        encoder = read(vae.encoder, "encoder")
        trunk = trunks.trunk_of(encoder, heads=2)
        if gan is None:
            discriminator = trunks.discriminator_on(trunk)
        target = read(discriminator if gan is None else gan.discriminator, "discriminator")
        alignment = align(trunk, target, mode="partial", original=encoder)
        rows, arrays = alignment.rows, alignment.arrays
    else:
        if gan is None:
            discriminator = options.get("discriminator") or _new_discriminator(vae, model, options)
            rows = trunks.rows_as_they_are(discriminator, "REINITIALISED")
        else:
            rows = trunks.rows_as_they_are(gan.discriminator, "KEPT")
        rows += trunks.rows_as_they_are(vae.encoder, "UNUSED")
    return Companion(discriminator, rows, arrays)


def _new_discriminator(vae: BaseVAE, model: str, options: Mapping[str, Any]) -> keras.Model:
    """The random discriminator of a new GAN."""
    options = {"network": _architecture(vae), **options}
    return registry.create(model, vae.image_shape, vae.noise_dim, **options).discriminator
