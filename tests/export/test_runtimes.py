"""Runtimes leave the process as they found it."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

import onnx
import pytest
import tensorflow as tf
from onnx import helper

from export import runtimes
from export.functions import Endpoint


class _SignalStack(ctypes.Structure):
    _fields_ = (
        ("start", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


def _signal_stack_is_mapped() -> bool:
    """Whether the stack that this thread's signal handlers run on is still there."""
    stack = _SignalStack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    if not stack.start:
        return True  # handlers run on the ordinary stack
    ranges = [
        line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines()
    ]
    return any(int(low, 16) <= stack.start < int(high, 16) for low, high in ranges)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or not Path("/proc/self/maps").exists(), reason="Linux")
def test_signals_after_two_models_in_openvino(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [info("x", onnx.TensorProto.FLOAT, [1, 3])],
        [info("y", onnx.TensorProto.FLOAT, [1, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "relu.onnx")
    spec = tf.TensorSpec([1, 3], tf.float32)
    endpoint = Endpoint("relu", {"x": spec}, {"y": spec}, lambda x: {"y": tf.nn.relu(x)}, ())
    models = [runtimes._in_openvino(tmp_path / "relu.onnx", endpoint) for _ in range(3)]
    while models:
        del models[0]
        gc.collect()
        assert _signal_stack_is_mapped()
