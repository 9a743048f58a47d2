"""A Keras network beside the same computation in PyTorch: values and gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's custom)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Weights(dict[str, torch.Tensor]):
    """The weights of a Keras model by "layer/weight"; trainable ones collect gradients."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        for layer in model._flatten_layers(include_self=False):
            for variable in layer.weights:
                value = torch.tensor(np.asarray(variable), requires_grad=variable.trainable)
                self[f"{layer.name}/{variable.name}"] = value

    def conv(self, x: torch.Tensor, name: str, **options: Any) -> torch.Tensor:
        """A convolution of [batch, channels, height, width]."""
        kernel = self.kernel(name).permute(3, 2, 0, 1)
        return F.conv2d(x, kernel, self.get(f"{name}/bias"), **options)

    def dense(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """A dense layer of [batch, units]."""
        x = x @ self.kernel(name)
        return x + self[f"{name}/bias"] if f"{name}/bias" in self else x

    def kernel(self, name: str) -> torch.Tensor:
        """W / σ(W) of a spectral layer in training (arXiv 1802.05957, algorithm 1), else W."""
        kernel = self[f"{name}/kernel"]
        if f"{name}/u" not in self:
            return kernel
        matrix = kernel.reshape(-1, kernel.shape[-1])
        with torch.no_grad():
            v = F.normalize(matrix @ self[f"{name}/u"], dim=0, eps=1e-12)
            u = F.normalize(matrix.T @ v, dim=0, eps=1e-12)
        return kernel / (v @ (matrix @ u))

    def batch_norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """By the statistics of the batch."""
        gamma, beta = self[f"{name}/gamma"], self[f"{name}/beta"]
        return F.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-5)


def channels_first(x: Any) -> Any:
    """[batch, height, width, channels] as PyTorch has it; other shapes as they are."""
    return np.moveaxis(np.asarray(x), -1, 1) if np.ndim(x) == 4 else np.asarray(x)


def largest_difference(
    model: Any,
    computed: Callable[..., Sequence[torch.Tensor]],
    inputs: Sequence[np.ndarray],
    *,
    training: bool = False,
) -> tuple[float, float]:
    """(of outputs, of gradients), each relative to the largest number in its array.

    Args:
        model: The Keras network.
        computed: Its outputs in PyTorch, of its `Weights` and inputs, channels first.
        inputs: Of the network, in its order. Floats get gradients too.
        training: Whether layers run in training mode.
    """
    rng = np.random.default_rng(1)
    weights = Weights(model)
    floats = [i for i, x in enumerate(inputs) if x.dtype == np.float32]
    tensors = [
        torch.tensor(channels_first(x), requires_grad=i in floats) for i, x in enumerate(inputs)
    ]
    wanted = computed(weights, *tensors)
    upstream = [rng.normal(size=x.shape).astype(np.float32) for x in wanted]
    sum((x * torch.tensor(up)).sum() for x, up in zip(wanted, upstream, strict=True)).backward()

    given = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch([given[i] for i in floats])
        found = tf.nest.flatten(model(given if len(given) > 1 else given[0], training=training))
        assert len(found) == len(wanted)
        total = tf.add_n(
            [
                tf.reduce_sum(x * (np.moveaxis(up, 1, -1) if up.ndim == 4 else up))
                for x, up in zip(found, upstream, strict=True)
            ]
        )
    variables = [
        (f"{layer.name}/{variable.name}", variable)
        for layer in model._flatten_layers(include_self=False)
        for variable in layer.weights
        if variable.trainable
    ]
    slopes = tape.gradient(total, [v.value for _, v in variables] + [given[i] for i in floats])
    theirs = [weights[name].grad for name, _ in variables] + [tensors[i].grad for i in floats]
    of_outputs = max(
        _relative(channels_first(x), y.detach().numpy()) for x, y in zip(found, wanted, strict=True)
    )
    of_gradients = max(
        _relative(channels_first(x) if i >= len(variables) else np.asarray(x), y.numpy())
        for i, (x, y) in enumerate(zip(slopes, theirs, strict=True))
    )
    return of_outputs, of_gradients


def _relative(found: np.ndarray, wanted: np.ndarray) -> float:
    assert found.shape == wanted.shape
    assert np.abs(wanted).max() > 0.0
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())
