"""A trained GAN's generator as the decoder of a VAE, computing the same images.

The generator's BatchNorms are folded into their linear layers, and its output tanh becomes the
sigmoid of a VAE's decoder: (tanh x + 1) / 2 = sigmoid(2x), so the last kernel and bias double.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers

from zoo.convert.folding import LINEAR, fold_batch_norm, foldable_pairs
from zoo.convert.graph import LayerGraph, as_functional, copy_model, in_float32, in_float64
from zoo.convert.report import Equality, Report, TensorRow
from zoo.vae.vae import VAE

if TYPE_CHECKING:
    from zoo.gan.base import BaseGAN

LATENTS = 1024


def gan_to_vae(gan: BaseGAN, *, freeze_decoder: bool = True, seed: int = 0) -> tuple[VAE, Report]:
    """Turns a GAN into a VAE whose prior samples are the GAN's, and checks that they are.

    Args:
        gan: A GAN of the zoo. Its averaged generator is taken where it has one. It is not changed.
        freeze_decoder: Train only the encoder: the decoder stays exactly the generator.
        seed: Seed of the VAE's training noise and of the latents of the check.

    Returns:
        The VAE (not compiled; its encoder is new, with random weights) and the report.

    Raises:
        ValueError: If the generator is not functional or its output is neither tanh rescaled to
            [0, 1] nor sigmoid, or if the images turn out unequal.
    """
    source = in_float32(as_functional(gan.sampling_generator, "generator"))
    decoder, rows = _to_decoder(source)
    vae = VAE(
        image_shape=gan.image_shape,
        latent_dim=gan.latent_dim,
        network=gan.network,
        decoder=decoder,
        seed=seed,
    )
    vae.decoder.trainable = not freeze_decoder
    rows += [
        TensorRow(f"encoder/{_path(w)}", "", "random", tuple(w.shape), "REINITIALISED")
        for w in vae.encoder.weights
    ]
    rows += [
        TensorRow("", f"discriminator/{_path(w)}", "", tuple(w.shape), "UNUSED")
        for w in gan.discriminator.weights
    ]
    report = Report(
        source=gan.model_name,
        target=vae.model_name,
        weights="raw" if gan.ema_generator is None else "ema",
        equivalence="tolerance",
        equality=measure_equality(source, vae, prior_latents(gan, seed)),
        rows=rows,
    )
    if not report.equality.passed:
        msg = f"The decoder does not compute the generator's images: {report.summary()}."
        raise ValueError(msg)
    return vae, report


def prior_latents(model: Any, seed: int) -> np.ndarray:
    """1,024 prior draws and the extremes 0 and ±4, float32 [1027, latent_dim]."""
    extremes = np.stack([np.full(model.latent_dim, x, np.float32) for x in (0.0, 4.0, -4.0)])
    return np.concatenate([model.sample_latents(LATENTS, seed), extremes])


def tolerance_for(noise_floor: float) -> float:
    """Largest difference that rounding may cause: 4 × the noise floor, within [5e-6, 5e-5].

    Rounding grows with the network, so the bound follows its own float32 noise; the ceiling is a
    fiftieth of a grey level.
    """
    return min(max(5e-6, 4.0 * noise_floor), 5e-5)


def measure_equality(source: keras.Model, vae: VAE, latents: np.ndarray) -> Equality:
    """Compares the generator's images with the VAE's on the same latents.

    Args:
        source: The generator, latents to images in [0, 1].
        vae: The VAE.
        latents: float32 [n, latent_dim].

    Returns:
        The differences, and the tolerance of the generator's own float32 noise.
    """
    wanted = _run(source, latents)
    found = vae.generate_from(latents)
    exact = _run(in_float64(source), latents)
    noise_floor = float(np.max(np.abs(wanted - exact)))
    single = np.concatenate([vae.generate_from(latents[i : i + 1]) for i in range(64)])
    return Equality(
        latents=len(latents),
        max_error=float(np.max(np.abs(found - wanted))),
        rms_error=float(np.sqrt(np.mean(np.square(found - wanted, dtype=np.float64)))),
        noise_floor=noise_floor,
        batch_error=float(np.max(np.abs(single - vae.generate_from(latents[:64])))),
        tolerance=tolerance_for(noise_floor),
    )


def _to_decoder(generator: keras.Model) -> tuple[keras.Model, list[TensorRow]]:
    """The decoder (latents to logits) and a row for each of its tensors."""
    last, dropped, factor = _output_layers(generator)
    folded = fold_batch_norm(generator)
    norm_of = {linear.name: norm for linear, norm in foldable_pairs(generator)}

    def linear_output(layer: Any, config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "activation": "linear"} if layer.name == last.name else config

    decoder = copy_model(folded, linear_output, skip=frozenset(dropped))
    # The name tells the decoder from the generator in summaries and checkpoints.
    decoder = keras.Model(decoder.inputs, decoder.outputs, name="decoder")
    output = decoder.get_layer(last.name)
    output.set_weights([factor * weight for weight in output.get_weights()])
    return decoder, [
        _row(
            weight,
            generator.get_layer(layer.name),
            norm_of.get(layer.name),
            factor if layer is output else 1,
        )
        for layer in decoder.layers
        for weight in layer.weights
    ]


def _row(weight: Any, source: Any, norm: Any, factor: int) -> TensorRow:
    sources = [_path(w) for w in source.weights if w.name == weight.name]
    rules = []
    if norm is not None:
        sources.append(f"{norm.name}/{{{', '.join(w.name for w in norm.weights)}}}")
        rules.append("fold BatchNorm")
    if factor != 1:
        rules.append("tanh → sigmoid (× 2)")
    return TensorRow(
        target=f"decoder/{_path(weight)}",
        source=" · ".join(f"generator/{path}" for path in sources),
        rule=" + ".join(rules) or "copy",
        shape=tuple(weight.shape),
        status="TRANSFORMED" if rules else "COPIED",
    )


def _output_layers(generator: keras.Model) -> tuple[Any, list[str], int]:
    """(last linear layer, names of the output layers after it, factor on its weights)."""
    graph = LayerGraph(generator)
    layer = generator.layers[-1]
    after: list[Any] = []
    while layer is not None and type(layer) not in LINEAR:
        if isinstance(layer, layers.Reshape):
            pass  # shapes only: kept
        elif isinstance(layer, (layers.Activation, layers.Rescaling)):
            after.append(layer)
        else:
            break
        layer = graph.only_parent(layer)
    functions = [_name(item) for item in reversed(after)]
    if type(layer) in LINEAR:
        inside = layer.activation.__name__
        functions = [inside, *functions] if inside != "linear" else functions
    factor = {("sigmoid",): 1, ("tanh", "rescaling to [0, 1]"): 2}.get(tuple(functions))
    if type(layer) not in LINEAR or factor is None:
        msg = (
            f"The generator ends in {functions or type(generator.layers[-1]).__name__}; expected a "
            "Dense, Conv2D or Conv2DTranspose followed by sigmoid, or by tanh and "
            "Rescaling(0.5, 0.5)."
        )
        raise ValueError(msg)
    return layer, [item.name for item in after], factor


def _name(layer: Any) -> str:
    if isinstance(layer, layers.Activation):
        return layer.activation.__name__
    if np.isscalar(layer.scale) and (layer.scale, layer.offset) == (0.5, 0.5):
        return "rescaling to [0, 1]"
    return f"rescaling by {layer.scale} and {layer.offset}"


def _run(model: keras.Model, latents: np.ndarray) -> np.ndarray:
    chunks = range(0, len(latents), 256)
    return np.concatenate([np.asarray(model(latents[i : i + 256], training=False)) for i in chunks])


def _path(weight: Any) -> str:
    return "/".join(weight.path.split("/")[-2:])
