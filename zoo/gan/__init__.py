"""The GAN family: one model a file."""
