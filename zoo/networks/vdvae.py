"""Networks of the Very Deep VAE (arXiv 2011.10650, figure 3 and section 3).

The encoder sends features of every side, from the image's down to 1 × 1, to the top-down network.
That has blocks of latents on each side: 28 × 28 images have 1 × 1, 7 × 7, 14 × 14 and 28 × 28.
The networks take and give latents flat, [batch, latents]: a block's [height, width, latent_dim]
after the other, the top one first. They are u of z = μ_p + σ_p u, which is N(0, I).

`posterior` shares its layers with the `decoder`. The initialisation is that of the authors' code:
PyTorch's for convolutions, last layers of a residual branch over √blocks, zeros for the prior.

Departures from the paper: the default width and numbers of blocks, which are for small images, and
the images, which are scaled to [−1, 1] and not by the mean and deviation of a data set. The gain
and bias before the authors' last convolution are left out, for it can do the same.
"""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

from zoo.layers import LearnedConstant, erf_gelu
from zoo.networks import _heads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WIDTH = 96
BOTTLENECK = 4  # a block's inner layers have this part of its channels
MAX_BIAS_SIDE = 64  # up to which features begin with a bias per pixel, as in the authors' code
# Blocks on feature maps by default: on those up to a side, so many; on larger ones, one.
ENCODER_BLOCKS = {1: 1, 8: 2, 16: 3, 32: 2}
DECODER_BLOCKS = {1: 1, 8: 4, 16: 6, 32: 2}


def sides(image_shape: Sequence[int]) -> list[tuple[int, int]]:
    """(height, width) of the feature maps: 1 × 1, then the smallest halving of the image, then up.

    Raises:
        ValueError: If a side is less than 8, or cannot be halved to 4 to 7 pixels.

    Example:
        >>> from zoo.networks import vdvae
        >>> vdvae.sides((28, 28, 1))
        [(1, 1), (7, 7), (14, 14), (28, 28)]
    """
    stages = _heads.halvings(image_shape, "vdvae", otherwise="")
    height, width = image_shape[:2]
    return [(1, 1), *((height >> i, width >> i) for i in reversed(range(stages + 1)))]


def checked_blocks(
    image_shape: Sequence[int], blocks: Sequence[int] | None, *, role: str
) -> list[int]:
    """Numbers of blocks on the feature maps of `sides`: those given, or the default.

    Args:
        image_shape: (height, width, channels).
        blocks: As `encoder` and `decoder` take them.
        role: "encoder" or "decoder".

    Raises:
        ValueError: If they are not one number, at least 1, for each map.

    Example:
        >>> from zoo.networks import vdvae
        >>> vdvae.checked_blocks((32, 32, 3), None, role="decoder")
        [1, 4, 4, 6, 2]
    """
    maps = sides(image_shape)
    if blocks is None:
        table = {"encoder": ENCODER_BLOCKS, "decoder": DECODER_BLOCKS}[role]
        return [next((n for up_to, n in table.items() if min(m) <= up_to), 1) for m in maps]
    if len(blocks) != len(maps) or any(n != int(n) or n < 1 for n in blocks):
        names = ", ".join(f"{height} × {width}" for height, width in maps)
        msg = (
            f"{role}_blocks={list(blocks)}: expected {len(maps)} whole numbers of at least 1, for "
            f"the feature maps of {names}, the top one first."
        )
        raise ValueError(msg)
    return [int(n) for n in blocks]


