"""A model of Triton's Python backend that computes an ONNX file, in place of its ONNX backend.

Copied beside model.onnx as model.py: the Triton that comes from PyPI has no ONNX backend. It gets
tensors as the configuration has reshaped them, as any backend does.
"""

from pathlib import Path

import onnxruntime
import triton_python_backend_utils as utils


class TritonPythonModel:
    def initialize(self, args):
        folder = Path(args["model_repository"]) / args["model_version"]
        self.session = onnxruntime.InferenceSession(folder / "model.onnx")

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        feeds = {}
        for value in self.session.get_inputs():
            array = utils.get_input_tensor_by_name(request, value.name).as_numpy()
            # As the ONNX backend would, and no more: a tensor of the wrong rank is an error.
            feeds[value.name] = array
        names = [value.name for value in self.session.get_outputs()]
        results = self.session.run(names, feeds)
        tensors = [utils.Tensor(n, x) for n, x in zip(names, results, strict=True)]
        return utils.InferenceResponse(output_tensors=tensors)
