"""A GAN that goes on from another: frozen blocks, slow layers, and an average of many steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo import networks
from zoo.gan._average import move_average
from zoo.gan._started import blocks

IMAGES = np.random.default_rng(0).random((8, 8, 8, 1)).astype(np.float32)


def frozen(**options: Any) -> Any:
    model = zoo.create("dcgan", (8, 8, 1), 2, **{"network": "mlp", "ema": 0.9, **options})
    model.compile()
    return model


def values(layers: list[Any]) -> list[np.ndarray]:
    return [np.asarray(variable) for layer in layers for variable in layer.variables]


@pytest.mark.parametrize(
    ("network", "role", "names"),
    [
        ("conv-4", "discriminator", ["conv_0", "conv_1", "logit"]),
        ("conv-4", "generator", ["project", "conv_transpose_1", "logits"]),
        ("resnet-4", "discriminator", ["block_0", "block_1", "block_2", "logit"]),
        ("mlp", "discriminator", ["hidden_0", "hidden_1", "logit"]),
    ],
)
def test_a_block_is_a_stage_or_a_layer_with_its_normalisation(
    network: str, role: str, names: list[str]
) -> None:
    args = ((16, 16, 1),) if role == "discriminator" else ((16, 16, 1), 2)
    found = blocks(networks.build(network, role, *args))
    assert list(found) == names
    if network == "conv-4":
        stage = names[1]
        assert [layer.name for layer in found[stage]] == [
            stage, "batch_norm_1" if role == "discriminator" else "batch_norm_0"
        ]  # fmt: skip


@pytest.mark.slow
def test_frozen_blocks_do_not_move_and_the_others_do(tmp_path: Path) -> None:
    model = frozen(freeze_discriminator=1, freeze_generator=2, normalization="spectral")
    parts = {
        role: [*blocks(getattr(model, role)).values()] for role in ("discriminator", "generator")
    }
    still = [*parts["discriminator"][0], *parts["generator"][0], *parts["generator"][1]]
    moving = [*parts["discriminator"][1], *parts["generator"][2]]
    before = values(still), values(moving)
    average = np.asarray(model.ema_generator.get_layer("hidden_0").kernel)
    model.ema_generator.get_layer("hidden_0").kernel.assign(average + 1.0)
    zoo.train(model, IMAGES, tmp_path, epochs=1, batch_size=4, verbose=0)
    np.testing.assert_array_equal(np.concatenate([x.ravel() for x in before[0]]),
                                  np.concatenate([x.ravel() for x in values(still)]))  # fmt: skip
    assert not any(np.array_equal(a, b) for a, b in zip(before[1], values(moving), strict=True))
    # The average goes towards the frozen weight, by the decays (1 + t) / (10 + t).
    left = np.asarray(model.ema_generator.get_layer("hidden_0").kernel) - average
    np.testing.assert_allclose(left, 0.1 * 2 / 11, rtol=1e-4)


@pytest.mark.slow
def test_a_frozen_run_resumes_bitwise(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "freeze_discriminator": 1, "freeze_generator": 1, "ema_start": 100,
        "carried_rate": 0.1, "new_layers": ["generator/to_pixels"],
    }  # fmt: skip
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    models = []
    for out, epochs in ((whole, 2), (parts, 1)):
        keras.utils.set_random_seed(0)
        model = frozen(**options)
        zoo.train(model, IMAGES, out, epochs=epochs, batch_size=4, verbose=0)
        models.append(model)
    resumed = zoo.resume(parts, epochs=2, source=IMAGES, verbose=0)
    assert {name: resumed.get_config()[name] for name in options} == options
    for one, other in zip(models[0].variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_average_with_steps_behind_it_looks_back_far_at_once() -> None:
    model = frozen(ema_start=1000)
    before = np.asarray(model.ema_generator.get_layer("to_pixels").kernel)
    model.generator.get_layer("to_pixels").kernel.assign(before + 1.0)
    move_average(model, {"images": IMAGES})
    after = np.asarray(model.ema_generator.get_layer("to_pixels").kernel)
    np.testing.assert_allclose(after - before, 0.1, rtol=1e-5)  # 1 − 0.9


@pytest.mark.parametrize("count", [-1, 3])
def test_too_many_frozen_blocks_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"freeze_discriminator={count}"):
        frozen(freeze_discriminator=count)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [keras.optimizers.Adam, keras.optimizers.SGD])
def test_layers_that_were_carried_over_go_a_part_of_the_way(optimizer: Any) -> None:
    moved = []
    for rate in (1.0, 0.25):
        keras.utils.set_random_seed(0)
        fresh = ["discriminator/hidden_0"]
        model = zoo.create(
            "dcgan", (8, 8, 1), 2, network="mlp", carried_rate=rate, new_layers=fresh
        )
        model.compile(*(optimizer(0.1) for _ in range(2)))
        before = [np.asarray(v).copy() for v in model.trainable_variables]
        model.train_on_batch(IMAGES)
        pairs = zip(model.trainable_variables, before, strict=True)
        moved.append([np.asarray(v) - old for v, old in pairs])
    layer = model.discriminator.get_layer("hidden_0")
    new = {id(v) for v in layer.variables}
    rounding = np.spacing(np.float32(1.0))  # of a gain of 1, to which little is added
    for variable, whole, part in zip(model.trainable_variables, *moved, strict=True):
        factor = 1.0 if id(variable) in new else 0.25
        np.testing.assert_allclose(part, factor * whole, rtol=1e-3, atol=rounding)
        assert np.abs(part).max() > 0


@pytest.mark.parametrize("layers", ["generator/to_pixels", ["to_pixels"]])
def test_new_layers_are_a_list_of_layers_of_networks(layers: Any) -> None:
    with pytest.raises(ValueError, match="new_layers=.*: expected a list such as"):
        frozen(new_layers=layers)


@pytest.mark.parametrize("rate", [0.0, 1.5])
def test_other_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=f"carried_rate={rate}: expected more than 0"):
        frozen(carried_rate=rate)
