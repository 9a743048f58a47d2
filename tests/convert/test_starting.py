"""A model that starts from another: its images, tensor by tensor, with other classes and sizes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo.convert.classes import matrix, starts
from zoo.convert.growing import networks_of
from zoo.convert.starting import start_from

LATENTS = np.random.default_rng(3).standard_normal((12, 3)).astype(np.float32)
ROUNDING = 2e-6  # of pixels; the networks compute in float32


def source_of(name: str, network: str, classes: int, **options: Any) -> Any:
    """A model whose tensors all differ, those of its average too."""
    keras.utils.set_random_seed(0)
    options |= {"num_classes": classes} if classes else {}
    model = zoo.create(name, (8, 8, 1), 3, network=network, **options)
    rng = np.random.default_rng(1)
    for each in networks_of(model).values():
        for v in each.variables:
            if v.dtype == "float32" and v.name != "psi":
                noise = rng.normal(size=v.shape, scale=0.1 * np.std(v) + 0.02)
                v.assign(np.abs(v + noise) if "variance" in v.name else v + noise)
    model.step.assign(7)
    return model


def names(count: int) -> list[str]:
    return [f"c{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("name", "network", "options"),
    [
        ("dcgan", "mlp", {"ema": 0.9}),
        pytest.param("dcgan", "conv-4", {}, marks=pytest.mark.slow),
        pytest.param("stylegan2", "style-4", {}, marks=pytest.mark.slow),
        ("acgan", "mlp", {}),
        ("cvae", "conv-4", {}),
    ],
)
def test_a_new_class_draws_what_its_old_class_drew(
    name: str, network: str, options: dict[str, Any]
) -> None:
    """Four classes from three; one is old class 0 twice, one is none."""
    source = source_of(name, network, 3, **options)
    found = starts(["c2", "x", "y", "z"], names(3), {"x": "c0", "y": "0"})
    assert [start.old for start in found] == [2, 0, 0, None]
    model, report = start_from(source, found, num_classes=4)
    for new, old in enumerate((2, 0, 0)):
        wanted = source.generate_from(LATENTS, old)
        np.testing.assert_allclose(model.generate_from(LATENTS, new), wanted, atol=ROUNDING)
        assert np.ptp(wanted, axis=0).max() > 1e-3
    classes = [source.generate_from(LATENTS, number) for number in range(3)]
    assert np.abs(classes[0] - classes[1]).max() > 1e-3
    assert (report.compared, model.steps_done) == (3, 0)
    assert all(row.source for row in report.rows)
    images = source.generate(6, seed=0, labels=0)
    if name == "cvae":
        for ours, theirs in zip(model.encode(images, 1), source.encode(images, 0), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        return
    labels = [] if name == "acgan" else [1], [] if name == "acgan" else [0]
    ours, theirs = (
        each.discriminate(images, *(np.full(6, n) for n in given))
        for each, given in zip((model, source), labels, strict=True)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    raw = [m.generator([LATENTS, np.full(12, n, np.int32)]) for m, n in ((model, 1), (source, 0))]
    np.testing.assert_allclose(*raw, atol=ROUNDING)
    if name == "acgan":
        ours, theirs = (each.discriminator(images)[1].numpy() for each in (model, source))
        np.testing.assert_allclose(ours[:, [0, 1, 2]], theirs[:, [2, 0, 0]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "network", "options"),
    [
        ("dcgan", "mlp", {"ema": 0.9}),
        pytest.param("wgan_gp", "resnet-4", {}, marks=pytest.mark.slow),
        pytest.param("stylegan2", "style-4", {}, marks=pytest.mark.slow),
        ("vae", "conv-4", {}),
    ],
)
def test_labels_are_added_and_every_class_draws_all(
    name: str, network: str, options: dict[str, Any]
) -> None:
    source = source_of(name, network, 0, **options)
    model, report = start_from(source, starts(names(2), [], {}), num_classes=2)
    wanted = source.generate_from(LATENTS)
    for label in range(2):
        np.testing.assert_allclose(model.generate_from(LATENTS, label), wanted, atol=ROUNDING)
    images, labels = source.generate(6, seed=0), np.array([0, 1] * 3)
    if name == "vae":
        ours, theirs = model.encode(images, labels)[0], source.encode(images)[0]
    else:
        ours, theirs = model.discriminate(images, labels), source.discriminate(images)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert report.classes[0].text == "all images of the source"


@pytest.mark.parametrize(
    ("name", "network", "own"),
    [
        pytest.param("dcgan", "mlp", [], marks=pytest.mark.slow),
        ("dcgan", "conv-4", ["generator"]),
        pytest.param("stylegan2", "style-4", [], marks=pytest.mark.slow),
        ("vae", "mlp", []),
    ],
)
def test_labels_are_removed_and_one_class_is_drawn(name: str, network: str, own: list) -> None:
    """A conv generator has no bias to take the class: the model then keeps a network of its own."""
    source = source_of(name, network, 3, **({} if name == "vae" else {"ema": 0.9}))
    model, report = start_from(source, starts([], names(3), {"all": "c1"}), num_classes=0)
    assert (model.num_classes, model._own_networks, report.compared) == (0, own, 1)
    wanted = source.generate_from(LATENTS, 1)
    np.testing.assert_allclose(model.generate_from(LATENTS), wanted, atol=ROUNDING)
    images, labels = source.generate(6, seed=0, labels=1), np.full(6, 1)
    if name == "vae":
        ours, theirs = model.encode(images)[0], source.encode(images, labels)[0]
    else:
        raw = source.generator([LATENTS, np.full(12, 1, np.int32)])
        np.testing.assert_allclose(model.generator(LATENTS), raw, atol=ROUNDING)
        ours, theirs = model.discriminate(images), source.discriminate(images, labels)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_without_a_class_the_label_is_the_mean_of_the_old_ones() -> None:
    source = source_of("dcgan", "mlp", 2)
    model, report = start_from(source, starts([], names(2), {}), num_classes=0)
    ours, theirs = (m.generator.get_layer("hidden_0") for m in (model, source))
    rows, bias = (np.asarray(v, np.float64) for v in (theirs.kernel[3:], theirs.bias))
    np.testing.assert_array_equal(ours.bias, (bias + rows.mean(axis=0)).astype(np.float32))
    assert (report.compared, report.max_error) == (0, None)
    assert report.classes[0].text == "the mean of the source's 2 classes, which is no class of it"
    conv = source_of("dcgan", "conv-4", 2)  # whose network is rewritten
    model, _ = start_from(conv, starts([], names(2), {}), num_classes=0)
    gamma = np.asarray(conv.generator.get_layer("batch_norm_0").gamma)
    np.testing.assert_allclose(
        model.generator.get_layer("batch_norm_0").gamma, gamma.mean(axis=0), rtol=1e-5
    )


def test_the_same_classes_copy_every_tensor_bitwise() -> None:
    source = source_of("projection_gan", "conv-4", 2, ema=0.9)
    model, report = start_from(source, starts(names(2), names(2), {}), options={"n_critic": 2})
    assert {row.status for row in report.rows} == {"COPIED"}
    for role, network in networks_of(source).items():
        for ours, theirs in zip(getattr(model, role).variables, network.variables, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert (model.n_critic, model.ema_start, report.max_error) == (2, 7, 0.0)


def test_networks_of_the_users_own_change_their_classes_too() -> None:
    plain = source_of("dcgan", "mlp", 3)
    source = zoo.create(
        "dcgan", (8, 8, 1), 3, num_classes=3,
        generator=plain.generator, discriminator=plain.discriminator,
    )  # fmt: skip
    model, _ = start_from(
        source, starts(["x", "y"], names(3), {"x": "2", "y": "c1"}), num_classes=2
    )
    wanted = source.generate_from(LATENTS, 2)
    np.testing.assert_allclose(model.generate_from(LATENTS, 0), wanted, atol=ROUNDING)
    with pytest.raises(ValueError, match="discriminator is of its own kind, which takes labels"):
        start_from(source, starts([], names(3), {"all": "2"}), num_classes=0)


@pytest.mark.slow
def test_a_spectral_norm_over_all_classes_is_kept_or_refused() -> None:
    source = source_of("sagan", "sagan-4", 2)
    model, _ = start_from(source, starts(["x", "y"], names(2), {"x": "1", "y": "0"}))
    for new, old in enumerate((1, 0)):
        wanted = source.generate_from(LATENTS, old)
        np.testing.assert_allclose(model.generate_from(LATENTS, new), wanted, atol=ROUNDING)
    with pytest.raises(ValueError, match="project/kernel of the generator is divided by the spec"):
        start_from(source, starts(names(3), names(2), {}), num_classes=3)


def test_planes_of_a_label_cannot_be_fixed() -> None:
    source = source_of("vae", "conv-4", 2)
    with pytest.raises(ValueError, match="conv_0 of the encoder convolves planes of the label"):
        start_from(source, starts([], names(2), {"all": "0"}), num_classes=0)


@pytest.mark.parametrize(
    ("name", "network", "larger", "kept", "new"),
    [
        ("dcgan", "conv-8", "conv-4", "conv_2/kernel", "conv_1/kernel"),
        pytest.param(
            "sngan", "resnet-8", "resnet-4", "block_2_conv_1/kernel", "block_0_conv_1/kernel",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "stylegan2", "style-8", "style-4", "block_1_conv_0/kernel", "from_rgb/kernel",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_twice_the_size_keeps_the_inner_blocks(
    name: str, network: str, larger: str, kept: str, new: str
) -> None:
    """Of 16 × 16 pixels; one stage further in, the same tensors."""
    source = zoo.create(name, (16, 16, 1), 3, network=network)
    model, report = start_from(source, starts([], [], {}), image_shape=(32, 32, 1))
    assert (model.network, model.generate(2, seed=0).shape) == (larger, (2, 32, 32, 1))
    rows = {row.target: row for row in report.rows}
    row = rows[f"discriminator/{kept}"]
    assert (row.status, rows[f"discriminator/{new}"].status) == ("COPIED", "REINITIALISED")
    layer, inner = (text.split("/")[1] for text in (row.target, row.source))
    ours, theirs = (
        each.discriminator.get_layer(which).kernel
        for each, which in ((model, layer), (source, inner))
    )
    np.testing.assert_array_equal(ours, theirs)
    assert report.max_error is None


def test_new_layers_are_those_with_new_tensors() -> None:
    """Not those of another size alone: the discriminator's embedding of classes is new too."""
    source = source_of("dcgan", "mlp", 0)
    options = {"carried_rate": 0.1}
    model, _ = start_from(source, starts(names(2), [], {}), num_classes=2, options=options)
    assert model.new_layers == ("discriminator/embedding",)
    with pytest.raises(ValueError, match="carried_rate=0.1: every layer is carried over"):
        start_from(source, starts([], [], {}), options=options)


