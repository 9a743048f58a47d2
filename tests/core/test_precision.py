"""Mixed precision and the options of `compile`: what each may change, and what not."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from export import export_model, verify
from export.runtimes import RUNTIMES
from tests.cases import CASES, IMAGE_SHAPE, LATENT_DIM, Case, assert_same_state, state_of
from zoo import convert
from zoo.core.model import ZooModel
from zoo.training import strategy
from zoo.training.loop import train

MIXED = pytest.mark.parametrize(
    "precision", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)]
)


def _inner_dtypes(model: Any) -> set[str]:
    networks = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return {layer.compute_dtype for network in networks for layer in network.layers}


@pytest.mark.parametrize(
    "precision", [pytest.param("mixed_bfloat16", marks=pytest.mark.slow), "mixed_float16"]
)
@pytest.mark.parametrize(
    "case", [CASES[1], pytest.param(CASES[4], marks=pytest.mark.slow)], ids=lambda case: case.id
)
def test_mixed_precision(case: Case, images: np.ndarray, precision: str, tmp_path: Path) -> None:
    """Networks compute in half; weights, losses and images are float32; the losses agree."""
    histories = {}
    for dtype in ("float32", precision):
        keras.utils.set_random_seed(0)
        model = case.create(dtype=dtype)
        model.compile()
        histories[dtype] = model.fit(
            *case.data(images), batch_size=30, epochs=3, shuffle=False, verbose=0
        ).history
    for name, wanted in histories["float32"].items():
        np.testing.assert_allclose(
            histories[precision][name], wanted, rtol=0.02, atol=0.03, err_msg=name
        )
    half = precision.removeprefix("mixed_")
    assert half in _inner_dtypes(model)
    assert {str(v.dtype) for v in model.trainable_variables} == {"float32"}
    assert model.generate(3, seed=0).dtype == np.float32
    for name in model.optimizer_names:
        scaled = isinstance(getattr(model, name), keras.optimizers.LossScaleOptimizer)
        assert scaled == (precision == "mixed_float16")
    # saving keeps the precision, and wraps nothing twice
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.dtype_policy.name == precision
    assert_same_state(loaded, model)
    for m in (model, loaded):
        m.fit(*case.data(images), batch_size=30, shuffle=False, verbose=0)
    assert_same_state(loaded, model)


@MIXED
def test_losses_and_penalties_are_float32(
    full: Case, images: np.ndarray, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = full.create(dtype=precision)
    model.compile()
    seen = {}
    log = model.log
    monkeypatch.setattr(model, "log", lambda values: seen.update(values) or log(values))
    model.train_on_batch(*full.data(images[:20]))
    assert seen
    assert {name: value.dtype for name, value in seen.items()} == dict.fromkeys(seen, tf.float32)


@pytest.mark.slow
def test_float16_needs_loss_scaling(images: np.ndarray) -> None:
    """A gradient below float16's smallest number is lost without, and kept with scaling."""
    kept = {}
    for scale in (1.0, 2.0**15):
        keras.utils.set_random_seed(0)
        model = zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM, dtype="mixed_float16")
        optimizers = [
            keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=scale)
            for _ in model.optimizer_names
        ]
        model.compile(*optimizers)
        # a factor as large losses of other models may have in front of them
        loss = model.generator_loss
        model.generator_loss = lambda real, fake, loss=loss: 1e-7 * loss(real, fake)
        before = [np.asarray(w) for w in model.generator.trainable_variables]
        model.fit(images, batch_size=20, epochs=1, verbose=0)
        after = [np.asarray(w) for w in model.generator.trainable_variables]
        kept[scale] = sum(int((a != b).sum()) for a, b in zip(after, before, strict=True))
    assert kept[2.0**15] > 2 * kept[1.0]


@pytest.mark.slow
@MIXED
@pytest.mark.parametrize("name", ["vae", pytest.param("dcgan", marks=pytest.mark.slow)])
@pytest.mark.parametrize("format_", [pytest.param("onnx", marks=pytest.mark.slow), "saved_model"])
def test_exports_are_float32(name: str, precision: str, format_: str, tmp_path: Path) -> None:
    """With the same weights, to the tolerance of any other model."""
    model = zoo.create(name, IMAGE_SHAPE, LATENT_DIM, network="mlp", dtype=precision)
    path = export_model(model, tmp_path / "out", format=format_, verify=False)
    report = verify(path, model, runtimes=RUNTIMES[format_][:1])
    assert report.passed, report
    wanted = model.generate(20, seed=0)
    exact = zoo.create(name, IMAGE_SHAPE, LATENT_DIM, network="mlp")
    exact.set_weights(model.get_weights())
    assert 1e-6 < np.abs(exact.generate(20, seed=0) - wanted).max() < 0.02


def test_a_mixed_gan_converts_exactly() -> None:
    gan = zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM, dtype="mixed_bfloat16")
    vae, report = convert.gan_to_vae(gan)
    assert report.equality.passed
    assert vae.dtype_policy.name == "float32"


