"""The Inception of published FIDs against the references' own classes, with random weights.

A port that agrees on random weights, for every output and at several sizes, is right for the
published ones, which cannot be had without a network.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import torch
from keras import layers

from tests.support.torch_inception import random_weights, reference, torch_fidelity_network
from zoo import metrics
from zoo.io.files import sha256
from zoo.metrics import inception
from zoo.metrics.features import quantise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Of features about 10: float32 noise after 94 convolutions.
NOISE = {"rtol": 1e-4, "atol": 2e-4}


def _images(height: int, width: int, channels: int = 3, n: int = 3) -> np.ndarray:
    """Waves and noise, float32 in [0, 1]."""
    rng = np.random.default_rng(height)
    y, x = np.mgrid[0.0:1.0:height*1j, 0.0:1.0:width*1j]  # fmt: skip
    waves = rng.normal(0.0, 8.0, (2, n, 1, 1, channels))
    images = 0.5 + 0.4 * np.sin(waves[0] * y[..., None] + waves[1] * x[..., None])
    images += rng.normal(0.0, 0.1, images.shape)
    return np.clip(images, 0.0, 1.0).astype(np.float32)


def _as_torch(images: np.ndarray) -> torch.Tensor:
    """uint8 [n, 3, height, width]."""
    images = np.broadcast_to(quantise(images), (*images.shape[:-1], 3))
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weights(tmp_path_factory.mktemp("weights") / "inception.pth")


@pytest.fixture(scope="module")
def load(weights: Path) -> Callable[..., metrics.FeatureExtractor]:
    """Loads the extractor as users do, with the random weights as the published ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "SHA256", sha256(weights))
        network = inception.load_inception(weights)

    def loaded(**options: Any) -> metrics.FeatureExtractor:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("zoo.metrics.features.load_inception", lambda _: network)
            return metrics.load_extractor("inception_fid", **options)

    return loaded


SIZES = [(28, 28, 1), (64, 48, 3), (299, 299, 3), (400, 310, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("shape", SIZES)
def test_features_and_logits_are_those_of_torch_fidelity(
    weights: Path, load: Any, shape: tuple[int, int, int]
) -> None:
    images = _images(*shape)
    extractor = load()
    assert extractor.title == "inception_fid (tf1-bilinear)"
    network = torch_fidelity_network(weights, ("2048", "logits_unbiased"))
    with torch.no_grad():
        features, logits = network(_as_torch(images))
    assert features.std() > 1.0
    assert (features[0] - features[1]).abs().max() > 0.1  # the case tells something
    np.testing.assert_allclose(extractor(images), features.numpy(), **NOISE)
    np.testing.assert_allclose(extractor.predict(images), logits.softmax(dim=1), **NOISE)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SIZES)
def test_features_are_those_of_pytorch_fid(
    weights: Path, load: Any, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = reference("pytorch_fid.inception")
    monkeypatch.setattr(module, "load_state_dict_from_url", lambda *_, **__: torch.load(weights))
    network = module.InceptionV3([3]).eval()
    images = _images(*shape)
    with torch.no_grad():
        features = network(_as_torch(images) / 255.0)[0][:, :, 0, 0]
    np.testing.assert_allclose(load(resize="pytorch-bilinear")(images), features, **NOISE)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SIZES)
def test_features_are_those_of_clean_fid(
    weights: Path, load: Any, shape: tuple[int, int, int]
) -> None:
    """Its resizing before the reference network, at the size that nothing resizes any more."""
    images = _images(*shape)
    resize = reference("cleanfid.resize").build_resizer("clean")
    pixels = _as_torch(images).numpy().transpose(0, 2, 3, 1)
    resized = torch.from_numpy(np.stack([resize(each) for each in pixels])).permute(0, 3, 1, 2)
    network = torch_fidelity_network(weights, ("2048",))
    network.forward.__globals__["vassert"] = lambda *_: None  # floats are let in
    with torch.no_grad():
        features = network(resized)[0]
    np.testing.assert_allclose(load(resize="clean")(images), features, **NOISE)


@pytest.mark.slow
def test_both_formats_of_file_give_the_same_network(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    legacy = random_weights(tmp_path / "legacy.pth", zipped=False)
    networks = []
    for path in (weights, legacy):
        monkeypatch.setattr(inception, "SHA256", sha256(path))
        networks.append(inception.load_inception(path))
    for one, other in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_array_equal(one, other)


def test_average_pooling_leaves_padding_out() -> None:
    image = np.arange(9.0, dtype=np.float32).reshape(1, 3, 3, 1)
    pooled = np.asarray(inception._average_pool(image))[0, :, :, 0]
    assert pooled[0, 0] == np.mean([0, 1, 3, 4])
    assert pooled[0, 1] == np.mean([0, 1, 2, 3, 4, 5])
    assert pooled[1, 1] == 4.0


def test_weights_find_their_layers_and_none_is_left() -> None:
    network = keras.Sequential(
        [
            layers.Conv2D(2, (1, 3), use_bias=False, name="a.conv"),
            layers.BatchNormalization(name="a.bn"),
        ]
    )
    network.build((None, 4, 4, 3))
    state = {
        "a.conv.weight": np.arange(18.0).reshape(2, 3, 1, 3),
        "a.bn.num_batches_tracked": np.array(3),
        **{f"a.bn.{k}": np.full(2, 1.0 + i) for i, k in enumerate(("weight", "bias"))},
        **{f"a.bn.running_{k}": np.full(2, 3.0 + i) for i, k in enumerate(("mean", "var"))},
        "fc.bias": np.zeros(3),
    }
    inception.set_weights(network, state)
    kernel, *normalization = network.get_weights()
    np.testing.assert_array_equal(kernel[0, 2, 1], [5.0, 14.0])  # [out, in, h, w] = [:, 1, 0, 2]
    assert [values[0] for values in normalization] == [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(ValueError, match=r"1 arrays of no layer, such as b\.conv\.weight"):
        inception.set_weights(network, {**state, "b.conv.weight": np.zeros(1)})
    del state["a.bn.bias"]
    with pytest.raises(ValueError, match=r"lack 'a\.bn\.bias'"):
        inception.set_weights(network, state)


def test_other_weights_are_refused_before_anything_is_built(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"other weights")
    message = rf"weights\.pth has sha256 {sha256(path)}.*have 6726825d.*https://github\.com"
    with pytest.raises(ValueError, match=message):
        metrics.load_extractor("inception_fid", weights=path)
    with pytest.raises(FileNotFoundError):
        metrics.load_extractor("inception_fid", weights=tmp_path / "absent.pth")
    with pytest.raises(ValueError, match=r"Unknown resize 'cleam'.*clean"):
        metrics.load_extractor("inception_fid", weights=path, resize="cleam")


def test_without_a_network_the_error_says_which_file_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    monkeypatch.setattr(inception, "URL", "http://127.0.0.1:9/pt_inception.pth")
    place = tmp_path / "weights" / "pt_inception.pth"
    message = rf"save it as {re.escape(str(place))}.*--extractor-weights FILE"
    with pytest.raises(ConnectionError, match=message):
        metrics.load_extractor("inception_fid")
    place.write_bytes(b"other weights")  # a file that is there is read, and not downloaded
    with pytest.raises(ValueError, match=r"pt_inception\.pth has sha256"):
        metrics.load_extractor("inception_fid")


def test_a_downloaded_file_is_taken_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    kept = tmp_path / "weights" / "pt_inception-2015-12-05-6726825d.pth"
    kept.parent.mkdir()
    kept.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"6726825d\.pth has sha256"):  # it was found, and read
        metrics.load_extractor("inception_fid")
