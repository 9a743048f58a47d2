"""Runtimes that load an artefact, each as functions of named arrays."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from export.autoencoders import has_diffusers, in_diffusers, in_keras

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from export.functions import Endpoint

# By format, which runs a function of it; the first is always there.
RUNTIMES = {
    "saved_model": ("TensorFlow",),
    "onnx": ("ONNX Runtime", "ONNX reference", "OpenVINO"),
    "web": ("ONNX Runtime",),
    "triton": ("ONNX Runtime",),
    "diffusers": ("Keras", "diffusers"),  # of the model that is read again; and the package
}
SLOW = ("ONNX reference",)  # written in Python


def present(format_name: str) -> tuple[str, ...]:
    """The runtimes of a format that are installed."""
    there = {"OpenVINO": find_spec("openvino") is not None, "diffusers": has_diffusers()}
    return tuple(name for name in RUNTIMES[format_name] if there.get(name, True))


def opened(runtime: str, facts: Mapping[str, Any]) -> Callable[[Endpoint], Any]:
    """What loads the functions of an artefact.

    Args:
        runtime: One of `RUNTIMES`.
        facts: The artefact's metadata, as of `read_export`.

    Returns:
        A function that takes an endpoint and returns the exported function, which maps arrays by
        name to arrays by name. It raises ValueError if names, types or shapes of the tensors are
        not the endpoint's, and what a runtime raises if it cannot load a file.
    """
    if facts["format"] == "diffusers":
        return (in_keras if runtime == "Keras" else in_diffusers)(facts)
    if runtime == "TensorFlow":
        saved = cache(lambda: _saved_model(facts["folder"]))  # once for all functions
        return lambda endpoint: _in_tensorflow(saved(), endpoint)
    return lambda endpoint: _in_onnx(runtime, facts, endpoint)


def _saved_model(folder: Path) -> Any:
    # TensorFlow takes brackets and backslashes in the path of the variables for a pattern.
    with TemporaryDirectory() as plain:
        link = Path(plain) / "model"
        link.symlink_to(folder.resolve(), target_is_directory=True)
        return tf.saved_model.load(str(link))


def _in_onnx(runtime: str, facts: Mapping[str, Any], endpoint: Endpoint) -> Any:
    folder = facts["folder"]
    files = {
        "onnx": folder / f"{endpoint.name}.onnx",
        "web": folder / "models" / f"{endpoint.name}.onnx",
        "triton": folder / f"{facts['model']}_{endpoint.name}" / "1" / "model.onnx",
    }
    file = files[facts["format"]]
    run = _in_onnx_runtime(file, endpoint, scalars=facts["format"] != "triton")
    if runtime == "ONNX reference":
        return _in_reference(file)
    return _in_openvino(file, endpoint) if runtime == "OpenVINO" else run


def _in_tensorflow(loaded: Any, endpoint: Endpoint) -> Any:
    function = loaded.signatures[endpoint.name]
    inputs = function.structured_input_signature[1]
    _check(inputs, endpoint.inputs)
    _check(function.structured_outputs, endpoint.outputs)

    def run(**feeds: np.ndarray) -> dict[str, np.ndarray]:
        tensors = {name: tf.constant(value) for name, value in feeds.items()}
        # The closure keeps `loaded` alive, without which its variables are gone.
        return {name: t.numpy() for name, t in loaded.signatures[endpoint.name](**tensors).items()}

    return run


def _in_onnx_runtime(file: Path, endpoint: Endpoint, *, scalars: bool) -> Any:
    import onnxruntime  # noqa: PLC0415  (as below: half a second, for who verifies a SavedModel)

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    types = {
        "tensor(float)": tf.float32,
        "tensor(int32)": tf.int32,
        "tensor(uint8)": tf.uint8,
    }

    def specs(values: Any) -> dict[str, tf.TensorSpec]:
        return {
            v.name: tf.TensorSpec(
                [size if isinstance(size, int) else None for size in v.shape], types[v.type]
            )
            for v in values
        }

    # Where a server knows no scalars, they are of shape [1].
    wanted = {
        name: spec if scalars or spec.shape.rank else tf.TensorSpec([1], spec.dtype)
        for name, spec in endpoint.inputs.items()
    }
    _check(specs(session.get_inputs()), wanted)
    _check(specs(session.get_outputs()), endpoint.outputs)
    names = [output.name for output in session.get_outputs()]

    def run(**feeds: np.ndarray) -> dict[str, np.ndarray]:
        shaped = {name: np.reshape(x, wanted[name].shape) if x.ndim == 0 else x
                  for name, x in feeds.items()}  # fmt: skip
        return dict(zip(names, session.run(names, shaped), strict=True))

    return run


def _in_reference(file: Path) -> Any:
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415

    evaluator = ReferenceEvaluator(str(file))
    return lambda **feeds: dict(
        zip(evaluator.output_names, evaluator.run(None, feeds), strict=True)
    )


@cache
def _openvino() -> Any:
    """The one `Core` of the process.

    OpenVINO's plugin for CPUs gives the thread a stack for signals, and frees it with its `Core`.
    Where two of them end in the order they began, the thread keeps one that is freed, and its next
    signal, such as Ctrl-C, ends the process with a segmentation fault.
    """
    import openvino  # noqa: PLC0415

    return openvino.Core()


def _in_openvino(file: Path, endpoint: Endpoint) -> Any:
    # Its default is bfloat16 where the processor has it.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    model = _openvino().compile_model(str(file), "CPU", options)
    # An output may have the name of what it is a copy of, too.
    names = [(output.get_names() & endpoint.outputs.keys()).pop() for output in model.outputs]

    def run(**feeds: np.ndarray) -> dict[str, np.ndarray]:
        results = model(feeds)
        return {name: results[i] for i, name in enumerate(names)}

    return run


def _check(given: Mapping[str, Any], wanted: Mapping[str, tf.TensorSpec]) -> None:
    def plain(specs: Mapping[str, Any]) -> dict[str, tuple[str, tuple[int | None, ...]]]:
        return {name: (x.dtype.name, tuple(x.shape)) for name, x in specs.items()}

    if plain(given) != plain(wanted):
        msg = f"tensors are {plain(given)}; expected {plain(wanted)}"
        raise ValueError(msg)
