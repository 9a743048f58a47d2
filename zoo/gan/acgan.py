"""AC-GAN: the discriminator also classifies real and fake images (arXiv 1610.09585)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo.core.contracts import IMAGES, LOGITS
from zoo.core.network_tools import check_network
from zoo.core.registry import register_model
from zoo.gan.gan import GAN

if TYPE_CHECKING:
    import keras

    from zoo.core.model import EndpointSpec
    from zoo.io.types import Tensor


@register_model("acgan")
class ACGAN(GAN):
    """GAN with an auxiliary classifier (arXiv 1610.09585, eq. 2 and 3).

    The generator takes the label; the discriminator does not, but names it: its second output are
    logits of the classes. Both players minimise the class's cross-entropy −log P(C = c | X), the
    discriminator that of real and of fake images, the generator that of its own. As in BaseGAN,
    fakes get the labels of the batch's real images. Logs add both cross-entropies in nats,
    `real_auxiliary` and `fake_auxiliary`. Defaults and arguments are those of `GAN`.

    A `discriminator` of your own maps images in [0, 1] to logits [batch, 1] and to logits of the
    classes [batch, num_classes].

    Raises:
        ValueError: If `num_classes` is missing.

    Example:
        >>> import zoo
        >>> model = zoo.create("acgan", (8, 8, 1), 2, network="mlp", num_classes=3)
        >>> model.generate(3, seed=0, labels=1).shape
        (3, 8, 8, 1)
    """

    conditional: ClassVar[bool] = True
    log_names = (*GAN.log_names, "real_auxiliary", "fake_auxiliary")

    def new_discriminator(self, **options: Any) -> keras.Model:
        """A discriminator without labels, and with a head for the classes."""
        return super().new_discriminator(num_classes=0, heads=(self.num_classes,), **options)

    def check_networks(self) -> None:
        """Raises ValueError if a network is not what the model needs."""
        latent, classes = (self.latent_dim,), (self.num_classes,)
        check_network(
            self.generator, "generator", latent, [self.image_shape], labels=True, values=[IMAGES]
        )
        check_network(
            self.discriminator, "discriminator", self.image_shape, [(1,), classes],
            values=[LOGITS, LOGITS],
        )  # fmt: skip

    def condition(self, batch: dict[str, Any], *, real: bool) -> Tensor:  # noqa: ARG002
        """Nothing: the discriminator finds the class."""
        return None

    def auxiliary_loss(self, heads: list[Any], batch: dict[str, Any], *, real: bool) -> Tensor:  # noqa: ARG002  (the hook's signature)
        """−log P(C = c | X), [batch] in nats."""
        return tf.nn.sparse_softmax_cross_entropy_with_logits(batch["labels"], heads[0])

    def optional_endpoints(self) -> dict[str, EndpointSpec]:
        """What is exported on request: `discriminate`, without a label."""
        image = {"image": self.image_shape}
        return {n: spec._replace(inputs=image) for n, spec in super().optional_endpoints().items()}
