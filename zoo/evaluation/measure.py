"""How good a model is on a test set."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zoo import data, losses
from zoo import metrics as measures
from zoo.core.model import check_model
from zoo.data import sprites
from zoo.evaluation import extractors, scores, streams
from zoo.evaluation.named import evaluate_named
from zoo.evaluation.needs import check_alone, check_unnamed, extractor_of_samples
from zoo.evaluation.perceptual import Reconstructions, diversity_metrics
from zoo.sampling import standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from zoo.core.model import ZooModel
    from zoo.evaluation.streams import Batch
    from zoo.metrics import FeatureExtractor
    from zoo.sampling.samplers import Sampler
    from zoo.vae.base import BaseVAE

BATCH = streams.BATCH
MAX_NOISE = 1 << 27  # numbers drawn at a time for the bound, 512 MiB


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
    metrics: Sequence[str] | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    **protocol: Any,
) -> dict[str, Any]:
    """Measures a model on a test set.

    A batch of images is held; of real ones up to `zoo.data.images.MEMORY_LIMIT`, all, as bytes.

    Args:
        model: A model of the zoo.
        source: Data for `zoo.data.load`.
        split: Split of the data.
        samples: Number of images to generate, at least 2; default: as many as the split has.
            Distances depend on the number: compare only figures with the same number.
        latents: float32 [samples, latent_dim] to generate from; default: draws from the prior.
        sampler: Name of what drew `latents`, for the protocol.
        extractor: One of `zoo.metrics.list_extractors()`, a folder of `zoo train-classifier`, or
            "none" to measure no samples; default: the one made for the data, else
            "efficientnet_lite0".
        importance_samples: k of the importance-weighted bound, for models with an ELBO.
        seed: Seed of the samples and of the noise of the bound.
        metrics: Names such as "fid10k_test": these are measured, and nothing else, by
            `zoo.evaluation.evaluate_named`. They say the split and the number of samples.
        progress: Is told what is measured ("samples"), how many images were, and of how many.
        **protocol: `extractor_weights` and `resize`, as `zoo.evaluation.evaluate_named` takes them;
            with `metrics` its further arguments too, such as `weights="raw"`.

    Returns:
        The protocol (`data`, `split`, `extractor`, …) and, under `metrics`, what was measured by
        name, as far as the model has it. Likelihoods are in nats per image, `psnr` in decibels.
        With the extractor "efficientnet_lite0" also the perceptual distance of reconstructions and
        the perceptual diversity of samples. A VAE on `sprites` has disentanglement in place of
        distances. If images are too few for distances, or have other channels than the extractor
        takes, a warning and `not_measured` say so. With `metrics`: as `evaluate_named`.

    Raises:
        ValueError: If the data, a number or a metric does not fit the model or the extractor.
        ConnectionError: If the extractor's weights must be downloaded and cannot.

    Example:
        >>> import numpy as np, zoo
        >>> images = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
        >>> vae = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> results = zoo.evaluate(vae, images, extractor="none", importance_samples=2)
        >>> sorted(results["metrics"])[:5]
        ['active_units', 'bits_per_dim', 'distortion', 'elbo', 'gilbo']
    """
    check_model(model)
    if metrics is not None:
        check_alone(split=split, samples=samples, latents=latents, sampler=sampler)
        return evaluate_named(
            model, source, metrics, extractor=extractor, seed=seed, progress=progress, **protocol
        )
    choice = {key: protocol.pop(key, None) for key in ("extractor_weights", "resize")}
    check_unnamed(samples, importance_samples, seed, protocol)
    extractor = extractors.extractor_of(model, source, extractor)
    images = data.cached(data.open(source, split=split, image_shape=model.image_shape))
    samples = max(len(images), 2) if samples is None else samples
    latents = model.sample_latents(samples, seed) if latents is None else latents
    features, entries = extractor_of_samples(
        model, extractor, images=len(images), samples=len(latents), **choice
    )
    described = {
        "model": model.model_name,
        "data": data.source_name(source),
        "split": split,
        "images": len(images),
        "samples": len(latents),
        "sampler": sampler,
        **entries,
        "seed": seed,
        **standing.entry(model),
    }
    results = _sample_figures(model, images, latents, features, described, progress)
    if model.family == "vae":
        k = importance_samples
        of_vae, facts = _vae_metrics(model, images, described, extractor, k, progress)
        results, described = results | of_vae, described | facts
    return {**described, "metrics": results}


def _sample_figures(
    model: ZooModel,
    images: data.Records,
    latents: np.ndarray,
    features: FeatureExtractor | None,
    described: dict[str, Any],
    progress: Callable[[str, int, int], None],
) -> dict[str, float]:
    """What samples are measured by; nothing if no extractor is to see them."""
    if features is None:
        return {}
    seed = described["seed"]
    batches = streams.real(images, described["split"], None)
    batches = streams.watched(batches, len(images), partial(progress, "real images"))
    told = partial(progress, "samples")
    results = sample_metrics(model, batches, latents, features, seed, told)
    if features.name == extractors.ANY_IMAGES:  # the time of its network is spent anyway
        results |= diversity_metrics(model, latents, seed, partial(progress, "diversity"))
    return results


def _vae_metrics(
    model: BaseVAE,
    images: data.Records,
    described: dict[str, Any],
    extractor: str | None,
    importance_samples: int,
    progress: Callable[[str, int, int], None],
) -> tuple[dict[str, float], dict[str, Any]]:
    """What a VAE is measured by besides its samples, and what belongs to the protocol of it."""
    split, samples, seed = (described[name] for name in ("split", "samples", "seed"))

    def pairs(what: str) -> Iterable[Batch]:
        batches = streams.labelled(model, images, split)
        return streams.watched(batches, len(images), partial(progress, what))

    perceptual = extractor == extractors.ANY_IMAGES and model.image_shape[-1] in (1, 3)
    # One pass over the images for both: decoding them again may take long.
    reconstructions = Reconstructions(model, perceptual=perceptual)
    seen = reconstructions.seeing(pairs("likelihoods and reconstructions"))
    results = likelihood_metrics(model, seen, importance_samples, seed)
    results |= reconstructions.means()
    facts: dict[str, Any] = {"importance_samples": importance_samples} if model.has_elbo else {}
    if not model.has_latent_code:
        return results, facts
    bound, explained = dream_metrics(model, samples, seed)
    results |= {} if bound is None else {"gilbo": bound}
    results["latent_r2"] = float(np.mean(explained))
    facts["latent_r2_each"] = [round(float(value), 4) for value in explained]
    if described["data"] == sprites.NAME and model.latent_dim > 1 and not model.num_classes:
        factors = sprites.factors()[sprites.rows(split)]
        results |= disentanglement_metrics(model, pairs("latent codes"), factors)
    return results, facts


def sample_metrics(
    model: ZooModel,
    images: np.ndarray | Iterable[Batch],
    latents: np.ndarray,
    extractor: str | FeatureExtractor,
    seed: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, float]:
    """How close generated images come to real ones, and those of a class to that class.

    Args:
        model: A model of the zoo.
        images: Real images: float32 [n, height, width, channels] in [0, 1], or batches of them.
        latents: The latents to generate from, float32 [samples, latent_dim].
        extractor: One of `zoo.metrics.list_extractors()`, a folder of `zoo train-classifier`, or
            what `load_extractor` made of either.
        seed: Seed of the labels of a conditional model.
        progress: Is told how many samples were judged, and how many there will be.

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
    features = (
        extractor
        if isinstance(extractor, measures.FeatureExtractor)
        else measures.load_extractor(extractor)
    )
    labels = model.sample_labels(len(latents), seed)
    classify = labels is not None and features.classify is not None
    real = scores.collect(streams.seen(streams.batches_of(images), features), features, hold=True)
    numbers = [(real.statistics.count, len(latents))]
    scores.warn_of_bias("frechet_distance", numbers, [real.statistics], seed)
    samples = streams.seen_in_samples(model, latents, labels, features, classify=classify)
    fake = scores.collect(streams.watched(samples, len(latents), progress), features, hold=True)
    results = measures.generation_metrics(real.features, fake.features)
    if classify and fake.probabilities.shape[1] == model.num_classes:
        results["class_accuracy"] = scores.class_accuracy(fake)
    return results


