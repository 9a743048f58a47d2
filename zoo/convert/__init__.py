"""Conversions between models: GAN → VAE, and rewrites that keep a network's function."""

from zoo.convert.folding import fold_batch_norm
from zoo.convert.gan_to_vae import gan_to_vae
from zoo.convert.graph import in_float64
from zoo.convert.report import Report

__all__ = ["Report", "fold_batch_norm", "gan_to_vae", "in_float64"]
