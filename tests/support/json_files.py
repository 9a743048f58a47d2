"""An example of each kind of JSON file, and what tests do with one."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest


def strict_json(text: str) -> Any:
    """As every other reader takes JSON: without NaN and Infinity."""

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


TENSOR = {"shape": ["batch", 3], "dtype": "float32"}
ROW = {"target": "a/kernel", "source": "b/kernel", "rule": "copy", "shape": [3], "status": "COPIED"}
EQUALITY = dict.fromkeys(
    ("max_error", "rms_error", "noise_floor", "batch_error", "tolerance"), 0.5
) | {"latents": 9}
CHECKED = dict.fromkeys(("max_error", "rms_error", "noise_floor", "tolerance"), 0.5)
MACHINE = {"processor": "Abacus", "cores": 1, "gpus": [], "tensorflow": "2.21.0"}
BENCH_ROW = {"row": "vae", "family": "vae", "note": "", "seed": 0}
PREPARED = {
    "format": 1, "source": "x", "image_shape": [8, 8, 1], "dtype": "uint8", "conversion": "crop",
    "class_names": ["bag", "shoe"], "planned": {"train": {"images": 9, "images_per_shard": 9}},
}  # fmt: skip
SHARD = {"images": 9, "bytes": 9, "sha256": "0" * 64, "ends_sha256": "0" * 64}
# What no file of the repository is; each with all that its readers need and no more.
EXAMPLES: dict[str, Any] = {
    "AUTOENCODER": {
        "_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"], "up_block_types": ["UpDecoderBlock2D"],
        "block_out_channels": [32], "layers_per_block": 1, "act_fn": "silu", "latent_channels": 4,
        "norm_num_groups": 32, "sample_size": 64, "scaling_factor": 0.18, "use_quant_conv": True,
        "use_post_quant_conv": True, "mid_block_add_attention": True,
    },
    "HISTORY": [{"epoch": 1, "step": 3}],
    "CONVERSION": {
        "source": "dcgan", "target": "vae", "weights": "ema", "equivalence": "tolerance",
        "equality": EQUALITY, "rows": [ROW], "coverage": 1.0,
    },
    "EXPORT": {
        "format": "onnx", "run": None, "model": "vae", "latent_dim": 3, "image_shape": [8, 8, 1],
        "endpoints": {"generate": {"inputs": {"z": TENSOR}, "outputs": {"image": TENSOR}}},
        "files": {"generate.onnx": "0" * 64},
    },
    "VERIFICATION": {
        "path": "x", "format": "onnx", "problems": [], "passed": True,
        "rows": [{"runtime": "a", "function": "b", "output": "c", "passed": True, **CHECKED}],
    },
    "TIMED": {"seconds": 1.5},
    "CURVE": [{"step": 0, "seconds": 0.0}],
    "TIMING": [{"images": 10, "seconds": 0.5}],
    "FAILURE": {"error": "It failed.", "bench": BENCH_ROW},
    "RUN": {
        "format": 1, "model": "vae", "image_shape": [8, 8, 1], "latent_dim": 3, "versions": {},
    },
    "PRESET": {
        "format": 1, "model": "vae", "family": "vae", "image_shape": [8, 8, 1], "latent_dim": 3,
        "options": {}, "parameters": 9, "data": None, "facts": {}, "files": {},
    },
    "METRICS": {
        "data": "x", "split": "test", "images": 9, "samples": 9, "extractor": None,
        "metrics": {"elbo": 1.5},
        "bench": {
            **BENCH_ROW, "epochs": 1, "parameters": 9, "images_per_second": None,
            "machine": MACHINE,
        },
    },
    "REGISTRY": {
        "format": 1,
        "presets": {
            "a": {
                "family": "vae", "model": "vae", "data": None, "image_shape": [8, 8, 1], "size": 9,
                "sha256": "0" * 64, "headline": ["elbo", 1.5], "num_classes": 10,
            },
        },
    },
    "PROTOCOLS": [{
        "name": "fid9_test", "metric": "fid", "samples": 9, "split": "test", "extractor": "x",
        "resize": None, "weights": "ema", "seed": 0, "metrics": {"fid9_test": 1.5}, "step": 9,
        "data": "x",
    }],
    "DATASET": {
        **PREPARED, "versions": {"pillow": "13.0.0"},
        "splits": {
            "train": {
                "images": 9, "shards": {"train-00000": SHARD},
                "labels": {"sha256": "0" * 64, "counts": [4, 5]},
            },
        },
    },
    "PREPARATION": {**PREPARED, "shards": {"train-00000": SHARD}},
    "CLASSIFIER": {"image_shape": [28, 28, 1], "classes": 10, "sha256": "0" * 64},
}  # fmt: skip


def at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def changed(value: Any, place: tuple[Any, ...], *new: Any) -> Any:
    """A copy with something else at a place; without a new value, with nothing there."""
    value = copy.deepcopy(value)
    parent = at(value, place[:-1])
    if new:
        parent[place[-1]] = new[0]
    else:
        del parent[place[-1]]
    return value
