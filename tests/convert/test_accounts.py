"""The report names every tensor once, and a wrong kernel fails."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from rich.console import Console

from tests.support.conversions import (
    LATENT,
    assert_complete,
    assert_unchanged,
    make_gan,
    make_stack,
    make_vae,
    paths_of,
    values_of,
)
from zoo import convert
from zoo.convert import rules, sources
from zoo.convert.report import Report
from zoo.convert.writing import variables


def test_a_pure_copy_is_bitwise() -> None:
    """Sigmoid at the end, BatchNorm kept: nothing is computed anew."""
    generator = make_stack(
        layers.Dense(64, use_bias=False), layers.Reshape((4, 4, 4)), layers.BatchNormalization(),
        layers.ReLU(), layers.Conv2DTranspose(1, 4, 2, padding="same"),
        layers.Activation("sigmoid"),
    )  # fmt: skip
    vae, report = convert.gan_to_vae(generator, batch_norm="keep")
    assert report.equivalence == "bitwise"
    assert {r.status for r in report.rows if r.target.startswith("decoder")} == {"COPIED"}
    z = sources.normal_draws(64, LATENT, 1)
    np.testing.assert_array_equal(tf.sigmoid(vae.decoder(z)), generator(z))
    assert convert.gan_to_vae(generator)[1].equivalence == "tolerance"


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"batch_norm": "keep"}, marks=pytest.mark.slow),
        pytest.param({"encoder_init": "discriminator"}, marks=pytest.mark.slow),
        {"mode": "distill"},
    ],
    ids=str,
)
@pytest.mark.parametrize("given", [pytest.param(False, marks=pytest.mark.slow), True])
def test_every_tensor_is_in_the_report_once(
    options: dict, given: bool, tmp_path: Path
) -> None:  # fmt: skip
    if options.get("mode") == "distill":
        options = {**options, "distill_steps": 1}
    gan = make_gan(ema=0.9)
    target = None
    if given:
        decoder = None
        if options.get("batch_norm") == "keep":
            decoder = keras.Model(gan.generator.inputs, gan.generator.get_layer("logits").output)
            decoder = keras.models.clone_model(decoder)
        target = make_vae(decoder)
    vae, report = convert.gan_to_vae(gan, target, **options)
    generator = {f"generator/{path}" for path in variables(gan.ema_generator)}
    critic = {f"discriminator/{path}" for path in variables(gan.discriminator)}
    targets = paths_of(vae.decoder, "decoder") | paths_of(vae.encoder, "encoder")
    assert_complete(report, targets, generator | critic)
    report.save(tmp_path / "conversion.json")
    assert Report.load(tmp_path / "conversion.json") == report
    text = io.StringIO()
    Console(file=text, width=80).print(report.table())
    assert max(map(len, text.getvalue().splitlines())) <= 80
    assert "max" in text.getvalue()


@pytest.mark.parametrize("given", [False, True])
def test_a_perturbed_kernel_fails(given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry of one kernel, off by a thousandth of the kernel's scale."""
    gan = make_gan()
    target = make_vae() if given else None
    before = values_of(target) if target else None
    fold = rules.fold_norms

    def perturbed(network: Any) -> Any:
        network = fold(network)
        block = network["project"]
        kernel = block.arrays["kernel"].copy()
        kernel[1, 2] += 1e-3 * np.sqrt(np.mean(kernel**2))
        return network.replaced(block.with_arrays({**block.arrays, "kernel": kernel}, "fault"))

    monkeypatch.setattr(rules, "fold_norms", perturbed)
    with pytest.raises(ValueError, match="decoder does not compute the generator's images"):
        convert.gan_to_vae(gan, target)
    if target:
        assert_unchanged(target, before)
