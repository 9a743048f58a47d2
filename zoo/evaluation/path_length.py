"""Perceptual path length: how far images move for a small step in latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zoo import metrics
from zoo.core.network_tools import with_labels
from zoo.evaluation.streams import images_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.core.model import ZooModel
    from zoo.evaluation.protocols import Protocol
    from zoo.io.types import Tensor

EPSILON = 1e-4  # of a path, as in the authors' code
BATCH = 50  # pairs of images at a time


def path_length(
    model: ZooModel,
    protocol: Protocol,
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray] = metrics.lpips,
) -> float:
    """Perceptual path length (arXiv 1812.04948, section 4.1; `ppl2` of StyleGAN2's code).

    A path leads from one latent to another: in z over the sphere, in w straight. Its ends are
    drawn from the prior. Two images ε = 10⁻⁴ apart on it have a distance, which is divided by ε².
    The mean leaves out the lowest and the highest hundredth. Departure: images of more than 256
    pixels on a side are compared as they are, and not brought down to 256.

    Args:
        model: A model with a Gaussian prior; for the space w, with a style-based generator.
        protocol: `samples` paths in the space, and with the ends, that `path` says.
        distance: Gives the distances of pairs of images, float [n]; published figures are of LPIPS.

    Raises:
        ValueError: If the model has no such space.
        ConnectionError: If LPIPS's network cannot be downloaded.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.evaluation.path_length import path_length
        >>> from zoo.evaluation.protocols import parse
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> squares = lambda a, b: np.mean((a - b) ** 2, axis=(1, 2, 3))
        >>> path_length(vae, parse("ppl1k_zend"), squares) >= 0.0
        True
    """
    check_space(model, protocol)
    space, sampling = str(protocol.path)[0], str(protocol.path)[1:]
    n, seed = protocol.samples, protocol.seed
    first, last = np.split(model.sample_latents(2 * n, seed), 2)
    labels = model.sample_labels(n, seed)
    rng = np.random.default_rng(seed)
    along = rng.random(n, np.float32) if sampling == "full" else np.zeros(n, np.float32)
    pair = tf.function(_pair_function(model, space, protocol.weights), reduce_retracing=True)
    distances = []
    for i in range(0, n, BATCH):
        rows = slice(i, i + BATCH)
        classes = [] if labels is None else [labels[rows]]
        images = pair(first[rows], last[rows], along[rows, None], *classes)
        distances.append(np.asarray(distance(*(np.asarray(each) for each in images))))
    return metrics.perceptual_path_length(np.concatenate(distances), EPSILON)[0]


def check_distance(model: ZooModel) -> None:
    """Refuses, before anything is measured, images or a machine that LPIPS cannot work on.

    Raises:
        ValueError: If LPIPS does not take images of the model's shape.
        ConnectionError: If LPIPS's network cannot be downloaded.

    Example:
        >>> import zoo
        >>> from zoo.evaluation.path_length import check_distance
        >>> try:
        ...     check_distance(zoo.create("vae", (8, 8, 1), 2, network="mlp"))
        ... except ValueError as error:
        ...     print(error)
        ...
        Images of shape (8, 8, 1): LPIPS needs 16 pixels on a side.
    """
    black = np.zeros((1, *model.image_shape), np.float32)
    metrics.lpips(black, black)


def check_space(model: Any, protocol: Protocol) -> None:
    """Raises ValueError if a model lacks the space of a protocol.

    Example:
        >>> import zoo
        >>> from zoo.evaluation.path_length import check_space
        >>> from zoo.evaluation.protocols import parse
        >>> gan = zoo.create("stylegan2", (8, 8, 1), 2, network="style-8")
        >>> check_space(gan, parse("ppl2_wend"))
    """
    layers = getattr(getattr(model, "generator", None), "layers", [])
    if str(protocol.path)[0] == "w" and "mapping" not in {layer.name for layer in layers}:
        msg = (
            f"{protocol.name} is measured of style-based generators, and this {model.model_name} "
            "has no space w. Take ppl2_zend."
        )
        raise ValueError(msg)
    if getattr(model, "layer_noise", "") == "random":
        msg = (
            f"{protocol.name} is measured with the same noise along a path, and this "
            f"{model.model_name} has layer_noise='random'. Set model.layer_noise = 'fixed'."
        )
        raise ValueError(msg)
    if model.prior != "standard_normal" or model.noise_dim != model.latent_dim:
        msg = (
            f"{protocol.name} needs a Gaussian prior, and this {model.model_name} has another. "
            "Leave it out."
        )
        raise ValueError(msg)


def _pair_function(model: Any, space: str, weights: str) -> Callable[..., Any]:
    """From both ends of paths and the place on each, to the images at it and ε further."""
    if space == "z":
        draw = images_function(model, weights)

        def pair(first: Tensor, last: Tensor, along: Tensor, *labels: Tensor) -> tuple[Any, Any]:
            a, b = (draw(_slerp(first, last, t), *labels) for t in (along, along + EPSILON))
            return a, b

        return pair
    averaged = weights == "ema" and model.ema_generator is not None
    generator = model.ema_generator if averaged else model.generator
    mapping, *rest = (generator.get_layer(name) for name in ("mapping", "truncation", "synthesis"))

    def pair_in_w(first: Tensor, last: Tensor, along: Tensor, *labels: Tensor) -> tuple[Any, Any]:
        given = labels[0] if labels else None
        start, end = (mapping(with_labels(z, given), training=False) for z in (first, last))
        images = []
        for t in (along, along + EPSILON):
            x = start + t * (end - start)
            for layer in rest:
                x = layer(x, training=False)
            images.append(x)
        return images[0], images[1]

    return pair_in_w


def _slerp(a: Tensor, b: Tensor, t: Tensor) -> Any:
    """The point at t on the great circle from a's direction to b's, at the distance √d from 0.

    A Gaussian latent in d dimensions lies close to that sphere. StyleGAN's code takes a distance of
    1, which is the same there: its mapping normalises latents.
    """
    a, b = (x / tf.norm(x, axis=-1, keepdims=True) for x in (a, b))
    cosine = tf.reduce_sum(a * b, axis=-1, keepdims=True)
    angle = t * tf.acos(tf.clip_by_value(cosine, -1.0, 1.0))
    across = b - cosine * a
    across = across / tf.maximum(tf.norm(across, axis=-1, keepdims=True), 1e-12)
    radius = tf.sqrt(tf.cast(tf.shape(a)[-1], tf.float32))
    return radius * (a * tf.cos(angle) + across * tf.sin(angle))
