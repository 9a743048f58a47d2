"""Labels: what they join, and the projection of a discriminator's."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.support.small_networks import (
    CLASSES,
    EVERY,
    LABELS,
    NAMES,
    build_network,
    random_images,
    random_latents,
    shake,
)
from zoo import networks
from zoo.layers import ConditionalBatchNormalization


@pytest.mark.parametrize("name", NAMES)
def test_labels_join_what_the_networks_of_a_vae_take(name: str) -> None:
    encoder = build_network(name, "encoder", (8, 12, 2), 5, num_classes=CLASSES)
    images = random_images((8, 12, 2))
    rows = np.eye(CLASSES)[LABELS]
    joined = keras.Model(encoder.inputs, encoder.get_layer("image_and_label").output)
    planes = np.broadcast_to(rows[:, None, None], (4, 8, 12, CLASSES))
    wanted = {
        "mlp": np.concatenate([images.reshape(4, -1), rows], axis=1),
    }.get(name, np.concatenate([images, planes], axis=3))
    np.testing.assert_array_equal(joined([images, LABELS]), wanted)
    decoder = build_network(name, "decoder", (8, 12, 2), 5, num_classes=CLASSES)
    joined = keras.Model(decoder.inputs, decoder.get_layer("latent_and_label").output)
    found = joined([random_latents(), LABELS])
    np.testing.assert_array_equal(
        found, np.concatenate([random_latents(), rows], axis=1, dtype="f")
    )
    for model, x in ((encoder, images), (decoder, random_latents())):
        assert [tensor.name for tensor in model.inputs][1] == "label"
        one = np.zeros(4, np.int32)
        a, b = (np.asarray(keras.tree.flatten(model([x, y]))[0]) for y in (one, LABELS))
        np.testing.assert_allclose(a[0], b[0], rtol=1e-5, atol=1e-6)
        assert np.abs(a[1:] - b[1:]).max(axis=tuple(range(1, a.ndim))).min() > 1e-4


def test_labels_join_the_latents_of_a_dense_generator() -> None:
    model = networks.build("mlp", "generator", (8, 8, 1), 5, num_classes=CLASSES)
    joined = keras.Model(model.inputs, model.get_layer("latent_and_label").output)
    rows = np.eye(CLASSES, dtype=np.float32)[LABELS]
    found = joined([random_latents(), LABELS])
    np.testing.assert_array_equal(found, np.concatenate([random_latents(), rows], axis=1))


@pytest.mark.parametrize("name", ["conv", "resnet"])
def test_a_generators_label_joins_the_latents_and_goes_through_batch_norm(name: str) -> None:
    model = build_network(name, "generator", (8, 8, 1), 5, num_classes=CLASSES)
    np.testing.assert_array_equal(
        keras.Model(model.inputs, model.get_layer("latent_and_label").output)(
            [random_latents(), LABELS]
        ),
        np.concatenate([random_latents(), np.eye(CLASSES, dtype=np.float32)[LABELS]], axis=1),
    )
    kernel = model.get_layer("project").kernel
    kernel.assign(np.where(np.arange(5 + CLASSES) < 5, 1.0, 0.0)[:, None] * kernel)  # the one off
    norms = [x for x in model.layers if isinstance(x, ConditionalBatchNormalization)]
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in model.layers)
    latents, zeros = random_latents(), np.zeros(4, np.int32)
    first = np.asarray(model([latents, LABELS], training=True))
    # Gains and biases are 1 and 0 for each class at first.
    np.testing.assert_array_equal(first, model([latents, zeros], training=True))
    for norm in norms:
        norm.beta.assign(norm.beta + np.array([[0.0], [0.0], [1.0]]))
        norm.gamma.assign(norm.gamma * np.array([[1.0], [1.0], [2.0]]))
    changed = np.abs(np.asarray(model([latents, LABELS])) - np.asarray(model([latents, zeros])))
    assert (changed.max(axis=(1, 2, 3)) > 1e-4).tolist() == (LABELS == 2).tolist()


@pytest.mark.parametrize("normalization", ["none", "spectral"])
@pytest.mark.parametrize("name", EVERY)
def test_the_label_is_projected(name: str, normalization: str) -> None:
    """⟨embed(y), φ⟩ + ψ(φ), and further heads, computed in NumPy from the weights."""
    model = shake(
        build_network(
            name, "discriminator", (8, 8, 1), normalization=normalization, num_classes=CLASSES,
            heads=(2, 6),
        )
    )  # fmt: skip
    assert [tensor.name for tensor in model.inputs] == ["image", "label"]
    # ψ's input: φ
    features = keras.Model(model.inputs, model.get_layer("logit").input)([random_images(), LABELS])
    features = np.asarray(features, np.float64)

    def kernel(name: str) -> np.ndarray:
        w = np.asarray(model.get_layer(name).kernel, np.float64)
        if normalization == "none":
            return w
        return w / np.linalg.norm(w @ np.asarray(model.get_layer(name).u, np.float64))

    def linear(name: str) -> np.ndarray:
        return features @ kernel(name) + np.asarray(model.get_layer(name).bias)

    inner = np.sum(kernel("embedding")[LABELS] * features, axis=1, keepdims=True)
    found = model([random_images(), LABELS])
    wanted = [inner + linear("logit"), linear("head_0"), linear("head_1")]
    assert [value.shape[1] for value in found] == [1, 2, 6]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize("normalization", ["none", "spectral"])
def test_gradients_of_labels_can_be_added(normalization: str) -> None:
    """They are dense, as training in parts of a batch needs them."""
    options = {"normalization": normalization, "num_classes": CLASSES}
    critic = build_network("conv", "discriminator", (8, 8, 1), **options)
    generator = build_network("conv", "generator", (8, 8, 1), 5, num_classes=CLASSES)
    with tf.GradientTape() as tape:
        images = generator([random_latents(), LABELS], training=True)
        loss = tf.reduce_sum(critic([images, tf.constant(LABELS)], training=True))
    variables = [*critic.trainable_variables, *generator.trainable_variables]
    assert all(isinstance(g, tf.Tensor) for g in tape.gradient(loss, variables))
