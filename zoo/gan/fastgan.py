"""FastGAN: skip-layer excitation, and a discriminator that reconstructs (arXiv 2101.04775)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo.core.contracts import LOGITS
from zoo.core.network_tools import check_network, with_labels
from zoo.core.registry import register_model
from zoo.core.replicated_step import Player
from zoo.gan.base import BaseGAN
from zoo.gan.gan import GAN
from zoo.networks import fastgan as networks
from zoo.networks import precision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import keras

    from zoo.io.types import Tensor

OUTPUTS = "the logit, logits of patches, the last feature maps and larger ones"


@register_model("fastgan")
class FastGAN(GAN):
    """The GAN for few images and a small machine (arXiv 2101.04775).

    The discriminator's loss is eq. 3, a hinge on the logit of each patch, plus λ L_recons (eq. 2):
    two decoders make of its features the real image, and a quadrant of it. The quadrant of each
    image is drawn with the noise of the batch. Real images are those that the discriminator sees,
    so augmented ones. Adam, its rate and momenta, the batch size and the average are those of the
    authors' code, as is DiffAugment.

    Departures: ‖·‖ of eq. 2 is the mean absolute difference of pixels on [−1, 1], where the authors
    take LPIPS, whose VGG this zoo has no weights of; the target of a decoder that is smaller than
    the image is averaged, and not subsampled; both networks move on one batch; margins are 1, where
    the code draws them from U(0.8, 1); those of `zoo.networks.fastgan`.

    Args:
        loss: max(0, 1 − D(x)) + max(0, 1 + D(G(z))) for the discriminator, −D(G(z)) for the
            generator, each the mean over patches.
        network: `"fastgan"`, perhaps with a width, such as `"fastgan-16"`.
        normalization: `"batch"` as in the paper, or `"spectral"` or `"none"`: without BatchNorm, in
            all networks.
        reconstruction_weight: λ, from 0 on.
        diff_augment: See `LittleData`.
        ema: Decay of the averaged generator.
        **kwargs: Further arguments of `GAN`. A `discriminator` of your own has four outputs: the
            logit [batch, 1], logits of patches [batch, patches], its last feature maps, and larger
            ones, whose side is even.

    Raises:
        ValueError: If the discriminator has other outputs, or an option is out of range.

    Example:
        >>> import zoo
        >>> model = zoo.create("fastgan", (8, 8, 1), 2, network="fastgan-4")
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    default_batch_size: ClassVar[int] = 8
    log_names = (*GAN.log_names, "real_auxiliary")
    players: Mapping[str, Player] = {
        **BaseGAN.players,
        "discriminator_optimizer": Player(
            "discriminator_total", ("discriminator", "reconstructor")
        ),
    }

    def __init__(
        self,
        *,
        loss: str = "hinge",
        network: str = "fastgan",
        normalization: str | None = "batch",
        reconstruction_weight: float = 1.0,
        diff_augment: str | None = "color,translation",
        ema: float | None = 0.999,
        **kwargs: Any,
    ) -> None:
        if not 0.0 <= reconstruction_weight < float("inf"):
            msg = f"reconstruction_weight={reconstruction_weight}: expected at least 0, such as 1."
            raise ValueError(msg)
        super().__init__(
            loss=loss, network=network, normalization=normalization, diff_augment=diff_augment,
            ema=ema, **kwargs,
        )  # fmt: skip
        self.reconstruction_weight = float(reconstruction_weight)
        self.reconstructor = self._new_reconstructor()

    # Networks

    def new_generator(self, **options: Any) -> keras.Model:
        """A generator of the architecture, with the normalisation."""
        if self._is_fastgan:
            options["normalization"] = self.normalization
        return super().new_generator(**options)

    def new_discriminator(self, **options: Any) -> keras.Model:
        """A discriminator of the architecture, with its features."""
        if not self._is_fastgan:
            msg = (
                f"network={self.network!r}: expected a discriminator with the outputs {OUTPUTS}. "
                "Take 'fastgan', or pass a discriminator that has them."
            )
            raise ValueError(msg)
        return super().new_discriminator(features=True, **options)

    def check_networks(self) -> None:
        """Raises ValueError if a network is not what the model needs."""
        self.check_generator()
        shapes = [tuple(x.shape[1:]) for x in getattr(self.discriminator, "outputs", ())]
        suits = [len(shape) for shape in shapes] == [1, 1, 3, 3] and shapes[0] == (1,)
        if not suits or not all(_is_halved(self.image_shape, shape) for shape in shapes[2:]):
            msg = (
                f"The discriminator maps {self.image_shape} to {shapes}; expected {OUTPUTS}, whose "
                "sides are the image's, halved some times. Take network='fastgan'."
            )
            raise ValueError(msg)
        check_network(
            self.discriminator, "discriminator", self.image_shape, shapes,
            labels=bool(self.num_classes), values=[LOGITS],
        )  # fmt: skip

    @property
    def _is_fastgan(self) -> bool:
        return self.network.partition("-")[0] == "fastgan"

    def _new_reconstructor(self) -> keras.Model:
        """The decoders of the discriminator's features."""
        whole, part = (tuple(x.shape[1:]) for x in self.discriminator.outputs[2:])
        quadrant = (part[0] // 2, part[1] // 2, part[2])
        width = self.network.partition("-")[2]
        with precision(self.dtype_policy):
            return networks.reconstructor(
                whole, quadrant, self.image_shape, int(width or networks.WIDTH), self.normalization
            )

    # Training

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """The noise of `GAN`, and the place of each image's quadrant."""
        return {**super().batch_noise(draw), "quadrant": draw("quadrant", [1], uniform=True)}

    def judge(
        self, images: Tensor, batch: dict[str, Any], *, real: bool, training: bool
    ) -> list[Any]:
        """The logit [batch, 1], those of patches, and for real images L_recons [batch]."""
        shown = self.augmented(images, batch, real=real)
        inputs = with_labels(shown, self.condition(batch, real=real))
        logit, patches, whole, larger = self.discriminator(inputs, training=training)
        if not real:
            return [logit, patches]
        part = quadrant_of(larger, batch["quadrant"])
        decoded = self.reconstructor([whole, part], training=training)
        targets = shown, quadrant_of(shown, batch["quadrant"])
        errors = [_distance(*pair) for pair in zip(decoded, targets, strict=True)]
        return [logit, patches, sum(errors)]

    def adversarial_logits(self, outputs: list[Any]) -> Tensor:
        """The logits of patches, [batch, patches]."""
        return outputs[1]

    def auxiliary_loss(
        self,
        heads: list[Any],
        batch: dict[str, Any],  # noqa: ARG002
        *,
        real: bool,
    ) -> Tensor:
        """λ L_recons of real images (eq. 2), [batch]."""
        return self.reconstruction_weight * heads[1] if real else None

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "reconstruction_weight": self.reconstruction_weight}


