"""The same request for two servers, and whether they answer the same."""

from __future__ import annotations

from typing import Any

import numpy as np


def request_of(tensors: dict[str, Any]) -> dict[str, Any]:
    """A valid request for an endpoint with these inputs."""
    rng = np.random.default_rng(0)
    inputs = []
    for name, tensor in tensors.items():
        shape = [3 if size == "batch" else size for size in tensor["shape"]]
        if tensor["dtype"] == "float32":
            facts = {"datatype": "FP32", "data": rng.random(shape, np.float32).tolist()}
        else:
            numbers = rng.integers(1, 3, shape, np.int32)
            facts = {"datatype": "INT32", "data": numbers.reshape(-1).tolist()}
        inputs.append({"name": name, "shape": shape, **facts})
    return {"id": "7", "inputs": inputs}


def assert_same_outputs(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Of two answers; the protocol gives outputs no order."""
    own, others = ({o["name"]: o for o in answer["outputs"]} for answer in (found, wanted))
    assert own.keys() == others.keys()
    for name, output in others.items():
        for key in ("shape", "datatype"):
            assert own[name][key] == output[key]
        np.testing.assert_allclose(own[name]["data"], output["data"], atol=1e-6)
