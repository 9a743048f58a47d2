"""What a training takes of memory, known before it begins.

Weights, averages and optimizers are those of the model. The rest is read off the graph of one
training step, which is traced with the batch's size and executed on paper (`liveness`): all passes,
penalties, parts of a batch, precisions and gradient checkpointing are as the step has them.

Left out: data that are kept in memory, metrics, workspaces of cuDNN, and what XLA saves.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import psutil
import tensorflow as tf
from tensorflow.python.client import device_lib

from zoo.core.model import check_model
from zoo.core.replicas import is_multi_worker
from zoo.training import liveness

if TYPE_CHECKING:
    from zoo.core.model import ZooModel

ERROR = 0.25  # of an estimate: tests hold measured peaks against it
# What an operation of the step takes of a process: in Python, in the graph and its copies, in the
# executor. It is what the tensors leave of measured peaks: 46 to 82 KiB per operation, in graphs
# of 1,919 operations (a DCGAN) to 13,209 (a SAGAN with gradient checkpointing).
OPERATION = 60 * 2**10
GRAPHS = 2**30  # more than most graphs take
# A step is traced, which takes seconds, only where so many times the outputs of all layers do not
# fit. A GAN with a penalty that differentiates twice keeps about eight times what one pass makes.
SURELY = 16
MIB = 2**20
CGROUPS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


class Memory(NamedTuple):
    """Bytes that a training takes of one device, or of this machine's memory where it has no GPU.

    Args:
        weights: Weights and states of the networks that train.
        averages: Averaged and frozen copies of networks.
        optimizers: Their slots, such as Adam's moments.
        activations: What the forward pass and the updates have made and still need, at the fullest
            moment of a step.
        gradients: What the backward pass has, at that moment: for weights and for activations.
        program: The step's graph itself; 0 on a GPU.

    Example:
        >>> from zoo.training.memory import Memory
        >>> Memory(100, 50, 200, 3000, 400, 0).total
        3750
    """

    weights: int
    averages: int
    optimizers: int
    activations: int
    gradients: int
    program: int

    @property
    def total(self) -> int:
        """All together."""
        return sum(self)

    @property
    def held(self) -> int:
        """What a compiled model holds already."""
        return self.weights + self.averages + self.optimizers


def estimate(model: ZooModel, batch_size: int | None = None) -> Memory:
    """Estimates the peak of a training's memory, within a quarter of what it is.

    Replicas on the CPU are counted together; on GPUs, each has its own memory, and one is counted.

    Args:
        model: A compiled model.
        batch_size: Images per update, on all replicas together; default the model's own.

    Raises:
        TypeError: If `model` is no model of the zoo.
        ValueError: If it is not compiled, or the batch size is less than 1.

    Example:
        >>> import zoo
        >>> from zoo.training.memory import estimate
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> memory = estimate(model, batch_size=16)
        >>> memory.optimizers > 2 * memory.weights - 100
        True
    """
    check_model(model)
    batch_size = model.default_batch_size if batch_size is None else batch_size
    if batch_size < 1:
        msg = f"batch_size={batch_size}: expected at least 1."
        raise ValueError(msg)
    if not model.compiled:
        msg = "The model has no optimizers yet, whose memory counts: call model.compile() first."
        raise ValueError(msg)
    replicas = model.distribute_strategy.num_replicas_in_sync
    here = 1 if _has_gpu() or is_multi_worker(model.distribute_strategy) else replicas
    share = -(-batch_size // replicas)
    step = liveness.peak(_graph(model, share), share)
    weights, averages, optimizers = (here * part for part in _held(model))
    program = 0 if _has_gpu() else here * OPERATION * step.operations
    tensors = here * step.forward, here * step.backward
    return Memory(weights, averages, optimizers, *tensors, program)


def _held(model: ZooModel) -> tuple[int, int, int]:
    """Bytes of the weights, of averages, and of the optimizers."""
    slots = [v for name in model.optimizer_names for v in getattr(model, name).variables]
    trained = {id(v) for name in model.optimizer_names for v in model.variables_of(name)}
    copies = [
        layer.variables
        for layer in model.layers
        if isinstance(layer, keras.Model) and not trained & {id(v) for v in layer.variables}
    ]
    averages = _bytes([v for variables in copies for v in variables])
    return _bytes(model.variables) - averages, averages, _bytes(slots)


def _bytes(variables: Any) -> int:
    each = {id(v): v for v in variables}.values()
    return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in each)


def _graph(model: ZooModel, share: int) -> Any:
    """The graph of a training step on a replica's share of the batch."""
    n = share * model.minibatches
    batch = [tf.TensorSpec([n, *model.image_shape], tf.float32)]
    if model.num_classes:
        batch.append(tf.TensorSpec([n], tf.int32))
    step = tf.function(model.train_step, autograph=False)
    return step.get_concrete_function((*batch,)).graph


