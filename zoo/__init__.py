"""VAEs and GANs in Keras 3: train, evaluate, convert between them, export with proof.

`import zoo` is cheap: TensorFlow is imported by the first call that needs it. Import zoo before
TensorFlow and Keras: it turns on oneDNN (`zoo.core.environment`).

The classes of the models are in `zoo.gan` and `zoo.vae`, such as `zoo.gan.DCGAN` and `zoo.vae.VAE`.
In a shell, `zoo info MODEL` lists all options of a model.

Example:
    >>> import zoo
    >>> model = zoo.create("dcgan", image_shape=(8, 8, 1), latent_dim=2, network="mlp")
    >>> model.generate(3, seed=0).shape
    (3, 8, 8, 1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.core.environment import turn_on_onednn as _turn_on_onednn
from zoo.core.registry import create, list_models, register_model
from zoo.core.registry import import_models_with_keras as _import_models_with_keras
from zoo.io.lazy import lazy as _lazy

if TYPE_CHECKING:  # for editors and type checkers; a test compares it with what is there
    from export import export_model, verify
    from zoo import (
        convert,
        data,
        evaluation,
        gan,
        hub,
        layers,
        losses,
        metrics,
        networks,
        presets,
        sampling,
        training,
        vae,
    )
    from zoo.evaluation.diagnosis import doctor
    from zoo.evaluation.measure import evaluate
    from zoo.hub import list_pretrained, load, load_pretrained
    from zoo.hub.finetune import finetune
    from zoo.hub.importing import import_model
    from zoo.presets import save_preset
    from zoo.sampling.samplers import fit_sampler
    from zoo.sampling.standing import standing_statistics
    from zoo.training.loop import train
    from zoo.training.resume import resume
    from zoo.training.runs import load_run

__version__ = "0.1.0"
__all__ = [
    "convert",
    "create",
    "data",
    "doctor",
    "evaluate",
    "evaluation",
    "export_model",
    "finetune",
    "fit_sampler",
    "gan",
    "hub",
    "import_model",
    "layers",
    "list_models",
    "list_pretrained",
    "load",
    "load_pretrained",
    "load_run",
    "losses",
    "metrics",
    "networks",
    "presets",
    "register_model",
    "resume",
    "sampling",
    "save_preset",
    "standing_statistics",
    "train",
    "training",
    "vae",
    "verify",
]
_HOMES = {
    "doctor": "zoo.evaluation.diagnosis",
    "evaluate": "zoo.evaluation.measure",
    "export_model": "export",
    "finetune": "zoo.hub.finetune",
    "fit_sampler": "zoo.sampling.samplers",
    "import_model": "zoo.hub.importing",
    "list_pretrained": "zoo.hub",
    "load": "zoo.hub",
    "load_pretrained": "zoo.hub",
    "load_run": "zoo.training.runs",
    "resume": "zoo.training.resume",
    "save_preset": "zoo.presets",
    "standing_statistics": "zoo.sampling.standing",
    "train": "zoo.training.loop",
    "verify": "export",
}
_HOMES |= {name: f"zoo.{name}" for name in __all__ if name not in (*_HOMES, *globals())}  # rooms
__getattr__ = _lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__


_turn_on_onednn()
_import_models_with_keras()
