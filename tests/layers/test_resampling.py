"""StyleGAN2's upsampling against SciPy: zeros between pixels, then a convolution."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from zoo.layers import FilteredUpSampling2D, ModulatedConv2D, ModulatedUpConv2D

RNG = np.random.default_rng(0)
TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16  # of sum 4: one pixel in four is not zero


def _spread(image: np.ndarray) -> np.ndarray:
    """Zeros between the pixels of an image [height, width], and none behind the last."""
    rows, columns = image.shape
    wide = np.zeros((2 * rows - 1, 2 * columns - 1))
    wide[::2, ::2] = image
    return wide


def test_upsampling_is_scipys_convolution_up_to_the_edges() -> None:
    x = RNG.standard_normal((2, 5, 6, 3)).astype(np.float32)
    found = FilteredUpSampling2D()(x)
    assert FilteredUpSampling2D().compute_output_shape(x.shape) == found.shape == (2, 10, 12, 3)
    for n in range(2):
        for c in range(3):
            wanted = scipy.signal.convolve2d(_spread(x[n, ..., c].astype(float)), TAPS)
            np.testing.assert_allclose(found[n, ..., c], wanted[1:-1, 1:-1], atol=1e-6)


@pytest.mark.parametrize("demodulate", [True, False])
def test_modulated_upsampling_is_scipys_convolution(demodulate: bool) -> None:
    """Eq. 1 to 3 for each example, on pixels with zeros between; then the filter."""
    x, s = RNG.standard_normal((2, 4, 5, 3)), 1 + RNG.standard_normal((2, 3))
    layer = ModulatedUpConv2D(2, demodulate=demodulate)
    found = layer(x.astype(np.float32), s.astype(np.float32))
    assert layer.compute_output_shape(x.shape) == found.shape == (2, 8, 10, 2)
    kernel = np.asarray(layer.kernel, np.float64) / np.sqrt(9 * 3)
    for n in range(2):
        weights = kernel * s[n][:, None]
        if demodulate:
            weights /= np.sqrt(np.sum(weights**2, axis=(0, 1, 2)) + 1e-8)
        for j in range(2):
            # Layers correlate: the kernel is mirrored for a convolution.
            parts = [
                scipy.signal.convolve2d(_spread(x[n, ..., i]), weights[::-1, ::-1, i, j])
                for i in range(3)
            ]
            wanted = scipy.signal.convolve2d(np.sum(parts, axis=0), TAPS)[2:-2, 2:-2]
            # float32 sums of 27 terms, and of 16
            np.testing.assert_allclose(found[n, ..., j], wanted, atol=1e-5)


def test_weights_are_those_of_the_modulated_convolution() -> None:
    shapes = []
    for layer in (ModulatedConv2D(4, 3), ModulatedUpConv2D(4)):
        layer.build((None, 8, 8, 3), (None, 3))
        shapes.append([(w.name, tuple(w.shape)) for w in layer.weights])
    assert shapes[0] == shapes[1] == [("kernel", (3, 3, 3, 4)), ("bias", (4,))]


def test_only_a_kernel_of_3_fits() -> None:
    with pytest.raises(ValueError, match="kernel_size=5"):
        ModulatedUpConv2D(4, 5)
