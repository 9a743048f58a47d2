"""Strategies of several replicas on the logical CPUs of `tests/conftest.py`."""

from __future__ import annotations

import functools

import tensorflow as tf

from zoo.training import strategy


@functools.cache
def replicated(replicas: int) -> tf.distribute.Strategy:
    """That many replicas; one has no strategy of its own."""
    if replicas == 3:  # reduction to one device is the other implementation, beside collectives
        devices = [f"CPU:{i}" for i in range(replicas)]
        return tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice())
    return strategy(
        "mirrored" if replicas > 1 else "none", replicas=replicas if replicas > 1 else None
    )
