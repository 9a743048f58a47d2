"""Layers that were carried over from another model learn more slowly than new ones."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo.convert.classes import starts
from zoo.convert.starting import start_from

IMAGES = np.random.default_rng(0).random((8, 8, 8, 1)).astype(np.float32)
MLP = {"network": "mlp"}
TINY = {"network": "vdvae-4", "decoder_blocks": (1, 1, 1), "encoder_blocks": (1, 1, 1)}
LEARNED = {"likelihood": "gaussian_learned"}  # a variable of the model, outside its networks


@pytest.mark.parametrize(
    ("name", "options", "fresh", "optimizer"),
    [
        ("vae", {**MLP, **LEARNED}, "decoder/to_pixels", keras.optimizers.Adam),
        pytest.param("vae", MLP, "encoder/hidden_0", keras.optimizers.SGD, marks=pytest.mark.slow),
        # Of two players; and with an update of its own.
        pytest.param(
            "factor_vae", MLP, "discriminator/logit", keras.optimizers.Adam, marks=pytest.mark.slow
        ),
        pytest.param(
            "vdvae",
            {**TINY, "skip_norm": 1e6},
            "decoder/logits",
            keras.optimizers.SGD,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_layers_of_a_vae_that_were_carried_over_go_a_part_of_the_way(
    name: str, options: dict[str, Any], fresh: str, optimizer: Any
) -> None:
    moved = []
    for rate in (1.0, 0.25):
        keras.utils.set_random_seed(0)
        started = {"carried_rate": rate, "new_layers": [fresh]}
        model: Any = zoo.create(name, (8, 8, 1), 2, **options, **started)
        model.compile(*(optimizer(1e-3) for _ in model.optimizer_names))
        before = [np.asarray(v).copy() for v in model.trainable_variables]
        model.train_on_batch(IMAGES)
        pairs = zip(model.trainable_variables, before, strict=True)
        moved.append([np.asarray(v) - old for v, old in pairs])
    role, _, layer = fresh.partition("/")
    new = {id(v) for v in getattr(model, role).get_layer(layer).trainable_variables}
    factors = [1.0 if id(v) in new else 0.25 for v in model.trainable_variables]
    steps = [np.abs(x).max() for x in moved[1]]
    assert {f for f, step in zip(factors, steps, strict=True) if step} == {1.0, 0.25}
    for factor, variable, whole, part in zip(
        factors, model.trainable_variables, *moved, strict=True
    ):
        rounding = np.spacing(np.abs(np.asarray(variable)).max())
        np.testing.assert_allclose(part, factor * whole, rtol=1e-3, atol=rounding)


def test_a_new_layer_that_is_not_there_is_refused() -> None:
    options = {"carried_rate": 0.5, "new_layers": ["decoder/to_pixel"]}
    model = zoo.create("vae", (8, 8, 1), 2, network="mlp", **options)
    with pytest.raises(ValueError, match=r"'decoder/to_pixel'.*Did you mean decoder/to_pixels\?"):
        model.compile()


def test_a_vae_that_begins_anew_says_nothing_of_it_and_another_keeps_it() -> None:
    plain = zoo.create("vae", (8, 8, 1), 2, network="mlp")
    assert not plain.get_config().keys() & {"carried_rate", "new_layers"}
    options = {"carried_rate": 0.5, "new_layers": ["decoder/to_pixels"]}
    model = zoo.create("vae", (8, 8, 1), 2, network="mlp", **options)
    again = type(model).from_config(model.get_config())
    assert {name: again.get_config()[name] for name in options} == options
    assert len(model.variables) == len(plain.variables)


def test_a_vae_for_larger_images_learns_slowly_where_it_was_carried_over() -> None:
    """And what starts from it in turn has nothing of that."""
    source = zoo.create("vae", (8, 8, 1), 3, network="conv-8")
    none = starts([], [], {})
    options = {"carried_rate": 0.1}
    model: Any
    model, report = start_from(source, none, image_shape=(16, 16, 1), options=options)
    fresh = {row.target for row in report.rows if not row.source}
    carried = {id(v) for v in model._carried("optimizer")}
    found = {v.path for v in model.trainable_variables if id(v) not in carried}
    assert found == {path.partition("/")[2] for path in fresh}
    assert {"conv_0", "logits"} <= {path.split("/")[0] for path in found}
    with pytest.raises(ValueError, match="carried_rate=0.1: every layer is carried over"):
        start_from(source, none, options=options)
    assert "new_layers" not in start_from(model, none)[0].get_config()
