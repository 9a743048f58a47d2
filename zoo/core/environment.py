"""What must hold before TensorFlow and Keras are imported: oneDNN is on, the backend TensorFlow.

oneDNN computes convolutions up to twice as fast as TensorFlow's own kernels. TensorFlow turns it on
by itself only on processors with AVX512-VNNI, AVX512-BF16, AVX-VNNI or AMX instructions, and reads
the variable while it is imported.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import warnings
from pathlib import Path

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
X86_64 = ("x86_64", "amd64")  # as Linux and Windows call it, in lower case


def turn_on_onednn() -> None:
    """Turns oneDNN on for this process and those that it starts, unless the user has decided.

    Where TensorFlow was imported before, only processes started from now on have it; a warning
    says so if TensorFlow left it off.

    Example:
        >>> from zoo.core.environment import turn_on_onednn
        >>> turn_on_onednn()
    """
    if ONEDNN in os.environ or platform.machine().lower() not in X86_64:
        return
    os.environ[ONEDNN] = "1"
    if "tensorflow" in sys.modules and not onednn_is_on():
        warnings.warn(
            "TensorFlow was imported before zoo and leaves oneDNN off on this processor, which "
            f"makes training slower. Import zoo before TensorFlow and Keras, or set {ONEDNN}=1 in "
            f"the environment ({ONEDNN}=0 keeps oneDNN off and silences this warning).",
            stacklevel=2,
        )


def check_backend() -> None:
    """Checks that Keras computes with TensorFlow, or will once it is imported.

    Raises:
        ImportError: If `KERAS_BACKEND`, or else Keras's file keras.json, names another backend.

    Example:
        >>> from zoo.core.environment import check_backend
        >>> check_backend()
    """
    keras = sys.modules.get("keras")
    name = keras.config.backend() if keras is not None else _chosen_backend()
    if name != "tensorflow":
        msg = (
            f"Keras's backend is {name!r}, but the models of the zoo need 'tensorflow': set "
            "KERAS_BACKEND=tensorflow before Keras is imported (it counts more than keras.json)."
        )
        raise ImportError(msg)


def _chosen_backend() -> str:
    """The backend that Keras will take when it is imported."""
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    home = os.environ.get("KERAS_HOME", str(Path("~/.keras").expanduser()))
    try:
        config = json.loads((Path(home) / "keras.json").read_text(encoding="utf-8"))
        return str(config.get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):  # which Keras ignores likewise
        return "tensorflow"


def onednn_is_on() -> bool:
    """Whether TensorFlow, which this imports, computes with oneDNN in this process.

    Example:
        >>> from zoo.core.environment import onednn_is_on
        >>> isinstance(onednn_is_on(), bool)
        True
    """
    try:
        # TensorFlow has no public name for it.
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled  # noqa: PLC0415
    except ImportError:
        return False
    return bool(IsMklEnabled())
