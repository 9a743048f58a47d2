"""The GAN family: one file per model."""
