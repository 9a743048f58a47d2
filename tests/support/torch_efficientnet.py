"""EfficientNet-Lite0 of another package, for PyTorch: what our network was converted from."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def converter() -> Any:
    """The module `benchmarks/convert_efficientnet.py`."""
    place = ROOT / "benchmarks" / "convert_efficientnet.py"
    spec = importlib.util.spec_from_file_location("convert_efficientnet", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference_outputs(network: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """Every output by our names. It pads for one size: that of the images."""
    torch = pytest.importorskip("torch")
    found: dict[str, np.ndarray] = {}
    with torch.no_grad():
        x = torch.from_numpy((255.0 * images - 127.0) / 128.0).permute(0, 3, 1, 2).float()
        x = network._swish(network._bn0(network._conv_stem(x)))
        for i, block in enumerate(network._blocks):
            x = block(x)
            if i in (0, 2, 4, 10, 15):
                found[f"level_{len(found) + 1}"] = x.permute(0, 2, 3, 1).numpy()
        x = network._swish(network._bn1(network._conv_head(x)))
        features = x.mean(dim=(2, 3))
        found |= {"features": features.numpy(), "logits": network._fc(features).numpy()}
    return found
