"""Where the architectures are alike: labels, and what comes after a network's last features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from zoo.layers import ConditionalBatchNormalization, SpectralConv2D, SpectralDense

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoo.io.types import Tensor

    Norm = Callable[[str], Callable[[Any], Any]]  # makes a normalisation of a name

NORMALIZATIONS = ("batch", "none", "spectral")
LAST = {"data_format": "channels_last"}  # whatever keras.json says
JOINT_UNITS = 512  # behind a latent, and behind latent and image


def label_input() -> keras.KerasTensor:
    """The second input of a conditional network: a class, int32 [batch]."""
    return keras.Input((), dtype="int32", name="label")


def one_hot(label: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
    """Labels [batch] as float32 rows [batch, num_classes]."""
    encoding = layers.CategoryEncoding(
        num_classes, output_mode="one_hot", dtype="float32", name="one_hot"
    )
    return encoding(label)


def latent_inputs(
    latent_dim: int, num_classes: int
) -> tuple[list[keras.KerasTensor], keras.KerasTensor]:
    """The inputs of a decoder, and the vector it starts from: the latent, one-hot label joined."""
    latents = keras.Input((latent_dim,), name="latent")
    if not num_classes:
        return [latents], latents
    label = label_input()
    joined = layers.Concatenate(name="latent_and_label")([latents, one_hot(label, num_classes)])
    return [latents, label], joined


def image_inputs(
    image_shape: Sequence[int], num_classes: int
) -> tuple[list[keras.KerasTensor], keras.KerasTensor]:
    """The inputs of an encoder, and what it starts from: the image, one-hot planes joined."""
    images = keras.Input(image_shape, name="image")
    if not num_classes:
        return [images], images
    label = label_input()
    x = layers.Reshape((1, 1, num_classes), name="label_pixel")(one_hot(label, num_classes))
    planes = layers.UpSampling2D(image_shape[:2], name="label_planes", **LAST)(x)
    return [images, label], layers.Concatenate(name="image_and_label")([images, planes])


def posterior(features: keras.KerasTensor, latent_dim: int) -> list[keras.KerasTensor]:
    """(mean, log-variance), each float32 [batch, latent_dim], of features."""
    return [
        layers.Dense(latent_dim, dtype="float32", name=name)(features)
        for name in ("mean", "log_variance")
    ]


def unit_range(x: keras.KerasTensor) -> keras.KerasTensor:
    """Images in [0, 1] of a generator's last layer, through tanh as in arXiv 1511.06434."""
    x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
    return layers.Rescaling(0.5, 0.5, dtype="float32", name="to_unit_range")(x)


