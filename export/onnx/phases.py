"""Upsampled convolutions at the lower resolution, for images of every size (arXiv 1609.07009).

Where the size is known, a transposed convolution does as well, which `export.onnx.subpixel` splits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from keras import layers

from zoo.convert.rules.upsampling import why_not_merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.convert.blocks import Network
    from zoo.io.types import Tensor

RULE = "upsample + conv → a conv for each place"


class PhaseConv2D(layers.Layer):
    """Nearest upsampling by s and a convolution of stride 1, padded "same", as s² convolutions.

    There is one for each place within an s × s block of the output. It sums those taps of the
    kernel that meet the same input pixel: 4 products instead of 9 for s = 2 and a 3 × 3 kernel.

    Args:
        filters: Output channels.
        kernel_size: (height, width) of the kernel, both odd.
        factor: s.
        use_bias: Whether there is a bias.
        **kwargs: Arguments of any Keras layer.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Sequence[int],
        factor: int,
        *,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.factor, self.use_bias = filters, factor, use_bias
        self.kernel_size = tuple(kernel_size)

    def build(self, input_shape: Any) -> None:
        """Creates a kernel for each place, in row-major order, and the bias."""
        self.phases = []
        for place in range(self.factor**2):
            taps = places_of(place, self.kernel_size, self.factor)
            shape = [last - first + 1 for first, last in taps]
            kernel = self.add_weight(
                name=f"kernel_{place}", shape=(*shape, input_shape[-1], self.filters)
            )
            padding = [[0, 0], *([-first, last] for first, last in taps), [0, 0]]
            self.phases.append((kernel, padding))
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,))

    def call(self, inputs: Tensor) -> Tensor:
        """Features [batch, height, width, c] to [batch, s · height, s · width, filters]."""
        parts = [tf.nn.conv2d(inputs, kernel, 1, padding) for kernel, padding in self.phases]
        if self.use_bias:
            parts = [tf.nn.bias_add(part, self.bias) for part in parts]
        return tf.nn.depth_to_space(tf.concat(parts, axis=-1), self.factor)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("filters", "kernel_size", "factor", "use_bias")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def places_of(place: int, kernel_size: Sequence[int], factor: int) -> list[tuple[int, int]]:
    """First and last input pixel, beside its own, that an output pixel takes, for each axis.

    Output s m + e takes tap j at the upsampled pixel s m + e + j − (k − 1) / 2, a copy of input
    m + (e + j − (k − 1) / 2) // s.
    """
    return [
        ((e - size // 2) // factor, (e + size // 2) // factor)
        for e, size in zip(divmod(place, factor), kernel_size, strict=True)
    ]


def split_upsampled_convolutions(network: Network) -> Network:
    """A `PhaseConv2D` in place of each nearest UpSampling2D and Conv2D, with borders."""
    for block in network:
        if why_not_merged(network, block) is not None:
            continue
        up = network[block.parents[0]]
        factor, *others = {*up.config["size"]}
        if others or block.activation != "linear":
            continue
        kernel = block.arrays["kernel"]
        config = {
            "filters": kernel.shape[-1],
            "kernel_size": kernel.shape[:2],
            "factor": factor,
            "use_bias": "bias" in block.arrays,
        }
        arrays = {f"kernel_{i}": _phase(kernel, i, factor) for i in range(factor**2)}
        arrays |= {name: array for name, array in block.arrays.items() if name == "bias"}
        phases = replace(block, layer=PhaseConv2D, config=config).with_arrays(arrays, RULE)
        network = network.replaced(phases).without(up.name)
    return network


def _phase(kernel: np.ndarray, place: int, factor: int) -> np.ndarray:
    """The kernel of one place: sums of taps (h, w, in, out) that meet the same input pixel."""
    sums = []
    taps = places_of(place, kernel.shape[:2], factor)
    for e, size, (first, last) in zip(divmod(place, factor), kernel.shape, taps, strict=False):
        met = [(e + j - size // 2) // factor for j in range(size)]
        sums.append(np.equal.outer(np.arange(first, last + 1), met).astype(np.float64))
    return np.einsum("aj,bl,jlio->abio", *sums, kernel)
