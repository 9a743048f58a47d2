"""Every model is found by its name without an import, has a Case, and names its paper."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

import zoo
from tests.cases import CASES, IMAGE_SHAPE, LATENT_DIM
from zoo.core import registry


def test_every_model_has_a_case() -> None:
    assert {case.name for case in CASES} == set(zoo.list_models())


def test_summaries_name_the_paper() -> None:
    for model in registry.describe_models():
        assert "arXiv" in model.summary, model.name


def test_defaults_are_values() -> None:
    for name in registry.list_models():
        for option in registry.describe_options(name):
            if option.default is not None:
                ast.literal_eval(option.default)  # not the name of a constant


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
