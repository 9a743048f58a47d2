"""What a model offers to deployment: named functions of named tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.convert import in_float32

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Endpoint:
    """A function to export.

    Attributes:
        name: Its name as a signature and file.
        inputs: Name and shape of each input but for the batch axis; all are float32.
        outputs: Likewise.
        function: Maps input tensors, by position, to a dict of output tensors.
        networks: The Keras networks it uses.
    """

    name: str
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    function: Callable[..., dict[str, Any]]
    networks: tuple[Any, ...]

    def signature(self) -> list[tf.TensorSpec]:
        """TensorSpecs of the inputs, named, with a dynamic batch axis."""
        return [
            tf.TensorSpec([None, *shape], tf.float32, name=name)
            for name, shape in self.inputs.items()
        ]


def networks_of(functions: Sequence[Endpoint]) -> list[Any]:
    """The Keras networks that functions use, each once, in order of first use."""
    return list({id(network): network for e in functions for network in e.networks}.values())


def endpoints(
    model: Any, rewrite: Callable[[Any], Any] = lambda network: network
) -> list[Endpoint]:
    """The functions of a model of the zoo.

    `generate` (latent → image); for VAEs also `encode` (image → mean, log_variance), `decode`
    (latent → image) and `reconstruct` (image → reconstruction, of the posterior mean). Nothing
    here is random: the caller draws latents. All compute in float32, with the same weights, where
    the model was trained in mixed precision.

    Args:
        model: The model.
        rewrite: Applied to each network once: folding, or another precision.

    Returns:
        The endpoints, `generate` first.

    Raises:
        ValueError: If it is no model of the zoo.
    """
    family = getattr(model, "family", None)
    if family not in ("vae", "gan"):
        msg = f"{type(model).__name__} is not a model of the zoo; expected a VAE or GAN of it."
        raise ValueError(msg)

    def prepared(network: Any) -> Any:
        return rewrite(in_float32(network))

    latent: dict[str, tuple[int, ...]] = {"latent": (model.latent_dim,)}
    image: dict[str, tuple[int, ...]] = {"image": model.image_shape}
    if family == "gan":
        generator = prepared(model.sampling_generator)
        return [
            Endpoint(
                "generate",
                latent,
                image,
                lambda z: {"image": generator(z, training=False)},
                (generator,),
            )
        ]
    return _vae(prepared(model.encoder), prepared(model.decoder), latent, image)


def _vae(encoder: Any, decoder: Any, latent: Any, image: Any) -> list[Endpoint]:
    def encode(x: Any) -> tuple[Any, Any]:
        mean, log_variance = encoder(x, training=False)
        return mean, log_variance

    def decode(z: Any) -> Any:
        return tf.sigmoid(decoder(z, training=False))

    statistics = dict.fromkeys(("mean", "log_variance"), latent["latent"])
    return [
        Endpoint("generate", latent, image, lambda z: {"image": decode(z)}, (decoder,)),
        Endpoint(
            "encode",
            image,
            statistics,
            lambda x: dict(zip(statistics, encode(x), strict=True)),
            (encoder,),
        ),
        Endpoint("decode", latent, image, lambda z: {"image": decode(z)}, (decoder,)),
        Endpoint(
            "reconstruct",
            image,
            {"reconstruction": image["image"]},
            lambda x: {"reconstruction": decode(encode(x)[0])},
            (encoder, decoder),
        ),
    ]
