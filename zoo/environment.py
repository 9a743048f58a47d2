"""What must hold before TensorFlow is imported: its oneDNN kernels are on.

oneDNN computes convolutions up to twice as fast as TensorFlow's own kernels. TensorFlow turns it on
by itself only on processors with AVX512-VNNI, AVX512-BF16, AVX-VNNI or AMX instructions, and reads
the variable while it is imported.
"""

from __future__ import annotations

import os
import platform
import sys
import warnings

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
X86_64 = ("x86_64", "amd64")  # as Linux and Windows call it, in lower case


def turn_on_onednn() -> None:
    """Turns oneDNN on for this process and those that it starts, unless the user has decided.

    Where TensorFlow was imported before, only processes started from now on have it; a warning
    says so if TensorFlow left it off.
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


def onednn_is_on() -> bool:
    """Whether TensorFlow, which this imports, computes with oneDNN in this process."""
    try:
        # TensorFlow has no public name for it.
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled  # noqa: PLC0415
    except ImportError:
        return False
    return bool(IsMklEnabled())
