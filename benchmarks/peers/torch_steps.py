"""Training steps as PyTorch's own examples write them, with this project's losses and optimizers.

Each function takes networks and gives a step: images [batch, channels, height, width] in [0, 1] to
the loss, or the losses, detached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812  (its customary name)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

PENALTY = 10.0


def vae(encoder: nn.Module, decoder: nn.Module) -> Callable[[Tensor], Tensor]:
    """The negative evidence lower bound with Bernoulli pixels; Adam at 1e-3."""
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)

    def step(images: Tensor) -> Tensor:
        optimizer.zero_grad()
        mean, log_variance = encoder(images)
        latents = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        logits = decoder(latents)
        distortion = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        rate = -0.5 * torch.sum(1.0 + log_variance - mean**2 - log_variance.exp())
        loss = (distortion + rate) / len(images)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def dcgan(
    generator: nn.Module, discriminator: nn.Module, latent_dim: int
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The discriminator on real images, then on fakes; the generator through the same fakes."""
    of_generator = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    of_discriminator = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999))
    cross_entropy = F.binary_cross_entropy_with_logits

    def step(images: Tensor) -> tuple[Tensor, Tensor]:
        ones, zeros = images.new_ones(len(images), 1), images.new_zeros(len(images), 1)
        of_discriminator.zero_grad()
        on_real = cross_entropy(discriminator(images), ones)
        on_real.backward()
        fakes = generator(torch.randn(len(images), latent_dim))
        on_fake = cross_entropy(discriminator(fakes.detach()), zeros)
        on_fake.backward()
        of_discriminator.step()
        of_generator.zero_grad()
        deceived = cross_entropy(discriminator(fakes), ones)
        deceived.backward()
        of_generator.step()
        return deceived.detach(), (on_real + on_fake).detach()

    return step


def wgan_gp(
    generator: nn.Module, critic: nn.Module, latent_dim: int
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """One update of the critic with the gradient penalty, one of the generator on new fakes."""
    of_generator = torch.optim.Adam(generator.parameters(), 1e-4, (0.0, 0.9))
    of_critic = torch.optim.Adam(critic.parameters(), 1e-4, (0.0, 0.9))

    def step(images: Tensor) -> tuple[Tensor, Tensor]:
        of_critic.zero_grad()
        fakes = generator(torch.randn(len(images), latent_dim)).detach()
        critic_loss = critic(fakes).mean() - critic(images).mean()
        critic_loss = critic_loss + PENALTY * gradient_penalty(critic, images, fakes).mean()
        critic_loss.backward()
        of_critic.step()
        of_generator.zero_grad()
        generator_loss = -critic(generator(torch.randn(len(images), latent_dim))).mean()
        generator_loss.backward()
        of_generator.step()
        return generator_loss.detach(), critic_loss.detach()

    return step


def gradient_penalty(
    critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor | None = None
) -> Tensor:
    """(‖∇f(x̂)‖₂ − 1)² at x̂ = ε x + (1 − ε) G(z), [batch] (arXiv 1704.00028, eq. 3).

    Args:
        critic: f.
        real: x, [batch, channels, height, width].
        fake: G(z), like `real`.
        mix: ε, [batch, 1, 1, 1]; None draws it from U(0, 1).
    """
    mix = torch.rand(len(real), 1, 1, 1) if mix is None else mix
    images = (mix * real + (1.0 - mix) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1.0) ** 2
