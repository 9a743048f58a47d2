"""A plain PyTorch DCGAN at the budget of this project's: same networks, optimizer and batches.

    python benchmarks/peers/torch_dcgan.py

No average of the generator's weights, which the preset of the README has (ema=0.999).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch_models
import torch_steps
from measuring import BATCH, LATENT_DIM, SEED, run
from torch.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


def train(images: np.ndarray, epochs: int) -> tuple[Callable[[np.ndarray], np.ndarray]]:
    """The generator alone: latents [n, LATENT_DIM] to images [n, channels, height, width]."""
    torch.manual_seed(SEED)
    shape = (*images.shape[2:], images.shape[1])
    generator = torch_models.generator(shape, LATENT_DIM)
    step = torch_steps.dcgan(generator, torch_models.discriminator(shape), LATENT_DIM)
    loader = DataLoader(
        TensorDataset(torch.from_numpy(images)), BATCH, shuffle=True, drop_last=True
    )
    for epoch in range(epochs):
        for (batch,) in loader:
            losses = step(batch)
        print(f"epoch {epoch + 1}: losses {[round(float(loss), 3) for loss in losses]}", flush=True)
    generator.eval()

    @torch.no_grad()
    def generate(latents: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(latents).split(BATCH)
        return torch.cat([generator(part) for part in parts]).numpy()

    return (generate,)


if __name__ == "__main__":
    run(__doc__, torch_dcgan=train)
