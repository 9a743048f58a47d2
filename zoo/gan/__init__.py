"""The GAN family: one file per model.

`zoo.gan.DCGAN` and the like are the classes of the models, `zoo.gan.BaseGAN` is what a GAN of your
own inherits from. The first use of a class imports it, and TensorFlow with it.

Example:
    >>> import zoo
    >>> zoo.gan.DCGAN(image_shape=(8, 8, 1), latent_dim=2, network="mlp").generate(3, seed=0).shape
    (3, 8, 8, 1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.core import model_files
from zoo.io.lazy import lazy

if TYPE_CHECKING:  # for editors and type checkers; a test compares it with the files
    from zoo.gan.acgan import ACGAN as ACGAN
    from zoo.gan.base import BaseGAN as BaseGAN
    from zoo.gan.bigan import BiGAN as BiGAN
    from zoo.gan.biggan import BigGAN as BigGAN
    from zoo.gan.dcgan import DCGAN as DCGAN
    from zoo.gan.fastgan import FastGAN as FastGAN
    from zoo.gan.gan import GAN as GAN
    from zoo.gan.infogan import InfoGAN as InfoGAN
    from zoo.gan.lsgan import LSGAN as LSGAN
    from zoo.gan.projected_gan import ProjectedGAN as ProjectedGAN
    from zoo.gan.projection_gan import ProjectionGAN as ProjectionGAN
    from zoo.gan.r3gan import R3GAN as R3GAN
    from zoo.gan.sagan import SAGAN as SAGAN
    from zoo.gan.sngan import SNGAN as SNGAN
    from zoo.gan.stylegan2 import StyleGAN2 as StyleGAN2
    from zoo.gan.wgan import WGAN as WGAN
    from zoo.gan.wgan_gp import WGANGP as WGANGP

_MODULES = model_files.classes("gan")
__all__ = list(_MODULES)
__getattr__ = lazy(__name__, {name: f"zoo.gan.{file}" for name, file in _MODULES.items()})


def __dir__() -> list[str]:
    return __all__
