"""Gated PixelCNN: a prior over grids of codes (arXiv 1606.05328), and sampling from it.

p(codes) = Π p(code_i | codes before i), in raster order. The vertical stack sees the rows above,
the horizontal one the row to the left and the vertical stack, so that nothing before a position is
out of sight (section 2.2). Departure from the paper: kernels are not masked. The input is shifted
by one, down for one stack and right for the other, and kernels reach up and left by padding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from zoo.networks import _heads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.io.types import Tensor

REACH = 2  # columns to either side and rows above that one layer sees


def prior(
    grid_shape: Sequence[int],
    num_codes: int,
    width: int = 64,
    layers: int = 4,
    num_classes: int = 0,
    depth: int = 1,
) -> keras.Model:
    """Makes the network from codes int32 [batch, h, w] to logits float32 [batch, h, w, num_codes].

    The logits at a position depend only on the codes before it in raster order. With L layers these
    are the 2 L + 1 codes before it in its row, and in the 2 L + 1 rows above the codes from 2 L
    columns left to 2 L columns right. Four layers see all of a grid of up to 9 × 9.

    Args:
        grid_shape: (height, width) of the grid.
        num_codes: K, at least 2.
        width: Channels p of both stacks.
        layers: L, at least 1.
        num_classes: Classes of a conditional prior, which takes [codes, label], with label
            int32 [batch]; 0: not conditional.
        depth: D, codes of one position, which are side by side: the width is D times that of the
            grid. Each of the D has embeddings of its own, so that the network knows which is next.

    Returns:
        A functional model.

    Raises:
        ValueError: If a size is out of its range.

    Example:
        >>> from zoo.networks import pixelcnn
        >>> pixelcnn.prior((2, 3), num_codes=5, width=4, layers=1).output_shape
        (None, 2, 3, 5)
    """
    if len(grid_shape) != 2 or min(grid_shape) < 1:
        msg = f"grid_shape={tuple(grid_shape)}: expected (height, width), both at least 1."
        raise ValueError(msg)
    if depth < 1 or grid_shape[1] % depth:
        msg = f"depth={depth}: expected a divisor of the width, {grid_shape[1]}."
        raise ValueError(msg)
    if num_codes < 2 or min(width, layers) < 1 or num_classes < 0:
        msg = (
            f"num_codes={num_codes}, width={width}, layers={layers}, num_classes={num_classes}: "
            "expected at least 2, 1, 1 and 0."
        )
        raise ValueError(msg)
    codes = keras.Input(grid_shape, dtype="int32", name="codes")
    label = keras.Input((), dtype="int32", name="label") if num_classes else None
    normal = keras.initializers.RandomNormal(stddev=1.0)
    first = num_codes * (np.arange(grid_shape[1]) % depth)  # embedding of each column
    given = codes + first.astype("int32") if depth > 1 else codes
    x = keras.layers.Embedding(num_codes * depth, width, normal, name="embedding")(given)
    vertical, horizontal = _shifted(x, 1, 0, "down"), _shifted(x, 0, 1, "right")
    for i in range(layers):
        # Figure 2: vertical to horizontal before the gate, and a residual for the horizontal.
        above = _conv(vertical, 2 * width, REACH, REACH, REACH, f"vertical_{i}")
        left = _conv(horizontal, 2 * width, 0, REACH, 0, f"horizontal_{i}")
        left = left + keras.layers.Dense(2 * width, name=f"vertical_to_horizontal_{i}")(above)
        if label is not None:  # eq. 4, with h the one-hot label
            above = above + _of_class(label, num_classes, 2 * width, f"vertical_class_{i}")
            left = left + _of_class(label, num_classes, 2 * width, f"horizontal_class_{i}")
        vertical = _gate(above)
        horizontal = horizontal + keras.layers.Dense(width, name=f"residual_{i}")(_gate(left))
    x = keras.ops.relu(horizontal)
    x = keras.layers.Dense(width, activation="relu", name="hidden")(x)
    logits = keras.layers.Dense(num_codes, dtype="float32", name="logits")(x)
    return keras.Model(codes if label is None else [codes, label], logits, name="prior")


def sample(prior: keras.Model, uniforms: Any, label: Any = None) -> Any:
    """Draws grids of codes, position by position, by the inverse of the distribution function.

    Args:
        prior: The network that `prior` made.
        uniforms: Draws from U(0, 1), one per position, float32 [batch, height · width].
        label: The classes for a conditional prior, int32 [batch].

    Returns:
        int32 [batch, height, width]; the same arguments give the same codes.

    Raises:
        ValueError: If the number of uniforms is not that of the positions.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.networks import pixelcnn
        >>> prior = pixelcnn.prior((2, 3), num_codes=5, width=4, layers=1)
        >>> pixelcnn.sample(prior, tf.random.uniform([4, 6])).shape
        TensorShape([4, 2, 3])
    """
    *grid, _ = prior.output_shape[1:]
    positions = math.prod(grid)
    if uniforms.shape[1:] != (positions,):
        msg = f"uniforms of shape {tuple(uniforms.shape)}: expected [batch, {positions}]."
        raise ValueError(msg)

    def draw(i: Any, codes: Tensor) -> tuple[Tensor, Tensor]:
        logits = _logits(prior, tf.reshape(codes, [-1, *grid]), label)
        logits = tf.reshape(logits, [-1, positions, logits.shape[-1]])
        cumulative = tf.cumsum(tf.nn.softmax(tf.gather(logits, i, axis=1)), axis=1)
        cumulative /= cumulative[:, -1:]  # 1 at the end, which no uniform reaches
        uniform = tf.cast(tf.gather(uniforms, i, axis=1), logits.dtype)  # float64 of a cast prior
        below = cumulative <= uniform[:, None]
        code = tf.reduce_sum(tf.cast(below, tf.int32), axis=1)
        return i + 1, tf.where(tf.range(positions) == i, code[:, None], codes)

    codes = tf.zeros_like(uniforms, tf.int32)
    _, codes = tf.while_loop(lambda i, _: i < positions, draw, [0, codes])
    return tf.reshape(codes, [-1, *grid])


def log_probability(prior: keras.Model, codes: Tensor, label: Any = None) -> Tensor:
    """Computes log p(codes), or log p(codes | label), summed over positions.

    Args:
        prior: The network that `prior` made.
        codes: int32 [batch, height, width].
        label: The classes for a conditional prior, int32 [batch].

    Returns:
        float32 [batch], nats.

    Example:
        >>> import tensorflow as tf
        >>> from zoo.networks import pixelcnn
        >>> prior = pixelcnn.prior((2, 3), num_codes=5, width=4, layers=1)
        >>> pixelcnn.log_probability(prior, tf.zeros([4, 2, 3], tf.int32)).shape
        TensorShape([4])
    """
    logits = _logits(prior, codes, label)
    nll = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=codes, logits=logits)
    return -tf.reduce_sum(nll, axis=[1, 2])


def _logits(prior: keras.Model, codes: Tensor, label: Any) -> Tensor:
    if label is None:
        return prior(codes)
    return prior([tf.convert_to_tensor(codes), tf.convert_to_tensor(label)])


def _shifted(x: keras.KerasTensor, down: int, right: int, name: str) -> keras.KerasTensor:
    """Zeros come in above and on the left, the last rows and columns go."""
    x = keras.layers.ZeroPadding2D(((down, 0), (right, 0)), name=f"{name}_pad", **_heads.LAST)(x)
    return keras.layers.Cropping2D(((0, down), (0, right)), name=f"{name}_crop", **_heads.LAST)(x)


def _conv(
    x: keras.KerasTensor, channels: int, above: int, left: int, right: int, name: str
) -> keras.KerasTensor:
    """Convolution over a position and so many rows above, and columns left and right of it."""
    x = keras.layers.ZeroPadding2D(((above, 0), (left, right)), name=f"{name}_pad", **_heads.LAST)(
        x
    )
    return keras.layers.Conv2D(channels, (above + 1, left + 1 + right), name=name, **_heads.LAST)(x)


def _of_class(
    label: keras.KerasTensor, num_classes: int, channels: int, name: str
) -> keras.KerasTensor:
    """A vector for each class, at all positions: [batch, 1, 1, channels]."""
    x = keras.layers.Embedding(num_classes, channels, name=name)(label)
    return keras.layers.Reshape((1, 1, channels), name=f"{name}_map")(x)


def _gate(x: keras.KerasTensor) -> keras.KerasTensor:
    """Tanh(a) ⊙ σ(b), a and b the halves of the channels (eq. 2)."""
    a, b = keras.ops.split(x, 2, axis=-1)
    return keras.ops.tanh(a) * keras.ops.sigmoid(b)
