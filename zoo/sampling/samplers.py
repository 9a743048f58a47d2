"""Samplers draw the latents of a trained VAE from its prior, or from its aggregate posterior.

The decoder has seen latents from q(z) = E_x q(z | x); the prior draws others too.

    prior       the prior of the model
    gmm         a Gaussian mixture fitted to q(z) (arXiv 1903.12436); for a conditional model one
                mixture per class y, fitted to q(z | y) = E_{x | y} q(z | x, y)
    two_stage   a second VAE, of latents, trained on q(z) (arXiv 1903.05789)

A run folder keeps its fitted samplers in `sampler_gmm.npz` and `sampler_two_stage.npz`. A preset
may hold the first.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import data, presets
from zoo.core.model import check_model
from zoo.io.files import replacing
from zoo.presets.sampler import read_sampler
from zoo.sampling.posterior import draw, fit_mixture, posteriors
from zoo.sampling.second_stage import fit_second_stage, sample_second_stage
from zoo.training.run_files import data_of, read_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.core.model import ZooModel
    from zoo.io.types import Tensor

KINDS = ("prior", "gmm", "two_stage")


@dataclass(frozen=True)
class Sampler:
    """Draws latents for a model.

    Attributes:
        name: One of `KINDS`.
        draw: Maps number, seed and labels, as `sample` takes them, to float32 [n, latent_dim].
        arrays: The fitted parameters; empty for the prior.
        fitted_to: Fingerprint of the weights of the model that it was fitted to.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> images = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> sampler = zoo.fit_sampler(vae, images, components=2)
        >>> vae.generate_from(sampler.sample(5, seed=0)).shape
        (5, 8, 8, 1)
    """

    name: str
    draw: Callable[[int, int, Any], np.ndarray]
    arrays: dict[str, np.ndarray]
    fitted_to: str

    def sample(self, n: int, seed: int = 0, labels: Tensor | None = None) -> np.ndarray:
        """Draws latents.

        Args:
            n: Number of latents.
            seed: The same seed gives the same latents.
            labels: The classes that the latents are for: one for all, or int [n]. Only a sampler
                with one mixture per class needs them; others ignore them.

        Returns:
            float32 [n, latent_dim].

        Raises:
            ValueError: If `n` < 1; or labels are needed and missing, no classes, or not n.
        """
        if n < 1:
            msg = f"n={n}: expected at least 1."
            raise ValueError(msg)
        return self.draw(n, seed, labels)

    def save(self, path: str | Path) -> None:
        """Writes an .npz file for `load_sampler`.

        Raises:
            ValueError: If this is the prior, which is part of its model, or `path` is no .npz file.
        """
        if not self.arrays:
            msg = f"The sampler {self.name!r} was not fitted: save the model that it is part of."
            raise ValueError(msg)
        if Path(path).suffix != ".npz":
            msg = f"{path}: expected a path that ends in .npz."
            raise ValueError(msg)
        with replacing(path) as temporary:
            np.savez(temporary, name=self.name, fitted_to=self.fitted_to, **self.arrays)  # type: ignore[arg-type]


def fit_sampler(
    model: ZooModel,
    images: np.ndarray,
    kind: str = "gmm",
    *,
    labels: np.ndarray | None = None,
    components: int = 10,
    steps: int = 2000,
    seed: int = 0,
) -> Sampler:
    """Fits a sampler to the aggregate posterior of images.

    With 60,000 images and 16 latent dimensions on 2 CPU cores "gmm" took 6 s and "two_stage" 14 s;
    3 s of both went into encoding the images.

    Args:
        model: A trained VAE that has a latent code (`has_latent_code`); for "prior" any model.
        images: Its training images, float32 [n, height, width, channels] in [0, 1], with n ≥
            `components`. "prior" ignores them.
        kind: "prior", "gmm" or "two_stage".
        labels: The classes of the images, int [n], for a conditional model. A "gmm" then has one
            mixture per class; the latents of "two_stage" are for any class.
        components: Number of Gaussians of full covariance. The classes of a conditional model share
            them out, and each has at least one.
        steps: Updates of the second VAE of "two_stage".
        seed: Seed of the fit: the same seed gives the same sampler.

    Raises:
        ValueError: If there is no such kind, or the model has no latent code to fit it to;
            labels are missing, or given to a model without; or a mixture has fewer images than
            Gaussians, or fewer than 2.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> images = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> zoo.fit_sampler(vae, images, "gmm", components=2).sample(5, seed=0).shape
        (5, 2)
    """
    _check(model, kind)
    if kind == "prior":
        return _prior(model)
    if isinstance(images, str) or not hasattr(images, "__len__"):
        msg = (
            f"images={images!r}: expected float32 images [n, height, width, channels] in [0, 1], "
            "such as those of zoo.data.to_floats."
        )
        raise TypeError(msg)
    if model.num_classes or labels is not None:
        labels = model.checked_labels(labels, len(images))
    if kind == "gmm":
        arrays = _mixtures(model, images, labels, components, seed)
    else:
        means, deviations = posteriors(model, images, labels)
        arrays = fit_second_stage(means, deviations, steps=steps, seed=seed)
    return Sampler(kind, _drawing(kind, arrays), arrays, fingerprint(model))


def load_sampler(
    path: str | Path, kind: str | None = None, latent_dim: int | None = None, classes: int = 0
) -> Sampler:
    """Reads a sampler that `Sampler.save` wrote. It draws the same latents.

    Arguments and errors are those of `zoo.presets.sampler.read_sampler`, which checks the file.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.sampling.samplers import load_sampler
        >>> images = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> zoo.fit_sampler(vae, images, components=2).save("sampler_gmm.npz")
        >>> load_sampler("sampler_gmm.npz").name
        'gmm'
    """
    name, fitted_to, arrays = read_sampler(path, kind, latent_dim, classes)
    return Sampler(name, _drawing(name, arrays), arrays, fitted_to)


def sampler_of_run(run: str | Path, model: ZooModel, kind: str) -> Sampler:
    """The stored sampler of a run. If there is none, it is fitted to the training data and stored.

    A sampler that was fitted to other weights, such as before more training, is fitted anew. So is
    a mixture of all classes, as earlier versions fitted. A preset is never changed.

    Args:
        run: A run folder, the folder of a preset, or a checkpoint. The sampler of a checkpoint is
            stored beside it.
        model: What `zoo.load_run(run)` returns.
        kind: One of `KINDS`.

    Raises:
        ValueError: As `fit_sampler` and `load_sampler`.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.sampling.samplers import sampler_of_run
        >>> from zoo.training.runs import save_run
        >>> np.save("images.npy", np.random.default_rng(0).random((30, 8, 8, 1)))
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> save_run(model, "run", {"data": "images.npy"})
        >>> sampler_of_run("run", model, "gmm").sample(3, seed=0).shape
        (3, 2)
    """
    _check(model, kind)
    if kind == "prior":
        return _prior(model)
    run = Path(run)
    name = f"sampler_{kind}.npz"
    place = run / name if run.is_dir() else run.with_suffix(f".{name}")
    preset = presets.is_preset(run)
    if preset and place.exists():
        presets.check_files(run, presets.read_config(run), [name])
    if place.exists():
        stored = load_sampler(place, kind, model.noise_dim, model.num_classes)
        of_all = kind == "gmm" and model.num_classes and stored.arrays["weights"].ndim == 1
        if (preset or not of_all) and stored.fitted_to == fingerprint(model):
            return stored
    config = read_config(run)
    images, labels = training_images(model, data_of(config, run))
    seed = config.get("seed", model.seed)  # a preset's is the model's
    sampler = fit_sampler(model, images, kind, labels=labels, seed=seed)
    if not preset:
        sampler.save(place)
    return sampler


def training_images(model: ZooModel, source: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """The images of the split `train`, and for a conditional model their labels, else None.

    Images that are too many for memory are those of `zoo.data.to_floats`, which are read in parts.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.sampling.samplers import training_images
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> images, labels = training_images(vae, np.zeros((30, 16, 16, 1), np.uint8))
        >>> images.shape, labels
        ((30, 8, 8, 1), None)
    """
    options: dict[str, Any] = {"split": "train", "image_shape": model.image_shape}
    if model.num_classes:
        return data.to_floats(source, labels=True, **options)
    return data.to_floats(source, **options), None


def fingerprint(model: ZooModel) -> str:
    """SHA-256 of all weights, in hexadecimal.

    Example:
        >>> import zoo
        >>> from zoo.sampling.samplers import fingerprint
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> len(fingerprint(vae))
        64
    """
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(np.asarray(variable).tobytes())
    return digest.hexdigest()


def _check(model: ZooModel, kind: str) -> None:
    check_model(model)
    if kind not in KINDS:
        msg = f"Unknown sampler {kind!r}: expected one of {', '.join(KINDS)}."
        raise ValueError(msg)
    if kind != "prior" and not getattr(model, "has_latent_code", False):
        msg = (
            f"{model.model_name} has no latent code of images to fit the sampler {kind!r} to. "
            "Take 'prior'."
        )
        raise ValueError(msg)


def _prior(model: ZooModel) -> Sampler:
    return Sampler("prior", lambda n, seed, _: model.sample_latents(n, seed), {}, "")


def _mixtures(
    model: ZooModel, images: np.ndarray, labels: np.ndarray | None, components: int, seed: int
) -> dict[str, np.ndarray]:
    """Weights [k], means [k, d] and covariances [k, d, d]; with labels, [classes, ...] each."""
    k = max(1, components // (model.num_classes or 1))

    def fit(images: np.ndarray, labels: np.ndarray | None, of: str) -> list[np.ndarray]:
        n, fewest = len(images), max(2, k)
        if n < fewest:
            msg = f"{n} images{of}: expected at least {fewest}, for a mixture of {k} Gaussians."
            raise ValueError(msg)
        mixture = fit_mixture(model, images, labels, components=k, seed=seed)
        return [mixture.weights_, mixture.means_, mixture.covariances_]

    if labels is None:
        fitted = fit(images, None, "")
    else:
        rows = [labels == y for y in range(model.num_classes)]
        each = [fit(images[of], labels[of], f" of class {y}") for y, of in enumerate(rows)]
        fitted = [np.stack(values) for values in zip(*each, strict=True)]
    return dict(zip(("weights", "means", "covariances"), fitted, strict=True))


def _drawing(kind: str, arrays: dict[str, np.ndarray]) -> Callable[[int, int, Any], np.ndarray]:
    if kind == "two_stage":
        return lambda n, seed, _: sample_second_stage(arrays, n, seed)
    from sklearn.mixture import GaussianMixture  # noqa: PLC0415  (a second, for who draws otherwise)

    def mixture(*of: int) -> GaussianMixture:
        made = GaussianMixture(arrays["weights"].shape[-1])
        for name, values in arrays.items():
            setattr(made, f"{name}_", values[of])
        return made

    def of_classes(n: int, seed: int, labels: Tensor) -> np.ndarray:
        classes, asked = len(arrays["weights"]), np.asarray(labels)
        if asked.shape not in ((), (n,)) or not np.isin(asked, range(classes)).all():
            msg = (
                f"This sampler has a mixture for each of {classes} classes: expected labels from 0 "
                f"to {classes - 1}, one for all or [{n}]."
            )
            raise ValueError(msg)
        asked = np.broadcast_to(asked, n).astype(np.int64)
        latents = np.empty((n, arrays["means"].shape[-1]), np.float32)
        for y in np.unique(asked):
            rows = asked == y
            own = int(np.random.default_rng([seed, y]).integers(2**31))
            latents[rows] = draw(mixture(y), int(np.sum(rows)), own)
        return latents

    if arrays["weights"].ndim == 2:
        return of_classes
    return lambda n, seed, _: draw(mixture(), n, seed)
