"""β-VAE: a weight on the rate, or a target for it (ICLR 2017; arXiv 1804.03599)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from zoo.core.registry import register_model
from zoo.vae.base import BaseVAE

BETA = 4.0
GAMMA = 1000.0
CAPACITY_STEPS = 100_000


@register_model("beta_vae")
class BetaVAE(BaseVAE):
    """β-VAE (Higgins et al., ICLR 2017), or its controlled capacity (arXiv 1804.03599).

    Without `capacity` the loss is distortion + β KL (ICLR 2017, eq. 4). With it, the loss is
    distortion + γ |KL − C| per example (1804.03599, eq. 8), with a C that rises from 0. In
    evaluation C has its largest value.

    The decoders of the papers have a fixed noise: they are Bernoulli, for binary images. A learned
    σ² adapts to β, which then weighs less than it says (arXiv 2006.13202).

    Args:
        beta: β, at least 0; 1 is a VAE. The default is 4, unless there is a `capacity`.
        gamma: γ, at least 0. The default is the paper's 1000.
        capacity: Largest C, in nats; None for none. The paper has 25 for dSprites, 50 for CelebA.
        capacity_steps: Training steps over which C rises linearly. The default is the paper's
            100000.
        **kwargs: Further arguments of `BaseVAE`.

    Raises:
        ValueError: If one is out of range, or if a `capacity` meets `beta`, `warm_up` or
            `free_bits`, which it replaces.

    Example:
        >>> import zoo
        >>> model = zoo.create("beta_vae", (8, 8, 1), 2, network="mlp", beta=2.0)
        >>> model.weights_of_terms
        {'rate': 2.0}
    """

    def __init__(
        self,
        *,
        beta: float | None = None,
        gamma: float | None = None,
        capacity: float | None = None,
        capacity_steps: int | None = None,
        warm_up: int = 0,
        **kwargs: Any,
    ) -> None:
        if capacity is None:
            _refuse("expected a capacity with it", gamma=gamma, capacity_steps=capacity_steps)
            beta = BETA if beta is None else beta
        else:
            _refuse("expected no capacity with it", beta=beta, warm_up=warm_up or None)
            gamma = GAMMA if gamma is None else gamma
            capacity_steps = CAPACITY_STEPS if capacity_steps is None else capacity_steps
        given = {
            "beta": beta,
            "gamma": gamma,
            "capacity": capacity,
            "capacity_steps": capacity_steps,
        }
        for name, value in given.items():
            least = 1 if name == "capacity_steps" else 0
            if value is not None and value < least:
                msg = f"{name}={value}: expected at least {least}."
                raise ValueError(msg)
        self.beta, self.gamma = beta, gamma
        self.capacity, self.capacity_steps = capacity, capacity_steps
        super().__init__(warm_up=warm_up, **kwargs)

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """β on the rate, or γ on its distance from C."""
        if self.capacity is not None:
            return {"capacity_gap": float(self.gamma or 0.0)}
        return {"rate": float(self.beta or 0.0)}

    def regularization_terms(
        self, outputs: dict[str, Any], batch: dict[str, Any]
    ) -> dict[str, Any]:
        """The rate and, with a capacity, |KL − C|."""
        terms = super().regularization_terms(outputs, batch)
        if self.capacity is not None:
            terms["capacity_gap"] = tf.abs(terms["rate"] - batch["capacity"])
        return terms

    def terms(
        self, batch: dict[str, Any], *, training: bool, statistic: Any = None
    ) -> dict[str, Any]:
        """As in `BaseVAE`; in training with the C of this step."""
        if self.capacity is not None:
            step = tf.cast(self.step.value, tf.float32)
            reached = tf.minimum(step / float(self.capacity_steps or 1), 1.0) if training else 1.0
            batch = {**batch, "capacity": self.capacity * reached}
        return super().terms(batch, training=training, statistic=statistic)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("beta", "gamma", "capacity", "capacity_steps")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _refuse(why: str, **options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            msg = f"{name}={value}: {why}. The loss has either a weight or a target for the rate."
            raise ValueError(msg)
