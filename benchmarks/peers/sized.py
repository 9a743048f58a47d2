"""One contestant of `benchmarks/real_sizes.py`, in a process of its own that takes turns.

    python benchmarks/peers/sized.py CONTESTANT FOLDER

FOLDER has the settings, weights and numbers that `prepare` wrote, the first contestant, which takes
no turns. A PyTorch contestant first computes the same images and losses from the same weights. Says
{"turns": [...]} on standard output, or {"error": "..."} if the numbers differ or a package is
missing. Then each line of standard input names a turn: so many steps are taken, and
{"seconds", "peak"} said.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from contestant import THREADS, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable

    Turns = dict[str, Callable[[], Any]]

SETTINGS, NUMBERS, ONNX = "settings.json", "numbers.npz", "generate.onnx"
CLASSES, LATENT_DIM = 10, 128  # BigGAN's; StyleGAN2 has as many latents as dimensions of a style
RATES = {"stylegan2": (2e-3, 2e-3), "biggan_deep": (5e-5, 2e-4)}  # generator, discriminator
BETAS = {"stylegan2": (0.0, 0.99), "biggan_deep": (0.0, 0.999)}
TOLERANCE = 1e-3  # of images in [0, 1]: float32 through some dozen layers
LOSS_TOLERANCE = {"first": 1e-3, "second": 2e-2}  # Adam's first steps are signs of gradients


def main() -> None:
    """Takes turns until standard input ends."""
    contestant, folder = sys.argv[1:]
    path = Path(folder)
    settings = json.loads((path / SETTINGS).read_text(encoding="utf-8"))
    take_turns(lambda: CONTESTANTS[contestant](path, settings))


def check_images(drawn: np.ndarray, folder: Path) -> None:
    """Raises ValueError if images [batch, height, width, channels] are not those of `prepare`."""
    with np.load(folder / NUMBERS) as numbers:
        wanted = numbers["images"]
    worst = float(np.abs(drawn - wanted).max())
    if not worst <= TOLERANCE or wanted.std() < 0.01:
        msg = (
            f"images from the same weights differ by {worst:.2g}, and their deviation is "
            f"{wanted.std():.2g}: expected at most {TOLERANCE:g}, and at least 0.01"
        )
        raise ValueError(msg)


# Ours


def prepare(folder: Path, settings: dict[str, Any]) -> Turns:
    """Writes our weights, images, noise and losses, and the exported generator."""
    import sized_zoo  # noqa: PLC0415

    sized_zoo.prepare(folder, settings)
    return {"prepared": lambda: None}


def this_project(folder: Path, settings: dict[str, Any]) -> Turns:  # noqa: ARG001
    """`fit` on one batch held in memory."""
    import sized_zoo  # noqa: PLC0415

    return {"training, this project": sized_zoo.training(settings)}


def onnx(folder: Path, settings: dict[str, Any]) -> Turns:
    """Our exported generator in ONNX Runtime."""
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    # Else its threads, waiting for its next turn, take the processor from others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        folder / ONNX, options, providers=["CPUExecutionProvider"]
    )
    with np.load(folder / NUMBERS) as numbers:
        inputs = {each.name: numbers[each.name] for each in session.get_inputs()}
    check_images(session.run(None, inputs)[0], folder)

    def take() -> None:
        for _ in range(settings["steps"]):
            session.run(None, inputs)

    return {"generation, this project in ONNX Runtime": take}


# Peers


def pytorch(
    folder: Path, settings: dict[str, Any], title: str = "PyTorch", **options: bool
) -> Turns:
    """The port: a loop over one batch held in memory, and images in inference mode."""
    import sized_torch  # noqa: PLC0415
    import torch  # noqa: PLC0415

    torch.set_num_threads(THREADS)
    with np.load(folder / NUMBERS) as numbers:
        training, generation = sized_torch.turns(dict(numbers), settings, **options)
    return {f"training, {title}": training, f"generation, {title}": generation}


def pretrained(folder: Path, settings: dict[str, Any]) -> Turns:
    """The generator of `pytorch-pretrained-biggan`, which has 128 pixels and more."""
    if settings["model"] != "biggan_deep" or settings["size"] != 128:
        msg = f"it does not have {settings['model']} at {settings['size']} pixels"
        raise ImportError(msg)
    import pretrained_biggan  # noqa: PLC0415
    import torch  # noqa: PLC0415

    torch.set_num_threads(THREADS)
    with np.load(folder / NUMBERS) as numbers:
        draw = pretrained_biggan.drawing(dict(numbers), settings, CLASSES, LATENT_DIM)
    check_images(draw().permute(0, 2, 3, 1).numpy(), folder)

    def take() -> None:
        for _ in range(settings["steps"]):
            draw()

    return {"generation, pytorch-pretrained-biggan": take}


def profile_zoo(folder: Path, settings: dict[str, Any]) -> Turns:
    """Writes what takes the time of our step."""
    import sized_zoo  # noqa: PLC0415

    lines = sized_zoo.profile(sized_zoo.training(settings), folder / "trace")
    (folder / "profile_zoo.txt").write_text("\n".join(lines), encoding="utf-8")
    return {"profiled": lambda: None}


def profile_torch(folder: Path, settings: dict[str, Any]) -> Turns:
    """Writes what takes the time of PyTorch's step."""
    import torch  # noqa: PLC0415

    (take, *_) = pytorch(folder, settings).values()
    take()
    with torch.profiler.profile() as profiler:
        take()
    table = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=20)
    (folder / "profile_torch.txt").write_text(table, encoding="utf-8")
    return {"profiled": lambda: None}


CONTESTANTS: dict[str, Callable[..., Turns]] = {
    "prepare": prepare,
    "zoo": this_project,
    "onnx": onnx,
    "torch": pytorch,
    "torch_channels_last": lambda folder, settings: pytorch(
        folder, settings, "PyTorch, channels last", channels_last=True
    ),
    "pretrained": pretrained,
    "profile_zoo": profile_zoo,
    "profile_torch": profile_torch,
}

if __name__ == "__main__":
    main()
