"""Any GAN: loss, gradient penalty and networks combine freely (arXiv 1406.2661 is the first)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import losses
from zoo.core.adam import Adam
from zoo.core.registry import register_model
from zoo.gan.base import BaseGAN

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

    from zoo.io.types import Tensor

# Name of a penalty → its customary weight. ‖∇f‖² is four times that on [−1, 1], so γ is a quarter.
REGULARIZERS: dict[str, float] = {
    "gradient_penalty": 10.0,  # λ of arXiv 1704.00028
    "r1": 2.5,  # γ = 10 of arXiv 1801.04406, on [−1, 1]
    "r2": 2.5,
    "r1_r2": 0.25,  # γ = 1, from the lower end of arXiv 2501.05441's 0.05 to 150, on [−1, 1]
    "dragan": 10.0,  # λ of arXiv 1705.07215
}
# Standard deviation of DRAGAN's normal perturbation of pixels in [0, 1]: half that of common
# images, which is the largest that the authors' code, uniform noise, adds.
PERTURBATION = 0.15


@register_model("gan")
class GAN(BaseGAN):
    """A GAN of a chosen adversarial loss and gradient penalty; most named GANs are its variants.

    Args:
        loss: `"non_saturating"`, `"least_squares"`, `"hinge"`, `"wasserstein"` or
            `"relativistic"`: the names of `zoo.losses.ADVERSARIAL`.
        regularizer: Penalty on the discriminator's gradient, one of `REGULARIZERS`, or None:
            `"gradient_penalty"` (‖∇f‖ − 1)² between real and fake (arXiv 1704.00028, eq. 3);
            `"r1"`, `"r2"`: ½ ‖∇f‖² at real, at fake images (arXiv 1801.04406, eq. 9); `"r1_r2"`
            both; `"dragan"`: (‖∇f‖ − 1)² near real images (arXiv 1705.07215, eq. 5). Pixels are in
            [0, 1], where a gradient is twice that on [−1, 1].
        regularizer_weight: λ or γ; None takes the customary one.
        regularizer_every: Steps from one penalty to the next. Each weighs as many times more (lazy
            regularisation, arXiv 1912.04958, section 3.1).
        clip_weights: Clips the critic's weights to ± this after its update (arXiv 1701.07875,
            algorithm 1); None for no clipping.
        normalization: For a built-in discriminator: `"batch"`, `"none"` or `"spectral"`. None takes
            `"batch"`, or `"none"` with a penalty: a penalty is on each example's own gradient,
            which BatchNorm would mix.
        **kwargs: Arguments of `BaseGAN`.

    Raises:
        ValueError: If an option is unknown or out of range, or a penalty meets BatchNorm.

    Example:
        >>> import zoo
        >>> options = {"network": "mlp", "loss": "hinge", "regularizer": "r1"}
        >>> zoo.create("gan", (8, 8, 1), 2, **options).generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    learning_rate: ClassVar[float] = 2e-4  # of Adam, with its β₁ and β₂: arXiv 1511.06434, § 4
    betas: ClassVar[tuple[float, float]] = (0.5, 0.999)

    def __init__(
        self,
        *,
        loss: str = "non_saturating",
        regularizer: str | None = None,
        regularizer_weight: float | None = None,
        regularizer_every: int = 1,
        clip_weights: float | None = None,
        normalization: str | None = None,
        **kwargs: Any,
    ) -> None:
        if loss not in losses.ADVERSARIAL:
            msg = f"loss={loss!r}: expected one of {tuple(losses.ADVERSARIAL)}."
            raise ValueError(msg)
        if regularizer not in (None, *REGULARIZERS):
            msg = f"regularizer={regularizer!r}: expected one of {tuple(REGULARIZERS)} or None."
            raise ValueError(msg)
        if regularizer is not None and normalization == "batch":
            msg = (
                f"regularizer={regularizer!r} is on each example's own gradient, which "
                "normalization='batch' mixes. Take 'none' or 'spectral'."
            )
            raise ValueError(msg)
        if regularizer is not None:
            self.log_names = (*self.log_names, "gradient_penalty")
            if regularizer_weight is None:
                regularizer_weight = REGULARIZERS[regularizer]
        if regularizer_weight is not None and (regularizer is None or regularizer_weight < 0):
            msg = (
                f"regularizer_weight={regularizer_weight}: expected a regularizer, and at least 0."
            )
            raise ValueError(msg)
        if regularizer_every < 1 or (clip_weights is not None and clip_weights <= 0):
            msg = (
                f"regularizer_every={regularizer_every}, clip_weights={clip_weights}: expected at "
                "least 1, and more than 0 or None."
            )
            raise ValueError(msg)
        normalization = normalization or ("batch" if regularizer is None else "none")
        super().__init__(normalization=normalization, **kwargs)
        self.loss_name = loss
        self.adversarial = losses.ADVERSARIAL[loss]
        self.regularizer = regularizer
        self.regularizer_weight = regularizer_weight
        self.regularizer_every = int(regularizer_every)
        self.clip_weights = clip_weights

    def generator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The chosen loss of the generator, [batch]: the mean over logits [batch, n]."""
        return self.adversarial.generator(real_logits, fake_logits) / fake_logits.shape[-1]

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The chosen loss of the discriminator, [batch]: the mean over logits [batch, n]."""
        return self.adversarial.discriminator(real_logits, fake_logits) / fake_logits.shape[-1]

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """The noise of `BaseGAN`, and what the penalty takes."""
        noise = super().batch_noise(draw)
        if self.regularizer == "gradient_penalty":
            noise["mix"] = draw("mix", [1, 1, 1], uniform=True)
        if self.regularizer == "dragan":
            noise["perturbation"] = draw("perturbation", self.image_shape)
        return noise

    def gradient_penalty(
        self,
        critic: Callable[[Any], Any],
        real: Tensor,
        fake: Tensor,
        batch: dict[str, Any],
        *,
        training: bool,
    ) -> Tensor:
        """The chosen penalty times its weight, [batch]; in every k-th step, k times as heavy."""
        if self.regularizer is None:
            return None
        every = self.regularizer_every if training else 1
        weight = every * (self.regularizer_weight or 0.0)

        def penalty() -> Any:
            return weight * self._penalty(critic, real, fake, batch)

        if every == 1:
            return penalty()
        zeros = tf.zeros([tf.shape(real)[0]])
        return tf.cond(self.step.value % every == 0, penalty, lambda: zeros)

    def _penalty(
        self, critic: Callable[[Any], Any], real: Tensor, fake: Tensor, batch: dict[str, Any]
    ) -> Any:
        if self.regularizer == "gradient_penalty":
            return losses.gradient_norm_penalty(critic, real, fake, batch["mix"])
        if self.regularizer == "dragan":
            near = real + PERTURBATION * batch["perturbation"]
            return losses.unit_gradient_penalty(critic, near)
        places = {"r1": (real,), "r2": (fake,), "r1_r2": (real, fake)}[str(self.regularizer)]
        return 0.5 * sum(losses.squared_gradient_norm(critic, images) for images in places)

    def update(self, optimizer_name: str, gradients: list[Any]) -> None:
        """As in every model; then clips a critic's weights."""
        super().update(optimizer_name, gradients)
        if self.clip_weights is not None and optimizer_name == "discriminator_optimizer":
            for variable in self.variables_of(optimizer_name):
                variable.assign(
                    tf.clip_by_value(variable.value, -self.clip_weights, self.clip_weights)
                )

    def default_optimizer(self, name: str) -> keras.optimizers.Optimizer:
        """Adam at the variant's learning rate and momenta."""
        return Adam(self.rate_of(name), *self.betas)

    def rate_of(self, optimizer_name: str) -> float:
        """The variant's learning rate; the discriminator's is `ttur` times that."""
        return self.learning_rate * (self.ttur if optimizer_name.startswith("discr") else 1.0)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("regularizer", "regularizer_weight", "regularizer_every", "clip_weights")
        options = {name: getattr(self, name) for name in names}
        return {**super().get_config(), "loss": self.loss_name, **options}
