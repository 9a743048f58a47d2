"""A module of the zoo may be the first that imports Keras: nothing is imported twice, or half."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import {module} as first
import keras, zoo
from zoo.vae.base import BaseVAE
{check}
"""
REGISTERED = "assert keras.saving.get_registered_object('zoo>{0}') is first.{0}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "check"),
    [
        ("zoo.core.replicated_step", "assert type(BaseVAE.players['optimizer']) is first.Player"),
        ("zoo.core.adam", REGISTERED.format("Adam")),
        ("zoo.layers", REGISTERED.format("UniformFromNormal")),
    ],
)  # fmt: skip
def test_any_module_may_come_first(module: str, check: str) -> None:
    code = CODE.format(module=module, check=check)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
