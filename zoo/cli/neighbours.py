"""`zoo neighbours`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.named import (  # noqa: TC001 (Typer reads the annotations)
    Extractor,
    ExtractorWeights,
    Resize,
)
from zoo.cli.options import COUNTED, PATH, Data, Run, Seed, check_file, resolve_run
from zoo.io.terminal import say


def neighbours(
    run: Run,
    out: Annotated[
        Path,
        typer.Option(
            help="The PNG file to write: each sample, and beside it its neighbours.", **PATH
        ),
    ] = Path("neighbours.png"),
    data: Data = None,
    split: Annotated[
        str, typer.Option(help="Images that the model has not seen, to compare with.")
    ] = "test",
    samples: Annotated[
        int, typer.Option(min=1, callback=COUNTED, help="Samples to draw and compare.")
    ] = 1000,
    shown: Annotated[
        int,
        typer.Option(
            min=1,
            callback=COUNTED,
            help="Samples to show: those that are nearest to a training image.",
        ),
    ] = 16,
    extractor: Extractor = None,
    extractor_weights: ExtractorWeights = None,
    resize: Resize = None,
    seed: Seed = 0,
) -> None:
    """Shows the training images that a model's samples are nearest to, and how many samples copy.

    The memorization score is the share of samples that are nearer to a training image than images
    of the split are: about 0.5 for samples as new as those, near 1 for copies.
    """
    if out.suffix != ".png":
        raise ValueError(f"--out {out}: expected a .png file.")
    check_file(out)
    from zoo import data as zoo_data
    from zoo.evaluation.extractors import needed_extractor_name
    from zoo.evaluation.neighbours import nearest_training_images
    from zoo.io.pictures import save_grid
    from zoo.training.run_files import data_of, read_config
    from zoo.training.runs import load_run

    folder = resolve_run(run)
    config = read_config(folder)
    model, source = load_run(folder), data or data_of(config, folder)
    say(zoo_data.describe(source, image_shape=model.image_shape))
    features = needed_extractor_name(source, extractor, model.image_shape, what="Neighbours")
    say(f"Comparing {samples:,} samples with training images (features: {features}) …")
    nearest = nearest_training_images(
        model, source, samples=samples, shown=shown, split=split, extractor=extractor,
        extractor_weights=extractor_weights, resize=resize, seed=seed,
    )  # fmt: skip
    columns = 1 + nearest.neighbours.shape[1]
    save_grid(out, nearest.sheet(), columns=columns)
    score = f"Memorization score {nearest.memorization_score:.3f}"
    say(f"{score} (features: {nearest.extractor}). {out}")
