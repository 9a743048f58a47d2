"""One Case per model: what the conformance tests need to know of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo import networks

IMAGE_SHAPE = (8, 8, 1)
LATENT_DIM = 3


@dataclass(frozen=True)
class Case:
    """A model to test, with arguments that make it small.

    Every Case is created (fixture `each`), and all but the `slow` ones go through what a user meets
    first (fixture `distinct`). The `core` ones, a Case for every branch of the common machinery,
    go through most (fixture `case`), where the others do less (fixture `other`). The FULLEST, a VAE
    and a GAN that take most branches, go through the rest (fixture `full`), or one of them does
    (`full_vae`, `full_gan`). The others go there only in `make test-slow`.

    Args:
        name: The model's.
        variables: How many the model has with `options`, step and σ² included.
        endpoints: What it exports.
        options: Arguments of `zoo.create`.
        core: Whether it goes through most tests in the fast suite.
        slow: Whether its training is a slow test: its step is that of another Case with other
            options, or its own tests train it.
        coupled: Whether its loss is between examples, and not the sum of the parts' losses.
        noisy: Whether training draws noise, so that another seed gives another run.
        overflowing: Optimizers whose loss is not finite where an image is not. None given: all of a
            VAE, the discriminator's of a GAN.
        image_shape: Of the images it is tested with.
        any_even_size: Whether its networks take images of 30 × 30 and 6 × 6, too.
    """

    name: str
    variables: int
    endpoints: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    core: bool = False
    slow: bool = False
    coupled: bool = False
    noisy: bool = True
    overflowing: tuple[str, ...] = ()
    image_shape: tuple[int, int, int] = IMAGE_SHAPE
    any_even_size: bool = False

    @property
    def id(self) -> str:
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.options.items())])

    @property
    def is_gan(self) -> bool:
        return self.name in zoo.list_models("gan")

    @property
    def one_update(self) -> dict[str, Any]:
        """Options with which each optimizer updates once in a step."""
        return {"n_critic": 1} if self.is_gan else {}

    def create(self, **options: Any) -> Any:
        options = {**self.options, **options}
        return zoo.create(self.name, self.image_shape, LATENT_DIM, **options)

    def labels(self, n: int) -> np.ndarray | None:
        """Of a conditional model, all classes in turn."""
        classes = self.options.get("num_classes", 0)
        return np.arange(n, dtype=np.int32) % classes if classes else None

    def data(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """What `fit` and `evaluate` take: the images, and of a conditional model their labels."""
        labels = self.labels(len(images))
        return (images,) if labels is None else (images, labels)

    def inputs(self, model: Any, images: np.ndarray) -> Any:
        """What `predict` takes."""
        x = images if model.family == "vae" else model.sample_latents(len(images), seed=0)
        labels = self.labels(len(images))
        return x if labels is None else [x, labels]

    def create_with_sgd(
        self,
        *,
        guarded: bool = False,
        accumulate: int = 1,
        steps_per_execution: int = 1,
        **options: Any,
    ) -> Any:
        """Compiled with SGD, which hides no factor in the gradients, as Adam would.

        If `guarded`, gradients are clipped (as all are beyond the norm) and scaled.
        """
        model = self.create(**options)

        def optimizer() -> Any:
            if not guarded:
                return keras.optimizers.SGD(0.002)
            clipped = keras.optimizers.SGD(0.1, global_clipnorm=0.05)
            return keras.optimizers.LossScaleOptimizer(clipped, initial_scale=2.0**100)

        optimizers = {name: optimizer() for name in model.optimizer_names}
        model.compile(**optimizers, accumulate=accumulate, steps_per_execution=steps_per_execution)
        return model

    def create_without_batch_norm(self, **options: Any) -> Any:
        """With SGD, and networks that treat each example alone."""
        own = (*networks.GAN_ONLY, *networks.GRID_ONLY, *networks.DEEP_ONLY)  # which have none
        if not self.options.get("network", "").startswith(own):
            options["network"] = "mlp"
        if self.is_gan:
            options["normalization"] = "none"
        return self.create_with_sgd(**options)


def state_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Weights, averages, step and the optimizers' slots."""
    optimizers = [getattr(model, name) for name in model.optimizer_names]
    variables = [*model.variables, *(v for o in optimizers for v in o.variables)]
    return {f"{i} {v.path}": np.asarray(v) for i, v in enumerate(variables)}


