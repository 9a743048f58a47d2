"""`zoo sample` and `zoo interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.options import COUNTED, Out, Run, SamplerName, Seed, check_file, resolve_run
from zoo.io.terminal import say


def sample(
    run: Run,
    out: Out = Path("samples.png"),
    n: Annotated[int, typer.Option(min=1, callback=COUNTED, help="Number of images.")] = 64,
    label: Annotated[
        int | None,
        typer.Option(
            help="The number of the class that a conditional model draws, from 0 on; `zoo info` "
            "lists the names. Default: all classes in turn."
        ),
    ] = None,
    sampler: SamplerName = "prior",
    seed: Seed = 0,
) -> None:
    """Draws images from a model: a PNG grid, or an .npy of float32 [n, h, w, c]."""
    _check_pictures(out)
    from zoo.sampling.samplers import sampler_of_run
    from zoo.training.runs import load_run

    folder = resolve_run(run)
    model = load_run(folder)
    labels = model.sample_labels(n, seed) if label is None else model.checked_labels(label, n)
    latents = sampler_of_run(folder, model, sampler).sample(n, seed, labels)
    _write_images(out, model.generate_from(latents, labels))


def interpolate(
    run: Run,
    out: Out = Path("interpolation.png"),
    rows: Annotated[int, typer.Option(min=1, callback=COUNTED, help="Pairs of latents.")] = 6,
    steps: Annotated[int, typer.Option(min=2, callback=COUNTED, help="Images per row.")] = 10,
    seed: Seed = 0,
) -> None:
    """Draws images along great circles between prior draws."""
    _check_pictures(out)
    import numpy as np

    from zoo.sampling.interpolation import slerp
    from zoo.training.runs import load_run

    model = load_run(resolve_run(run))
    latents = model.sample_latents(2 * rows, seed)
    fractions = np.linspace(0.0, 1.0, steps, dtype=np.float32)[:, None]
    path = slerp(latents[:rows, None], latents[rows:, None], fractions).numpy()
    # One class per row, for a conditional model.
    labels = model.sample_labels(rows, seed)
    labels = None if labels is None else np.repeat(labels, steps)
    latents = path.reshape(-1, model.noise_dim)
    _write_images(out, model.generate_from(latents, labels), columns=steps)


def _check_pictures(out: Path) -> None:
    if out.suffix not in (".png", ".npy"):
        raise ValueError(f"--out {out}: expected a .png or .npy file.")
    check_file(out)


def _write_images(out: Path, images: Any, columns: int | None = None) -> None:
    if out.suffix == ".npy":
        import numpy as np

        from zoo.io.files import replacing

        with replacing(out) as temporary:
            np.save(temporary, images)
    else:
        from zoo.io.pictures import save_grid

        save_grid(out, images, columns)
    say(f"{len(images)} images: {out}")
