"""InfoGAN's codes from N(0, I) latents, so that its generator takes what any other takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import scipy.special
from keras import layers, ops

from zoo.layers.priors import LIMIT, UniformFromNormal

if TYPE_CHECKING:
    from zoo.io.types import Tensor


@keras.saving.register_keras_serializable("zoo")
class CodesFromNormal(layers.Layer):
    """N(0, I) to the law of InfoGAN's latents (arXiv 1606.03657, section 7 and appendix C).

    The largest of the first numbers names the category, all of which are equally likely; the next
    go to U(−1, 1); the rest, the incompressible noise, stays N(0, I). Shapes stay.

    Args:
        categorical: K, categories of the one categorical code; 0 for none.
        continuous: Number of continuous codes.
        **kwargs: Arguments of any Keras layer.

    Example:
        >>> import numpy as np
        >>> from zoo.gan._codes import CodesFromNormal
        >>> latents = np.array([[0.1, 2.0, -1.0, 0.0, 0.7]], "float32")
        >>> category, codes, noise = CodesFromNormal(3, 1).split(latents)
        >>> category.numpy().tolist()
        [[0.0, 1.0, 0.0]]
    """

    def __init__(self, categorical: int, continuous: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.categorical = categorical
        self.continuous = continuous
        self.uniform = UniformFromNormal(dtype=self.dtype_policy, name="uniform")

    def split(self, inputs: Tensor) -> tuple[Any, Any, Any]:
        """One-hot category [batch, K], continuous codes and noise of latents [batch, dims]."""
        k, end = self.categorical, self.categorical + self.continuous
        category = inputs[:, :k]
        if k:
            _, largest = ops.top_k(category, 1)  # Keras's argmax does not export to ONNX
            category = ops.one_hot(largest[:, 0], k, dtype=inputs.dtype)
        return category, self.uniform(inputs[:, k:end]), inputs[:, end:]

    def call(self, inputs: Tensor) -> Tensor:
        """Maps latents [batch, dims] to as many numbers: one-hot category, codes, noise."""
        return ops.concatenate(self.split(inputs), axis=1)

    def place(self, latents: np.ndarray, category: Any, continuous: Any) -> np.ndarray:
        """Draws of N(0, I) [n, dims] with given codes, as `InfoGAN.latents_with_codes` has them."""
        latents = latents.copy()
        k, end = self.categorical, self.categorical + self.continuous
        if category is not None:
            wanted = np.broadcast_to(np.asarray(category), len(latents))
            if wanted.dtype.kind not in "iu" or wanted.min() < 0 or wanted.max() >= k:
                msg = f"category={category}: expected one of {k}, an integer from 0."
                raise ValueError(msg)
            # Exchangeable numbers: swapped so, they have their law given the largest one's place.
            rows, largest = np.arange(len(latents)), latents[:, :k].argmax(axis=1)
            latents[rows, largest], latents[rows, wanted] = (
                latents[rows, wanted], latents[rows, largest],
            )  # fmt: skip
        if continuous is not None:
            u = np.asarray(continuous, np.float64)
            if u.ndim == 0 or u.shape[-1] != self.continuous or not (np.abs(u) <= 1.0).all():
                msg = f"continuous={continuous}: expected {self.continuous} codes from −1 to 1."
                raise ValueError(msg)
            latents[:, k:end] = np.clip(math.sqrt(2.0) * scipy.special.erfinv(u), -LIMIT, LIMIT)
        return latents

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shapes stay."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        sizes = {"categorical": self.categorical, "continuous": self.continuous}
        return {**super().get_config(), **sizes}
