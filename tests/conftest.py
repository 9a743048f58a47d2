from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import zoo  # noqa: F401  (before TensorFlow, as users are told to)

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.cases import CASES, Case
from tests.equivalence import structured_images

REPLICAS = 3

# Before TensorFlow makes its devices: three logical CPUs stand in for three GPUs.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * REPLICAS,
)


def _params(*, all_fast: bool) -> list[Any]:
    """Every Case; those that are not core are slow, unless all are to be fast."""
    return [
        pytest.param(c, id=c.id, marks=[] if c.core or all_fast else pytest.mark.slow)
        for c in CASES
    ]


@pytest.fixture(params=_params(all_fast=True))
def each(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(params=_params(all_fast=False))
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(autouse=True)
def _seed() -> None:
    keras.utils.set_random_seed(0)


@pytest.fixture
def images() -> np.ndarray:
    """60 grey images with structure: float32 in [0, 1]."""
    return structured_images()
