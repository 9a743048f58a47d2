"""Does a conversion help? GAN → VAE and VAE → GAN against training from scratch.

    python benchmarks/conversion.py                    # everything: about two hours on two cores
    python benchmarks/conversion.py --seeds 0          # a part; parts may run beside each other
    python benchmarks/conversion.py --publish          # docs/conversion.md from what is there

On the full Fashion-MNIST, every arm at equal optimizer steps. Resumable: an arm goes on from its
last checkpoint, and one with a result.json is not run again. The networks are zoo.networks.conv at
half width, so that the whole fits a CPU.
"""

from __future__ import annotations

import argparse
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoo  # before Keras: it turns on oneDNN

# isort: split
import keras
import numpy as np

from zoo import data, metrics
from zoo.bench.run import processor
from zoo.convert import gan_to_vae, vae_to_gan
from zoo.evaluation.measure import likelihood_metrics
from zoo.io import schemas
from zoo.io.records import read_json, write_json
from zoo.networks import conv
from zoo.sampling.posterior import draw, fit_mixture
from zoo.training.loop import train
from zoo.training.recipes import DiscriminatorWarmUp, SleepWakeJoint
from zoo.training.runs import load_run

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
DATA, SHAPE, LATENTS, WIDTH, BATCH = "fashion_mnist", (28, 28, 1), 64, 32, 128
STEPS_PER_EPOCH = 60_000 // BATCH
SOURCE_EPOCHS = 6  # of the GAN that is converted
CURVE_SAMPLES, CURVE_IMAGES = 2_500, 1_000
FINAL_SAMPLES, FINAL_IMAGES, MIXTURE_IMAGES = 5_000, 2_000, 10_000
GENERATOR_RATE, DISCRIMINATOR_RATE = 4e-4, 2e-4  # at half width, equal rates let D win
WARM_UP, RAMP = 100, 100


def main() -> None:
    """Runs arms, or publishes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "conversion")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--publish", action="store_true")
    args = parser.parse_args()
    if not args.publish:
        for seed in args.seeds:
            for arm in args.arms:
                run(arm, args.out / f"seed_{seed}", seed, args.epochs)
    from conversion_report import publish  # noqa: PLC0415  (matplotlib)

    publish(args.out, list(ARMS))


# Networks


def new_vae(seed: int, **options: Any) -> Any:
    """An untrained VAE."""
    return zoo.create(
        "vae", SHAPE, LATENTS, seed=seed,
        encoder=conv.encoder(SHAPE, LATENTS, width=WIDTH),
        decoder=conv.decoder(SHAPE, LATENTS, width=WIDTH), **options,
    )  # fmt: skip


def new_gan(seed: int) -> Any:
    """An untrained GAN."""
    return zoo.create(
        "dcgan", SHAPE, LATENTS, seed=seed, ema=0.999,
        generator=conv.generator(SHAPE, LATENTS, width=WIDTH),
        discriminator=conv.discriminator(SHAPE, width=WIDTH),
    )  # fmt: skip


def compile_gan(gan: Any) -> Any:
    """Sets the rates that all GANs here train with."""
    gan.compile(
        keras.optimizers.Adam(GENERATOR_RATE, beta_1=0.5),
        keras.optimizers.Adam(DISCRIMINATOR_RATE, beta_1=0.5),
    )
    return gan


# Arms: each makes a compiled model and the callbacks of its recipe


def source_gan(folder: Path, seed: int, steps: int) -> tuple[Any, list[Any]]:  # noqa: ARG001
    """The GAN that the VAEs are made of."""
    return compile_gan(new_gan(seed)), []


def vae_scratch(folder: Path, seed: int, steps: int) -> tuple[Any, list[Any]]:  # noqa: ARG001
    """A VAE from random weights; also the source of the GANs."""
    vae = new_vae(seed)
    vae.compile()
    return vae, []


def converted_vae(
    folder: Path, seed: int, steps: int, *, frozen: bool = False, init: str = "gan", **recipe: Any
) -> tuple[Any, list[Any]]:
    """A VAE with the source GAN's decoder; `init` "random" or "permuted" for the controls."""
    vae = new_vae(seed, transfer=(1.0, 1.0, 0.0, 0.0))
    if init != "random":
        gan_to_vae(load_run(folder / "source_gan"), vae, seed=seed)
    if init == "permuted":
        rng = np.random.default_rng(seed)
        for variable in vae.decoder.weights:
            flat = rng.permutation(np.ravel(np.asarray(variable)))
            variable.assign(flat.reshape(variable.shape))
        vae.first_decoder.set_weights(vae.decoder.get_weights())
    vae.decoder.trainable = not frozen
    vae.compile()
    if frozen:
        recipe["wake"] = 1.0
    return vae, [SleepWakeJoint(steps, **recipe)]


def gan_scratch(
    folder: Path, seed: int, steps: int, *, warm_up: bool = False
) -> tuple[Any, list[Any]]:
    """A GAN from random weights."""
    gan, callbacks = source_gan(folder, seed, steps)
    return gan, warm_up_callbacks() if warm_up else callbacks


def converted_gan(
    folder: Path,
    seed: int,
    steps: int,  # noqa: ARG001
    *,
    warm_up: bool = True,
    whiten: bool = False,
    discriminator: bool = True,
) -> tuple[Any, list[Any]]:
    """A GAN with the scratch VAE's decoder and, if asked for, encoder and posterior."""
    options: dict[str, Any] = {"ema": 0.999}
    if not discriminator:
        options["discriminator"] = conv.discriminator(SHAPE, width=WIDTH)
    gan, _ = vae_to_gan(
        load_run(folder / "vae_scratch"),
        images=data.to_array(DATA, split="train", limit=10_000) if whiten else None,
        whiten_posterior=whiten,
        discriminator_init="encoder" if discriminator else "random",
        seed=seed,
        **options,
    )
    return compile_gan(gan), warm_up_callbacks() if warm_up else []


