"""`zoo sample` and `zoo interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.options import COUNTED, Out, Run, SamplerName, Seed, check_file, resolve_run
from zoo.io.names import class_number
from zoo.io.terminal import say


def sample(
    run: Run,
    out: Out = Path("samples.png"),
    n: Annotated[int, typer.Option(min=1, callback=COUNTED, help="Number of images.")] = 64,
    label: Annotated[
        str | None,
        typer.Option(
            help="A class of a conditional model, by its name, if `zoo info` shows class_names, "
            "or its number. Default: all classes."
        ),
    ] = None,
    sampler: SamplerName = "prior",
    truncation: Annotated[
        float | None,
        typer.Option(
            help="ψ of a stylegan2, or the threshold of a biggan's latents. Default: the model's "
            "own."
        ),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Draws images from a model, into a PNG grid or an .npy of float32 [n, h, w, c]."""
    _check_pictures(out)
    from zoo.sampling.samplers import sampler_of_run
    from zoo.training.runs import load_run

    folder = resolve_run(run)
    model = load_run(folder)
    if truncation is not None:
        if not hasattr(model, "truncation"):
            raise ValueError(
                f"--truncation {truncation}: a {model.model_name} has none; a stylegan2 and a "
                "biggan have one. Leave it out."
            )
        model.truncation = truncation
    if label is None:
        labels = model.sample_labels(n, seed)
    else:
        labels = model.checked_labels(_number_of_class(label, folder), n)
    latents = sampler_of_run(folder, model, sampler).sample(n, seed, labels)
    _write_images(out, model.generate_from(latents, labels))


def interpolate(
    run: Run,
    out: Out = Path("interpolation.png"),
    rows: Annotated[int, typer.Option(min=1, callback=COUNTED, help="Pairs of latents.")] = 6,
    steps: Annotated[int, typer.Option(min=2, callback=COUNTED, help="Images per row.")] = 10,
    seed: Seed = 0,
) -> None:
    """Draws images along great circles between latents that the prior draws."""
    _check_pictures(out)
    from zoo.sampling.interpolation import interpolate as images_between
    from zoo.training.runs import load_run

    images = images_between(load_run(resolve_run(run)), rows, steps, seed)
    _write_images(out, images, columns=steps)


def _number_of_class(label: str, run: Path) -> int:
    """The number of a class that was given by its number or its name in config.json."""
    from zoo.training.run_files import class_names, read_config

    try:
        return class_number(label, class_names(read_config(run)))
    except ValueError as error:
        raise ValueError(f"--label {error}") from error


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
