"""Requests that TensorFlow Serving answers while it loads a SavedModel, before it says it is ready.

The first call of a signature at a batch size is far slower than those after it: TensorFlow prunes
the graph and chooses kernels then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from export.metadata import EXTRA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from export.functions import Endpoint

NAME = "tf_serving_warmup_requests"
# Under batching, a request that is larger than its `max_batch_size` keeps a model from loading.
BATCHES = (1, 8)
DEFAULT = "serving_default"


def write_warmup(folder: Path, functions: Sequence[Endpoint], name: str) -> Path:
    """Writes assets.extra/tf_serving_warmup_requests: a request per signature and batch size.

    A TFRecord file of PredictionLog messages, the same bytes at every call and a few kB, as every
    tensor is one value, repeated. Functions of scalars, such as `sample`, are left out: under
    `--enable_batching` the server refuses their requests, and then the whole model.

    Args:
        folder: The version folder of a SavedModel.
        functions: The endpoints; the first is also `serving_default`.
        name: The model's name in the server, for the record: the server warms up what it loads.

    Returns:
        The file.

    Raises:
        ImportError: If the package tensorflow-serving-api is not installed.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2  # noqa: PLC0415
    except ImportError as error:
        msg = (
            "Warm-up requests need tensorflow-serving-api. "
            "Install it with: pip install 'vaegan-zoo[serving]'"
        )
        raise ImportError(msg) from error
    signatures = {DEFAULT: functions[0], **{e.name: e for e in functions}}
    file = folder / EXTRA / NAME
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, endpoint in signatures.items():
            specs = endpoint.signature()
            for batch in BATCHES if all(spec.shape.rank for spec in specs) else ():
                request = predict_pb2.PredictRequest()
                request.model_spec.name = name
                request.model_spec.signature_name = signature
                for spec in specs:
                    shape = [batch, *endpoint.input_shape(spec.name)]
                    request.inputs[spec.name].CopyFrom(_tensor(spec, shape))
                log = prediction_log_pb2.PredictionLog()
                log.predict_log.request.CopyFrom(request)
                # Deterministic: the inputs are a map, which has no order.
                writer.write(log.SerializeToString(deterministic=True))
    return file


def _tensor(spec: tf.TensorSpec, shape: Sequence[int]) -> Any:
    """A valid input: the first class or code, or ½ everywhere."""
    value = 0 if spec.dtype == tf.int32 else 0.5
    return tf.make_tensor_proto(value, spec.dtype, shape)
