"""TensorFlow SavedModel in TF Serving's layout: NAME/VERSION/saved_model.pb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from export.metadata import describe, write_metadata
from export.spec import endpoints, networks_of
from zoo.files import replacing


def export_saved_model(
    model: Any, path: str | Path, version: int | None = None, run: str | Path | None = None
) -> Path:
    """Writes a version of a SavedModel.

    Signatures: one for each endpoint, and `serving_default`, which is `generate`. Weights are
    stored once; no optimizer, no random state.

    Args:
        model: A model of the zoo.
        path: The model folder.
        version: Version number; default the next free one.
        run: The run folder it comes from, for the metadata.

    Returns:
        The version folder.

    Raises:
        ValueError: If it is no model of the zoo, or `version` < 1.
        FileExistsError: If the version exists: what is served under a number never changes.
    """
    path = Path(path)
    taken = [int(p.name) for p in path.glob("*") if p.name.isdigit()]
    version = max(taken, default=0) + 1 if version is None else version
    if version < 1:
        msg = f"version={version}: expected at least 1."
        raise ValueError(msg)
    target = path / str(version)
    if target.exists():
        msg = (
            f"{target} exists, and a version is never overwritten. Leave version out for the next."
        )
        raise FileExistsError(msg)
    functions = endpoints(model)
    # A plain module with an ordered list of variables, and not the Keras model: half the size,
    # and the same bytes from every process.
    module = tf.Module()
    module.variables_ = [w.value for network in networks_of(functions) for w in network.weights]
    signatures = {
        e.name: tf.function(e.function).get_concrete_function(*e.signature()) for e in functions
    }
    signatures = {"serving_default": signatures["generate"], **signatures}
    options = tf.saved_model.SaveOptions(experimental_debug_stripper=True)
    with replacing(target) as folder:
        tf.saved_model.save(module, str(folder), signatures=signatures, options=options)
        write_metadata(folder, target, "saved_model", run, describe(model, functions))
    return target