def sampler_metrics(
    model: ZooModel, source: Any, sampler: Sampler, protocol: dict[str, Any]
) -> dict[str, float]:
    """The `sample_metrics` of images that are made of a sampler's latents.

    Args:
        model: The model that the sampler is for.
        source: Data for `zoo.data.load`.
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
    n, seed = protocol["samples"], protocol["seed"]
    latents = sampler.sample(n, seed, model.sample_labels(n, seed))
    batches = streams.real(source, protocol["split"], model.image_shape)
    results = sample_metrics(model, batches, latents, protocol["extractor"], seed)
    return {f"{name}_{sampler.name}": value for name, value in results.items()}


def disentanglement_metrics(
    model: BaseVAE, images: np.ndarray | Iterable[Batch], factors: np.ndarray
) -> dict[str, float]:
    """MIG, DCI and SAP of a VAE's latent codes.

    Args:
        model: A VAE that has a latent code.
        images: float32 [n, height, width, channels] in [0, 1], or batches of them.
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
    parts = (batch.images for batch in streams.batches_of(images))
    codes = np.concatenate([np.asarray(model.latent_code(part)[0]) for part in parts])
    return {
        "mig": measures.mutual_information_gap(codes, factors),
        **{f"dci_{name}": value for name, value in measures.dci(codes, factors).items()},
        "sap": measures.sap(codes, factors),
    }


