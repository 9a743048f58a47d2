"""The architectures: sizes, latents beside images, storage, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.support.small_networks import (
    CLASSES,
    EVERY,
    LABELS,
    LARGE,
    NAMES,
    build_network,
    random_images,
    random_latents,
)
from zoo import networks
from zoo.networks import conv, resnet


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
@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", EVERY)
def test_shapes_ranges_and_precision(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    policy = keras.DTypePolicy(dtype)
    images, latents = random_images(shape), random_latents()
    found = {
        role: build_network(name, role, shape, *args, dtype=policy)(x)
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


# Latents


@pytest.mark.parametrize("name", EVERY)
def test_latents_join_the_features(name: str) -> None:
    model = build_network(
        name, "discriminator", (8, 8, 1), normalization="none", latent_dim=5, heads=(2,)
    )
    assert [tensor.name for tensor in model.inputs] == ["image", "latent"]
    images, latents = tf.constant(random_images()), tf.constant(random_latents())
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


def test_saved_and_loaded(tmp_path: Path) -> None:
    options = {"normalization": "spectral", "num_classes": CLASSES, "heads": (2,)}
    for model, x in [
        (build_network("resnet", "discriminator", (8, 8, 1), **options), random_images()),
        (build_network("resnet", "generator", (8, 8, 1), 5, num_classes=CLASSES), random_latents()),
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


# Errors


def test_names() -> None:
    assert networks.list_networks() == sorted((*NAMES, *LARGE))
    with pytest.raises(ValueError, match="'rsnet'.*resnet"):
        networks.build("rsnet", "generator", (8, 8, 1), 5)
    for hidden in ("_heads", "patch", "pixelcnn", "projected"):
        with pytest.raises(ValueError, match=f"Unknown network '{hidden}'"):
            networks.build(hidden, "generator", (8, 8, 1), 5)
    with pytest.raises(ValueError, match="conv network has no 'halvings': of encoder, .*, it has"):
        networks.build("conv", "halvings", (8, 8, 1))


@pytest.mark.parametrize("name", EVERY)
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


@pytest.mark.parametrize("network", ["fastgan-2", "r3gan-8", "style-8", "stylegan2-4"])
@pytest.mark.parametrize(("model", "option"), [("bigan", "latent_dim"), ("acgan", "heads")])
def test_a_network_of_one_gan_is_refused_by_others(model: str, option: str, network: str) -> None:
    options = {"num_classes": 3} if model == "acgan" else {}
    with pytest.raises(ValueError, match=rf"its discriminator takes no {option}.*Take one of"):
        zoo.create(model, (16, 16, 1), 4, network=network, **options)