def assert_same_state(found: keras.Model, wanted: keras.Model) -> None:
    """Bit for bit; paths may differ, as Keras numbers layers anew on loading."""
    pairs = zip(state_of(found).values(), state_of(wanted).items(), strict=True)
    for value, (name, expected) in pairs:
        assert np.isfinite(expected).all(), name  # NaN would equal NaN
        np.testing.assert_array_equal(value, expected, err_msg=name)


VAE_ENDPOINTS = ("generate", "encode", "decode", "reconstruct")

GENERATE = ("generate",)

CASES = [
    Case("vae", 14, VAE_ENDPOINTS, core=True),
    Case("vae", 23, VAE_ENDPOINTS, {"network": "mlp", "transfer": (1.0, 1.0, 0.1, 5.0)}, core=True),
    Case("vae", 13, VAE_ENDPOINTS, {"likelihood": "bernoulli", "carried_rate": 0.5}, slow=True),
    Case("dcgan", 12, GENERATE, core=True),
    Case("dcgan", 19, GENERATE, {"ema": 0.9, "n_critic": 2}, core=True),
    Case("wgan_gp", 12, GENERATE, {"n_critic": 2}, core=True),
    Case(
        "dcgan",
        23,
        GENERATE,
        {
            "network": "mlp",
            "ema": 0.9,
            "freeze_discriminator": 1,
            "freeze_generator": 1,
            "carried_rate": 0.5,
        },
        slow=True,
    ),
    Case(
        "gan",
        13,
        GENERATE,
        {"num_classes": 3, "regularizer": "r1", "diff_augment": "color"},
        slow=True,
    ),
    Case(
        "gan",
        19,
        GENERATE,
        {"network": "mlp", "ada": "bc", "augment_images": 240, "augment_target": -0.9},
        slow=True,
    ),
    Case(
        "gan",
        20,
        GENERATE,
        {
            "network": "mlp",
            "apa": True,
            "augment_images": 2000,
            "augment_target": -0.9,
            "lecam": 0.03,
            "n_critic": 2,
        },
        slow=True,
    ),
    Case(
        "beta_vae",
        14,
        VAE_ENDPOINTS,
        {"capacity": 2.0, "capacity_steps": 4, "gamma": 3.0},
        slow=True,
    ),
    Case("beta_tc_vae", 14, VAE_ENDPOINTS, coupled=True),
    Case(
        "factor_vae",
        20,
        VAE_ENDPOINTS,
        {"discriminator_width": 32, "discriminator_layers": 2},
        overflowing=("optimizer",),  # the discriminator has the other half of the images, too
    ),
    Case("info_vae", 14, VAE_ENDPOINTS, {"lambda_mmd": 10.0}, coupled=True, slow=True),
    Case("wae_mmd", 14, VAE_ENDPOINTS, {"lambda_mmd": 10.0}, coupled=True),
    Case("lsgan", 12, GENERATE, slow=True),
    Case("sngan", 14, GENERATE, {"network": "conv", "n_critic": 2}, slow=True),
    Case("wgan", 12, GENERATE, {"n_critic": 2, "clip_weights": 0.1}, slow=True),
    Case("r3gan", 19, GENERATE, {"network": "mlp", "regularizer_every": 2}, slow=True),
    Case(
        "r3gan",
        47,
        GENERATE,
        # The penalties, which take long to trace, are those of the Case above.
        {"network": "r3gan-8", "normalization": "none", "regularizer": None, "ema": None},
        slow=True,
    ),
    Case("fastgan", 39, GENERATE, {"network": "fastgan-2", "ema": None}, slow=True),
    Case(
        "projection_gan",
        16,
        GENERATE,
        {"num_classes": 3, "network": "conv", "n_critic": 1},
        slow=True,
    ),
    Case("sagan", 66, GENERATE, {"network": "sagan-4", "num_classes": 3}, slow=True),
    Case(
        "biggan",
        112,
        GENERATE,
        {"network": "biggan-4", "num_classes": 3, "n_critic": 1},
        slow=True,
    ),
    Case(
        "projected_gan",
        51,
        GENERATE,
        {
            "network": "mlp",
            "features": "random-4",
            "feature_size": 32,
            "projection_width": 4,
            "normalization": "none",  # what it does otherwise takes long to trace
        },
        slow=True,
    ),
    Case("acgan", 14, GENERATE, {"num_classes": 3}),
    Case("infogan", 14, GENERATE, {"categorical": 2, "continuous": 0}),
    Case("infogan", 14, GENERATE, {"categorical": 0, "continuous": 2, "n_critic": 2}, slow=True),
    Case("bigan", 32, ("generate", "encode", "reconstruct"), {"ema_images": 30}),
    Case("iwae", 14, VAE_ENDPOINTS, {"samples": 3}),
    Case("vamp_prior", 15, VAE_ENDPOINTS, {"components": 4}),
    Case("cvae", 14, VAE_ENDPOINTS, {"num_classes": 3}, slow=True),
    Case("ladder_vae", 26, VAE_ENDPOINTS, {"layers": 3}),
    Case(
        "vdvae",
        111,
        VAE_ENDPOINTS,
        {
            "network": "vdvae-4",
            "decoder_blocks": (1, 1, 1),
            "encoder_blocks": (1, 1, 1),
            "skip_norm": 0.0,  # whose conditional would double the time to trace a step
        },
        slow=True,
    ),
    Case(
        "stylegan2",
        93,
        GENERATE,
        {
            "network": "style-8",
            "regularizer_weight": 0.1,
            "regularizer_every": 2,
            "path_length_every": 2,
        },
        slow=True,
    ),
    Case(
        "stylegan2",
        61,
        GENERATE,
        {
            "network": "stylegan2-4",
            "style_dim": 8,
            "layer_noise": "random",
            "ema": None,
            # The penalties, which take long to trace, are those of the Case above.
            "regularizer": None,
            "path_length_weight": 0.0,
        },
        coupled=True,
        slow=True,
    ),
    Case(
        "vq_vae",
        46,
        VAE_ENDPOINTS,
        {"network": "grid-16", "num_codes": 3, "prior_width": 8, "prior_layers": 1},
    ),
    Case(
        "vq_vae",
        43,
        VAE_ENDPOINTS,
        {
            "network": "grid-4",
            "quantizer": "fsq",
            "levels": (3, 2, 2),
            "prior_width": 8,
            "prior_layers": 1,
        },
        noisy=False,
        slow=True,
    ),
    Case(
        "vq_vae",
        46,
        VAE_ENDPOINTS,
        {
            "network": "grid-4",
            "quantizer": "residual",
            "depth": 2,
            "num_codes": 4,  # with 3, two codes are as near as rounding tells
            "prior_width": 8,
            "prior_layers": 1,
        },
        slow=True,
    ),
    Case(
        "vq_vae",
        44,
        VAE_ENDPOINTS,
        {
            "network": "grid-4",
            "quantizer": "straight_through",
            "entropy_weight": 0.5,
            "num_codes": 3,
            "prior_width": 8,
            "prior_layers": 1,
        },
        coupled=True,
        noisy=False,
        slow=True,
    ),
    Case(
        "autoencoder_kl",
        126,
        VAE_ENDPOINTS,
        {"network": "autoencoder_kl", "channels": (8, 16), "groups": 4},
        slow=True,
        any_even_size=True,
    ),
    Case(
        "autoencoder_kl",
        132,
        VAE_ENDPOINTS,
        {
            "network": "autoencoder_kl",
            "channels": (8, 16),
            "groups": 4,
            "discriminator_weight": 0.5,
            "discriminator_width": 4,
            "discriminator_layers": 1,
            "discriminator_normalization": "none",
        },
        slow=True,
        any_even_size=True,
    ),
    Case(
        "vqgan",
        146,
        VAE_ENDPOINTS,
        {
            "network": "autoencoder_kl",
            "channels": (8, 16),
            "groups": 4,
            "num_codes": 3,
            "prior_width": 8,
            "prior_layers": 1,
            "perceptual_weight": 0.0,
            "discriminator_width": 4,
            "discriminator_layers": 1,
            "discriminator_normalization": "none",
        },
        slow=True,
        noisy=False,
        any_even_size=True,
    ),
    Case("vae_gan", 21, VAE_ENDPOINTS, {"normalization": "none"}),
    Case("soft_intro_vae", 14, VAE_ENDPOINTS),
]

CORE = [case for case in CASES if case.core]
FULLEST = [case for case in CORE if {"transfer", "ema"} & case.options.keys()]


def in_settings(settings: dict[str, Any], fast: str = "") -> list[Any]:
    """Parameters (case, setting): every Case in the first setting, the core ones in the others too.

    All pairs would take hours, and show little more. Those of the slow suite, but one.

    Args:
        settings: By what the test's id calls them.
        fast: The Case that goes through the first setting in the fast suite; "" for none.
    """
    return [
        pytest.param(
            case,
            setting,
            id=f"{case.id}-{name}",
            marks=[] if case.id == fast and not i else pytest.mark.slow,
        )
        for i, (name, setting) in enumerate(settings.items())
        for case in (CORE if i else CASES)
    ]
