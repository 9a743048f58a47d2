"""Latents to draw images from: the prior, a fitted sampler, and paths between latents."""
