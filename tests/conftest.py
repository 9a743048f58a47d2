from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import zoo  # noqa: F401  (before TensorFlow, as users are told to)

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.cases import CASES, CORE, FULLEST, Case
from tests.support.equivalence import structured_images
from zoo.data import untuned

if TYPE_CHECKING:
    from collections.abc import Sequence

REPLICAS = 3

# Every iterator of a data set has a tuner, and whoever collects one of an earlier test may wait for
# it: up to a minute, in the middle of any other test. Here TensorFlow begins to make an iterator.
tf.data.Dataset._apply_debug_options = untuned  # type: ignore[method-assign]

# Before TensorFlow makes its devices: three logical CPUs stand in for three GPUs.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * REPLICAS,
)


def _params(fast: Sequence[Case]) -> list[Any]:
    """Every Case; those that are not among the fast ones are slow."""
    return [pytest.param(c, id=c.id, marks=[] if c in fast else pytest.mark.slow) for c in CASES]


@pytest.fixture(params=_params(CASES))
def each(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(params=_params([case for case in CASES if not case.slow]))
def distinct(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(params=_params([case for case in CASES if not (case.slow or case.core)]))
def other(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(params=_params(CORE))
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(params=_params(FULLEST))
def full(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(params=_params([case for case in FULLEST if not case.is_gan]))
def full_vae(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(params=_params([case for case in FULLEST if case.is_gan]))
def full_gan(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(autouse=True)
def _seed() -> None:
    keras.utils.set_random_seed(0)


@pytest.fixture
def images() -> np.ndarray:
    """60 grey images with structure: float32 in [0, 1]."""
    return structured_images()
