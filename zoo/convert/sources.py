"""What a conversion starts from: a generator, what it computes, and the latents it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from zoo.convert import rules
from zoo.convert.building import build, float32_layers, in_float32
from zoo.convert.reading import read
from zoo.convert.verification import network_inputs, normal_draws, with_classes
from zoo.core import registry
from zoo.core.contracts import ROUNDING
from zoo.gan.base import BaseGAN
from zoo.io.names import as_path
from zoo.layers import PRIORS, prior_layer
from zoo.training import loading
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoo.convert.blocks import Network

CHUNK = 256
UNREAD = "the source could not be read: its noise floor is unknown, and taken as 0"


@dataclass(frozen=True)
class Generator:
    """A trained generator, whatever it is made of.

    Attributes:
        name: For the report.
        model: Latents to images, in float32.
        network: The same, read; None if it cannot be.
        prior: Law of its latents, one of `zoo.layers.PRIORS`.
        weights: "ema" or "raw".
        image_range: Darkest and brightest value of its images.
        latent_dim: Number of latent dimensions.
        image_shape: (height, width, channels).
        num_classes: Classes that it takes too; 0 for none. Latents then hold them, as
            `with_classes` adds them.
    """

    name: str
    model: keras.Model
    network: Network | None
    prior: str
    weights: str
    image_range: tuple[float, float]
    latent_dim: int
    image_shape: tuple[int, int, int]
    num_classes: int = 0

    def readable(self) -> Network:
        """Its network.

        Raises:
            ValueError: If it cannot be read, or does not end as a generator does; the reason is
                named.
        """
        return _read(self.model)[0] if self.network is None else self.network

    def carried(self, latents: np.ndarray) -> list[np.ndarray]:
        """Latents from N(0, I) as what the generator takes: of its own prior, and with labels."""
        z, *labels = network_inputs(latents, self.num_classes)
        return [
            z if self.prior == "standard_normal" else np.asarray(prior_layer(self.prior)(z)),
            *labels,
        ]

    def images(self, latents: np.ndarray) -> np.ndarray:
        """Images of latents from N(0, I): float32 [n, height, width, channels] in [0, 1]."""
        return self.images_of(self.model)(latents)

    def images_of(self, model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
        """The same function with another form of the generator."""
        low, high = self.image_range

        def images(latents: np.ndarray) -> np.ndarray:
            drawn = run(model, *self.carried(np.asarray(latents)))
            return drawn if low == 0.0 else (drawn - low) / (high - low)

        return images


def load_file(path: str | Path) -> keras.Model:
    """Loads a Keras model from a file of its own, whatever lies beside it.

    Args:
        path: A whole model as `.keras`, `.h5` or `.hdf5`: a generator, or a model of the zoo.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is a folder, damaged, without its architecture, or holds a class that
            Keras does not know.

    Example:
        >>> import tempfile, zoo
        >>> from zoo.convert import load_file
        >>> gan = zoo.create("dcgan", (8, 8, 1), 2, network="mlp")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gan.generator.save(f"{folder}/generator.keras")
        ...     load_file(f"{folder}/generator.keras").output_shape
        (None, 8, 8, 1)
    """
    path = as_path(path, "path")
    if not path.exists():
        msg = f"{path} does not exist; expected a .keras or .h5 file of a generator."
        raise FileNotFoundError(msg)
    if path.is_dir():
        msg = f"{path} is a folder; expected a .keras or .h5 file. Load a run with zoo.load_run."
        raise ValueError(msg)
    registry.import_models()
    try:
        # How it was trained does not matter, and may take what is not there.
        model = keras.models.load_model(path, compile=False)
    except loading.FAULTS as error:
        msg = (
            f"{path} cannot be loaded: {loading.reason(error)}. Expected a whole model, as "
            "model.save writes it to a .keras or .h5 file, of classes that Keras knows: layers of "
            f"your own need {loading.REGISTER}, and their module to be imported."
        )
        raise ValueError(msg) from error
    return model


def generator_of(gan: Any, weights: str = "auto", prior: str = "standard_normal") -> Generator:
    """The generator to convert.

    Args:
        gan: A GAN of the zoo, any Keras generator (latents to images), or the path of a file of
            one, as `load_file` takes.
        weights: `"ema"`, `"raw"`, or `"auto"`: the average where there is one.
        prior: Law of the latents of a generator from outside the zoo.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If it is no model, or a VAE.
        ValueError: If the file cannot be loaded, the average is asked for and absent, the generator
            is no GAN of the zoo and takes labels, or draws no images; or an option is unknown.
    """
    check_choice("weights", weights, ("auto", "ema", "raw"))
    check_choice("prior", prior, PRIORS)
    if isinstance(gan, (str, Path)):
        gan = load_file(gan)
    if isinstance(gan, BaseVAE):
        msg = f"This {gan.model_name} is a VAE already: expected a GAN, or a generator."
        raise TypeError(msg)
    averaged = isinstance(gan, BaseGAN) and gan.ema_generator is not None
    if weights == "ema" and not averaged:
        msg = "weights='ema': the GAN keeps no average of its generator. Take 'raw' or 'auto'."
        raise ValueError(msg)
    model, num_classes = gan, 0
    if isinstance(gan, BaseGAN):
        prior, num_classes = gan.prior, gan.num_classes
        model = gan.generator if weights == "raw" else gan.sampling_generator
    latent_dim, image_shape = (gan.noise_dim, gan.image_shape) if num_classes else _shapes_of(model)
    source = Generator(
        name=getattr(gan, "model_name", gan.name),
        model=in_float32(model),
        network=None,
        prior=prior,
        weights="ema" if averaged and weights != "raw" else "raw",
        image_range=(0.0, 1.0),
        latent_dim=latent_dim,
        image_shape=image_shape,
        num_classes=num_classes,
    )
    try:
        network, image_range = _read(model)
    except ValueError:  # a black box: it can still be distilled
        return replace(source, image_range=_range_of(source))
    return replace(source, network=network, image_range=image_range)


def _read(model: keras.Model) -> tuple[Network, tuple[float, float]]:
    network = rules.to_channels_last(rules.unwrap_spectral_norm(read(model, "generator")))
    network = rules.merge_rescalings(network)
    return network, rules.output_range(network)


def _range_of(generator: Generator) -> tuple[float, float]:
    """The darkest and brightest value that its images can have, judged by a few of them."""
    draws = normal_draws(64, generator.latent_dim, 0)
    # Far from 0 too: what only happens to lie in a range leaves it there.
    draws = with_classes(np.concatenate([draws, 4.0 * draws]), generator.num_classes)
    drawn = run(generator.model, *generator.carried(draws))
    low, high = float(drawn.min()), float(drawn.max())
    if not (low >= -1.0 - ROUNDING and high <= 1.0 + ROUNDING):
        msg = f"The generator draws {low:.9g} to {high:.9g}; expected images in [0, 1] or [−1, 1]."
        raise ValueError(msg)
    return (-1.0 if low < -ROUNDING else 0.0), 1.0


def _shapes_of(model: Any) -> tuple[int, tuple[int, int, int]]:
    """(latent_dim, image_shape) of a generator; of a subclassed one, as it was built."""
    if not isinstance(model, keras.Model):
        msg = (
            f"gan={model!r}: expected a GAN of the zoo, a Keras generator, or the path of a file "
            "of one."
        )
        raise TypeError(msg)
    inputs: Any = getattr(model, "input_shape", None)
    outputs: Any = getattr(model, "output_shape", None)
    arguments = [*(model._build_shapes_dict or {}).values()]
    if inputs is None and arguments:
        inputs = arguments[0] if len(arguments) == 1 else arguments
    if inputs is None:
        msg = f"The generator {model.name!r} has not been built: call it on latents [n, d] once."
        raise ValueError(msg)
    if isinstance(inputs, dict) or any(isinstance(part, (list, tuple)) for part in inputs):
        msg = (
            f"The generator {model.name!r} takes {len(inputs)} inputs: it is conditional, and "
            "which input means what only a GAN of the zoo says. Make it one, with generator=…, or "
            "fix a class with zoo.convert.rules.fix_label."
        )
        raise ValueError(msg)
    if outputs is None and len(inputs) == 2:
        outputs = getattr(model(np.zeros((1, inputs[-1]), np.float32)), "shape", None)
    if [len(shape or ()) for shape in (inputs, outputs)] != [2, 4]:
        msg = (
            f"The generator {model.name!r} maps {inputs} to {outputs}; expected latents "
            "[n, d] to images [n, height, width, channels]."
        )
        raise ValueError(msg)
    height, width, channels = outputs[1:]
    return int(inputs[-1]), (int(height), int(width), int(channels))


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raises ValueError if an option is none of its choices."""
    if value not in choices:
        msg = f"{name}={value!r}: expected one of {', '.join(map(repr, choices))}."
        raise ValueError(msg)


