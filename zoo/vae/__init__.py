"""The VAE family: one file per model.

`zoo.vae.VAE` and the like are the classes of the models, `zoo.vae.BaseVAE` is what a VAE of your
own inherits from. The first use of a class imports it, and TensorFlow with it.

Example:
    >>> import zoo
    >>> zoo.vae.VAE(image_shape=(8, 8, 1), latent_dim=2, network="mlp").generate(3, seed=0).shape
    (3, 8, 8, 1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.core import model_files
from zoo.io.lazy import lazy

if TYPE_CHECKING:  # for editors and type checkers; a test compares it with the files
    from zoo.vae.autoencoder_kl import AutoencoderKL as AutoencoderKL
    from zoo.vae.base import BaseVAE as BaseVAE
    from zoo.vae.beta_tc_vae import BetaTCVAE as BetaTCVAE
    from zoo.vae.beta_vae import BetaVAE as BetaVAE
    from zoo.vae.cvae import CVAE as CVAE
    from zoo.vae.factor_vae import FactorVAE as FactorVAE
    from zoo.vae.info_vae import InfoVAE as InfoVAE
    from zoo.vae.iwae import IWAE as IWAE
    from zoo.vae.ladder_vae import LadderVAE as LadderVAE
    from zoo.vae.soft_intro_vae import SoftIntroVAE as SoftIntroVAE
    from zoo.vae.vae import VAE as VAE
    from zoo.vae.vae_gan import VAEGAN as VAEGAN
    from zoo.vae.vamp_prior import VampPriorVAE as VampPriorVAE
    from zoo.vae.vdvae import VDVAE as VDVAE
    from zoo.vae.vq_vae import VQVAE as VQVAE
    from zoo.vae.vqgan import VQGAN as VQGAN
    from zoo.vae.wae_mmd import WAEMMD as WAEMMD

_MODULES = model_files.classes("vae")
__all__ = list(_MODULES)
__getattr__ = lazy(__name__, {name: f"zoo.vae.{file}" for name, file in _MODULES.items()})


def __dir__() -> list[str]:
    return __all__
