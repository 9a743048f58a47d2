"""Penalties on gradients, per example, and on kernels; without their weights.

Each of the former is differentiable once more, for a tape outside with the weights of the network.
The network must not mix the examples of a batch (as BatchNorm does): the gradient is of the sum of
its outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.losses.per_example import full_precision, sum_per_example

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.io.types import Tensor

# A ReLU network may be flat at a point, where √ has no derivative: this keeps it finite.
EPSILON = 1e-12


def gradient_norm_penalty(
    critic: Callable[[Any], Any], real: Tensor, fake: Tensor, mix: Tensor
) -> Tensor:
    """(‖∇f(x̂)‖₂ − 1)² at x̂ = ε x + (1 − ε) G(z) (arXiv 1704.00028, eq. 3 and algorithm 1).

    Args:
        critic: f, maps images [batch, height, width, channels] to logits [batch, 1].
        real: x, float32 [batch, height, width, channels].
        fake: G(z), like `real`.
        mix: ε ~ U(0, 1), one per example, float32 [batch, 1, 1, 1].

    Returns:
        float32 [batch], without the factor λ.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> import tensorflow as tf
        >>> real, fake = np.random.default_rng(0).random((2, 3, 8, 8, 1)).astype(np.float32)
        >>> mix = np.full((3, 1, 1, 1), 0.5, np.float32)
        >>> def critic(images):
        ...     return 0.5 * tf.reduce_sum(images, axis=[1, 2, 3])[:, None]
        ...
        >>> losses.gradient_norm_penalty(critic, real, fake, mix).numpy()
        array([9., 9., 9.], dtype=float32)
    """
    real, fake, mix = map(full_precision, (real, fake, mix))
    return unit_gradient_penalty(critic, mix * real + (1.0 - mix) * fake)


def unit_gradient_penalty(critic: Callable[[Any], Any], images: Tensor) -> Tensor:
    """(‖∇f(x)‖₂ − 1)², at noisy images in DRAGAN (arXiv 1705.07215).

    Args:
        critic: f, maps images [batch, height, width, channels] to logits [batch, 1].
        images: x, float32 [batch, height, width, channels].

    Returns:
        float32 [batch], without the factor λ.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> import tensorflow as tf
        >>> x = np.zeros((2, 8, 8, 1), np.float32)
        >>> def critic(images):
        ...     return 0.5 * tf.reduce_sum(images, axis=[1, 2, 3])[:, None]
        ...
        >>> losses.unit_gradient_penalty(critic, x).numpy()
        array([9., 9.], dtype=float32)
    """
    return tf.square(tf.sqrt(squared_gradient_norm(critic, images) + EPSILON) - 1.0)


def squared_gradient_norm(critic: Callable[[Any], Any], images: Tensor) -> Tensor:
    """‖∇f(x)‖²: R₁ at real images, R₂ at fake ones (arXiv 1801.04406, eq. 9 and 10).

    Args:
        critic: f, maps images [batch, height, width, channels] to logits [batch, 1].
        images: x, float32 [batch, height, width, channels].

    Returns:
        float32 [batch], without the factor γ / 2.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> import tensorflow as tf
        >>> x = np.zeros((2, 8, 8, 1), np.float32)
        >>> def critic(images):
        ...     return 0.5 * tf.reduce_sum(images, axis=[1, 2, 3])[:, None]
        ...
        >>> losses.squared_gradient_norm(critic, x).numpy()
        array([16., 16.], dtype=float32)
    """
    return sum_per_example(tf.square(_gradient(critic, full_precision(images))))


def path_lengths(synthesize: Callable[[Any], Any], styles: Tensor, noise: Tensor) -> Tensor:
    """‖Jᵀ y‖₂ with J = ∂g(w) / ∂w, y ~ N(0, I) / √(height · width) (arXiv 1912.04958, § 3.2).

    Args:
        synthesize: g, maps styles to images [batch, height, width, channels].
        styles: w, float32 [batch, style_dim] or, one per layer, [batch, layers, style_dim]; for
            these the result is the root mean square over the layers, as in the authors' code.
        noise: N(0, I), float32, like the images; divided by √(height · width) here.

    Returns:
        float32 [batch]. The penalty is (its difference from a running mean a)².

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> import tensorflow as tf
        >>> styles, noise = np.ones((2, 64), np.float32), np.ones((2, 8, 8, 1), np.float32)
        >>> losses.path_lengths(lambda w: tf.reshape(2.0 * w, [-1, 8, 8, 1]), styles, noise).numpy()
        array([2., 2.], dtype=float32)
    """
    styles, noise = full_precision(styles), full_precision(noise)
    pixels = tf.cast(tf.shape(noise)[1] * tf.shape(noise)[2], noise.dtype)
    noise *= tf.math.rsqrt(pixels)
    gradient = _gradient(lambda w: full_precision(synthesize(w)) * noise, styles)
    squared_norm = tf.reduce_sum(tf.square(gradient), axis=-1)
    if styles.shape.rank == 3:
        squared_norm = tf.reduce_mean(squared_norm, axis=1)
    return tf.sqrt(squared_norm + EPSILON)


def _gradient(function: Callable[[Any], Any], inputs: Tensor) -> Tensor:
    """Gradient of the sum of a function's values, like `inputs`."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        values = function(inputs)
    return tape.gradient(values, inputs)


def orthogonal_regularization(kernel: Tensor) -> Tensor:
    """‖WᵀW ⊙ (1 − I)‖²_F, how far filters are from orthogonal, whatever their norms.

    It is R_β of arXiv 1809.11096, eq. 3, without its weight β; 1 is the matrix of ones.

    Args:
        kernel: W, float [..., filters]: a filter is a column of [fan_in, filters].

    Returns:
        float32 scalar.

    Example:
        >>> import tensorflow as tf
        >>> from zoo import losses
        >>> float(losses.orthogonal_regularization(tf.constant([[1.0, 3.0], [2.0, 0.0]])))
        18.0
    """
    matrix = tf.reshape(full_precision(kernel), [-1, kernel.shape[-1]])
    products = tf.matmul(matrix, matrix, transpose_a=True)
    others = tf.linalg.set_diag(products, tf.zeros([kernel.shape[-1]]))
    return tf.reduce_sum(tf.square(others))
