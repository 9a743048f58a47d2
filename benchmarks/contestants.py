"""Processes that take turns on command: what the benchmarks compare."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING, Any

from zoo.bench.run import processor, vector_instructions
from zoo.core.environment import ONEDNN, onednn_is_on

if TYPE_CHECKING:
    from collections.abc import Sequence


class Contestant:
    """A process that takes turns on command.

    Attributes:
        turns: Names of the turns it can take; none if it cannot compete.
        error: Why it cannot.
        onednn: TensorFlow's variable for it; None leaves it as it is for this process.
    """

    def __init__(self, arguments: Sequence[str], onednn: str | None = None) -> None:
        """Starts it.

        Args:
            arguments: Of Python: a program of `benchmarks/peers`, and its own.
            onednn: As the attribute.
        """
        self.command = [sys.executable, *arguments]
        self.onednn = onednn
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        if onednn is not None:
            environment[ONEDNN] = onednn
        self.process: Any = subprocess.Popen(
            self.command, text=True, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        answer = self._answer()
        self.turns: list[str] = answer.get("turns", [])
        self.error: str | None = answer.get("error")

    def take(self, turn: str) -> dict[str, float]:
        """What the program says of the turn, such as the `seconds` that it took."""
        with suppress(BrokenPipeError):  # of a process that died: the answer is missing too
            print(turn, file=self.process.stdin, flush=True)
        return self._answer()

    def stop(self) -> None:
        """Ends the process."""
        with suppress(BrokenPipeError):
            self.process.communicate()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            msg = (
                f"A contestant ended with status {self.process.wait()}. To see why, run: "
                f"{' '.join(self.command)}"
            )
            raise RuntimeError(msg)
        return json.loads(line)


def setting(packages: Sequence[str]) -> dict[str, Any]:
    """What a comparison runs on: processor, oneDNN, threads, and the versions of packages."""
    return {
        "processor": processor(),
        "vector_instructions": vector_instructions(),
        "onednn": onednn_is_on(),
        "threads": len(os.sched_getaffinity(0)),
        "versions": versions(packages),
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Of those of these packages that are installed."""
    installed = {d.metadata["Name"].lower(): d.version for d in metadata.distributions()}
    return {name: installed[name] for name in packages if name in installed}