def encoder(
    image_shape: Sequence[int], width: int = WIDTH, *, blocks: Sequence[int] | None = None
) -> keras.Model:
    """Makes the network from images to features, [batch, height, width, channels] for each side.

    The last block of a side is pooled. The features are those before it.

    Args:
        image_shape: (height, width, channels).
        width: Channels of all features.
        blocks: Residual blocks on each of `sides`, the top one first. The paper's for CIFAR-10 are
            (3, 4, 7, 7, 12), of width 384.

    Raises:
        ValueError: As `checked_blocks`.

    Example:
        >>> from zoo.networks import vdvae
        >>> [features.shape[1:3] for features in vdvae.encoder((28, 28, 1), width=8).outputs]
        [(1, 1), (7, 7), (14, 14), (28, 28)]
    """
    numbers = checked_blocks(image_shape, blocks, role="encoder")
    maps = sides(image_shape)
    images = keras.Input(image_shape, name="image")
    x = layers.Rescaling(2.0, -1.0, name="to_signed_range")(images)
    x = _conv(_layers({}), x, width, 3, "input")
    features = []
    for i in reversed(range(len(maps))):
        for j in range(numbers[i]):
            if i and j == numbers[i] - 1:
                features.append(x)
            name = f"{_name(maps[i])}_block_{j}"
            branch = _block(_layers({}), x, width, name, scale=1 / sum(numbers))
            x = layers.Add(name=name)([x, branch])
        if i:
            by = [size // above for size, above in zip(maps[i], maps[i - 1], strict=True)]
            x = layers.AveragePooling2D(by, name=f"{_name(maps[i])}_pool", **_heads.LAST)(x)
    return keras.Model(images, [x, *reversed(features)], name="encoder")


def decoder(
    image_shape: Sequence[int],
    latent_dim: int,
    width: int = WIDTH,
    *,
    blocks: Sequence[int] | None = None,
) -> keras.Model:
    """Makes the network from latents u, [batch, latents], to logits [batch, *image_shape].

    A block draws z = μ_p + σ_p u, with μ_p, log σ_p and a residual from the features above. It adds
    the residual and a projection of z to the features, and a residual block.

    Args:
        image_shape: (height, width, logits per pixel).
        latent_dim: Channels of z in each block.
        width: Channels of all features.
        blocks: Blocks of latents on each of `sides`, the top one first. The paper's for CIFAR-10
            are (1, 3, 6, 11, 22), of width 384.

    Raises:
        ValueError: As `checked_blocks`.

    Example:
        >>> from zoo.networks import vdvae
        >>> network = vdvae.decoder((8, 8, 1), 2, width=8, blocks=(1, 1, 2))
        >>> network.input_shape, network.output_shape  # 2 (1 + 16 + 2 · 64) latents
        ((None, 290), (None, 8, 8, 1))
    """
    numbers = checked_blocks(image_shape, blocks, role="decoder")
    sizes = latent_sizes(image_shape, latent_dim, numbers)
    latents = keras.Input((sum(sizes),), name="latent")
    parts = _split(latents, sizes)

    def draw(_: Any, mean: Any, log_deviation: Any) -> Any:
        return mean + ops.exp(log_deviation) * _like(mean, next(parts))

    logits = _top_down(_layers({}), latents, image_shape, latent_dim, width, numbers, draw)
    return keras.Model(latents, logits, name="decoder")


def posterior(
    encoder: keras.Model, decoder: keras.Model, latent_dim: int, *, blocks: Sequence[int]
) -> keras.Model:
    """Makes the network of the approximate posterior, with the decoder's layers.

    A block draws z = μ_q + σ_q ε, with μ_q and log σ_q from the features above and the encoder's of
    the same side. The posterior of u, of which z = μ_p + σ_p u, is N(Δμ, Δσ²) with
    Δμ = (μ_q − μ_p) / σ_p and Δσ = σ_q / σ_p.

    Args:
        encoder: A network that `encoder` made.
        decoder: A network that `decoder` made, of the same image size and width.
        latent_dim: Channels of z in each block.
        blocks: The decoder's, on each of `sides`.

    Returns:
        A network from the encoder's features and noise ε [batch, latents] to Δμ and log Δσ², both
        [batch, latents], and the logits of the z that it drew.

    Example:
        >>> from zoo.networks import vdvae
        >>> down = vdvae.decoder((8, 8, 1), 2, width=8, blocks=(1, 1, 2))
        >>> up = vdvae.encoder((8, 8, 1), width=8)
        >>> network = vdvae.posterior(up, down, 2, blocks=(1, 1, 2))
        >>> [output.shape for output in network.outputs]
        [(None, 290), (None, 290), (None, 8, 8, 1)]
    """
    image_shape, width = decoder.output_shape[1:], encoder.outputs[0].shape[-1]
    features = [keras.Input(x.shape[1:]) for x in encoder.outputs]
    noise = keras.Input(decoder.input_shape[1:], name="noise")
    maps = {x.shape[1:3]: x for x in features}
    layer = _layers({each.name: each for each in decoder.layers})
    parts = _split(noise, latent_sizes(image_shape, latent_dim, blocks))
    means: list[Any] = []
    log_variances: list[Any] = []

    def draw(x: Any, mean: Any, log_deviation: Any) -> Any:
        name = f"posterior_{len(means)}"
        seen = layers.Concatenate(name=name)([x, maps[x.shape[1:3]]])
        q = _block(layer, seen, 2 * latent_dim, name, width=width, dtype="float32")
        q_mean, q_log_deviation = q[..., :latent_dim], q[..., latent_dim:]
        means.append((q_mean - mean) * ops.exp(-log_deviation))
        log_variances.append(2.0 * (q_log_deviation - log_deviation))
        return q_mean + ops.exp(q_log_deviation) * _like(mean, next(parts))

    logits = _top_down(layer, noise, image_shape, latent_dim, width, blocks, draw)
    moments = [_flat(each) for each in (means, log_variances)]
    return keras.Model([*features, noise], [*moments, logits], name="posterior")


def latent_sizes(image_shape: Sequence[int], latent_dim: int, blocks: Sequence[int]) -> list[int]:
    """Number of latents of each block, the top one first.

    Example:
        >>> from zoo.networks import vdvae
        >>> vdvae.latent_sizes((8, 8, 1), 2, blocks=(1, 1, 2))
        [2, 32, 128, 128]
    """
    maps = sides(image_shape)
    each = (n * [latent_dim * math.prod(size)] for size, n in zip(maps, blocks, strict=True))
    return [size for sizes in each for size in sizes]


def _top_down(
    layer: Callable[..., Any],
    start: keras.KerasTensor,
    image_shape: Sequence[int],
    latent_dim: int,
    width: int,
    blocks: Sequence[int],
    draw: Callable[[Any, Any, Any], Any],
) -> keras.KerasTensor:
    """Logits. `draw` gives z of a block, of the features above and of the prior's μ and log σ."""
    x: Any = None
    i, scale = 0, 1 / sum(blocks)
    for size, number in zip(sides(image_shape), blocks, strict=True):
        x = _grown(layer, start, x, size, width)
        for _ in range(number):
            prior = _block(
                layer, x, 2 * latent_dim + width, f"prior_{i}", width=width, scale=0.0,
                dtype="float32",
            )  # fmt: skip
            mean, log_deviation = prior[..., :latent_dim], prior[..., latent_dim : 2 * latent_dim]
            z = draw(x, mean, log_deviation)
            z = _conv(layer, z, width, 1, f"latent_{i}", scale=scale)
            x = layers.Add()([x, prior[..., 2 * latent_dim :], z])
            x = layers.Add()([x, _block(layer, x, width, f"block_{i}", scale=scale)])
            i += 1
    return _conv(layer, x, image_shape[2], 1, "logits", dtype="float32")


def _grown(
    layer: Callable[..., Any], start: Any, x: Any, size: tuple[int, int], width: int
) -> keras.KerasTensor:
    """Features of a side, before its first block: those above repeated, and a bias per pixel."""
    terms = []
    if x is not None:
        by = [new // old for new, old in zip(size, x.shape[1:3], strict=True)]
        terms.append(layers.UpSampling2D(by, **_heads.LAST)(x))
    if max(size) <= MAX_BIAS_SIDE:
        shape = (*size, width)
        name = f"bias_{_name(size)}"
        terms.append(layer(LearnedConstant, shape, initializer="zeros", name=name)(start))
    return layers.Add()(terms) if len(terms) == 2 else terms[0]


def _block(
    layer: Callable[..., Any],
    x: keras.KerasTensor,
    channels: int,
    name: str,
    *,
    width: int | None = None,
    scale: float = 1.0,
    dtype: str | None = None,
) -> keras.KerasTensor:
    """1 × 1, 3 × 3, 3 × 3 and 1 × 1 convolutions, each behind a GELU, with a bottleneck between.

    The last one's initial kernels have `scale` times the variance, and it computes in `dtype`. On 1
    and 2 pixels, 3 × 3 are 1 × 1 convolutions too, as in the authors' code.
    """
    inner = max((width or x.shape[-1]) // BOTTLENECK, 1)
    side = 3 if min(x.shape[1:3]) > 2 else 1
    for i, kernel in enumerate((1, side, side)):
        x = layers.Activation(erf_gelu)(x)
        x = _conv(layer, x, inner, kernel, f"{name}_conv_{i}")
    x = layers.Activation(erf_gelu)(x)
    return _conv(layer, x, channels, 1, f"{name}_conv_3", scale=scale, dtype=dtype)


def _conv(
    layer: Callable[..., Any],
    x: keras.KerasTensor,
    channels: int,
    kernel: int,
    name: str,
    *,
    scale: float = 1.0,
    dtype: str | None = None,
) -> keras.KerasTensor:
    """A convolution with PyTorch's initial kernels, U(±1 / √inputs), and no bias at first."""
    law = keras.initializers.VarianceScaling(scale / 3, "fan_in", "uniform") if scale else "zeros"
    return layer(
        layers.Conv2D, channels, kernel, padding="same", kernel_initializer=law, name=name,
        dtype=dtype, **_heads.LAST,
    )(x)  # fmt: skip


def _layers(known: dict[str, Any]) -> Callable[..., Any]:
    """What makes a layer of a class, or gives that of the name where it is known."""

    def layer(kind: type[Any], *args: Any, name: str, **options: Any) -> Any:
        return known[name] if name in known else kind(*args, name=name, **options)

    return layer


def _split(x: keras.KerasTensor, sizes: Sequence[int]) -> Iterator[Any]:
    """x, [batch, latents], by blocks."""
    return (x[:, start:end] for start, end in pairwise(accumulate(sizes, initial=0)))


def _like(x: keras.KerasTensor, rows: keras.KerasTensor) -> Any:
    """Flat rows in the shape of x; without a layer, which would cast them down."""
    return ops.reshape(rows, (-1, *x.shape[1:]))


def _flat(each: list[Any]) -> Any:
    """Maps of all blocks, [batch, latents]."""
    rows = [ops.reshape(x, (-1, math.prod(x.shape[1:]))) for x in each]
    return ops.concatenate(rows, axis=1)


def _name(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))