def warm_up_callbacks() -> list[Any]:
    """The discriminator's head start."""
    return [DiscriminatorWarmUp(GENERATOR_RATE, steps=WARM_UP, ramp=RAMP)]


ARMS: dict[str, Callable[[Path, int, int], tuple[Any, list[Any]]]] = {
    "source_gan": source_gan,
    "vae_scratch": vae_scratch,
    "vae_frozen": partial(converted_vae, frozen=True),
    "vae_joint": converted_vae,
    "vae_joint_no_anchor": partial(converted_vae, anchor=0.0),
    "vae_random_frozen": partial(converted_vae, frozen=True, init="random"),
    "vae_permuted_joint": partial(converted_vae, init="permuted"),
    "gan_scratch": gan_scratch,
    "gan_scratch_warm_up": partial(gan_scratch, warm_up=True),
    "gan_generator": partial(converted_gan, discriminator=False),
    "gan_generator_discriminator": converted_gan,
    "gan_whitened": partial(converted_gan, whiten=True),
    "gan_whitened_no_warm_up": partial(converted_gan, whiten=True, warm_up=False),
    "gan_whitened_generator": partial(converted_gan, whiten=True, discriminator=False),
    "gan_whitened_generator_no_warm_up": partial(
        converted_gan, whiten=True, discriminator=False, warm_up=False
    ),
}


# One arm


def run(arm: str, folder: Path, seed: int, epochs: int) -> None:
    """Trains and measures an arm, unless it has been."""
    out = folder / arm
    if (out / "result.json").exists():
        return
    print(f"{out}", flush=True)
    epochs = SOURCE_EPOCHS if arm == "source_gan" else epochs
    steps = epochs * STEPS_PER_EPOCH
    keras.utils.set_random_seed(seed)
    model, recipe = ARMS[arm](folder, seed, steps)
    if (out / "model.keras").exists():
        model = load_run(out)
    curve = Curve(out / "curve.json", every=STEPS_PER_EPOCH // 2)
    diverged = False
    try:
        train(
            model, DATA, out, epochs=epochs, batch_size=BATCH, seed=seed, keep=1,
            callbacks=[*recipe, curve], verbose=0,
        )  # fmt: skip
    except FloatingPointError as error:
        print(error, flush=True)
        diverged = True
    write_json(out / "result.json", {
        "seed": seed,
        "epochs": epochs,
        "steps": steps,
        "seconds": round(curve.seconds),
        "diverged": diverged,
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "metrics": {} if diverged else final_metrics(model, seed),
    })  # fmt: skip


class Curve(keras.callbacks.Callback):
    """Measures the model every so many steps, into a file of points; keeps time but for that."""

    def __init__(self, path: Path, every: int) -> None:
        super().__init__()
        self.path, self.every = path, every
        self.points: list[dict[str, float]] = []
        if path.exists():
            self.points = read_json(path, schemas.CURVE)
        self.images = data.to_array(DATA, split="test")
        self.extractor = metrics.load_extractor("fashion_mnist_classifier")
        self.features = self.extractor(self.images)
        self.seconds = 0.0
        self.begun: float | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Drops points later than the checkpoint that the run goes on from."""
        self.points = [p for p in self.points if p["step"] <= self.model.steps_done]
        self.seconds = self.points[-1]["seconds"] if self.points else 0.0
        self.begun = time.perf_counter()
        if not self.points:
            self.measure()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Measures if it is time."""
        if self.model.steps_done % self.every == 0:
            self.measure()

    def measure(self) -> None:
        """Adds a point."""
        now = time.perf_counter()
        self.seconds += now - (self.begun or now)
        fake = self.extractor(self.model.generate(CURVE_SAMPLES, seed=0))
        point = {
            "step": self.model.steps_done,
            "seconds": round(self.seconds, 1),
            "frechet_distance": metrics.frechet_distance(self.features, fake),
        }
        if self.model.family == "vae":
            likelihoods = likelihood_metrics(self.model, self.images[:CURVE_IMAGES], 1, 0)
            point |= {name: likelihoods[name] for name in ("elbo", "mse")}
        self.points.append(point)
        write_json(self.path, self.points)
        self.begun = time.perf_counter()


def final_metrics(model: Any, seed: int) -> dict[str, float]:
    """5,000 samples against as many test images; for VAEs likelihoods of 2,000 of them too."""
    images = data.to_array(DATA, split="test", limit=FINAL_SAMPLES)
    extractor = metrics.load_extractor("fashion_mnist_classifier")
    features = extractor(images)
    values = metrics.generation_metrics(
        features, extractor(model.generate(FINAL_SAMPLES, seed=seed))
    )
    if model.family == "vae":
        values |= likelihood_metrics(model, images[:FINAL_IMAGES], 50, seed)
        train_images = data.to_array(DATA, split="train", limit=MIXTURE_IMAGES)
        mixture = fit_mixture(model, train_images, seed=seed)
        fake = extractor(model.generate_from(draw(mixture, FINAL_SAMPLES, seed)))
        values["mixture_frechet_distance"] = metrics.frechet_distance(features, fake)
    return values


if __name__ == "__main__":
    main()
