"""The reference networks of published FIDs in PyTorch, with random weights in place of theirs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

if TYPE_CHECKING:
    from pathlib import Path


def reference(package: str) -> Any:
    """A package that these tests compare with; without it the test is skipped.

    PyTorch's compiler, which torchvision imports, loads Triton if it is there. Triton and
    TensorFlow bring an LLVM each, and the second one to be loaded crashes.
    """
    sys.modules.setdefault("triton", None)  # type: ignore[arg-type]  (this makes its import fail)
    return pytest.importorskip(package)


def torch_fidelity_network(weights: Path, features: tuple[str, ...]) -> Any:
    """torch-fidelity's network: uint8 [n, 3, height, width] to the features named, float32."""
    inception = reference("torch_fidelity.feature_extractor_inceptionv3")
    return inception.FeatureExtractorInceptionV3("reference", list(features), str(weights))


def random_weights(path: Path, *, zipped: bool = True) -> Path:
    """Weights in the layout of the published file, of a size that keeps signals alive."""
    inception = reference("torch_fidelity.feature_extractor_inceptionv3")
    with pytest.MonkeyPatch.context() as patch:
        network = inception.FeatureExtractorInceptionV3
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(network, "load_state_dict", lambda *_, **__: None)
        module = network("reference", ["2048"])
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0.0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            layer.weight.uniform_(0.5, 1.5, generator=generator)
            layer.bias.normal_(0.0, 0.1, generator=generator)
        elif isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            deviation = (2.0 / layer.weight[0].numel()) ** 0.5
            layer.weight.normal_(0.0, deviation, generator=generator)
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=zipped)
    return path