# What there is


def available() -> int:
    """Bytes that this process can still take: of a GPU's memory, or of the machine's.

    A limit of its control group (a container, a SLURM job) counts too.

    Example:
        >>> from zoo.training.memory import available
        >>> available() > 0
        True
    """
    if _has_gpu():
        devices = device_lib.list_local_devices()
        return min(each.memory_limit for each in devices if each.device_type == "GPU")
    there: int = psutil.virtual_memory().available
    left = limit_of_group(Path("/sys/fs/cgroup"))
    return there if left is None else min(there, left)


def limit_of_group(folder: Path) -> int | None:
    """Bytes that a control group has left, which files' caches do not count against; or None.

    Args:
        folder: Where control groups are mounted, of either version.

    Example:
        >>> from pathlib import Path
        >>> from zoo.training.memory import limit_of_group
        >>> limit_of_group(Path("no/such/folder")) is None
        True
    """
    for limit, used, counts in CGROUPS:
        try:
            texts = [(folder / name).read_text(encoding="ascii") for name in (limit, used, counts)]
        except OSError:
            continue
        if not texts[0].strip().isdecimal():  # "max"
            return None
        numbers = dict(line.split() for line in texts[2].splitlines())
        cached = int(numbers.get("total_inactive_file", numbers.get("inactive_file", 0)))
        return int(texts[0]) - max(int(texts[1]) - cached, 0)
    return None


def _has_gpu() -> bool:
    return bool(tf.config.list_logical_devices("GPU"))


# What does not fit


def check_memory(
    model: ZooModel, batch_size: int | None = None, there: int | None = None
) -> Memory | None:
    """Checks that a training can fit into memory.

    Args:
        model: A compiled model.
        batch_size: As for `estimate`.
        there: Bytes that there are for it; default: `available()`, and what the model holds.

    Returns:
        The estimate; None where it was not needed, since a bound that is known at once fits.

    Raises:
        MemoryError: If the estimate is above what there is by more than its error: the sentence
            says what is needed, what there is, and what helps.

    Example:
        >>> import zoo
        >>> from zoo.training.memory import check_memory
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> model.compile()
        >>> check_memory(model, 16) is None
        True
    """
    batch_size = model.default_batch_size if batch_size is None else batch_size
    here = 1 if _has_gpu() else model.distribute_strategy.num_replicas_in_sync
    held = here * sum(_held(model))
    there = available() + held if there is None else there
    if 2 * held + GRAPHS + SURELY * batch_size * _outputs(model) < there:
        return None
    needed = estimate(model, batch_size)
    if needed.total <= (1.0 + ERROR) * there:
        return needed
    height, width, _ = model.image_shape
    where = "a GPU has" if _has_gpu() else "there are"
    msg = (
        f"Training this {model.model_name} on images of {height} × {width} pixels in batches of "
        f"{batch_size} needs about {_gigabytes(needed.total)}, and {where} {_gigabytes(there)}. "
        f"What helps: {', '.join(_advice(model, batch_size))}. --no-memory-check trains regardless."
    )
    raise MemoryError(msg)


def _outputs(model: ZooModel) -> int:
    """Bytes that all layers of all networks make of one image."""
    networks, sizes = [*model.layers], []
    while networks:
        network = networks.pop()
        inner = network.layers if isinstance(network, keras.Model) else []
        networks += inner
        for layer in inner:
            outputs = getattr(layer, "output", ()) if getattr(layer, "_inbound_nodes", ()) else ()
            each = outputs if isinstance(outputs, (list, tuple)) else [outputs]
            sizes += [math.prod(size or 1 for size in x.shape) for x in each]
    return 4 * sum(sizes)


def _advice(model: ZooModel, batch_size: int) -> list[str]:
    """Options of `zoo train` that take less memory, but for those in use."""
    parts = [n for n in (2, 4, 8, 16, 32) if n > model.accumulate and batch_size >= 2 * n]
    advice = [f"--accumulate {parts[-1]}, with the same gradients"] if parts else []
    advice += [] if model.remat or model.jit_compile else ["--remat, with the same gradients"]
    halves = model.dtype_policy.name == "float32"
    advice += ["--precision mixed_bfloat16"] if halves else []
    advice += [f"--batch-size {batch_size // 2} or less"] if batch_size > 1 else []
    return [*advice, "a narrower --network", "a smaller --image-size"]


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.3g} GB"
