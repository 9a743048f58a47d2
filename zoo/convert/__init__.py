"""Conversions between models: GAN ⇄ VAE, and rewrites that keep a network's function."""

from zoo.convert.building import in_channels_last, in_float32, in_float64, is_functional
from zoo.convert.gan_to_vae import gan_to_vae
from zoo.convert.report import Report
from zoo.convert.rules import fold_batch_norm
from zoo.convert.runs import convert_run
from zoo.convert.sources import load_file
from zoo.convert.vae_to_gan import vae_to_gan
from zoo.training.recipes import DiscriminatorWarmUp, SleepWakeJoint

__all__ = [
    "DiscriminatorWarmUp",
    "Report",
    "SleepWakeJoint",
    "convert_run",
    "fold_batch_norm",
    "gan_to_vae",
    "in_channels_last",
    "in_float32",
    "in_float64",
    "is_functional",
    "load_file",
    "vae_to_gan",
]
