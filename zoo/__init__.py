"""VAEs and GANs in Keras 3: train, evaluate, convert between them, export with proof.

`import zoo` is cheap: TensorFlow is imported by the first call that needs it. Import zoo before
TensorFlow and Keras: it turns on oneDNN (`zoo.core.environment`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from zoo.core.environment import turn_on_onednn
from zoo.core.registry import create, import_models_with_keras, list_models, register_model

if TYPE_CHECKING:
    from types import ModuleType

__version__ = "0.1.0"
__all__ = [
    "convert",
    "create",
    "data",
    "list_models",
    "list_pretrained",
    "load_pretrained",
    "load_run",
    "metrics",
    "register_model",
]

_SUBPACKAGES = (
    *("convert", "data", "evaluation", "gan", "hub", "layers", "losses", "metrics"),
    *("networks", "presets", "sampling", "training", "vae"),
)


def __getattr__(name: str) -> object:
    if name in _SUBPACKAGES:
        return _submodule(name)
    if name in ("list_pretrained", "load_pretrained"):
        return getattr(_submodule("hub"), name)
    if name == "load_run":
        return _submodule("training.runs").load_run
    msg = f"module 'zoo' has no attribute {name!r}"
    raise AttributeError(msg)


def _submodule(name: str) -> ModuleType:
    return import_module(f"zoo.{name}")


turn_on_onednn()
import_models_with_keras()
