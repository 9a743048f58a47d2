"""The discriminator of a Projected GAN: a fixed network of features, and what judges these.

A pretrained network sees the image. Its maps at 1/4, 1/8, 1/16 and 1/32 of the size go through
random convolutions that never train (arXiv 2111.01007, section 3.2): 1 × 1 ones mix the channels of
each map; then, from the smallest map upwards, each map is added to the next larger one, upsampled
and mixed by a 3 × 3 one, as in a U-Net. Four small discriminators judge one map each.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from zoo.layers import BilinearResize
from zoo.metrics.efficientnet_lite import pretrained_efficientnet_lite0
from zoo.networks import precision
from zoo.networks._heads import LAST, batch_norm, label_input, leaky_relu, linear_layers, one_hot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PRETRAINED = "efficientnet_lite0"
RANDOM = "random-"  # and a width: a network without training, small
SCALES = 4
STRIDE = 32  # of the smallest map, which the sides of the image must be a multiple of
SIZE = 224  # side that smaller images are resized to, as in the authors' code
WIDTH = 64  # channels of the largest map, as there
LOGIT_KERNEL = 4  # pixels
EMBEDDING, CLASS_MAPS = 128, 64  # units of a class, and maps that it weighs, as there


def check_features(features: str) -> None:
    """Raises ValueError if there is no such network of features.

    Args:
        features: `PRETRAINED`, or `RANDOM` and a width of at least 1.

    Example:
        >>> from zoo.networks.projected import check_features
        >>> check_features("random-8")
    """
    width = features.removeprefix(RANDOM)
    random = features.startswith(RANDOM) and width.isdecimal() and int(width) > 0
    if features != PRETRAINED and not random:
        msg = (
            f"features={features!r}: expected {PRETRAINED!r}, whose weights come with this "
            f"package, or '{RANDOM}WIDTH' for random features, such as '{RANDOM}8'."
        )
        raise ValueError(msg)


def seen_size(image_shape: Sequence[int], size: int | None) -> tuple[int, int]:
    """(height, width) at which the network of features sees images: multiples of `STRIDE`.

    Args:
        image_shape: (height, width, channels) of the images.
        size: Pixels of the smaller side; None takes those of the image, and at least `SIZE`.

    Raises:
        ValueError: If the size is no multiple of `STRIDE`, or the images have other channels than
            1 or 3.

    Example:
        >>> from zoo.networks.projected import seen_size
        >>> seen_size((28, 28, 1), None), seen_size((32, 64, 3), 64)
        ((224, 224), (64, 128))
    """
    height, width, channels = image_shape
    if channels not in (1, 3):
        msg = (
            f"Images of {channels} channels: the network of features takes 1 or 3. Convert them, "
            "or take another GAN."
        )
        raise ValueError(msg)
    if size is not None and (size < STRIDE or size % STRIDE):
        near = max(STRIDE, (size + STRIDE // 2) // STRIDE * STRIDE)
        msg = (
            f"feature_size={size}: expected a multiple of {STRIDE}, at least {STRIDE}. Take {near}."
        )
        raise ValueError(msg)
    smaller = min(height, width)
    scale = (size or max(smaller, SIZE)) / smaller
    rows, columns = (max(1, round(scale * side / STRIDE)) * STRIDE for side in (height, width))
    return rows, columns


def map_shapes(image_shape: Sequence[int], size: int | None, width: int) -> list[Any]:
    """Shapes of one example of each map that `feature_network` makes, the largest first.

    Args:
        image_shape: (height, width, channels) of the images.
        size: As in `seen_size`.
        width: Channels of the largest map.

    Example:
        >>> from zoo.networks.projected import map_shapes
        >>> map_shapes((8, 8, 1), 64, 4)
        [(32, 32, 4), (16, 16, 4), (8, 8, 8), (4, 4, 16)]
    """
    height, columns = seen_size(image_shape, size)
    return [
        (height // stride, columns // stride, channels)
        for stride, channels in zip(
            (2, 4, 8, 16), (width, width, 2 * width, 4 * width), strict=True
        )
    ]


def feature_network(
    image_shape: Sequence[int],
    features: str = PRETRAINED,
    size: int | None = None,
    width: int = WIDTH,
    seed: int = 0,
) -> keras.Model:
    """Makes the fixed network: features, mixed across channels and scales; all in float32.

    Args:
        image_shape: (height, width, channels) of the images, of 1 or 3 channels.
        features: As in `check_features`.
        size: As in `seen_size`.
        width: Channels of the largest map.
        seed: The random weights are a function of it.

    Returns:
        A model, not to be trained, from images [batch, height, width, channels] in [0, 1] to a list
        of float32 maps of `map_shapes`.

    Raises:
        ValueError: If an argument is out of range, or the pretrained weights are not those
            published.
        FileNotFoundError: If there are none.

    Example:
        >>> from zoo.networks import projected
        >>> network = projected.feature_network((8, 8, 1), "random-2", size=32, width=4)
        >>> [shape[1:] for shape in network.output_shape]
        [(16, 16, 4), (8, 8, 4), (4, 4, 8), (2, 2, 16)]
    """
    check_features(features)
    seen = seen_size(image_shape, size)
    with precision(keras.DTypePolicy("float32")):
        images = x = keras.Input(tuple(image_shape), name="image")
        if tuple(image_shape[:2]) != seen:
            x = BilinearResize(*seen, name="resize")(x)
        if image_shape[-1] == 1:
            x = layers.Concatenate(name="colour")([x, x, x])
        maps = _pretrained(x) if features == PRETRAINED else _random(x, features, seed)
        network = keras.Model(images, _mixed(maps, width, seed), name="feature_network")
    network.trainable = False
    return network


def _pretrained(images: Any) -> list[Any]:
    network = pretrained_efficientnet_lite0()
    maps = [network.output[f"level_{level}"] for level in (2, 3, 4, 5)]
    return keras.Model(network.input, maps, name=PRETRAINED)(images)


def _random(images: Any, features: str, seed: int) -> list[Any]:
    """Convolutions of stride 2 with random weights; the channels double from map to map."""
    width = int(features.removeprefix(RANDOM))
    x = layers.Rescaling(2.0, -1.0, name="rescaling")(images)
    maps = []
    for level in range(SCALES + 1):
        channels = width << max(level - 1, 0)
        x = _fixed(x, channels, 3, f"feature_{level}", seed, strides=2)
        x = leaky_relu(f"feature_{level}_activation")(x)
        maps.append(x)
    return maps[1:]


def _mixed(maps: Sequence[Any], width: int, seed: int) -> list[Any]:
    """Cross-channel mixing, then cross-scale mixing from the smallest map to the largest."""
    mixed = [
        _fixed(x, width << scale, 1, f"channel_mixing_{scale}", seed)
        for scale, x in enumerate(maps)
    ]
    outputs: list[Any] = []
    for scale in reversed(range(SCALES)):
        x = mixed[scale]
        if outputs:
            x = layers.Add(name=f"skip_{scale}")([outputs[0], x])
        rows, columns = x.shape[1:3]
        x = BilinearResize(
            2 * rows, 2 * columns, align_corners=True, name=f"upsampling_{scale}"
        )(x)  # fmt: skip
        # The channels halve, so that the next map can be added; the largest map keeps its own.
        channels = width << max(scale - 1, 0)
        outputs.insert(0, _fixed(x, channels, 3, f"scale_mixing_{scale}", seed))
    return outputs


def _fixed(x: Any, channels: int, kernel: int, name: str, seed: int, strides: int = 1) -> Any:
    """A convolution with Kaiming's random weights, of which each has a seed of its own."""
    own = zlib.crc32(f"{seed} {name}".encode())
    return layers.Conv2D(
        channels, kernel, strides, padding="same", use_bias=False, name=name,
        kernel_initializer=keras.initializers.HeNormal(seed=own), **LAST,
    )(x)  # fmt: skip


