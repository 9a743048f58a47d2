"""StyleGAN2: modulated convolutions, path length penalty (arXiv 1912.04958)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import losses
from zoo.core.network_tools import with_labels
from zoo.core.registry import register_model
from zoo.core.replicas import all_reduce_sum, global_count, global_mean
from zoo.gan.gan import GAN

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.io.types import Tensor

LAYERS = ("mapping", "truncation", "synthesis")  # of the generator
STYLE_DECAY = 0.995  # of w̄, as in the authors' code
LENGTH_DECAY = 0.99  # of a (arXiv 1912.04958, appendix B)


@register_model("stylegan2")
class StyleGAN2(GAN):
    """A small StyleGAN2 (arXiv 1912.04958): networks `style`, R1 and path lengths, both lazy.

    The generator's loss has the term γ_pl (‖J_wᵀ y‖ − a)² (eq. 4). a is the moving average of the
    lengths, which the logs call `path_length`. A lazy penalty is part of the loss of every k-th
    step, k times as heavy. Departures: the paper takes a further step for a penalty, hence its
    slower Adam (c = k / (k + 1), appendix B), which is not needed here; those of
    `zoo.networks.style`; no style mixing; a shorter average of the generator.

    Args:
        network: `"style"`, perhaps with a width, such as `"style-64"`.
        normalization: `"none"`.
        regularizer: R1, by default γ = 2.5, which on [−1, 1] is 10.
        regularizer_every: Steps between R1 penalties (section 3.1).
        path_length_weight: γ_pl; None takes 4 ln 2 / (ln r − ln 2) for images of r × r pixels, the
            paper's (appendix B) for lengths by √(height · width) shorter, and on [0, 1] by 2. 0
            leaves the penalty out.
        path_length_every: Steps between path length penalties; 4 in the authors' code.
        truncation: ψ of a sample's style w̄ + ψ (w − w̄), from 0 (every image is that of the mean
            style w̄) to 1 (no truncation). A property: it can be set at any time.
        ema: Decay of the averaged generator.
        **kwargs: Further arguments of `GAN`.

    Raises:
        ValueError: If a network is not style-based, or an option is out of range.

    Example:
        >>> import zoo
        >>> model = zoo.create("stylegan2", (8, 8, 1), 2, network="style-8")
        >>> model.truncation = 0.5
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    default_batch_size: ClassVar[int] = 32
    learning_rate: ClassVar[float] = 2e-3
    betas: ClassVar[tuple[float, float]] = (0.0, 0.99)
    log_names = (*GAN.log_names, "path_length")

    def __init__(
        self,
        *,
        network: str = "style",
        normalization: str | None = "none",
        regularizer: str | None = "r1",
        regularizer_every: int = 16,
        path_length_weight: float | None = None,
        path_length_every: int = 4,
        truncation: float = 1.0,
        ema: float | None = 0.999,
        **kwargs: Any,
    ) -> None:
        if path_length_every < 1 or (path_length_weight is not None and path_length_weight < 0.0):
            msg = (
                f"path_length_weight={path_length_weight}, path_length_every={path_length_every}: "
                "expected at least 0 or None, and at least 1."
            )
            raise ValueError(msg)
        super().__init__(
            network=network, normalization=normalization, regularizer=regularizer,
            regularizer_every=regularizer_every, ema=ema, **kwargs,
        )  # fmt: skip
        if path_length_weight is None:
            size = math.sqrt(math.prod(self.image_shape[:2]))
            path_length_weight = 4.0 * math.log(2.0) / math.log(size / 2.0)
        self.path_length_weight = path_length_weight
        self.path_length_every = int(path_length_every)
        self.path_length = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="path_length"
        )
        self.truncation = truncation

    def check_networks(self) -> None:
        """Raises ValueError if a network is not what the model needs."""
        missing = set(LAYERS) - {layer.name for layer in self.generator.layers}
        if missing:
            msg = (
                f"network={self.network!r}: the generator has no layer {sorted(missing)[0]!r}, "
                f"expected {', '.join(LAYERS)}. Take 'style', or pass a generator that has them."
            )
            raise ValueError(msg)
        super().check_networks()

    @property
    def truncation(self) -> float:
        """ψ of the networks that sample; setting it changes `generate` and exports at once."""
        return float(self.generator.get_layer("truncation").psi.numpy())

    @truncation.setter
    def truncation(self, psi: float) -> None:
        if not 0.0 <= psi <= 1.0:
            msg = f"truncation={psi}: expected 0 (all images alike) to 1 (no truncation)."
            raise ValueError(msg)
        for generator in (self.generator, self.sampling_generator):
            generator.get_layer("truncation").psi.assign(psi)

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """The noise of `GAN`, and y, a direction for each image."""
        return {**super().batch_noise(draw), "direction": draw("direction", self.image_shape)}

    def extend_batch(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """In training, the batch with `path_lengths` [batch], which are 0 in steps between."""
        if not training or not self.path_length_weight:
            return batch

        def lengths() -> Any:
            synthesis = self.generator.get_layer("synthesis")
            return losses.path_lengths(synthesis, self._styles(batch), batch["direction"])

        zeros = tf.zeros([tf.shape(batch["latents"])[0]])
        return {**batch, "path_lengths": tf.cond(self._is_due(), lengths, lambda: zeros)}

    def generator_penalty(self, batch: dict[str, Any]) -> Tensor:
        """γ_pl (‖J_wᵀ y‖ − a)² (eq. 4), [batch]; in every k-th step, k times as heavy."""
        if "path_lengths" not in batch:
            return None
        weight = self.path_length_weight * self.path_length_every
        squares = tf.square(batch["path_lengths"] - self.path_length.value)
        return weight * tf.cast(self._is_due(), tf.float32) * squares

    def auxiliary_logs(self, heads: list[Any], batch: dict[str, Any]) -> dict[str, Any]:
        """The average a for the log, and what `update_averages` adds to it."""
        size = [tf.shape(batch["latents"])[0]]
        logs = {
            **super().auxiliary_logs(heads, batch),
            "path_length": tf.fill(size, self.path_length.value),
        }
        if "path_lengths" in batch:
            logs["generator_path_lengths"] = batch["path_lengths"]
        return logs

    def update_averages(self, batch: dict[str, Any], logs: dict[str, Any]) -> None:
        """Moves w̄, and in the penalty's steps a, towards the means over the global batch."""
        styles = self._styles(batch)
        mean = all_reduce_sum(tf.reduce_sum(styles, axis=0)) / global_count(styles)
        average = self.generator.get_layer("truncation").average
        average.assign(STYLE_DECAY * average + (1.0 - STYLE_DECAY) * mean)
        if "generator_path_lengths" in logs:
            change = global_mean(logs["generator_path_lengths"]) - self.path_length.value
            due = tf.cast(self._is_due(), tf.float32)
            self.path_length.assign_add(due * (1.0 - LENGTH_DECAY) * change)
        super().update_averages(batch, logs)

    def _styles(self, batch: dict[str, Any]) -> Any:
        inputs = with_labels(batch["latents"], batch.get("labels"))
        return self.generator.get_layer("mapping")(inputs)

    def _is_due(self) -> Any:
        return self.step.value % self.path_length_every == 0

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("path_length_weight", "path_length_every", "truncation")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
