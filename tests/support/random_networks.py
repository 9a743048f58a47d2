"""Random Keras generators of all that users put together: tokens, feature maps, and both."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

import zoo

LATENT_DIM = 6
LARGEST = 512  # numbers per image
ACTIVATIONS = ("relu", "tanh", "sigmoid", "silu", "elu", "softplus", "leaky_relu", None)


def random_generator(seed: int) -> Any:
    """A GAN whose generator is random, and whose weights and statistics all count."""
    rng = np.random.default_rng(seed)
    network = _Walk(rng).network()
    for weight in network.weights:
        fan_in = max(1, int(np.prod(weight.shape[:-1])))
        value = rng.standard_normal(weight.shape) / fan_in**0.5
        if len(weight.shape) == 1:
            value = 0.5 * value if fan_in > 1 else 0.3 * value
        if "variance" in weight.name or "gamma" in weight.name:
            value = rng.uniform(0.5, 1.5, weight.shape)
        weight.assign(value)
    shape = network.output_shape[1:]
    return zoo.create("gan", shape, LATENT_DIM, generator=network, network="mlp")


class _Walk:
    """From latents through random layers to images."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.made: list[Any] = []

    def network(self) -> keras.Model:
        latents = keras.Input((LATENT_DIM,))
        x = layers.Dense(int(self.rng.choice([16, 32, 64])), activation=self.activation())(latents)
        for _ in range(int(self.rng.integers(4, 10))):
            self.made.append(x)
            x = self.step(x)
        return keras.Model(latents, self.image(x))

    def activation(self) -> str | None:
        return ACTIVATIONS[int(self.rng.integers(len(ACTIVATIONS)))]

    def step(self, x: Any) -> Any:
        moves = [self.dense, self.reshape, self.reshape, self.skip, self.normalize, self.activate]
        if len(x.shape) == 2:
            moves += [self.whole_image] * 3
        if len(x.shape) == 3:
            moves += [self.attention, self.permute, self.dense]
        if len(x.shape) == 4:
            moves += [self.convolution, self.transposed, self.transposed, self.permute, self.pool]
            moves += [self.up, self.flatten]
        return moves[int(self.rng.integers(len(moves)))](x)

    # Moves

    def dense(self, x: Any) -> Any:
        """On the last axis: of rows, tokens or feature maps."""
        most = LARGEST // max(1, int(np.prod(x.shape[1:-1])))
        units = int(self.rng.choice([n for n in (4, 8, 16, 64) if n <= most] or [1]))
        use_bias = bool(self.rng.random() < 0.7)
        return layers.Dense(units, activation=self.activation(), use_bias=use_bias)(x)

    def whole_image(self, x: Any) -> Any:
        """The start of most generators."""
        shape = [(4, 4, 4), (4, 4, 8), (2, 4, 8), (4, 4, 1)][int(self.rng.integers(4))]
        return layers.Reshape(shape)(layers.Dense(int(np.prod(shape)))(x))

    def reshape(self, x: Any) -> Any:
        """To tokens, feature maps or rows of any sizes."""
        total = int(np.prod(x.shape[1:]))
        rank = int(self.rng.choice([1, 2, 3, 3]))
        sizes: list[int] = []
        while len(sizes) < rank - 1:
            divisors = [n for n in range(1, 17) if total % n == 0]
            sizes.append(int(self.rng.choice(divisors[-3:])))
            total //= sizes[-1]
        return layers.Reshape((*sizes, total))(x)

    def skip(self, x: Any) -> Any:
        """With something older of the same shape, or a gate of each channel."""
        fits = [y for y in self.made if y.shape == x.shape]
        if not fits or self.rng.random() < 0.3:
            gate = self.made[0]
            gate = layers.Dense(x.shape[-1], activation="sigmoid")(layers.Flatten()(gate))
            gate = layers.Reshape((*[1] * (len(x.shape) - 2), x.shape[-1]))(gate)
            return layers.Multiply()([x, gate])
        other = fits[int(self.rng.integers(len(fits)))]
        if 2 * int(np.prod(x.shape[1:])) <= LARGEST and self.rng.random() < 0.4:
            axis = int(self.rng.integers(1, len(x.shape)))
            return layers.Concatenate(axis=axis)([x, other])
        return [layers.Add, layers.Multiply, layers.Maximum][int(self.rng.integers(3))]()(
            [x, other]
        )

    def normalize(self, x: Any) -> Any:
        norm = [layers.BatchNormalization, layers.LayerNormalization, layers.UnitNormalization]
        return norm[int(self.rng.integers(3))]()(x)

    def activate(self, x: Any) -> Any:
        return layers.Activation(self.activation() or "relu")(x)

    def attention(self, x: Any) -> Any:
        if x.shape[1] > 64:
            return self.permute(x)
        return layers.MultiHeadAttention(num_heads=2, key_dim=4)(x, x)

    def permute(self, x: Any) -> Any:
        axes = self.rng.permutation(np.arange(1, len(x.shape)))
        return layers.Permute([int(n) for n in axes])(x)

    def convolution(self, x: Any) -> Any:
        k, strides = int(self.rng.integers(1, 4)), int(self.rng.choice([1, 1, 2]))
        filters = int(self.rng.choice([2, 4, 8]))
        kinds = [layers.Conv2D, layers.SeparableConv2D]
        kind = kinds[int(self.rng.random() < 0.2)]
        return kind(filters, k, strides, padding="same", activation=self.activation())(x)

    def transposed(self, x: Any) -> Any:
        """With 8 channels or more it becomes plain convolutions."""
        filters = int(self.rng.choice([4, 8, 8]))
        strides = 2 if 4 * filters * int(np.prod(x.shape[1:3])) <= 2 * LARGEST else 1
        k = int(self.rng.integers(strides, 6))
        padding = "same" if self.rng.random() < 0.8 else "valid"
        conv = layers.Conv2DTranspose(filters, k, strides, padding, activation=self.activation())
        return conv(x)

    def pool(self, x: Any) -> Any:
        if min(x.shape[1:3]) < 2:
            return self.up(x)
        return [layers.AveragePooling2D, layers.MaxPooling2D][int(self.rng.integers(2))](2)(x)

    def up(self, x: Any) -> Any:
        if 4 * int(np.prod(x.shape[1:])) > LARGEST:
            return self.flatten(x)
        interpolation = "nearest" if self.rng.random() < 0.7 else "bilinear"
        x = layers.UpSampling2D(2, interpolation=interpolation)(x)
        return layers.Conv2D(8, 3, padding="same")(x) if self.rng.random() < 0.5 else x

    def flatten(self, x: Any) -> Any:
        """Feature maps to a dense layer: the start of most encoders."""
        return layers.Dense(32, activation=self.activation())(layers.Flatten()(x))

    def image(self, x: Any) -> Any:
        """[n, h, w, 1 or 3] in [0, 1], by convolution or by a reshape."""
        if len(x.shape) == 4 and self.rng.random() < 0.7:
            layer = [layers.Conv2D, layers.Conv2DTranspose][int(self.rng.integers(2))]
            channels = int(self.rng.choice([1, 3]))
            return layer(channels, 3, padding="same", activation="sigmoid")(x)
        x = layers.Dense(64, activation="sigmoid")(layers.Flatten()(x))
        return layers.Reshape((8, 8, 1))(x)