def discriminator(
    shapes: Sequence[Any], normalization: str = "spectral", num_classes: int = 0
) -> keras.Model:
    """Makes the four discriminators, one for each map, as one network.

    Each halves its map until it has the size of the smallest map halved, 7 × 7 for 224 pixels, and
    ends in a convolution to one logit per place.

    Args:
        shapes: Of one example of each map, the largest first: `map_shapes`.
        normalization: `"spectral"`: every kernel is divided by its spectral norm, and BatchNorm
            follows those within, as in the authors' code; `"batch"`: BatchNorm alone; `"none"`.
        num_classes: K > 0: takes an int32 label [batch] too. The last convolution then makes 64
            maps, of which each logit is the product with an embedding of the class.

    Returns:
        A model from the maps to float32 [logit, logits]: logits [batch, n] of all places and
        scales, n alike at each scale, and their mean [batch, 1].

    Raises:
        ValueError: If `normalization` is none of these.

    Example:
        >>> from zoo.networks import projected
        >>> network = projected.discriminator(projected.map_shapes((8, 8, 1), 128, 4))
        >>> network.output_shape  # one place, four scales
        [(None, 1), (None, 4)]
    """
    dense, convolution = linear_layers(normalization)
    maps = [keras.Input(shape, name=f"map_{scale}") for scale, shape in enumerate(shapes)]
    inputs, embedded = list(maps), None
    if num_classes:
        inputs.append(label_input())
        embedded = one_hot(inputs[-1], num_classes)
    width = shapes[0][-1]
    logits = []
    for scale, x in enumerate(maps):
        for block in range(SCALES - scale):
            name = f"scale_{scale}_block_{block}"
            x = convolution(  # noqa: PLW2901
                width << (scale + block), 4, 2, padding="same", name=f"{name}_conv", **LAST
            )(x)
            if normalization != "none":
                x = batch_norm(f"{name}_norm")(x)  # noqa: PLW2901
            x = leaky_relu(f"{name}_activation")(x)  # noqa: PLW2901
        logits.append(_logits(x, embedded, f"scale_{scale}", dense, convolution))
    every = layers.Concatenate(dtype="float32", name="logits")(logits)
    n = every.shape[-1]
    x = layers.Reshape((n, 1, 1), dtype="float32", name="places")(every)
    mean = layers.GlobalAveragePooling2D(dtype="float32", name="logit", **LAST)(x)
    return keras.Model(inputs, [mean, every], name="discriminator")


