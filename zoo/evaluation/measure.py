"""How good a model is on a test set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zoo import data, losses, metrics
from zoo.data import sprites

if TYPE_CHECKING:
    from zoo.core.model import ZooModel
    from zoo.sampling.samplers import Sampler
    from zoo.vae.base import BaseVAE

BATCH = 250
# Extractors that were trained on the training split of a data set. Other data take Inception.
# Drawings of known factors take none: they are there to be disentangled.
EXTRACTORS = {
    "fashion_mnist": "fashion_mnist_classifier",
    "fashion_mnist_sample": "fashion_mnist_classifier",
    sprites.NAME: None,
}


def evaluate(
    model: ZooModel,
    source: Any,
    *,
    split: str = "test",
    samples: int | None = None,
    latents: np.ndarray | None = None,
    sampler: str = "prior",
    extractor: str | None = None,
    importance_samples: int = 50,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures a model on a test set.

    Args:
        model: A model of the zoo.
        source: Data for `zoo.data.to_array`.
        split: Split of the data.
        samples: Number of images to generate; default: as many as the split has. Distances depend
            on the number: compare only figures with the same number.
        latents: float32 [samples, latent_dim] to generate from, such as those of a sampler; the
            default draws from the model's prior.
        sampler: Name of what drew `latents`, for the protocol.
        extractor: One of `zoo.metrics.list_extractors()`, or "none" to measure no samples; default:
            the one made for the data.
        importance_samples: k of the importance-weighted bound, for models with an ELBO.
        seed: Seed of the samples and of the noise of the bound.

    Returns:
        The protocol (`data`, `split`, `extractor`, …) and, under `metrics`, what was measured by
        name, as far as the model has it. Likelihoods are in nats per image. A VAE on `sprites` has
        disentanglement in place of distances.

    Raises:
        ValueError: If the data do not fit the model or the extractor, or a number is out of range.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> images = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> results = zoo.evaluate(vae, images, extractor="none", importance_samples=2)
        >>> sorted(results["metrics"])[:5]
        ['active_units', 'bits_per_dim', 'distortion', 'elbo', 'gilbo']
    """
    if importance_samples < 1 or (samples is not None and samples < 1):
        msg = f"samples={samples}, importance_samples={importance_samples}: expected at least 1."
        raise ValueError(msg)
    conditional = bool(model.num_classes)
    images = data.to_array(source, split=split, image_shape=model.image_shape, labels=conditional)
    labels = None
    if conditional:
        images, labels = images
        labels = model.checked_labels(labels, len(images))
    name = data.source_name(source)
    samples = len(images) if samples is None else samples
    latents = model.sample_latents(samples, seed) if latents is None else latents
    extractor = extractor or EXTRACTORS.get(name, "inception_v3")
    extractor = None if extractor == "none" else extractor
    protocol = {
        "model": model.model_name,
        "data": name,
        "split": split,
        "images": len(images),
        "samples": len(latents),
        "sampler": sampler,
        "extractor": extractor,
        "seed": seed,
    }
    results: dict[str, Any] = {}
    if extractor is not None:
        results |= sample_metrics(model, images, latents, extractor, seed)
    if model.family == "vae":
        results |= likelihood_metrics(model, images, importance_samples, seed, labels)
        if model.has_elbo:
            protocol["importance_samples"] = importance_samples
    if model.family == "vae" and model.has_latent_code:
        bound, explained = dream_metrics(model, samples, seed)
        results |= {} if bound is None else {"gilbo": bound}
        results["latent_r2"] = float(np.mean(explained))
        protocol["latent_r2_each"] = [round(float(value), 4) for value in explained]
        if name == sprites.NAME and model.latent_dim > 1 and not model.num_classes:
            results |= disentanglement_metrics(
                model, images, sprites.factors()[sprites.rows(split)]
            )
    return {**protocol, "metrics": results}