def run(model: Any, *inputs: np.ndarray) -> np.ndarray:
    """A network's output in inference mode, computed in chunks."""
    outputs = []
    for i in range(0, len(inputs[0]), CHUNK):
        parts = [x[i : i + CHUNK] for x in inputs]
        outputs.append(model(parts if len(parts) > 1 else parts[0], training=False))
    return np.concatenate([np.asarray(part) for part in outputs])


def decoded(decoder: keras.Model) -> Callable[..., np.ndarray]:
    """The function of a decoder to logits: its inputs to images [n, height, width, channels]."""
    return lambda *inputs: np.asarray(tf.sigmoid(run(decoder, *map(np.asarray, inputs))))


def images_in_float64(
    generator: Generator, network: Network | None
) -> tuple[Callable[[np.ndarray], Any] | None, tuple[str, ...]]:
    """What the generator would draw without rounding, and what the report has to say of it.

    The function is None if the generator could not be read.
    """
    if network is None:
        return None, (UNREAD,)
    model = build(network, "float64")
    images = generator.images_of(model)
    return lambda latents: images(np.asarray(latents, np.float64)), in_float32_only(model)


def in_float32_only(model: keras.Model) -> tuple[str, ...]:
    """Notes for the report on layers of a float64 model that take float32 only."""
    names = ", ".join(float32_layers(model))
    return (
        (f"{names}: in float32 only, whose rounding the noise floor leaves out",) if names else ()
    )
