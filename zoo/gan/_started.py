"""What a GAN needs that starts from a trained one: frozen blocks, and an average of many steps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from zoo.core import carried
from zoo.core.carried import CarriedLayers, layers_of

if TYPE_CHECKING:
    import keras

# What is 0 in a GAN that begins anew.
FREEZING = ("freeze_discriminator", "freeze_generator", "ema_start")
# All that says how a model goes on from another.
OPTIONS = (*FREEZING, *carried.OPTIONS)


class StartedGAN(CarriedLayers):
    """The options of a GAN that goes on from trained networks, beside those of `CarriedLayers`.

    Args:
        freeze_discriminator: Blocks of the discriminator, from the image on, that do not train
            (FreezeD, arXiv 2002.10964). Their BatchNorm keeps its statistics too.
        freeze_generator: Blocks of the generator, from the latent on, that do not train.
        ema_start: Steps that the average has behind it at step 0; its look-back is then as long.

    Raises:
        ValueError: If one is negative, or no block is left to train.
    """

    generator: Any
    discriminator: Any

    def __init__(
        self,
        *,
        freeze_discriminator: int = 0,
        freeze_generator: int = 0,
        ema_start: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.freeze_discriminator = int(freeze_discriminator)
        self.freeze_generator = int(freeze_generator)
        self.ema_start = int(ema_start)
        for name in FREEZING:
            if getattr(self, name) < 0:
                msg = f"{name}={getattr(self, name)}: expected at least 0."
                raise ValueError(msg)
        self._frozen: set[int] = set()

    def freeze(self) -> None:
        """Makes the first blocks of the networks constant."""
        for role in ("discriminator", "generator"):
            count = getattr(self, f"freeze_{role}")
            by_name = blocks(getattr(self, role)) if count else {}
            if count and count >= len(by_name):
                msg = (
                    f"freeze_{role}={count}: the {role} has the blocks {', '.join(by_name)}, of "
                    f"which one at least must train. Take {max(len(by_name) - 1, 0)} or less."
                )
                raise ValueError(msg)
            for layer in [each for some in [*by_name.values()][:count] for each in some]:
                self._frozen |= {id(variable) for variable in layer.trainable_variables}
                layer.trainable = False

    def is_parameter(self, weight: Any) -> bool:
        """Whether a weight is one that gradients move, or would if it were not frozen."""
        return weight.trainable or id(weight) in self._frozen

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; those of a GAN that begins anew are left out."""
        options = {name: getattr(self, name) for name in FREEZING}
        return {**super().get_config(), **{name: x for name, x in options.items() if x}}


def blocks(network: keras.Model) -> dict[str, list[Any]]:
    """The layers with weights, in the order of the network, by block.

    A block is all layers whose names begin alike up to a number, such as `block_0_conv_1` and
    `block_0_shortcut`; or one layer with a kernel, and the normalisation behind it.

    Example:
        >>> from zoo import networks
        >>> from zoo.gan._started import blocks
        >>> list(blocks(networks.build("conv", "discriminator", (16, 16, 1))))
        ['conv_0', 'conv_1', 'logit']
    """
    by_name: dict[str, list[Any]] = {}
    name = ""
    for layer in layers_of(network):
        prefix = re.match(r".*?_\d+(?=_|$)|.*", layer.name)
        start = prefix[0] if prefix else layer.name
        opens = hasattr(layer, "kernel") or start in by_name or not name
        name = start if opens else name
        by_name.setdefault(name, []).append(layer)
    return by_name
