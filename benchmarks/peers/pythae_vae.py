"""Pythae's VAE at the budget of this project's: same networks, optimizer and batches.

    pip install pythae
    python benchmarks/peers/pythae_vae.py

Once with each of the losses that Pythae has: its default, half the squared error (a Gaussian of
variance 1) plus the rate, and `pythae_vae_bce`, cross-entropy plus the rate. Each draws from the
prior, and from Pythae's mixture of ten Gaussians.
"""

from __future__ import annotations

import tempfile
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch_models

try:
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.samplers import GaussianMixtureSampler
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
except ImportError as error:
    msg = f"This peer needs Pythae ({error}). Install it with: pip install pythae"
    raise ImportError(msg) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Encoder(BaseEncoder):
    """The project's `conv` encoder as Pythae wants it."""

    def __init__(self, image_shape: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        self.network = torch_models.Encoder(image_shape, latent_dim)

    def forward(self, images: torch.Tensor) -> ModelOutput:
        """Moments, each [batch, latent_dim]."""
        mean, log_variance = self.network(images)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """The project's `conv` decoder as Pythae wants it, with the sigmoid."""

    def __init__(self, image_shape: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        self.network = torch_models.decoder(image_shape, latent_dim)

    def forward(self, latents: torch.Tensor) -> ModelOutput:
        """Images in [0, 1]."""
        return ModelOutput(reconstruction=torch.sigmoid(self.network(latents)))


def trainer(
    images: torch.Tensor, latent_dim: int, folder: str, *, loss: str = "mse", **config: Any
) -> BaseTrainer:
    """Pythae's trainer of its VAE, with Adam at 1e-3.

    Args:
        images: float32 [n, channels, height, width] in [0, 1].
        latent_dim: Number of latent dimensions.
        folder: Where Pythae writes what it writes.
        loss: Pythae's `reconstruction_loss`, "mse" or "bce".
        **config: Of `BaseTrainerConfig`.
    """
    _, channels, height, width = images.shape
    shape = (height, width, channels)
    model = VAE(
        VAEConfig(input_dim=(channels, height, width), latent_dim=latent_dim,
                  reconstruction_loss=loss),
        encoder=Encoder(shape, latent_dim),
        decoder=Decoder(shape, latent_dim),
    )  # fmt: skip
    settings = BaseTrainerConfig(output_dir=folder, learning_rate=1e-3, no_cuda=True, **config)
    return BaseTrainer(model, BaseDataset(images, torch.zeros(len(images))), None, settings)


def train(
    images: np.ndarray, epochs: int, loss: str = "mse"
) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray], Callable[[int], np.ndarray]]:
    """(generate, reconstruct, draw_gmm) of the trained VAE, as `measuring.run` takes them."""
    from measuring import BATCH, LATENT_DIM, SEED  # noqa: PLC0415  (TensorFlow)

    torch.manual_seed(SEED)
    with tempfile.TemporaryDirectory() as folder:
        pythae = trainer(
            torch.from_numpy(images), LATENT_DIM, folder, loss=loss, num_epochs=epochs, seed=SEED,
            per_device_train_batch_size=BATCH,
        )  # fmt: skip
        pythae.train()
    model = pythae.model.eval()
    mixture = GaussianMixtureSampler(model)
    np.random.seed(SEED)  # noqa: NPY002  (scikit-learn's default, which Pythae leaves as it is)
    mixture.fit(torch.from_numpy(images))

    def in_parts(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
        @torch.no_grad()
        def run(x: np.ndarray) -> np.ndarray:
            return torch.cat([function(part) for part in torch.from_numpy(x).split(BATCH)]).numpy()

        return run

    return (
        in_parts(lambda latents: model.decoder(latents).reconstruction),
        in_parts(lambda images: model.decoder(model.encoder(images).embedding).reconstruction),
        lambda n: mixture.sample(n).numpy(),
    )


if __name__ == "__main__":
    from measuring import run

    run(__doc__, pythae_vae=train, pythae_vae_bce=partial(train, loss="bce"))
