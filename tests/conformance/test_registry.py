"""Every model is found without imports, has a Case, and refuses bad arguments by name."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest

import zoo
from tests.cases import CASES, IMAGE_SHAPE, LATENT_DIM, Case
from zoo.core import registry


def test_every_model_has_a_case() -> None:
    assert {case.name for case in CASES} == set(zoo.list_models())


def test_summaries_name_the_paper() -> None:
    for model in registry.describe_models():
        assert "arXiv" in model.summary, model.name


def test_families() -> None:
    assert "vae" in zoo.list_models("vae")
    assert {"dcgan", "wgan_gp"} <= set(zoo.list_models("gan"))
    assert zoo.list_models("vae") + zoo.list_models("gan") == zoo.list_models()
    with pytest.raises(ValueError, match="family='flow'"):
        zoo.list_models("flow")


def test_import_is_light() -> None:
    code = "import sys, zoo, zoo.cli; zoo.list_models(); print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match="'wgan_pg'.*wgan_gp"):
        zoo.create("wgan_pg", IMAGE_SHAPE, LATENT_DIM)


def test_variables(each: Case) -> None:
    assert len(each.create().variables) == each.variables


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_shape": (8, 8)}, r"image_shape=\(8, 8\)"),
        ({"image_shape": (0, 8, 1)}, "image_shape"),
        ({"latent_dim": 0}, "latent_dim=0"),
        ({"image_shape": (30, 30, 1)}, "30 × 30.*divisible by 4.*32 × 32"),
        ({"image_shape": (6, 6, 1)}, "at least 8"),
        ({"network": "cnov"}, "'cnov'.*conv"),
    ],
)
def test_bad_arguments(case: Case, arguments: dict, message: str) -> None:
    options = {**case.options, "image_shape": IMAGE_SHAPE, "latent_dim": LATENT_DIM, **arguments}
    if "image_shape" in arguments and options.get("network") == "mlp" and "conv" not in message:
        options["network"] = "conv"
    with pytest.raises(ValueError, match=message):
        zoo.create(case.name, **options)


def test_unknown_option(case: Case) -> None:
    with pytest.raises(ValueError, match="has no option 'no_such_option'"):
        case.create(no_such_option=1)


@pytest.mark.parametrize("size", [28, 32, 48, 64, 96])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_conv_makes_every_size(name: str, size: int, channels: int) -> None:
    model = zoo.create(name, (size, size, channels), 4)
    found = model.generate(2, seed=0)
    assert found.shape == (2, size, size, channels)
    assert found.dtype == np.float32
    assert found.min() >= 0.0
    assert found.max() <= 1.0


def test_rectangular_images(case: Case) -> None:
    model = zoo.create(case.name, (8, 12, 3), 4, **case.options)
    assert model.generate(1).shape == (1, 8, 12, 3)


def test_own_networks_are_checked() -> None:
    latent = keras.Input((LATENT_DIM,))
    flat = keras.Model(latent, keras.layers.Dense(64)(latent))
    with pytest.raises(ValueError, match=r"generator maps \(3,\) to \[\(64,\)\]"):
        zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM, generator=flat)
    squashed = keras.Sequential(
        [
            keras.Input((LATENT_DIM,)),
            keras.layers.Dense(64, activation="sigmoid"),
            keras.layers.Reshape(IMAGE_SHAPE),
            keras.layers.Activation("sigmoid"),
        ]
    )
    with pytest.raises(ValueError, match="ends in sigmoid"):
        zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, decoder=squashed)


def test_own_networks_train(images: np.ndarray) -> None:
    decoder = keras.Sequential(
        [keras.Input((LATENT_DIM,)), keras.layers.Dense(64), keras.layers.Reshape(IMAGE_SHAPE)]
    )
    model = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, decoder=decoder)
    model.compile()
    before = decoder.get_weights()[0]
    model.fit(images, batch_size=20, verbose=0)
    assert np.abs(decoder.get_weights()[0] - before).max() > 0
