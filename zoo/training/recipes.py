"""What to do after a conversion, as callbacks of an ordinary `fit`.

A recipe is a function of the training step. It moves the weights of a model's loss terms and the
learning rates, and nothing else. So a run resumes within a recipe, and a new recipe is a callback
of a few lines. With several steps per execution, it moves once per execution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from zoo.core.compiling import without_loss_scale

if TYPE_CHECKING:
    from collections.abc import Callable

# By family of the model that was converted to; the first is the default.
RECIPES = {"vae": ("joint", "frozen", "plain"), "gan": ("warm-up", "plain")}

WARM_UP = 100  # steps of the discriminator alone, at most; a tenth of a short run


class SleepWakeJoint(keras.callbacks.Callback):
    """Trains an encoder for a decoder that came from a GAN, then both.

    Sleep: −log q(z | G(z) + σ ξ) on latents drawn from the prior; the decoder is fixed. Every image
    that the decoder draws has a known latent, so the encoder learns its inverse.
    Wake: the ELBO on real images; the decoder is still fixed. The weight of the rate rises from 0
    to 1 over the first fifth, and the sleep term stays at `replay`.
    Joint: the decoder trains too, at `decoder_rate` of the encoder's learning rate. The term
    λ ‖G(z) − G₀(z)‖² ties it to the images that it drew at first.
    docs/conversion.md says why the first phases are so short.

    Args:
        steps: Length of the recipe in training steps; later steps go on as its last.
        sleep: Share of the steps in the sleep phase.
        wake: Share of the steps in the wake phase; the rest is joint.
        replay: Weight of the sleep term after the sleep phase.
        anchor: λ, per squared pixel.
        decoder_rate: Learning rate of the decoder divided by that of the encoder, in the joint
            phase.

    Example:
        >>> from zoo.training.recipes import SleepWakeJoint
        >>> recipe = SleepWakeJoint(100)
        >>> recipe.phase(0)  # (distortion, rate, sleep, anchor), decoder_rate
        ((0.0, 0.0, 1.0, 0.0), 0.0)
        >>> recipe.phase(50)
        ((1.0, 1.0, 0.1, 1.0), 1.0)
    """

    def __init__(
        self,
        steps: int,
        *,
        sleep: float = 0.05,
        wake: float = 0.05,
        replay: float = 0.1,
        anchor: float = 1.0,
        decoder_rate: float = 1.0,
    ) -> None:
        super().__init__()
        self.steps, self.sleep, self.wake = steps, sleep, wake
        self.replay, self.anchor, self.decoder_rate = replay, anchor, decoder_rate

    def phase(self, step: int) -> tuple[tuple[float, float, float, float], float]:
        """((weights of distortion, rate, sleep and anchor), decoder_rate) at a step."""
        done = step / self.steps
        if done < self.sleep:
            return (0.0, 0.0, 1.0, 0.0), 0.0
        if done < self.sleep + self.wake:
            warm = min((done - self.sleep) / (0.2 * self.wake), 1.0)
            return (1.0, warm, self.replay, 0.0), 0.0
        return (1.0, 1.0, self.replay, self.anchor), self.decoder_rate

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Raises ValueError if the model has no terms to move."""
        if getattr(self.model, "transfer", None) is None:
            msg = (
                f"{type(self).__name__} moves the terms of a VAE made with `transfer`, as "
                "zoo.convert.gan_to_vae makes them; this model has none."
            )
            raise ValueError(msg)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Sets weights and rate for the step to come."""
        weights, decoder_rate = self.phase(self.model.steps_done)
        self.model.term_weights.assign(weights)
        rate = learning_rate(self.model.optimizer)
        learning_rate(self.model.decoder_optimizer).assign(decoder_rate * float(rate.numpy()))


class DiscriminatorWarmUp(keras.callbacks.Callback):
    """Lets a new discriminator catch up with a generator that came from a VAE.

    The generator does not move for `steps`; then its learning rate rises linearly over `ramp`. The
    first gradients of an untrained discriminator would undo what the generator knows.

    Args:
        rate: Learning rate of the generator at the end.
        steps: Training steps of the discriminator alone.
        ramp: Training steps until the generator has its full rate.

    Example:
        >>> from zoo.training.recipes import DiscriminatorWarmUp
        >>> DiscriminatorWarmUp(2e-4, steps=10).ramp
        100
    """

    def __init__(self, rate: float, *, steps: int = WARM_UP, ramp: int = WARM_UP) -> None:
        super().__init__()
        self.rate, self.steps, self.ramp = rate, steps, ramp

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Sets the generator's rate for the step to come."""
        risen = (self.model.steps_done - self.steps) / self.ramp
        rate = self.rate * min(max(risen, 0.0), 1.0)
        learning_rate(self.model.generator_optimizer).assign(rate)


def prepare(model: Any, recipe: str) -> Callable[[int], list[keras.callbacks.Callback]]:
    """Makes a compiled model ready for a recipe that it begins with.

    Args:
        model: A converted model.
        recipe: One of `RECIPES` of its family. "joint" is `SleepWakeJoint`. "frozen" is the same
            without its last phase: the decoder stays exactly the generator. "warm-up" is
            `DiscriminatorWarmUp`. "plain" has no callback.

    Returns:
        A function of the number of training steps, to callbacks for `fit`.

    Raises:
        ValueError: If the family has no such recipe, or the model was not converted.

    Example:
        >>> import zoo
        >>> gan = zoo.create("dcgan", (8, 8, 1), 2, network="mlp")
        >>> gan.compile()
        >>> [callback] = zoo.training.recipes.prepare(gan, "warm-up")(50)
        >>> callback.steps
        5
    """
    if recipe not in RECIPES[model.family]:
        msg = f"recipe={recipe!r}: expected one of {', '.join(RECIPES[model.family])}."
        raise ValueError(msg)
    if recipe == "plain":
        return lambda _: []
    if recipe == "warm-up":
        rate = float(learning_rate(model.default_optimizer("optimizer")).numpy())
        return lambda steps: [
            DiscriminatorWarmUp(
                rate, steps=min(WARM_UP, steps // 10), ramp=max(1, min(WARM_UP, steps // 10))
            )
        ]
    if model.transfer is None:
        msg = f"recipe={recipe!r} is for a VAE that `zoo convert` made; this one has no transfer."
        raise ValueError(msg)
    if recipe == "joint":
        return lambda steps: [SleepWakeJoint(steps)]
    model.decoder.trainable = False
    return lambda steps: [SleepWakeJoint(steps, wake=1.0)]


def learning_rate(optimizer: Any) -> Any:
    """The variable of an optimizer's learning rate.

    Raises:
        TypeError: If the rate follows a schedule of its own.

    Example:
        >>> import keras
        >>> from zoo.training.recipes import learning_rate
        >>> round(float(learning_rate(keras.optimizers.Adam(0.001)).numpy()), 6)
        0.001
    """
    inner = without_loss_scale(optimizer)
    if not isinstance(inner._learning_rate, keras.Variable):
        msg = f"The learning rate is a {type(inner._learning_rate).__name__}; expected a number."
        raise TypeError(msg)
    return inner._learning_rate