def sample_metrics(
    model: ZooModel, images: np.ndarray, latents: np.ndarray, extractor: str, seed: int
) -> dict[str, float]:
    """How close generated images come to real ones, and those of a class to that class.

    Args:
        model: A model of the zoo.
        images: Real images, float32 [n, height, width, channels] in [0, 1].
        latents: The latents to generate from, float32 [samples, latent_dim].
        extractor: One of `zoo.metrics.list_extractors()`.
        seed: Seed of the labels of a conditional model.

    Returns:
        The `zoo.metrics.generation_metrics`. If the model is conditional and the extractor knows
        its classes, also `class_accuracy`: the share of images that it puts into the right class.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.evaluation.measure import sample_metrics
        >>> images = np.random.default_rng(0).random((10, 28, 28, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (28, 28, 1), 2, network="mlp")
        >>> latents = vae.sample_latents(10, seed=0)
        >>> results = sample_metrics(vae, images, latents, "fashion_mnist_classifier", seed=0)
        >>> sorted(results)
        ['coverage', 'density', 'frechet_distance', 'kernel_distance', 'precision', 'recall']
    """
    features = metrics.load_extractor(extractor)
    labels = model.sample_labels(len(latents), seed)
    fake = model.generate_from(latents, labels)
    results = metrics.generation_metrics(features(images), features(fake))
    if labels is not None and features.classify is not None:
        predicted = np.argmax(features.predict(fake), axis=1)
        results["class_accuracy"] = float(np.mean(predicted == labels))
    return results


def sampler_metrics(
    model: ZooModel, source: Any, sampler: Sampler, protocol: dict[str, Any]
) -> dict[str, float]:
    """The `sample_metrics` of images that are made of a sampler's latents.

    Args:
        model: The model that the sampler is for.
        source: Data for `zoo.data.to_array`.
        sampler: Draws the latents.
        protocol: `split`, `samples`, `extractor` and `seed`, as `zoo.evaluate` returns them.

    Returns:
        By `NAME_SAMPLER`, such as `frechet_distance_gmm`.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.evaluation.measure import sampler_metrics
        >>> images = np.random.default_rng(0).random((10, 28, 28, 1))
        >>> vae = zoo.create("vae", (28, 28, 1), 2, network="mlp")
        >>> sampler = zoo.fit_sampler(vae, None, "prior")
        >>> protocol = {"split": "test", "samples": 10, "seed": 0}
        >>> protocol["extractor"] = "fashion_mnist_classifier"
        >>> sorted(sampler_metrics(vae, images, sampler, protocol))[2:]
        ['frechet_distance_prior', 'kernel_distance_prior', 'precision_prior', 'recall_prior']
    """
    images = data.to_array(source, split=protocol["split"], image_shape=model.image_shape)
    n, seed = protocol["samples"], protocol["seed"]
    latents = sampler.sample(n, seed, model.sample_labels(n, seed))
    results = sample_metrics(model, images, latents, protocol["extractor"], seed)
    return {f"{name}_{sampler.name}": value for name, value in results.items()}


def disentanglement_metrics(
    model: BaseVAE, images: np.ndarray, factors: np.ndarray
) -> dict[str, float]:
    """MIG, DCI and SAP of a VAE's latent codes.

    Args:
        model: A VAE that has a latent code.
        images: float32 [n, height, width, channels] in [0, 1].
        factors: Their true factors, int32 [n, k].

    Returns:
        `mig`, `dci_disentanglement`, `dci_completeness`, `dci_informativeness`, `sap`, as
        `zoo.metrics` defines them.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.evaluation.measure import disentanglement_metrics
        >>> factors = np.indices((4, 15)).reshape(2, -1).T % 3
        >>> images = np.random.default_rng(0).random((60, 8, 8, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> sorted(disentanglement_metrics(vae, images, factors))
        ['dci_completeness', 'dci_disentanglement', 'dci_informativeness', 'mig', 'sap']
    """
    parts = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    codes = np.concatenate([np.asarray(model.latent_code(part)[0]) for part in parts])
    scores = metrics.dci(codes, factors)
    return {
        "mig": metrics.mutual_information_gap(codes, factors),
        **{f"dci_{name}": value for name, value in scores.items()},
        "sap": metrics.sap(codes, factors),
    }


