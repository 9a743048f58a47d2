"""The VAE family: one model a file."""