def likelihood_metrics(
    model: BaseVAE,
    images: np.ndarray | Iterable[Batch],
    importance_samples: int,
    seed: int,
    labels: np.ndarray | None = None,
) -> dict[str, float]:
    """ELBO, its parts, the importance-weighted bound, MSE and active units, as the model has them.

    Args:
        model: A VAE.
        images: float32 [n, height, width, channels] in [0, 1]; or batches of 250, which for a
            conditional model have labels.
        importance_samples: k of the bound.
        seed: Seed of ε.
        labels: The classes for a conditional model, int32 [n], where `images` is an array.

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
        shape = [importance_samples, tf.shape(batch)[0], model.noise_dim]
        noise = tf.random.stateless_normal(shape, tf.stack([tf.cast(seed, tf.int64), start]))
        error = tf.square(batch - model.reconstruct(batch, *labels))
        values = {"squared_error": tf.reduce_mean(error, axis=[1, 2, 3])}
        if model.has_elbo:
            values["log_weights"] = tf.transpose(model.log_weights(batch, noise, *labels))
        if model.has_latent_code:
            values["means"], _ = model.latent_code(batch, *labels)
        if has_posterior:
            mean, log_variance = _moments(model, batch, *labels)
            latents = mean + tf.exp(0.5 * log_variance) * noise[0]
            values["rate"] = model.rate(mean, log_variance, latents)
        return values

    size = min(max(MAX_NOISE // (importance_samples * model.noise_dim), 1), BATCH)
    batches = _parts(streams.batches_of(images, labels), size)
    parts = [
        measure(tf.constant(start, tf.int64), *(tf.constant(x) for x in batch if x is not None))
        for start, batch in zip(itertools.count(step=size), batches, strict=False)
    ]
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    results = {}
    if model.has_elbo:
        log_weights = values["log_weights"].T.astype(np.float64)
        results["elbo"] = float(np.mean(log_weights))
        results["iwae_bound"] = float(np.mean(measures.iwae_bound(log_weights)))
    results["mse"] = float(np.mean(values["squared_error"]))
    if has_posterior:
        results["rate"] = float(np.mean(values["rate"]))
        results["distortion"] = -results["elbo"] - results["rate"]
    if model.has_latent_code:
        results["active_units"] = float(measures.active_units(values["means"]))
    if model.has_elbo and model.pixels.levels is not None:
        dims, levels = int(np.prod(model.image_shape)), model.pixels.levels
        results["bits_per_dim"] = float(measures.bits_per_dim(results["iwae_bound"], dims, levels))
    return results


def _parts(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """The batches, those of more than `size` images in parts."""
    for images, labels in batches:
        for i in range(0, len(images), size):
            rows = slice(i, i + size)
            yield streams.Batch(images[rows], None if labels is None else labels[rows])


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
        mean, log_variance = _moments(model, images, *labels)
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


def _moments(model: BaseVAE, images: Any, *labels: Any) -> list[Any]:
    """Mean and log-variance [batch, noise_dim], also where the latents of images are grids."""
    moments = model.encode(images, *labels)
    return [tf.reshape(each, [-1, model.noise_dim]) for each in moments]
