"""The architectures: sizes, labels, normalisation, heads; against PyTorch and NumPy.

Layers are compared with PyTorch to 1e-5 of float32 values near 1: some 100 roundings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from zoo import networks
from zoo.convert import trunks
from zoo.layers import ConditionalBatchNormalization, SpectralConv2D, SpectralDense
from zoo.networks import conv, resnet
from zoo.training import strategy

NAMES = ("conv", "mlp", "resnet")
CLASSES = 3
LABELS = np.array([0, 1, 2, 1], np.int32)


def _build(name: str, role: str, *args: Any, **options: Any) -> Any:
    """A network, narrow where that can be chosen."""
    return networks.build(name, role, *args, **options, **({} if name == "mlp" else {"width": 4}))


def _images(shape: tuple[int, ...] = (8, 8, 1), n: int = 4) -> np.ndarray:
    return np.random.default_rng(0).random((n, *shape)).astype(np.float32)


def _latents(n: int = 4, size: int = 5) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, size)).astype(np.float32)


def _shake(model: Any) -> Any:
    """Random weights, positive where they must be."""
    rng = np.random.default_rng(2)
    for weight in model.weights:
        value = rng.normal(0.0, 0.3, weight.shape)
        weight.assign(1.0 + np.abs(value) if "variance" in weight.name else value)
    return model


def _channels(model: Any, *names: str) -> list[int]:
    return [model.get_layer(name).output.shape[-1] for name in names]


# Sizes


@pytest.mark.parametrize("options", [{}, {"width": 8}], ids=str)
@pytest.mark.parametrize(("side", "stages"), [(28, 2), (48, 3), (64, 4), (128, 5)])
def test_channels_double_as_the_side_halves(side: int, stages: int, options: dict) -> None:
    """Those of arXiv 1511.06434, figure 1."""
    width = options.get("width", 64)
    widths = [min(width << i, 512) for i in range(stages)]
    shape, start = (side, side, 3), side >> stages
    for build in (conv.generator, conv.decoder):
        model = build(shape, 5, **options)
        assert model.get_layer("project").units == start * start * widths[-1]
        assert model.get_layer("reshape").output.shape[1:] == (start, start, widths[-1])
        names = [f"conv_transpose_{i}" for i in range(1, stages)]
        assert _channels(model, *names, "logits") == [*widths[:-1], 3]
    for model in (conv.encoder(shape, 5, **options), conv.discriminator(shape, **options)):
        assert _channels(model, *[f"conv_{i}" for i in range(stages)]) == widths


@pytest.mark.parametrize(
    ("side", "widths"),
    [(28, [2, 4]), (32, [2, 4, 8]), (48, [2, 4, 8]), (96, [2, 4, 8, 8]), (128, [2, 4, 8, 8, 8])],
)
def test_residual_blocks_double_too(side: int, widths: list[int]) -> None:
    shape, stages = (side, side, 3), len(widths)
    start = side >> stages
    names = [f"block_{i}" for i in range(stages)]
    model = resnet.generator(shape, 5, width=2)
    assert model.get_layer("reshape").output.shape[1:] == (start, start, widths[-1])
    assert _channels(model, *names, "logits") == [*widths, 3]
    model = resnet.discriminator(shape, width=2)
    assert _channels(model, *names, f"block_{stages}", "features") == [*widths, *widths[-1:] * 2]
    assert model.get_layer(f"block_{stages}").output.shape[1:3] == (start, start)


def test_a_residual_generator_of_small_images_has_a_million_weights() -> None:
    assert 0.7e6 < resnet.generator((28, 28, 1), 64).count_params() < 1.3e6


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 3), (8, 12, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_shapes_ranges_and_precision(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    policy = keras.DTypePolicy(dtype)
    images, latents = _images(shape), _latents()
    found = {
        role: _build(name, role, shape, *args, dtype=policy)(x)
        for role, args, x in [
            ("encoder", (5,), images),
            ("decoder", (5,), latents),
            ("generator", (5,), 10.0 * latents),
            ("discriminator", (), images),
        ]
    }
    mean, log_variance = found["encoder"]
    assert mean.shape == log_variance.shape == (4, 5)
    assert found["decoder"].shape == found["generator"].shape == (4, *shape)
    assert found["discriminator"].shape == (4, 1)
    for value in [mean, log_variance, *list(found.values())[1:]]:
        assert value.dtype == tf.float32
        assert np.std(value) > 0
    assert np.min(found["generator"]) >= 0
    assert np.max(found["generator"]) <= 1
    assert np.min(found["decoder"]) < 0


# Labels


@pytest.mark.parametrize("name", NAMES)
def test_labels_join_what_the_networks_of_a_vae_take(name: str) -> None:
    encoder = _build(name, "encoder", (8, 12, 2), 5, num_classes=CLASSES)
    images = _images((8, 12, 2))
    rows = np.eye(CLASSES)[LABELS]
    joined = keras.Model(encoder.inputs, encoder.get_layer("image_and_label").output)
    planes = np.broadcast_to(rows[:, None, None], (4, 8, 12, CLASSES))
    wanted = {
        "mlp": np.concatenate([images.reshape(4, -1), rows], axis=1),
    }.get(name, np.concatenate([images, planes], axis=3))
    np.testing.assert_array_equal(joined([images, LABELS]), wanted)
    decoder = _build(name, "decoder", (8, 12, 2), 5, num_classes=CLASSES)
    joined = keras.Model(decoder.inputs, decoder.get_layer("latent_and_label").output)
    found = joined([_latents(), LABELS])
    np.testing.assert_array_equal(found, np.concatenate([_latents(), rows], axis=1, dtype="f"))
    for model, x in ((encoder, images), (decoder, _latents())):
        assert [tensor.name for tensor in model.inputs][1] == "label"
        one = np.zeros(4, np.int32)
        a, b = (np.asarray(keras.tree.flatten(model([x, y]))[0]) for y in (one, LABELS))
        np.testing.assert_allclose(a[0], b[0], rtol=1e-5, atol=1e-6)
        assert np.abs(a[1:] - b[1:]).max(axis=tuple(range(1, a.ndim))).min() > 1e-4


def test_labels_join_the_latents_of_a_dense_generator() -> None:
    model = networks.build("mlp", "generator", (8, 8, 1), 5, num_classes=CLASSES)
    joined = keras.Model(model.inputs, model.get_layer("latent_and_label").output)
    rows = np.eye(CLASSES, dtype=np.float32)[LABELS]
    found = joined([_latents(), LABELS])
    np.testing.assert_array_equal(found, np.concatenate([_latents(), rows], axis=1))


@pytest.mark.parametrize("name", ["conv", "resnet"])
def test_a_generators_label_joins_the_latents_and_goes_through_batch_norm(name: str) -> None:
    model = _build(name, "generator", (8, 8, 1), 5, num_classes=CLASSES)
    np.testing.assert_array_equal(
        keras.Model(model.inputs, model.get_layer("latent_and_label").output)([_latents(), LABELS]),
        np.concatenate([_latents(), np.eye(CLASSES, dtype=np.float32)[LABELS]], axis=1),
    )
    kernel = model.get_layer("project").kernel
    kernel.assign(np.where(np.arange(5 + CLASSES) < 5, 1.0, 0.0)[:, None] * kernel)  # the one off
    norms = [x for x in model.layers if isinstance(x, ConditionalBatchNormalization)]
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in model.layers)
    latents, zeros = _latents(), np.zeros(4, np.int32)
    first = np.asarray(model([latents, LABELS], training=True))
    # Gains and biases are 1 and 0 for each class at first.
    np.testing.assert_array_equal(first, model([latents, zeros], training=True))
    for norm in norms:
        norm.beta.assign(norm.beta + np.array([[0.0], [0.0], [1.0]]))
        norm.gamma.assign(norm.gamma * np.array([[1.0], [1.0], [2.0]]))
    changed = np.abs(np.asarray(model([latents, LABELS])) - np.asarray(model([latents, zeros])))
    assert (changed.max(axis=(1, 2, 3)) > 1e-4).tolist() == (LABELS == 2).tolist()


def test_conditional_batch_norm_is_pytorchs_with_a_gain_and_a_bias_a_class() -> None:
    import torch

    layer = ConditionalBatchNormalization(CLASSES)
    rng = np.random.default_rng(0)
    x = rng.normal(2.0, 3.0, (4, 5, 6, 7)).astype(np.float32)
    layer.build(x.shape, LABELS.shape)
    gamma, beta = rng.normal(size=(2, CLASSES, 7)).astype(np.float32)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    theirs = torch.nn.BatchNorm2d(7, affine=False, eps=1e-5, momentum=0.1)
    for training in (True, False):
        theirs.train(training)
        normalized = theirs(torch.tensor(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
        wanted = gamma[LABELS][:, None, None] * normalized + beta[LABELS][:, None, None]
        found = layer(x, LABELS, training=training)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
        # PyTorch keeps the unbiased variance.
        theirs.running_var = torch.tensor(np.asarray(layer.normalize.moving_variance))
    np.testing.assert_allclose(layer.normalize.moving_mean, theirs.running_mean, rtol=1e-5)


@pytest.mark.parametrize("normalization", ["none", "spectral"])
@pytest.mark.parametrize("name", NAMES)
def test_the_label_is_projected(name: str, normalization: str) -> None:
    """⟨embed(y), φ⟩ + ψ(φ), and further heads, computed in NumPy from the weights."""
    model = _shake(
        _build(
            name, "discriminator", (8, 8, 1), normalization=normalization, num_classes=CLASSES,
            heads=(2, 6),
        )
    )  # fmt: skip
    assert [tensor.name for tensor in model.inputs] == ["image", "label"]
    # ψ's input: φ
    features = keras.Model(model.inputs, model.get_layer("logit").input)([_images(), LABELS])
    features = np.asarray(features, np.float64)

    def kernel(name: str) -> np.ndarray:
        w = np.asarray(model.get_layer(name).kernel, np.float64)
        if normalization == "none":
            return w
        return w / np.linalg.norm(w @ np.asarray(model.get_layer(name).u, np.float64))

    def linear(name: str) -> np.ndarray:
        return features @ kernel(name) + np.asarray(model.get_layer(name).bias)

    inner = np.sum(kernel("embedding")[LABELS] * features, axis=1, keepdims=True)
    found = model([_images(), LABELS])
    wanted = [inner + linear("logit"), linear("head_0"), linear("head_1")]
    assert [value.shape[1] for value in found] == [1, 2, 6]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize("normalization", ["none", "spectral"])
def test_gradients_of_labels_can_be_added(normalization: str) -> None:
    """They are dense, as training in parts of a batch needs them."""
    options = {"normalization": normalization, "num_classes": CLASSES}
    critic = _build("conv", "discriminator", (8, 8, 1), **options)
    generator = _build("conv", "generator", (8, 8, 1), 5, num_classes=CLASSES)
    with tf.GradientTape() as tape:
        images = generator([_latents(), LABELS], training=True)
        loss = tf.reduce_sum(critic([images, tf.constant(LABELS)], training=True))
    variables = [*critic.trainable_variables, *generator.trainable_variables]
    assert all(isinstance(g, tf.Tensor) for g in tape.gradient(loss, variables))


# Latents


@pytest.mark.parametrize("name", NAMES)
def test_latents_join_the_features(name: str) -> None:
    model = _build(name, "discriminator", (8, 8, 1), normalization="none", latent_dim=5, heads=(2,))
    assert [tensor.name for tensor in model.inputs] == ["image", "latent"]
    images, latents = tf.constant(_images()), tf.constant(_latents())
    with tf.GradientTape() as tape:
        tape.watch([images, latents])
        logit, head = model([images, latents])
        loss = tf.reduce_sum(logit)
    assert head.shape == (4, 2)
    for gradient in tape.gradient(loss, [images, latents]):
        per_example = np.abs(gradient).reshape(4, -1).max(axis=1)
        assert per_example.min() > 0
    # Not additive: whether an image suits a latent depends on both.
    crossed = [model([x, z])[0] for x in (images, images[::-1]) for z in (latents, latents[::-1])]
    a, b, c, d = (np.asarray(value) for value in crossed)
    assert np.abs(a - b - c + d).max() > 1e-4


# Spectral normalisation


@pytest.mark.parametrize("name", NAMES)
def test_every_kernel_is_normalised(name: str) -> None:
    model = _build(
        name, "discriminator", (8, 8, 1), normalization="spectral", num_classes=CLASSES, heads=(4,)
    )
    joint = _build(name, "discriminator", (8, 8, 1), normalization="spectral", latent_dim=5)
    every = [layer for layer in [*model.layers, *joint.layers] if layer.weights]
    assert all(isinstance(layer, (SpectralDense, SpectralConv2D)) for layer in every)
    for layer in every:
        # The singular values of a large random kernel lie close, so that power iteration is slow;
        # a mean sets the largest apart.
        layer.kernel.assign(layer.kernel + 0.3)
        for _ in range(20):
            layer.normalized_kernel(training=True)
        kernel = layer.normalized_kernel(training=False)
        largest = np.linalg.norm(np.reshape(kernel, (-1, kernel.shape[-1])), 2)
        assert 1 - 1e-6 < largest < 1 + 1e-3, layer.name


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_spectral_layers_are_pytorchs(kind: str) -> None:
    """Value, gradient, and the gradient of a gradient penalty, at the same u and v."""
    import torch
    from torch.nn.utils.parametrizations import spectral_norm

    rng = np.random.default_rng(0)
    dense = kind == "dense"
    layer = SpectralDense(4) if dense else SpectralConv2D(4, 3)
    x = rng.normal(size=(2, 6) if dense else (2, 5, 5, 3)).astype(np.float32)
    layer.build(x.shape)
    w, u = np.asarray(layer.kernel), np.asarray(layer.u)
    v = w.reshape(-1, 4) @ u
    v /= np.linalg.norm(v)
    if not dense:
        v = v.reshape(3, 3, 3).transpose(2, 0, 1)
    order = (1, 0) if dense else (3, 2, 0, 1)
    theirs = torch.nn.Linear(6, 4) if dense else torch.nn.Conv2d(3, 4, 3)
    theirs = spectral_norm(theirs).eval()
    parametrization = theirs.parametrizations.weight
    with torch.no_grad():
        parametrization.original.copy_(torch.tensor(w.transpose(order)))
        parametrization[0]._u.copy_(torch.tensor(u))
        parametrization[0]._v.copy_(torch.tensor(v.reshape(-1)))
        theirs.bias.zero_()

    x_torch = torch.tensor(x if dense else x.transpose(0, 3, 1, 2), requires_grad=True)
    y_torch = theirs(x_torch)
    loss_torch = (y_torch**3).sum()
    (slope,) = torch.autograd.grad(loss_torch, x_torch, create_graph=True)
    of_loss, of_penalty = (
        torch.autograd.grad(value, parametrization.original, retain_graph=True)[0].numpy()
        for value in (loss_torch, (slope**2).sum())
    )

    kernel = layer.trainable_variables[0]
    images = tf.constant(x)
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            inner.watch(images)
            y = layer(images)
            loss = tf.reduce_sum(y**3)
        penalty = tf.reduce_sum(inner.gradient(loss, images) ** 2)
    wanted = y_torch.detach().numpy()
    np.testing.assert_allclose(
        y, wanted if dense else wanted.transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-5
    )
    back = np.argsort(order)
    for found, gradient in ((loss, of_loss), (penalty, of_penalty)):
        np.testing.assert_allclose(
            outer.gradient(found, kernel), gradient.transpose(back), rtol=1e-5,
            atol=1e-5 * np.abs(gradient).max(),
        )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_call_in_training_is_one_power_iteration(dtype: str) -> None:
    """Algorithm 1 of arXiv 1802.05957; σ in float32 whatever the layer computes in."""
    layer = SpectralDense(4, dtype=dtype)
    layer.build((None, 6))
    w, u = np.asarray(layer.kernel, np.float64), np.asarray(layer.u, np.float64)
    assert np.linalg.norm(u) == pytest.approx(1.0, abs=1e-6)
    x = _latents(3, 6)
    y = layer(x, training=True)
    v = w @ u / np.linalg.norm(w @ u)
    moved = v @ w / np.linalg.norm(v @ w)
    assert layer.u.dtype == "float32"
    np.testing.assert_allclose(layer.u, moved, atol=1e-6)
    sigma = v @ w @ moved
    unit = keras.backend.standardize_dtype(layer.compute_dtype)
    rounding = {"float32": 1e-6, "float16": 2**-10, "bfloat16": 2**-7}[unit]
    # Two roundings, of W / σ and of x, in each of six products.
    tolerance = 2 * 6 * rounding * np.abs(x).max()
    np.testing.assert_allclose(tf.cast(y, tf.float32), x @ (w / sigma), atol=tolerance)
    before = np.asarray(layer.u)
    layer(x, training=False)
    np.testing.assert_array_equal(layer.u, before)
    np.testing.assert_array_equal(layer.kernel, w.astype(np.float32))


def test_two_replicas_compute_what_one_does() -> None:
    """u, moving statistics and outputs, of a conditional generator and its spectral judge."""

    def train(devices: tf.distribute.Strategy, parts: int) -> tuple[list[Any], list[Any]]:
        keras.utils.set_random_seed(0)
        with devices.scope():
            generator = _build("conv", "generator", (8, 8, 1), 5, num_classes=CLASSES)
            critic = _build(
                "conv", "discriminator", (8, 8, 1), normalization="spectral", num_classes=CLASSES
            )
        size = 4 // parts

        @tf.function
        def step() -> Any:
            def of_replica() -> Any:
                context = tf.distribute.get_replica_context()
                start = size * tf.cast(context.replica_id_in_sync_group, tf.int32)
                latents = tf.constant(_latents())[start : start + size]
                labels = tf.constant(LABELS)[start : start + size]
                images = generator([latents, labels], training=True)
                return critic([images, labels], training=True)

            return devices.run(of_replica)

        for _ in range(2):
            logits = devices.experimental_local_results(step())
        weights = [*generator.non_trainable_variables, *critic.non_trainable_variables]
        copies = [devices.experimental_local_results(weight.value) for weight in weights]
        for values in copies:
            np.testing.assert_array_equal(values[0], values[-1])
        return [np.concatenate(logits)], [np.asarray(values[0]) for values in copies]

    two = train(strategy("mirrored", replicas=2), 2)  # the process's one over these devices
    one = train(tf.distribute.get_strategy(), 1)
    for a, b in zip([*two[0], *two[1]], [*one[0], *one[1]], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_saved_and_loaded(tmp_path: Path) -> None:
    options = {"normalization": "spectral", "num_classes": CLASSES, "heads": (2,)}
    for model, x in [
        (_build("resnet", "discriminator", (8, 8, 1), **options), _images()),
        (_build("resnet", "generator", (8, 8, 1), 5, num_classes=CLASSES), _latents()),
    ]:
        model([x, LABELS], training=True)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        for training in (False, True, False):
            found, wanted = (
                keras.tree.flatten(each([x, LABELS], training=training)) for each in (loaded, model)
            )
            for a, b in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(a, b)


# The residual networks, in PyTorch, as the paper draws them


def _torch_conv(model: Any, name: str, x: Any) -> Any:
    import torch

    layer = model.get_layer(name)
    kernel = torch.tensor(np.asarray(layer.kernel).transpose(3, 2, 0, 1))
    return torch.conv2d(x, kernel, torch.tensor(np.asarray(layer.bias)), padding="same")


def test_the_residual_discriminator_is_the_papers() -> None:
    import torch
    from torch.nn.functional import avg_pool2d, relu

    model = _shake(_build("resnet", "discriminator", (16, 16, 1), normalization="none"))
    images = _images((16, 16, 1))
    x = torch.tensor(images.transpose(0, 3, 1, 2) * 2 - 1)

    def block(x: Any, name: str, *, first: bool = False, pool: bool = True) -> Any:
        h = _torch_conv(model, f"{name}_conv_0", x if first else relu(x))
        h = _torch_conv(model, f"{name}_conv_1", relu(h))
        if not pool:
            return x + h
        return avg_pool2d(h, 2) + avg_pool2d(_torch_conv(model, f"{name}_shortcut", x), 2)

    x = block(block(x, "block_0", first=True), "block_1")
    features = relu(block(x, "block_2", pool=False)).sum((2, 3)).numpy()
    logit = model.get_layer("logit")
    wanted = features @ np.asarray(logit.kernel) + np.asarray(logit.bias)
    np.testing.assert_allclose(model(images), wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("role", ["generator", "decoder"])
def test_the_residual_generator_is_the_papers(role: str) -> None:
    import torch
    from torch.nn.functional import batch_norm, interpolate, relu

    model = _shake(_build("resnet", role, (16, 16, 2), 5))
    project = model.get_layer("project")
    x = _latents() @ np.asarray(project.kernel) + np.asarray(project.bias)
    x = torch.tensor(x.reshape(4, 4, 4, 8).transpose(0, 3, 1, 2))

    def activate(x: Any, name: str) -> Any:
        if role == "generator":
            weights = model.get_layer(f"{name}_batch_norm").get_weights()
            gamma, beta, mean, variance = (torch.tensor(weight) for weight in weights)
            x = batch_norm(x, mean, variance, gamma, beta, eps=1e-5)
        return relu(x)

    def block(x: Any, name: str) -> Any:
        h = interpolate(activate(x, f"{name}_0"), scale_factor=2)
        h = _torch_conv(model, f"{name}_conv_0", h)
        h = _torch_conv(model, f"{name}_conv_1", activate(h, f"{name}_1"))
        return h + _torch_conv(model, f"{name}_shortcut", interpolate(x, scale_factor=2))

    x = activate(block(block(x, "block_1"), "block_0"), "output")
    wanted = _torch_conv(model, "logits", x)
    if role == "generator":
        wanted = (torch.tanh(wanted) + 1) / 2
    wanted = wanted.numpy().transpose(0, 2, 3, 1)
    found = model(_latents())
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("normalization", ["batch", "spectral"])
@pytest.mark.parametrize("name", NAMES)
def test_a_discriminators_trunk_takes_an_encoders_heads(name: str, normalization: str) -> None:
    critic = _build(name, "discriminator", (8, 8, 1), normalization=normalization)
    encoder = trunks.encoder_on(trunks.encoder_trunk(critic), 5)
    assert [output.shape for output in encoder.outputs] == [(None, 5)] * 2


# Errors


def test_names() -> None:
    assert networks.list_networks() == list(NAMES)
    with pytest.raises(ValueError, match="'rsnet'.*resnet"):
        networks.build("rsnet", "generator", (8, 8, 1), 5)
    for hidden in ("_heads", "pixelcnn"):
        with pytest.raises(ValueError, match=f"Unknown network '{hidden}'"):
            networks.build(hidden, "generator", (8, 8, 1), 5)
    with pytest.raises(ValueError, match="conv network has no 'halvings': of encoder, .*, it has"):
        networks.build("conv", "halvings", (8, 8, 1))


@pytest.mark.parametrize("name", NAMES)
def test_discriminators_refuse(name: str) -> None:
    with pytest.raises(ValueError, match=r"normalization='layer': expected 'batch', 'none' or"):
        networks.build(name, "discriminator", (8, 8, 1), normalization="layer")
    with pytest.raises(ValueError, match="num_classes=3 and latent_dim=5: expected one of them 0"):
        networks.build(name, "discriminator", (8, 8, 1), num_classes=3, latent_dim=5)


@pytest.mark.parametrize("role", networks.ROLES)
@pytest.mark.parametrize("name", ["conv", "resnet"])
def test_impossible_sizes(name: str, role: str) -> None:
    latent = () if role == "discriminator" else (5,)
    with pytest.raises(ValueError, match=f"{name} network cannot make 30 × 30.*Resize to 32 × 32"):
        networks.build(name, role, (30, 30, 1), *latent)
    with pytest.raises(ValueError, match="at least 8"):
        networks.build(name, role, (6, 6, 1), *latent)
