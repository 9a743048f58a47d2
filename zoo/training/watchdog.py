"""Ends a process that waits too long for the rest of its cluster.

This is a program that runs beside the process. While TensorFlow starts a cluster, it waits for the
other workers without end, and lets no Python thread run.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time


def main(parent: int, seconds: float, addresses: list[str]) -> None:
    """Kills `parent` unless this program is itself killed within `seconds`, and says why."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.getppid() != parent:
            return
        time.sleep(0.2)
    missing = [address for address in addresses if not answers(address)]
    sys.stderr.write(
        f"Error: the cluster was not complete after {seconds:g} s; no answer from "
        f"{', '.join(missing) or 'a worker that has ended again'}. Start all workers with the same "
        "cluster, and see that each can reach the others' addresses.\n"
    )
    sys.stderr.flush()
    os.kill(parent, signal.SIGKILL)


def answers(address: str) -> bool:
    """Whether something listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2.0):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