def halvings(
    image_shape: Sequence[int], architecture: str, otherwise: str = ", or network='mlp'"
) -> int:
    """Number of halvings that leave the smaller side at 4 to 7 pixels.

    Args:
        image_shape: (height, width, channels).
        architecture: The name that the error has.
        otherwise: What else the error advises.

    Raises:
        ValueError: If a side is less than 8, or cannot be halved so often.
    """
    height, width, _ = image_shape
    stages = (min(height, width) // 4).bit_length() - 1
    if stages < 1 or height % (1 << stages) or width % (1 << stages):
        step = 1 << max(stages, 1)
        near = [max(8, (size + step // 2) // step * step) for size in (height, width)]
        msg = (
            f"The {architecture} network cannot make {height} × {width} images: both sides must be "
            f"at least 8 and divisible by {step}. Resize to {near[0]} × {near[1]}, or take "
            f"another size (--image-size, image_shape){otherwise}."
        )
        raise ValueError(msg)
    return stages


def attended(image_shape: Sequence[int], stages: int, largest: int) -> int:
    """How often the side of the feature map with attention is halved: at least once.

    It is the first of the maps smaller than the image whose sides are at most `largest`.
    """
    small = (i for i in range(1, stages) if max(image_shape[:2]) >> i <= largest)
    return next(small, stages)


def batch_norm(name: str) -> layers.Layer:
    """BatchNorm over the global batch."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=True, name=name)


def generator_inputs(
    latent_dim: int, num_classes: int
) -> tuple[list[keras.KerasTensor], keras.KerasTensor, Norm]:
    """As `latent_inputs`, and what makes the generator's BatchNorm, which knows the label too."""
    inputs, joined = latent_inputs(latent_dim, num_classes)
    if not num_classes:
        return inputs, joined, batch_norm

    def conditional(name: str) -> Callable[[Any], Any]:
        layer = ConditionalBatchNormalization(num_classes, name=name)
        return lambda x: layer(x, inputs[1])

    return inputs, joined, conditional


def leaky_relu(name: str) -> layers.Layer:
    """Leaky ReLU of slope 0.2 (arXiv 1511.06434, section 3)."""
    return layers.LeakyReLU(0.2, name=name)


def linear_layers(normalization: str) -> tuple[type[layers.Layer], type[layers.Layer]]:
    """The Dense and the Conv2D layer of a discriminator.

    Raises:
        ValueError: If `normalization` is none of `NORMALIZATIONS`.
    """
    if normalization not in NORMALIZATIONS:
        msg = f"normalization={normalization!r}: expected 'batch', 'none' or 'spectral'."
        raise ValueError(msg)
    if normalization == "spectral":
        return SpectralDense, SpectralConv2D
    return layers.Dense, layers.Conv2D


def check_no_normalization(normalization: str, architecture: str) -> None:
    """Refuses a normalisation of an architecture that has none."""
    if normalization != "none":
        msg = f"normalization={normalization!r}: the {architecture} network has none. Take 'none'."
        raise ValueError(msg)


def model(inputs: list[Any], outputs: list[Any], name: str) -> keras.Model:
    """A functional model; of one input or output, not of a list."""
    return keras.Model(
        inputs if len(inputs) > 1 else inputs[0],
        outputs if len(outputs) > 1 else outputs[0],
        name=name,
    )


def discriminator(
    images: keras.KerasTensor,
    features: keras.KerasTensor,
    activation: Callable[[str], layers.Layer],
    *,
    normalization: str,
    num_classes: int,
    latent_dim: int,
    heads: Sequence[int],
    initializer: Any = "glorot_uniform",
) -> keras.Model:
    """The discriminator that ends in these features.

    Args:
        images: Its input.
        features: φ(x), [batch, units].
        activation: Makes the architecture's activation layer, given a name.
        normalization: One of `NORMALIZATIONS`.
        num_classes: K > 0: takes a label y too, and the logit is ⟨embed(y), φ(x)⟩ + ψ(φ(x)) with
            linear ψ (arXiv 1802.05637, eq. 4).
        latent_dim: > 0: takes a latent too, which joins the features (arXiv 1605.09782).
        heads: Units of further float32 outputs, all linear in the features, `head_0` and so on.
        initializer: Initializer of the kernels behind the features.

    Raises:
        ValueError: If there are to be both a label and a latent.
    """
    if num_classes and latent_dim:
        msg = f"num_classes={num_classes} and latent_dim={latent_dim}: expected one of them 0."
        raise ValueError(msg)
    dense, _ = linear_layers(normalization)
    inputs = [images]
    if latent_dim:
        inputs.append(keras.Input((latent_dim,), name="latent"))
        z = dense(JOINT_UNITS, kernel_initializer="he_normal", name="latent_hidden")(inputs[1])
        x = layers.Concatenate(name="joint")([features, activation("latent_activation")(z)])
        x = dense(JOINT_UNITS, kernel_initializer="he_normal", name="joint_hidden")(x)
        features = activation("joint_activation")(x)

    def linear(x: Tensor, units: int, name: str, **options: Any) -> Tensor:
        options |= {"kernel_initializer": initializer, "dtype": "float32", "name": name}
        return dense(units, **options)(x)

    logit = linear(features, 1, "logit")
    if num_classes:
        inputs.append(label_input())
        # The embedding of a one-hot row: a lookup's sparse gradient could not be accumulated.
        rows = one_hot(inputs[1], num_classes)
        embedded = linear(rows, features.shape[-1], "embedding", use_bias=False)
        inner = layers.Dot(axes=1, dtype="float32", name="projection")([embedded, features])
        logit = layers.Add(dtype="float32", name="conditional_logit")([inner, logit])
    outputs = [linear(features, units, f"head_{i}") for i, units in enumerate(heads)]
    return model(inputs, [logit, *outputs], "discriminator")
