"""Several workers on one machine, to try what a cluster will run."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def launch(workers: int, command: Sequence[str]) -> int:
    """Runs a command once per worker, with TF_CONFIG set, on this machine's CPU.

    Every line of output is printed with its worker's number. When one worker fails, the others are
    ended.

    Args:
        workers: Number of workers, at least 2.
        command: The command that each worker runs.

    Returns:
        0, or the exit status of the worker that failed first.

    Raises:
        ValueError: If `workers` < 2.

    Example:
        >>> import sys
        >>> from zoo.training.launch import launch
        >>> launch(2, [sys.executable, "-c", "pass"])
        0
    """
    if workers < 2:
        msg = f"workers={workers}: expected at least 2."
        raise ValueError(msg)
    addresses = [f"localhost:{port}" for port in _free_ports(workers)]
    ended: queue.Queue[int] = queue.Queue()  # workers, in the order they end

    def follow(index: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101  (it is a pipe)
        for line in process.stdout:
            sys.stdout.write(f"[worker {index}] {line}")
            sys.stdout.flush()
        process.wait()
        ended.put(index)

    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CONFIG": _config(addresses, i)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(workers)
    ]
    with ExitStack() as stack:
        for process in processes:
            stack.callback(_end, process)
        for i, process in enumerate(processes):
            threading.Thread(target=follow, args=(i, process), daemon=True).start()
        try:
            for _ in processes:
                status = processes[ended.get()].returncode
                if status:
                    return status if status > 0 else 128 - status
        except BaseException:  # a signal: it may have been for this process alone
            for process in processes:
                process.terminate()
            raise
    return 0


def _config(addresses: list[str], index: int) -> str:
    config: dict[str, Any] = {
        "cluster": {"worker": addresses},
        "task": {"type": "worker", "index": index},
    }
    return json.dumps(config)


def _end(process: subprocess.Popen[str]) -> None:
    """Ends a worker that has not ended; after a worker has failed, the others do by themselves."""
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]
