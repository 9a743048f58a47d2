"""Equality is measured, claimed no higher than measured, and lost at the block that differs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

from zoo.convert.align import align
from zoo.convert.building import build
from zoo.convert.reading import read
from zoo.convert.report import STATUSES, Equality, Report, TensorRow, within
from zoo.convert.verification import (
    first_diverging_block,
    measure,
    prior_latents,
    tolerance_for,
    verified_equivalence,
)
from zoo.convert.writing import commit, variables
from zoo.io.records import write_json

LATENTS = prior_latents(6, seed=0)


def _generator(*, norm: bool = False, fused: bool = True, seed: int = 0) -> keras.Model:
    """Latents [batch, 6] to images [batch, 8, 8, 1] in [0, 1]."""
    latents = keras.Input((6,), name="latent")
    x = layers.Dense(16, activation="relu" if fused else None, name="hidden")(latents)
    x = x if fused else layers.ReLU()(x)
    x = layers.Dense(48, use_bias=not norm, name="project")(x)
    x = layers.Reshape((4, 4, 3))(x)
    x = layers.Conv2D(4, 3, padding="same", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x) if norm else x
    x = layers.LeakyReLU(0.2)(x)
    x = layers.Conv2DTranspose(1, 4, 2, padding="same", activation="sigmoid", name="last")(x)
    model = keras.Model(latents, x)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        spread = 1 / np.sqrt(np.prod(weight.shape[:-1]))
        draw = rng.normal(0, spread, weight.shape)
        weight.assign(draw**2 + 0.1 if weight.name == "moving_variance" else draw)
    return model


def _pair() -> tuple[keras.Model, keras.Model, dict[str, str]]:
    """A network, its copy of other names and form, and the pairs of blocks."""
    source, target = _generator(), _generator(fused=False, seed=1)
    mapping = align(read(source), read(target))
    commit(target, mapping.arrays)
    return source, target, mapping.pairs


def _measure(source: keras.Model, target: Callable) -> Equality:
    return measure(source, target, build(read(source), "float64"), LATENTS)


# Latents and tolerances


def test_latents_of_a_dimension() -> None:
    assert LATENTS.shape == (1027, 6)
    assert LATENTS.dtype == np.float32
    assert LATENTS[-3:, 0].tolist() == [0, 4, -4]
    np.testing.assert_allclose(LATENTS[:1024].std(), 1, atol=0.05)
    np.testing.assert_array_equal(LATENTS, prior_latents(6, seed=0))
    assert np.any(prior_latents(6, seed=1) != LATENTS)


def test_latents_of_a_model() -> None:
    class Uniform:
        latent_dim = 2

        def sample_latents(self, n: int, seed: int) -> np.ndarray:
            return np.full((n, 2), seed, np.float32)

    found = prior_latents(Uniform(), seed=3)
    assert found.shape == (1027, 2)
    assert np.all(found[:1024] == 3)


@pytest.mark.parametrize(
    ("floor", "wanted"),
    [(0, 5e-6), (1e-6, 5e-6), (2e-6, 8e-6), (1e-3, 5e-5), (float("nan"), 5e-6)],
)
def test_the_tolerance_follows_the_noise(floor: float, wanted: float) -> None:
    assert tolerance_for(floor) == wanted


# Measuring


def test_a_copy_is_equal() -> None:
    source, target, _ = _pair()
    found = _measure(source, target)
    assert found.passed
    assert (found.max_error, found.rms_error, found.repeat_error) == (0, 0, 0)
    assert 0 < found.noise_floor < 1e-5
    assert found.latents == 1027


def test_errors_by_hand() -> None:
    def images(z: np.ndarray) -> np.ndarray:
        return np.zeros((len(z), 2, 1, 1), np.float32)

    def other(z: np.ndarray) -> np.ndarray:
        return images(z) + np.array([3e-6, -1e-6], np.float32).reshape(2, 1, 1)

    found = measure(images, other, lambda z: images(z) + 2e-6, LATENTS)
    np.testing.assert_allclose(found.max_error, 3e-6, rtol=1e-6)
    np.testing.assert_allclose(found.rms_error, np.sqrt(5) * 1e-6, rtol=1e-6)
    np.testing.assert_allclose([found.noise_floor, found.tolerance], [2e-6, 8e-6], rtol=1e-6)
    assert found.passed
    assert not measure(images, lambda z: images(z) + 6e-6, None, LATENTS).passed


@pytest.mark.parametrize(
    "layer",
    [pytest.param(name, marks=pytest.mark.slow) for name in ("hidden", "project", "last")]
    + ["conv"],
)
def test_one_perturbed_kernel_entry_fails_and_is_found(layer: str) -> None:
    source, target, pairs = _pair()
    assert first_diverging_block(read(source), read(target), pairs, LATENTS) is None
    kernel = variables(target)[f"{layer}/kernel"]
    value = np.asarray(kernel).copy()
    largest = np.unravel_index(np.argmax(np.abs(value)), value.shape)
    value[largest] += 1e-3 * value.std()
    kernel.assign(value)
    found = _measure(source, target)
    assert not found.passed
    assert found.tolerance < found.max_error < 1e-3
    assert verified_equivalence(found, []) == "approximate"
    assert first_diverging_block(read(source), read(target), pairs, LATENTS) == layer


def test_blocks_show_what_dim_images_hide() -> None:
    """A network whose images hardly vary: the fault is far below a grey level, but it is there."""
    source, target, _ = _pair()
    last = source.get_layer("last").kernel
    last.assign(1e-4 * last)
    mapping = align(read(source), read(target))
    commit(target, mapping.arrays)
    kernel = variables(target)["conv/kernel"]
    value = np.asarray(kernel).copy()
    value[0, 0, 0, 0] += 1e-3 * value.std()
    kernel.assign(value)
    assert _measure(source, target).passed
    assert first_diverging_block(read(source), read(target), mapping.pairs, LATENTS) == "conv"


def test_a_wrong_activation_is_found() -> None:
    source, target, pairs = _pair()
    network = read(target)
    block = next(b for b in network if b.layer is layers.LeakyReLU)
    changed = network.replaced(block.with_config(negative_slope=0.21))
    assert first_diverging_block(read(source), changed, pairs, LATENTS) == block.name


@pytest.mark.slow
def test_a_new_norm_diverges_nowhere() -> None:
    """Blocks whose values are meant to differ are no pairs: a bias moves into the BatchNorm."""
    source, target = _generator(), _generator(norm=True, seed=1)
    source.get_layer("project").bias.assign(np.zeros(48))
    mapping = align(read(source), read(target), latents=LATENTS)
    commit(target, mapping.arrays)
    equality = _measure(source, target)
    assert equality.passed
    assert verified_equivalence(equality, mapping.rows) == "tolerance"
    assert first_diverging_block(read(source), read(target), mapping.pairs, LATENTS) is None
    target.get_layer("norm").beta.assign(target.get_layer("norm").beta + 1e-3)
    assert first_diverging_block(read(source), read(target), mapping.pairs, LATENTS) == "norm"
    assert not _measure(source, target).passed


@pytest.mark.parametrize("side", ["source", "target", "both"])
def test_nan_never_passes(side: str) -> None:
    def images(z: np.ndarray) -> np.ndarray:
        return np.zeros((len(z), 2), np.float32)

    def broken(z: np.ndarray) -> np.ndarray:
        return np.where(z[:, :1] == 4, np.nan, images(z))

    source = images if side == "target" else broken
    target = images if side == "source" else broken
    found = measure(source, target, source, LATENTS)
    assert not found.passed
    assert verified_equivalence(found, []) == "approximate"


def test_a_block_of_nan_diverges() -> None:
    source, target, pairs = _pair()
    target.get_layer("conv").bias.assign(np.full(4, np.nan))
    assert first_diverging_block(read(source), read(target), pairs, LATENTS) == "conv"


def test_a_target_that_depends_on_its_batch_fails() -> None:
    def images(z: np.ndarray) -> np.ndarray:
        return np.zeros((len(z), 2), np.float32)

    def batched(z: np.ndarray) -> np.ndarray:
        return images(z) + (1e-4 if len(z) == 1 else 0)

    found = measure(images, batched, None, LATENTS)
    assert found.max_error == 0
    np.testing.assert_allclose(found.batch_error, 1e-4)
    assert not found.passed


def test_a_random_target_fails() -> None:
    rng = np.random.default_rng(0)

    def noisy(z: np.ndarray) -> np.ndarray:
        return 1e-7 * rng.normal(size=(len(z), 2))

    found = measure(lambda z: np.zeros((len(z), 2)), noisy, None, LATENTS)
    assert found.max_error < found.tolerance
    assert found.repeat_error > 0
    assert not found.passed


def test_other_image_shapes_are_refused() -> None:
    def grey(z: np.ndarray) -> np.ndarray:
        return np.zeros((len(z), 8, 8, 1))

    def colour(z: np.ndarray) -> np.ndarray:
        return np.zeros((len(z), 8, 8, 3))

    with pytest.raises(ValueError, match=r"images are \(8, 8, 1\), the target's \(8, 8, 3\)"):
        measure(grey, colour, None, LATENTS)


# Claims


EQUAL = Equality(1027, 0.0, 0.0, 1e-6, 0.0, 5e-6)
CLOSE = replace(EQUAL, max_error=1e-6)
FAR = replace(EQUAL, max_error=1e-2)
COPIED = TensorRow("decoder/a/kernel", "generator/a/kernel", "copy", (2, 3), "COPIED", (2, 3))
DOUBLED = replace(COPIED, target="decoder/b/kernel", rule="× 2", status="TRANSFORMED")
UNUSED = TensorRow("", "generator/c/bias", "", (3,), "UNUSED", (3,))


@pytest.mark.parametrize(
    ("equality", "rows", "kind", "wanted"),
    [
        (EQUAL, [COPIED, UNUSED], "bitwise", "bitwise"),
        (EQUAL, [COPIED, DOUBLED], "bitwise", "tolerance"),
        (CLOSE, [COPIED], "bitwise", "tolerance"),
        (EQUAL, [COPIED], "tolerance", "tolerance"),
        (EQUAL, [COPIED], "distributional", "distributional"),
        (CLOSE, [DOUBLED], "distributional", "distributional"),
        (FAR, [COPIED], "bitwise", "approximate"),
        (FAR, [COPIED], "distributional", "approximate"),
        (EQUAL, [COPIED], "approximate", "approximate"),
        (replace(EQUAL, batch_error=1e-4), [COPIED], "bitwise", "approximate"),
    ],
)
def test_no_more_is_claimed_than_was_measured(
    equality: Equality, rows: list[TensorRow], kind: str, wanted: str
) -> None:
    assert verified_equivalence(equality, rows, kind) == wanted


def test_claims_are_of_known_classes() -> None:
    with pytest.raises(ValueError, match="'perfect': expected one of bitwise, tolerance"):
        verified_equivalence(EQUAL, [], "perfect")


# Report


def _report(**changes: object) -> Report:
    rows = [
        *within(
            [
                TensorRow(
                    "conv_transpose_1/kernel",
                    "conv_transpose_1/kernel · batch_norm_1/{gamma, beta, moving_mean}",
                    "fold BatchNorm + tanh → sigmoid (× 2)",
                    (4, 4, 128, 256),
                    "TRANSFORMED",
                    (4, 4, 128, 256),
                ),
                TensorRow("project/kernel", "project/kernel", "copy", (6, 8), "SLICED", (3, 9)),
                TensorRow("logits/kernel", "", "", (10,), "REINITIALISED"),
                TensorRow("", "batch_norm_9/gamma", "", (7,), "UNUSED", (7,)),
            ],
            target="decoder",
            source="generator",
        ),
        TensorRow("encoder/mean/kernel", "", "", (1000,), "REINITIALISED"),
    ]
    options = {"batch_norm": "folded; moving statistics", "notes": ("kernel[0] is odd",), **changes}
    return Report("dcgan", "vae", "ema", "tolerance", CLOSE, rows, **options)


def test_rows_within_networks() -> None:
    rows = _report().rows
    assert rows[0].target == "decoder/conv_transpose_1/kernel"
    assert rows[0].source == (
        "generator/conv_transpose_1/kernel · generator/batch_norm_1/{gamma, beta, moving_mean}"
    )
    assert (rows[2].source, rows[3].target, rows[3].source) == (
        "",
        "",
        "generator/batch_norm_9/gamma",
    )
    assert {row.status for row in rows} <= set(STATUSES)


def test_coverage_by_hand() -> None:
    """524,288 of the first, 3 × 8 of the 48 of the second, none of 10: of the decoder alone."""
    report = _report()
    assert report.coverage == (524288 + 24) / (524288 + 48 + 10)
    assert replace(report, network="encoder").coverage == 0


def test_a_report_is_saved_whole(tmp_path) -> None:
    report = _report(first_diverging="conv", prior="uniform", direction="vae_to_gan")
    report.save(tmp_path / "conversion.json")
    assert Report.load(tmp_path / "conversion.json") == report
    record = json.loads((tmp_path / "conversion.json").read_text())
    assert record["passed"] is True
    assert record["coverage"] == report.coverage
    assert record["rows"][1]["source_shape"] == [3, 9]


def test_other_files_are_no_reports(tmp_path) -> None:
    write_json(tmp_path / "a.json", {"rows": []})
    with pytest.raises(
        ValueError, match=r"a\.json: source is missing. The file should be a conversion.s report"
    ):
        Report.load(tmp_path / "a.json")


def test_the_table_fits_in_80_columns() -> None:
    console = Console(width=80, file=io.StringIO())
    console.print(_report(first_diverging="conv").table())
    text = console.file.getvalue()
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= 80
    # Whole on one line: paths, shapes and statuses.
    for whole in (
        "conv_transpose_1/kernel", "4×4×128×256", "REINITIALISED", "TRANSFORMED", "← 3×9",
        "batch_norm_9/gamma", "generator, unused", "kernel[0] is odd",
        "first diverging block: conv", "BatchNorm: folded; moving statistics",
    ):  # fmt: skip
        assert any(whole in line for line in lines), whole
    assert "decoder/" not in text
