"""One Case a model: what the conformance tests need to know of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

import zoo
from zoo import networks

IMAGE_SHAPE = (8, 8, 1)
LATENT_DIM = 3


@dataclass(frozen=True)
class Case:
    name: str
    variables: int  # of the model with `options`, step and σ² included
    endpoints: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.options.items())])

    def create(self, **options: Any) -> Any:
        return zoo.create(self.name, IMAGE_SHAPE, LATENT_DIM, **{**self.options, **options})

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
        options["network"] = "mlp"
        if self.name in zoo.list_models("gan"):
            options["discriminator"] = networks.build(
                "mlp", "discriminator", IMAGE_SHAPE, normalization="none"
            )
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

CASES = [
    Case("vae", variables=14, endpoints=VAE_ENDPOINTS),
    Case(
        "vae",
        variables=23,
        endpoints=VAE_ENDPOINTS,
        options={"network": "mlp", "transfer": (1.0, 1.0, 0.1, 5.0)},
    ),
    Case("vae", variables=14, endpoints=VAE_ENDPOINTS, options={"likelihood": "bernoulli"}),
    Case("dcgan", variables=12, endpoints=("generate",)),
    Case("dcgan", variables=19, endpoints=("generate",), options={"ema": 0.9, "n_critic": 2}),
    Case("wgan_gp", variables=12, endpoints=("generate",), options={"n_critic": 2}),
]
