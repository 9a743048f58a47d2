"""VAEs whose networks are those of latent diffusion: a grid of latents or codes, of every size.

The networks are `zoo.networks.autoencoder_kl` (arXiv 2112.10752, 2012.09841).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo.core.batches import DataError
from zoo.core.contracts import LOGITS
from zoo.core.network_tools import check_network
from zoo.networks import autoencoder_kl
from zoo.vae._options import logits_shape
from zoo.vae._patch_loss import PatchLossVAE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from zoo.io.types import Tensor


class GridVAE(PatchLossVAE):
    """A VAE of grids, [height / f, width / f], of images of every size that f divides.

    f is 2^(levels − 1).

    Args:
        channels: Channels of each level, the one of the whole image first.
        blocks: Residual blocks per level of the encoder; the decoder has one more.
        groups: Groups of channels that are normalised together.
        attention: Whether the middle of both networks has attention over all positions.
        quant_conv: Whether the encoder ends in a 1 × 1 convolution.
        post_quant_conv: Whether the decoder begins with one.
        network: "autoencoder_kl".
        **kwargs: Further arguments of `PatchLossVAE` and `BaseVAE`, but `encoder`, `decoder` and
            `num_classes`.

    Raises:
        ValueError: If an option is out of range, or these models do not have it; or f does not
            divide a side of the image.
    """

    default_batch_size: ClassVar[int] = 32
    transferable: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_shape: Sequence[int],
        channels: Sequence[int] = (32, 64, 64),
        blocks: int = 1,
        groups: int = 8,
        attention: bool = True,
        quant_conv: bool = True,
        post_quant_conv: bool = True,
        network: str = "autoencoder_kl",
        **kwargs: Any,
    ) -> None:
        for name in ("encoder", "decoder", "num_classes"):
            if kwargs.get(name):
                msg = f"{name}={kwargs[name]}: {self.model_name} takes none. Leave it out."
                raise ValueError(msg)
        if network != "autoencoder_kl":
            msg = f"network={network!r}: expected 'autoencoder_kl', whose width `channels` sets."
            raise ValueError(msg)
        autoencoder_kl.check_levels(channels, blocks, groups)
        self.channels = [int(width) for width in channels]
        self.blocks, self.groups, self.attention = int(blocks), int(groups), bool(attention)
        self.quant_conv, self.post_quant_conv = bool(quant_conv), bool(post_quant_conv)
        super().__init__(image_shape=image_shape, network=network, **kwargs)

    @property
    def size_factor(self) -> int:
        """f, the side of an image over that of its grid."""
        return autoencoder_kl.factor(self.channels)

    def new_encoder(self, *args: Any, **options: Any) -> keras.Model:
        """From images to grids."""
        return self._network("encoder", *args, quant_conv=self.quant_conv, **options)

    def new_decoder(self, *args: Any, **options: Any) -> keras.Model:
        """From grids to values of pixels."""
        return self._network("decoder", *args, post_quant_conv=self.post_quant_conv, **options)

    def _network(self, role: str, *args: Any, **options: Any) -> keras.Model:
        return self.build_network(
            role, *args, channels=self.channels, blocks=self.blocks, groups=self.groups,
            attention=self.attention, **options,
        )  # fmt: skip

    def check_networks(self) -> None:
        """Raises ValueError if a network is not what the model needs; a small image tells."""
        by, outputs = self.size_factor, list(self.encoder_outputs.values())
        images, grid = (by, 2 * by, self.image_shape[2]), (1, 2, self.latent_dim)
        values = (by, 2 * by, logits_shape(self)[2])
        check_network(self.encoder, "encoder", images, [grid] * len(outputs), values=outputs)
        check_network(self.decoder, "decoder", grid, [values], values=[LOGITS])

    def inference_images(self, images: Tensor) -> Any:
        """Images of every size that the factor divides, as a tensor.

        Raises:
            ValueError: If they are of another size, or have other channels.
        """
        images = tf.convert_to_tensor(images)
        channels = self.image_shape[2]
        if images.shape.rank != 4 or images.shape[-1] not in (None, channels):
            msg = (
                f"Images have shape {tuple(images.shape)}; expected [batch, height, width, "
                f"{channels}]."
            )
            raise DataError(msg)
        if None not in images.shape[1:3]:
            autoencoder_kl.grid_shape(images.shape[1:3], self.channels)
        elif self.size_factor > 1:
            # In a graph for every size. Both operations refuse, in every runtime, sides that the
            # factor does not divide; the network would take them for other sizes. Exports drop
            # assertions.
            images = tf.nn.space_to_depth(images, self.size_factor)
            images = tf.nn.depth_to_space(images, self.size_factor)
        return images

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("channels", "blocks", "groups", "attention", "quant_conv", "post_quant_conv")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