def quadrant_of(x: Tensor, place: Tensor) -> Tensor:
    """A quarter of each image or feature map.

    Args:
        x: [batch, height, width, channels], of even sides.
        place: From U(0, 1), [batch, 1]: four equal ranges for upper left, upper right, lower left
            and lower right.

    Returns:
        [batch, height / 2, width / 2, channels].

    Example:
        >>> import tensorflow as tf
        >>> from zoo.gan.fastgan import quadrant_of
        >>> x = tf.reshape(tf.range(4.0), [1, 2, 2, 1])
        >>> quadrant_of(x, tf.constant([[0.6]])).numpy().item()
        2.0
    """
    height, width = x.shape[1] // 2, x.shape[2] // 2
    rows = x[:, :height], x[:, -height:]
    quarters = tf.stack([y for x in rows for y in (x[:, :, :width], x[:, :, -width:])], axis=1)
    index = tf.cast(tf.floor(4.0 * place[:, 0]), tf.int32)
    return tf.gather(quarters, index, axis=1, batch_dims=1)


def _is_halved(image_shape: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether feature maps have the image's sides divided by one power of two."""
    factor = image_shape[0] // shape[0]
    sides = tuple(side * factor for side in shape[:2])
    return factor & (factor - 1) == 0 and sides == tuple(image_shape[:2])


def _distance(decoded: Tensor, target: Tensor) -> Tensor:
    """Mean |difference| on [−1, 1], [batch], of images in [0, 1]; the target may be larger."""
    factor = target.shape[1] // decoded.shape[1]
    if factor > 1:
        target = tf.nn.avg_pool2d(target, factor, factor, "VALID")
    return 2.0 * tf.reduce_mean(tf.abs(decoded - target), axis=[1, 2, 3])
