"""TensorFlow SavedModel in TF Serving's layout: NAME/VERSION/saved_model.pb."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from export.functions import (
    NCHW,
    as_model,
    byte_functions,
    endpoints,
    model_facts,
    names_of,
    networks_of,
)
from export.metadata import provenance, write_metadata
from export.verification import check_export
from export.warmup import write_warmup
from zoo.io.files import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence


def export_saved_model(
    model: Any,
    path: str | Path,
    version: int | None = None,
    run: str | Path | None = None,
    *,
    functions: Sequence[str] | None = None,
    warmup: bool | None = None,
    verify: bool = True,
) -> Path:
    """Writes a version of a SavedModel.

    There is one signature per endpoint. `serving_default` is `generate`. `generate_uint8` gives
    images in bytes; `generate_png` gives image_bytes, which TF Serving's REST interface sends in
    base64. Weights and the generator's graph are stored once; no optimizer, no random state.

    Args:
        model: A model of the zoo, or a Keras generator as `endpoints` takes.
        path: The model folder.
        version: Version number; default the next free one.
        run: The run folder it comes from, for the metadata.
        functions: Names of those wanted besides `generate`; None takes all but `discriminate`.
        warmup: Whether to write requests for TF Serving's warm-up, which needs the extra `serving`;
            None if that is installed.
        verify: Whether to load it before it is put in its place, as `check_export` does.

    Returns:
        The version folder.

    Raises:
        ValueError: If it is no such model, it has no such function, `version` < 1, or what was
            written does not compute what the model computes.
        ImportError: If the warm-up is asked for and tensorflow-serving-api is not there.
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
    model = as_model(model)
    optional = {*model.optional_endpoints(), NCHW}
    wanted = [n for n in names_of(model) if n not in optional] if functions is None else functions
    served = endpoints(model, functions=wanted)
    served += byte_functions(served[0])
    # A plain module with an ordered list of variables, and not the Keras model: half the size,
    # and the same bytes from every process.
    module = tf.Module()
    module.variables_ = [w.value for network in networks_of(served) for w in network.weights]
    signatures = {
        e.name: tf.function(e.function).get_concrete_function(*e.signature()) for e in served
    }
    _check_weights(signatures, module.variables_)
    signatures = {"serving_default": signatures["generate"], **signatures}
    options = tf.saved_model.SaveOptions(experimental_debug_stripper=True)
    if warmup is None:
        warmup = find_spec("tensorflow_serving") is not None
    with replacing(target) as folder:
        tf.saved_model.save(module, str(folder), signatures=signatures, options=options)
        if warmup:
            write_warmup(folder, served, path.name)
        entries = {**model_facts(model, served), **provenance(run)}
        write_metadata(folder, target, "saved_model", run, entries)
        if verify:
            check_export(folder, model)
    return target


def _check_weights(signatures: dict[str, Any], saved: Sequence[Any]) -> None:
    """Raises ValueError if a function uses a weight that is not saved."""
    known = {id(variable) for variable in saved}
    for name, function in signatures.items():
        # A variable that is read while the function is traced, for a constant of it, is no input.
        inputs = {id(tensor) for tensor in function.captured_inputs}
        used = [v for v in function.graph.variables if id(v.handle) in inputs]
        strange = [v.name for v in used if id(v) not in known]
        if strange:
            msg = (
                f"{name} uses {strange[0]}, which is in none of the networks that the model names "
                "for it. Add its network to those of the model's endpoints()."
            )
            raise ValueError(msg)
