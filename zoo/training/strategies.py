"""Where a model trains: on one device, several, or several machines."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.distribute.cluster_resolver.slurm_cluster_resolver import (
    expand_hostlist,
    expand_tasks_per_node,
)

from zoo.core.replicas import is_multi_worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STRATEGIES = ("auto", "none", "mirrored", "multi-worker")
SLURM_PORT = 12355  # of a node's first task


def strategy(
    name: str = "auto", *, replicas: int | None = None, start_timeout: float = 300.0
) -> tf.distribute.Strategy:
    """Makes the strategy under whose `scope()` a model is created, compiled and loaded.

    Call it before TensorFlow does anything else: a cluster and logical devices are set up once.

    Args:
        name: `"none"`: one device, the first GPU where there is one. `"mirrored"`: the GPUs of this
            machine. `"multi-worker"`: the GPUs of all machines that `TF_CONFIG` names, or of a
            SLURM step. `"auto"`: multi-worker where `TF_CONFIG` or SLURM names more than one
            worker, else mirrored where there is more than one GPU (or `replicas`), else none.
        replicas: Devices of this machine to use with `"mirrored"`; default: all GPUs. Where there
            is no GPU, the CPU is split into so many logical devices. That is slower than one
            device, and meant for trials.
        start_timeout: Seconds to wait for the other workers; then the process ends with a message.

    Raises:
        ValueError: If there is no such strategy, no cluster, or fewer devices than `replicas`.

    Example:
        >>> import zoo
        >>> devices = zoo.training.strategy("none")
        >>> with devices.scope():
        ...     model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> devices.num_replicas_in_sync
        1
    """
    if name not in STRATEGIES:
        msg = f"strategy={name!r}: expected one of {STRATEGIES}."
        raise ValueError(msg)
    if replicas is not None and (replicas < 1 or name in ("none", "multi-worker")):
        msg = f"replicas={replicas} with strategy={name!r}: expected ≥ 1, and 'mirrored' or 'auto'."
        raise ValueError(msg)
    cluster = _cluster()
    if name == "auto":
        gpus = len(tf.config.list_physical_devices("GPU"))
        if replicas is None and cluster is not None and len(_addresses(cluster)) > 1:
            name = "multi-worker"
        else:
            name = "mirrored" if (replicas or gpus) > 1 else "none"
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return _mirrored(_local_devices(replicas))
    if cluster is None:
        msg = (
            "strategy='multi-worker': no cluster. Set TF_CONFIG, start with srun, or try it on "
            "this machine with `zoo launch`."
        )
        raise ValueError(msg)
    with _gives_up(start_timeout, _addresses(cluster)):
        return tf.distribute.MultiWorkerMirroredStrategy(cluster)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes."""
    if not is_multi_worker(strategy):
        return True
    resolver = strategy.cluster_resolver
    if "chief" in resolver.cluster_spec().jobs:
        return resolver.task_type == "chief"
    return resolver.task_id == 0


def describe(strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """Kind of strategy, number of replicas and of workers."""
    workers = len(_addresses(strategy.cluster_resolver)) if is_multi_worker(strategy) else 1
    replicas = strategy.num_replicas_in_sync
    kind = "multi-worker" if is_multi_worker(strategy) else "mirrored" if replicas > 1 else "none"
    return {"strategy": kind, "replicas": replicas, "workers": workers}


def _cluster() -> Any | None:
    """The cluster of the environment, as a resolver that knows this process's place in it."""
    if os.environ.get("TF_CONFIG"):
        try:
            task = json.loads(os.environ["TF_CONFIG"]).get("task", {}).get("type", "worker")
        except (json.JSONDecodeError, AttributeError) as error:
            msg = f"TF_CONFIG={os.environ['TF_CONFIG']!r}: expected a JSON object ({error})."
            raise ValueError(msg) from error
        if task not in ("chief", "worker"):
            msg = f"TF_CONFIG: a task of type {task!r}; expected 'chief' or 'worker'."
            raise ValueError(msg)
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        # TensorFlow's SlurmClusterResolver fails without GPUs, and orders node10 before node9,
        # which is not the order of SLURM's ranks. Its parsers are right.
        hosts = expand_hostlist(os.environ["SLURM_STEP_NODELIST"])
        tasks = expand_tasks_per_node(os.environ["SLURM_STEP_TASKS_PER_NODE"])
        addresses = [
            f"{host}:{SLURM_PORT + i}"
            for host, n in zip(hosts, tasks, strict=True)
            for i in range(n)
        ]
        return tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": addresses}),
            task_type="worker",
            task_id=int(os.environ["SLURM_PROCID"]),
            rpc_layer="grpc",
            num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        )
    return None


def _addresses(resolver: Any) -> list[str]:
    cluster = resolver.cluster_spec().as_dict()
    return [address for job in ("chief", "worker") for address in cluster.get(job, [])]


@functools.cache  # TensorFlow's collectives allow one strategy over the same devices in a process
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(devices)


def _local_devices(replicas: int | None) -> tuple[str, ...]:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if (replicas or 1) > len(gpus):
            msg = f"replicas={replicas}: there are {len(gpus)} GPUs."
            raise ValueError(msg)
        return tuple(f"GPU:{i}" for i in range(replicas or len(gpus)))
    wanted = replicas or 1
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        if len(tf.config.get_logical_device_configuration(cpu) or [cpu]) < wanted:
            logical = [tf.config.LogicalDeviceConfiguration()] * wanted
            tf.config.set_logical_device_configuration(cpu, logical)
    except RuntimeError as error:
        msg = f"replicas={replicas}: choose the strategy before TensorFlow is used otherwise."
        raise ValueError(msg) from error
    return tuple(f"CPU:{i}" for i in range(wanted))


@contextmanager
def _gives_up(seconds: float, addresses: Sequence[str]) -> Iterator[None]:
    """Ends this process if what is done within takes longer."""
    program = Path(__file__).with_name("watchdog.py")
    command = [sys.executable, str(program), str(os.getpid()), str(seconds), *addresses]
    watchdog = subprocess.Popen(command)
    try:
        yield
    finally:
        watchdog.kill()
        watchdog.wait()