def _logits(
    x: Any, embedded: Any, name: str, dense: Callable[..., Any], convolution: Callable[..., Any]
) -> Any:
    """Logits [batch, places] of the last features of a scale."""
    kernel = [min(LOGIT_KERNEL, side) for side in x.shape[1:3]]
    last = {"use_bias": False, "dtype": "float32", "name": f"{name}_logits", **LAST}
    if embedded is None:
        return layers.Flatten(name=f"{name}_places", **LAST)(convolution(1, kernel, **last)(x))
    x = convolution(CLASS_MAPS, kernel, **last)(x)
    places = x.shape[1] * x.shape[2]
    x = layers.Reshape((places, CLASS_MAPS), dtype="float32", name=f"{name}_places")(x)
    # A table of classes is a dense layer of one-hot rows; as with the authors, not normalised.
    rows = layers.Dense(EMBEDDING, use_bias=False, name=f"{name}_embedding")(embedded)
    rows = leaky_relu(f"{name}_class_activation")(dense(CLASS_MAPS, name=f"{name}_class")(rows))
    x = layers.Dot(axes=(2, 1), dtype="float32", name=f"{name}_projection")([x, rows])
    return layers.Rescaling(CLASS_MAPS**-0.5, dtype="float32", name=f"{name}_scaling")(x)