def likelihood_metrics(
    model: BaseVAE,
    images: np.ndarray,
    importance_samples: int,
    seed: int,
    labels: np.ndarray | None = None,
) -> dict[str, float]:
    """ELBO, its parts, the importance-weighted bound, MSE and active units, as the model has them.

    Args:
        model: A VAE.
        images: float32 [n, height, width, channels] in [0, 1].
        importance_samples: k of the bound.
        seed: Seed of ε.
        labels: The classes for a conditional model, int32 [n].

    Returns:
        `mse` per pixel. If the model has an ELBO: `elbo` and `iwae_bound` in nats per image, and
        `bits_per_dim` of the bound where the likelihood is a density. If it has a latent code:
        `active_units`. If it has both: `rate` and `distortion`, the parts of the ELBO.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> from zoo.evaluation.measure import likelihood_metrics
        >>> images = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> sorted(likelihood_metrics(vae, images, importance_samples=2, seed=0))
        ['active_units', 'bits_per_dim', 'distortion', 'elbo', 'iwae_bound', 'mse', 'rate']
    """
    has_posterior = _has_gaussian_posterior(model)

    @tf.function(reduce_retracing=True)
    def measure(start: Any, batch: Any, *labels: Any) -> dict[str, Any]:
        shape = [importance_samples, tf.shape(batch)[0], model.latent_dim]
        noise = tf.random.stateless_normal(shape, tf.stack([tf.cast(seed, tf.int64), start]))
        error = tf.square(batch - model.reconstruct(batch, *labels))
        values = {"squared_error": tf.reduce_mean(error, axis=[1, 2, 3])}
        if model.has_elbo:
            values["log_weights"] = tf.transpose(model.log_weights(batch, noise, *labels))
        if model.has_latent_code:
            values["means"], _ = model.latent_code(batch, *labels)
        if has_posterior:
            mean, log_variance = model.encode(batch, *labels)
            latents = mean + tf.exp(0.5 * log_variance) * noise[0]
            values["rate"] = model.rate(mean, log_variance, latents)
        return values

    given = (images,) if labels is None else (images, labels)
    parts = [
        measure(tf.constant(i, tf.int64), *(tf.constant(x[i : i + BATCH]) for x in given))
        for i in range(0, len(images), BATCH)
    ]
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    results = {}
    if model.has_elbo:
        log_weights = values["log_weights"].T.astype(np.float64)
        results["elbo"] = float(np.mean(log_weights))
        results["iwae_bound"] = float(np.mean(metrics.iwae_bound(log_weights)))
    results["mse"] = float(np.mean(values["squared_error"]))
    if has_posterior:
        results["rate"] = float(np.mean(values["rate"]))
        results["distortion"] = -results["elbo"] - results["rate"]
    if model.has_latent_code:
        results["active_units"] = float(metrics.active_units(values["means"]))
    if model.has_elbo and model.pixels.levels is not None:
        dims, levels = int(np.prod(model.image_shape)), model.pixels.levels
        results["bits_per_dim"] = float(metrics.bits_per_dim(results["iwae_bound"], dims, levels))
    return results


def dream_metrics(model: BaseVAE, samples: int, seed: int) -> tuple[float | None, np.ndarray]:
    """How much of a latent the encoder finds again in the image that the decoder draws of it.

    Args:
        model: A VAE that has a latent code.
        samples: Latents to draw from the prior; each image gets the likelihood's noise.
        seed: Seed of both.

    Returns:
        E[log q(z | x) − log p(z)] in nats, a lower bound on the mutual information of latents and
        images (GILBO; arXiv 1802.04874), or None if the model has no Gaussian posterior; and R² of
        each latent's code, float64 [latent_dim].

    Example:
        >>> import zoo
        >>> from zoo.evaluation.measure import dream_metrics
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> bound, explained = dream_metrics(vae, 10, seed=0)
        >>> explained.shape
        (2,)
    """
    has_posterior = _has_gaussian_posterior(model)

    @tf.function(reduce_retracing=True)
    def measure(latents: Any, noise: Any, *labels: Any) -> tuple[Any, ...]:
        images = model.decode(latents, *labels) + model.pixels.pixel_deviation() * noise
        if not has_posterior:
            return (model.latent_code(images, *labels)[0],)
        mean, log_variance = model.encode(images, *labels)
        posterior = losses.normal_log_density(latents, mean, log_variance)
        return mean, posterior - model.log_prior(latents)

    drawn = model.sample_latents(samples, seed)
    labels = model.sample_labels(samples, seed)
    rng = np.random.default_rng(seed)
    parts = []
    for i in range(0, samples, BATCH):
        inputs = (drawn,) if labels is None else (drawn, labels)
        part, *classes = (x[i : i + BATCH] for x in inputs)
        noise = rng.standard_normal((len(part), *model.image_shape), np.float32)
        parts.append(measure(part, noise, *classes))
    means, *bounds = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
    residual = np.mean(np.square(drawn - means), axis=0)
    explained = 1.0 - residual / np.var(drawn.astype(np.float64), axis=0)
    return (float(np.mean(bounds)) if bounds else None), explained


def _has_gaussian_posterior(model: BaseVAE) -> bool:
    """Whether the ELBO is of one Gaussian per image, whose moments `encode` gives."""
    return model.has_elbo and model.has_latent_code