@pytest.mark.parametrize(
    ("name", "network", "shape", "message"),
    [
        ("dcgan", "mlp", (16, 16, 1), "mlp networks take 8 × 8 pixels of 1 channel"),
        ("dcgan", "conv-4", (12, 12, 1), "take 8 × 8 or 16 × 16 or 32 × 32 pixels"),
        ("dcgan", "conv-3", (16, 16, 1), "conv-3 networks take 8 × 8 pixels"),
        ("dcgan", "conv-4", (8, 8, 3), "of 1 channel"),
        ("vamp_prior", "conv-4", (16, 16, 1), "pseudo_inputs of a vamp_prior is of the images'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    name: str, network: str, shape: tuple[int, ...], message: str
) -> None:
    source = zoo.create(name, (8, 8, 1), 3, network=network)
    with pytest.raises(ValueError, match=message):
        start_from(source, starts([], [], {}), image_shape=shape)


def test_options_that_make_the_networks_are_refused() -> None:
    source = zoo.create("dcgan", (8, 8, 1), 3, network="mlp")
    with pytest.raises(ValueError, match="latent_dim=5: the networks are those of the source.*=3"):
        start_from(source, starts([], [], {}), options={"latent_dim": 5})


@pytest.mark.parametrize(
    ("new", "old", "given", "message"),
    [
        (["boot"], ["shoe"], {"boot": "shoo"}, "boot=shoo: 'shoo' is no class of the source.*shoe"),
        (["boot"], ["shoe"], {"bot": "shoe"}, "'bot' is no class of the data. Did you mean boot"),
        (["boot"], ["shoe"], {"0": "shoe", "boot": "0"}, "'boot' is named twice"),
        (["boot"], [], {"boot": "0"}, "the source has no classes"),
    ],
)
def test_unknown_classes_are_refused(
    new: list[str], old: list[str], given: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        starts(new, old, given)


def test_the_matrix_has_one_old_class_or_all() -> None:
    found = starts(["a", "b", "d"], ["c", "b"], {"a": "0"})
    np.testing.assert_array_equal(matrix(found, 2), [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
