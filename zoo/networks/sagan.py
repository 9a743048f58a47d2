"""The residual networks of SAGAN (arXiv 1805.08318): those of `resnet`, with self-attention.

The attention is on the largest feature map of at most 32 × 32 pixels that is smaller than the
image, where the paper found it to help most. The generator too divides its kernels by their
spectral norms (section 4.1). Departures from the paper are those of `resnet`; besides, labels join
the latents, and are not only in the generator's BatchNorm.

Encoder and decoder have the attention, and neither normalisation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.networks import resnet

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras


def encoder(
    image_shape: Sequence[int], latent_dim: int, width: int = resnet.WIDTH, **options: Any
) -> keras.Model:
    """Makes the network from images to (mean, log-variance), as `resnet.encoder` does.

    Example:
        >>> from zoo.networks import sagan
        >>> mean, log_variance = sagan.encoder((8, 8, 1), latent_dim=2, width=8).outputs
        >>> mean.shape, log_variance.shape
        ((None, 2), (None, 2))
    """
    return resnet.encoder(image_shape, latent_dim, width, attention=True, **options)


def decoder(
    image_shape: Sequence[int], latent_dim: int, width: int = resnet.WIDTH, **options: Any
) -> keras.Model:
    """Makes the network from latents to image logits, as `resnet.decoder` does.

    Example:
        >>> from zoo.networks import sagan
        >>> sagan.decoder((8, 8, 1), latent_dim=2, width=8).output_shape
        (None, 8, 8, 1)
    """
    return resnet.decoder(image_shape, latent_dim, width, attention=True, **options)


def generator(
    image_shape: Sequence[int], latent_dim: int, width: int = resnet.WIDTH, **options: Any
) -> keras.Model:
    """Makes the network from latents to images in [0, 1], as `resnet.generator` does.

    Example:
        >>> from zoo.networks import sagan
        >>> sagan.generator((8, 8, 1), latent_dim=2, width=8).output_shape
        (None, 8, 8, 1)
    """
    return resnet.generator(
        image_shape, latent_dim, width, attention=True, spectral=True, **options
    )


def discriminator(
    image_shape: Sequence[int],
    normalization: str = "spectral",
    width: int = resnet.WIDTH,
    **options: Any,
) -> keras.Model:
    """Makes the network from images to logits [batch, 1], as `resnet.discriminator` does.

    Raises:
        ValueError: As `resnet.discriminator`.

    Example:
        >>> from zoo.networks import sagan
        >>> sagan.discriminator((8, 8, 1), width=8).output_shape
        (None, 1)
    """
    return resnet.discriminator(image_shape, normalization, width, attention=True, **options)
