"""One contestant of `benchmarks/training.py`, in a process of its own that takes turns.

    python benchmarks/peers/contestant.py CONTESTANT MODEL STEPS

Says {"turns": [...]} on standard output once all is traced and compiled, or {"error": "..."}. Then
each line of standard input names a turn: so many steps are taken, and {"seconds", "peak"} said.
Peer frameworks are imported only where they compete, for their memory counts.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Turns = dict[str, Callable[[], Any]]

SHAPE, LATENT_DIM, BATCH = (28, 28, 1), 64, 64
DATA = "fashion_mnist_sample"
THREADS = len(os.sched_getaffinity(0))  # the cores for this process
# One loss for all, and as many critic updates as generator updates.
OPTIONS: dict[str, dict[str, Any]] = {
    "vae": {"likelihood": "bernoulli"},
    "dcgan": {},
    "wgan_gp": {"n_critic": 1},
}


def main() -> None:
    """Takes turns until standard input ends."""
    contestant, model, steps = sys.argv[1:]
    take_turns(lambda: CONTESTANTS[contestant](model, int(steps)))


def take_turns(make: Callable[[], Turns]) -> None:
    """Makes the turns, takes each once, says their names, and takes them as standard input says."""
    # Whatever else is printed must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        turns = make()
        for take in turns.values():
            take()
    except (ImportError, RuntimeError, ValueError) as error:
        say(error=f"{type(error).__name__}: {str(error).strip().partition('. ')[0]}")
        return
    say(turns=list(turns))
    for line in sys.stdin:
        begun = time.perf_counter()
        turns[line.strip()]()
        say(seconds=time.perf_counter() - begun, peak=peak_memory())


def peak_memory() -> int:
    """Most bytes of this process that were in memory at once (Linux)."""
    # Not `getrusage`, whose peak is also that of the process that started this one.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return 1024 * int(kilobytes)


def images() -> np.ndarray:
    """A batch, float32 [BATCH, height, width, channels] in [0, 1]."""
    return np.random.default_rng(0).random((BATCH, *SHAPE), np.float32)


# TensorFlow


def this_project(name: str, steps: int) -> Turns:
    """`fit` on one batch held in memory, and on the data."""
    import zoo  # noqa: I001, PLC0415  (first: it turns on oneDNN)
    import tensorflow as tf  # noqa: PLC0415

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    model = zoo.create(name, SHAPE, LATENT_DIM, **OPTIONS[name])
    model.compile()
    batch = endless(images())
    stream, _ = zoo.data.training_stream(DATA, batch_size=BATCH)
    return {
        "this project": lambda: fit(model, batch, steps),
        "this project, with its data": lambda: fit(model, stream, steps),
    }


def keras_example(name: str, steps: int, *, jit_compile: bool = False) -> Turns:
    """`fit` of a model with two passes on one batch held in memory.

    With `jit_compile`, as Keras compiles by itself only where there is an accelerator.
    """
    from zoo import networks  # noqa: I001, PLC0415  (first: it turns on oneDNN)
    import keras  # noqa: PLC0415
    import keras_style  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)

    def network(role: str, *args: Any, **options: Any) -> Any:
        return networks.build("conv", role, SHAPE, *args, **options)

    model: Any
    if name == "vae":
        encoder, decoder = (network(role, LATENT_DIM) for role in ("encoder", "decoder"))
        model = keras_style.ExampleVAE(encoder, decoder)
        model.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=jit_compile)
    else:
        made, rate, betas, normalization = {
            "dcgan": (keras_style.ExampleDCGAN, 2e-4, (0.5, 0.999), "batch"),
            "wgan_gp": (keras_style.ExampleWGANGP, 1e-4, (0.0, 0.9), "none"),
        }[name]
        discriminator = network("discriminator", normalization)
        model = made(network("generator", LATENT_DIM), discriminator, LATENT_DIM)
        model.compile(rate, betas, jit_compile=jit_compile)
    batch = endless(images())
    title = "Keras example style" + (", XLA" if jit_compile else "")
    return {title: lambda: fit(model, batch, steps)}


def endless(batch: np.ndarray) -> Any:
    """One batch again and again."""
    import tensorflow as tf  # noqa: PLC0415

    import zoo  # noqa: PLC0415

    return zoo.data.untuned(tf.data.Dataset.from_tensors(batch).repeat())


def fit(model: Any, dataset: Any, steps: int) -> None:
    """So many steps."""
    model.fit(dataset, steps_per_epoch=steps, verbose=0, shuffle=False)


# PyTorch


def pytorch(name: str, steps: int, *, compiled: bool = False) -> Turns:
    """A loop over one batch held in memory; with `torch.compile`, of the networks."""
    import torch  # noqa: PLC0415
    import torch_models  # noqa: PLC0415
    import torch_steps  # noqa: PLC0415

    torch.set_num_threads(THREADS)
    wrap: Any = torch.compile if compiled else lambda network: network
    if name == "vae":
        encoder = torch_models.Encoder(SHAPE, LATENT_DIM)
        step: Any = torch_steps.vae(wrap(encoder), wrap(torch_models.decoder(SHAPE, LATENT_DIM)))
    else:
        discriminator = torch_models.discriminator(SHAPE, norm=name == "dcgan")
        generator = torch_models.generator(SHAPE, LATENT_DIM)
        step = getattr(torch_steps, name)(wrap(generator), wrap(discriminator), LATENT_DIM)
    batch = torch.from_numpy(images().transpose(0, 3, 1, 2).copy())

    def take() -> None:
        for _ in range(steps):
            step(batch)

    return {"PyTorch, compiled" if compiled else "PyTorch": take}


def pythae(name: str, steps: int) -> Turns:  # noqa: ARG001  (it has the one model)
    """Pythae's trainer on batches held in memory, and on what its own loader makes of images."""
    import torch  # noqa: PLC0415
    from pythae_vae import trainer  # noqa: PLC0415

    torch.set_num_threads(THREADS)
    batch = images().transpose(0, 3, 1, 2)
    folder = tempfile.TemporaryDirectory()  # removed when this process ends
    made = trainer(
        torch.from_numpy(np.tile(batch, (steps, 1, 1, 1))), LATENT_DIM,
        folder.name, loss="bce", per_device_train_batch_size=BATCH,
    )  # fmt: skip
    made.prepare_training()
    loader = made.train_loader
    batches = list(loader)

    class InMemory(list):
        dataset = loader.dataset  # whose length the trainer asks for

    def take(data: Any, _: Any = folder) -> None:
        made.train_loader = data
        made.train_step(1)

    return {
        "Pythae": lambda: take(InMemory(batches)),
        "Pythae, with its data": lambda: take(loader),
    }


CONTESTANTS: dict[str, Callable[[str, int], Turns]] = {
    "zoo": this_project,
    "keras": keras_example,
    "keras_xla": lambda name, steps: keras_example(name, steps, jit_compile=True),
    "torch": pytorch,
    "torch_compiled": lambda name, steps: pytorch(name, steps, compiled=True),
    "pythae": pythae,
}

if __name__ == "__main__":
    main()