def _trained(case: Case, images: np.ndarray, **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    model = case.create()
    model.compile(**options)
    model.history_ = model.fit(
        *case.data(images), batch_size=10, epochs=2, shuffle=False, verbose=0
    ).history  # six steps an epoch
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [CASES[1], pytest.param(CASES[4], marks=pytest.mark.slow)], ids=lambda case: case.id
)
def test_steps_per_execution_changes_nothing(case: Case, images: np.ndarray) -> None:
    one, three = _trained(case, images), _trained(case, images, steps_per_execution=3)
    assert_same_state(three, one)
    assert three.history_ == one.history_


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [CASES[1], *(pytest.param(case, marks=pytest.mark.slow) for case in CASES[4:6])],
    ids=lambda case: case.id,
)
def test_xla_changes_only_rounding(
    case: Case, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the same noise; XLA's random bits are others than TensorFlow's."""

    def noise(self: Any, name: str, batch: Any, shape: Any, **_: Any) -> Any:
        position = tf.range(tf.cast(batch * np.prod(shape), tf.float32))
        return tf.reshape(0.5 + 0.5 * tf.sin(position + len(name)), [batch, *shape])

    monkeypatch.setattr(ZooModel, "noise", noise)
    plain, compiled = _trained(case, images), _trained(case, images, jit_compile=True)
    for name, values in plain.history_.items():
        np.testing.assert_allclose(
            compiled.history_[name], values, rtol=1e-3, atol=1e-3, err_msg=name
        )


@pytest.mark.slow
def test_xla_is_repeatable(images: np.ndarray) -> None:
    first, second = (_trained(CASES[0], images, jit_compile=True) for _ in range(2))
    assert_same_state(first, second)


def test_clipping_bounds_the_step(full: Case, images: np.ndarray) -> None:
    """With SGD at rate 1, no player moves further than the norm in one step.

    Layers that were carried over, here all, go a part of the way.
    """
    model = full.create(**full.one_update)
    model.compile(
        **{name: keras.optimizers.SGD(1.0) for name in model.optimizer_names}, clip_norm=1e-2
    )
    before = {name: _flat(model, name) for name in model.optimizer_names}
    model.train_on_batch(*full.data(images[:20]))
    for name in model.optimizer_names:
        distance = np.linalg.norm(_flat(model, name) - before[name])
        assert distance == pytest.approx(1e-2 * full.options.get("carried_rate", 1.0), rel=0.02)


def _flat(model: Any, optimizer_name: str) -> np.ndarray:
    return np.concatenate([np.ravel(v) for v in model.variables_of(optimizer_name)])


def test_compile_settings_are_saved(tmp_path: Path) -> None:
    model = zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM)
    model.compile(accumulate=2, clip_norm=3.0, steps_per_execution=4, jit_compile=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.accumulate, loaded.steps_per_execution, loaded.jit_compile) == (2, 4, True)
    assert loaded.discriminator_optimizer.global_clipnorm == 3.0


def test_bad_options(images: np.ndarray, tmp_path: Path) -> None:
    model = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, network="mlp")
    for options, message in (
        ({"accumulate": 0}, "accumulate=0"),
        ({"clip_norm": 0.0}, "clip_norm=0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            model.compile(**options)
    with strategy("mirrored", replicas=2).scope():
        shared = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, network="mlp")
        with pytest.raises(ValueError, match="jit_compile=True with 2 replicas"):
            shared.compile(jit_compile=True)
        shared.compile(accumulate=2)
    with pytest.raises(ValueError, match="batch_size=15: 2 replicas.* each in 2 parts. Take 14 or"):
        train(shared, images, tmp_path / "run", epochs=1, batch_size=15)
    model.compile(steps_per_execution=4)
    with pytest.raises(ValueError, match="does not divide the 6 steps of an epoch. Take 3 or 2"):
        train(model, images, tmp_path / "run", epochs=1, batch_size=10)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_too_few_images_for_the_parts(images: np.ndarray) -> None:
    model = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, network="mlp")
    model.compile(accumulate=3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="fewer images than accumulate=3"):
        model.fit(images[:2], batch_size=2, verbose=0)


@pytest.mark.slow
def test_accumulation_waits_for_each_part(images: np.ndarray) -> None:
    """The parts run one after the other: their activations need not be in memory together."""
    model = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, likelihood="bernoulli")
    model.compile(accumulate=3)
    order: list[str] = []
    encoder = model.encoder.call

    def noted(x: Any, **options: Any) -> Any:
        order.append(x.op.name)
        return encoder(x, **options)

    model.encoder.call = noted
    graph = tf.function(model.train_step).get_concrete_function(tf.constant(images[:30])).graph
    assert len(order) == 3
    parts = [graph.get_operation_by_name(name) for name in order]
    for first, second in itertools.pairwise(parts):
        assert first in _ancestors(second)


def _ancestors(operation: Any) -> set[Any]:
    found: set[Any] = set()
    left = [operation]
    while left:
        current = left.pop()
        before = [tensor.op for tensor in current.inputs] + list(current.control_inputs)
        left += [op for op in before if op not in found]
        found.update(before)
    return found


def test_state_covers_the_loss_scale() -> None:
    model = zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM, dtype="mixed_float16")
    model.compile()
    assert sum("dynamic_scale" in name for name in state_of(model)) == 2
