"""Projected GAN: discriminators of a pretrained network's features (arXiv 2111.01007)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import networks
from zoo.core.registry import register_model
from zoo.gan.gan import GAN
from zoo.networks import projected

if TYPE_CHECKING:
    import keras

    from zoo.core.model import EndpointSpec
    from zoo.io.types import Tensor


@register_model("projected_gan")
class ProjectedGAN(GAN):
    """The GAN whose discriminators see a fixed, pretrained network's features (arXiv 2111.01007).

    `feature_network` maps images to four maps: EfficientNet-Lite0, which comes with this package,
    and random convolutions that mix its channels and scales (section 3.2). It never trains, and is
    saved with the model. `discriminator` is four small networks, one for each map. Both players
    minimise the mean of the loss (by default hinge) over all places and scales: a quarter of the
    sum over the scales in eq. 4, as in the authors' code. Adam at 2e-4 with β = (0, 0.99),
    DiffAugment and the averaged generator are of that code too.

    Departures: the paper's generator is FastGAN's; here any `network` that has one. The scales are
    mixed by 3 × 3 convolutions with He's initialization, as in the paper, where the code has 1 × 1
    ones; they have no bias. Features and projections are float32 whatever the precision. The
    average of the generator has the half-life that the code takes for batches of 64 images.

    Args:
        features: `"efficientnet_lite0"`, or `"random-WIDTH"` for random convolutions: for tests,
            and for the question what pretraining gives.
        feature_size: Pixels, a multiple of 32, that the smaller side of an image is resized to
            before the features; None takes 224 for smaller images, as the authors' code, and else
            the image's own, rounded to a multiple of 32. Fewer are faster, and see less.
        projection_width: Channels of the largest map; 64 in the authors' code. The other maps and
            the discriminators scale with it.
        loss: One of `zoo.losses.ADVERSARIAL`, at each place.
        network: Architecture of the generator.
        normalization: For the discriminators: `"spectral"` (with BatchNorm, as in the authors'
            code), `"batch"` or `"none"`.
        diff_augment: As in any GAN; None does not augment.
        ema_images: Half-life of the averaged generator, in training images.
        **kwargs: Further arguments of `GAN`. A `discriminator` of your own maps the four maps of
            `zoo.networks.projected.map_shapes` (and labels) to [logit, logits], [batch, 1] and
            [batch, n].

    Raises:
        ValueError: If an option is out of range, a gradient penalty meets BatchNorm, or the images
            have other channels than 1 or 3.
        FileNotFoundError: If the weights of the network of features are not there.

    Example:
        >>> import zoo
        >>> options = {"network": "mlp", "features": "random-2", "feature_size": 32}
        >>> model = zoo.create("projected_gan", (8, 8, 1), 2, **options, projection_width=4)
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    default_batch_size: ClassVar[int] = 64
    betas: ClassVar[tuple[float, float]] = (0.0, 0.99)

    def __init__(
        self,
        *,
        features: str = "efficientnet_lite0",
        feature_size: int | None = None,
        projection_width: int = 64,
        loss: str = "hinge",
        network: str = "conv",
        normalization: str | None = "spectral",
        diff_augment: str | None = "color,translation,cutout",
        ema_images: float | None = 20_000,
        **kwargs: Any,
    ) -> None:
        projected.check_features(features)
        if projection_width < 1:
            msg = f"projection_width={projection_width}: expected at least 1, such as 64."
            raise ValueError(msg)
        if kwargs.get("regularizer") is not None and normalization != "none":
            msg = (
                f"regularizer={kwargs['regularizer']!r} is on each example's own gradient, which "
                f"BatchNorm mixes: normalization={normalization!r} has it. Take 'none'."
            )
            raise ValueError(msg)
        self.features = features
        self.feature_size = None if feature_size is None else int(feature_size)
        self.projection_width = int(projection_width)
        super().__init__(
            loss=loss, network=network, normalization=normalization, diff_augment=diff_augment,
            ema_images=ema_images, **kwargs,
        )  # fmt: skip
        self.feature_network = projected.feature_network(
            self.image_shape, features, self.feature_size, self.projection_width, self.seed
        )

    # Networks

    @property
    def map_shapes(self) -> list[Any]:
        """Shapes of one example of each map that the discriminators take, the largest first."""
        return projected.map_shapes(self.image_shape, self.feature_size, self.projection_width)

    def new_discriminator(self, **options: Any) -> keras.Model:
        """The discriminators of the maps."""
        with networks.precision(self.dtype_policy):
            return projected.discriminator(
                self.map_shapes, self.normalization, self.num_classes, **options
            )

    def check_networks(self) -> None:
        """Raises ValueError if a network is not what the model needs."""
        self.check_generator()
        wanted = [*self.map_shapes, *([()] if self.num_classes else [])]
        given = [tuple(tensor.shape[1:]) for tensor in self.discriminator.inputs]
        made = [tuple(tensor.shape[1:]) for tensor in self.discriminator.outputs]
        if given != wanted or len(made) != 2 or made[0] != (1,) or len(made[1]) != 1:
            msg = (
                f"The discriminator maps {given} to {made}; expected one of features, from "
                f"{wanted} to a logit (1,) and the logits (n,) that it is the mean of. Leave it "
                "out (in vae_to_gan: discriminator_init='random')."
            )
            raise ValueError(msg)

    # Training

    def outputs_of(self, images: Tensor, condition: Tensor, *, training: bool) -> list[Any]:
        """The mean logit [batch, 1] of images, and the logits [batch, n] of places and scales."""
        maps = self.feature_network(images, training=False)
        inputs = maps if condition is None else [*maps, tf.convert_to_tensor(condition)]
        return list(self.discriminator(inputs, training=training))

    def adversarial_logits(self, outputs: list[Any]) -> Tensor:
        """The logits of all places and scales, [batch, n]."""
        return outputs[1]

    def optional_endpoints(self) -> dict[str, EndpointSpec]:
        """Nothing: what is deployed is the generator."""
        return {}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("features", "feature_size", "projection_width")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
