"""The PyTorch side of `benchmarks/real_sizes.py`: the same step, and the same images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch_biggan
import torch_stylegan2
from sized import BETAS, CLASSES, LATENT_DIM, LOSS_TOLERANCE, RATES, TOLERANCE
from torch.nn import functional as F  # noqa: N812  (its customary name)
from torch_named import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    Numbers = dict[str, np.ndarray]
    Noise = dict[str, Tensor]


def turns(
    numbers: Numbers, settings: dict[str, Any], *, channels_last: bool = False
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Turns of training and of generation.

    Args:
        numbers: What `sized_zoo.prepare` wrote.
        settings: Those of the contest.
        channels_last: Whether to keep kernels and features with the channels last.

    Raises:
        ValueError: If images or losses from the same weights are not those of this project.
    """
    wrap: Any = (
        (lambda network: network.to(memory_format=torch.channels_last))
        if channels_last
        else (lambda network: network)
    )
    generator, discriminator = (wrap(each) for each in networks(settings))
    for role, network in (("generator", generator), ("discriminator", discriminator)):
        load(network, part(numbers, role))
    latents = (torch.from_numpy(numbers["latent"]), *rows_of(numbers, settings))
    reals = first(numbers["reals"])

    drawing = wrap(networks(settings)[0])
    load(drawing, part(numbers, "generator"))
    drawing.eval()
    torch_biggan.fold(drawing)
    check(to_numpy(generate(drawing, latents)), numbers["images"], TOLERANCE, "images")

    step = training(generator, discriminator, settings, latents[1:])
    for i, which in enumerate(("first", "second")):
        noise = {k: first(v) for k, v in part(numbers, f"noise_{i}").items()}
        wanted = [numbers[name][i] for name in ("discriminator_loss", "generator_loss")]
        check(
            np.array(step(reals, noise)), np.array(wanted), LOSS_TOLERANCE[which], f"{which} loss"
        )

    def train() -> None:
        for _ in range(settings["steps"]):
            step(reals, generator.draw(len(reals)))

    def draw() -> None:
        for _ in range(settings["steps"]):
            generate(drawing, latents)

    return train, draw


def networks(settings: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator."""
    side, width = settings["size"], settings["width"]
    if settings["model"] == "stylegan2":
        return (
            torch_stylegan2.Generator(side, width, width, width),
            torch_stylegan2.Discriminator(side, width),
        )
    return (
        torch_biggan.Generator(side, LATENT_DIM, width, CLASSES),
        torch_biggan.Discriminator(side, width, CLASSES),
    )


def training(
    generator: Any, discriminator: nn.Module, settings: dict[str, Any], rows: tuple[Tensor, ...]
) -> Callable[[Tensor, Noise], tuple[float, float]]:
    """A step: reals and noise to the losses of discriminator and generator.

    Both players move at once, on gradients from one batch of fakes and one pass, as here.
    """
    of_generator, of_discriminator = (
        torch.optim.Adam(network.parameters(), rate, BETAS[settings["model"]], eps=1e-7)
        for network, rate in zip((generator, discriminator), RATES[settings["model"]], strict=True)
    )
    weights = [list(network.parameters()) for network in (discriminator, generator)]

    def step(reals: Tensor, noise: Noise) -> tuple[float, float]:
        if settings["model"] == "stylegan2":
            fakes = generator.mixed(noise)
            of_real, of_fake = discriminator(reals), discriminator(fakes)
            discriminator_loss = (F.softplus(-of_real) + F.softplus(of_fake)).mean()
            generator_loss = F.softplus(-of_fake).mean()
        else:
            fakes = generator(noise["latents"], *rows)
            of_real, of_fake = discriminator(reals, *rows), discriminator(fakes, *rows)
            discriminator_loss = (F.relu(1.0 - of_real) + F.relu(1.0 + of_fake)).mean()
            generator_loss = -of_fake.mean()
        slopes = torch.autograd.grad(discriminator_loss, weights[0], retain_graph=True)
        answers = torch.autograd.grad(generator_loss, weights[1])
        for parameters, gradients in zip(weights, (slopes, answers), strict=True):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
        of_discriminator.step()
        of_generator.step()
        return float(discriminator_loss), float(generator_loss)

    return step


def generate(generator: nn.Module, latents: tuple[Tensor, ...]) -> Tensor:
    """Images [batch, 3, height, width]."""
    with torch.inference_mode():
        return generator(*latents)


def rows_of(numbers: Numbers, settings: dict[str, Any]) -> tuple[Tensor, ...]:
    """The labels as one-hot rows, of a conditional model."""
    if settings["model"] == "stylegan2":
        return ()
    return (F.one_hot(torch.from_numpy(numbers["label"]).long(), CLASSES).float(),)


def part(numbers: Numbers, name: str) -> Numbers:
    """Those whose names begin so, without it."""
    return {k.partition(":")[2]: v for k, v in numbers.items() if k.startswith(f"{name}:")}


def first(array: np.ndarray) -> Tensor:
    """Images with their channels first; other arrays as they are."""
    return torch.from_numpy(np.moveaxis(array, -1, 1).copy() if array.ndim == 4 else array)


def to_numpy(images: Tensor) -> np.ndarray:
    """[batch, height, width, channels]."""
    return images.permute(0, 2, 3, 1).numpy()


def check(computed: np.ndarray, wanted: np.ndarray, tolerance: float, what: str) -> None:
    """Raises ValueError if numbers differ by more than this, relative to 1 or more."""
    worst = float(np.max(np.abs(computed - wanted) / np.maximum(np.abs(wanted), 1.0)))
    if not worst <= tolerance:
        msg = f"{what} from the same weights differ by {worst:.2g}: expected at most {tolerance:g}"
        raise ValueError(msg)
