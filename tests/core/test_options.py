"""Options of a model are checked by name and type before anything is built."""

from __future__ import annotations

import inspect
import re
from typing import Any

import keras
import numpy as np
import pytest

import zoo
from zoo import losses
from zoo.core import registry
from zoo.core.model import ZooModel
from zoo.gan.gan import REGULARIZERS
from zoo.io import names

SHAPE = (8, 8, 1)
MODELS = zoo.list_models()
WRONG: dict[str, tuple[Any, ...]] = {
    "int": ("abc", 2.5, True, [1], float("nan"), float("inf"), None, 10**400),
    "int | None": ("abc", 2.5, False, [1]),
    "float": ("abc", True, [1.0], float("nan"), float("inf"), -float("inf"), None, 10**400),
    "float | None": ("yes", True, {"a": 1.0}, float("nan")),
    "str": (1, 2.5, True, None, ["conv"]),
    "str | None": (1, False, ["r1"]),
    "Sequence[float] | None": ("abc", 1.0, True, ["a"], [float("nan")], [True]),
}


@pytest.fixture(autouse=True)
def _nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """`create` is to refuse before it calls the constructor."""

    def build(*_: object, **__: object) -> None:
        raise AssertionError("the constructor was called")

    monkeypatch.setattr(ZooModel, "__new__", build)


def _accepted(name: str) -> dict[str, str]:
    registry.check_name(name)
    return registry.accepted(registry._classes[name])


def _create(name: str, **options: Any) -> None:
    zoo.create(name, SHAPE, **{"latent_dim": 3, **options})


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("vae", "dcgan", "vdvae") else pytest.param(name, marks=pytest.mark.slow)
        for name in MODELS
    ],
)
def test_wrong_types_are_named(name: str) -> None:
    tried = 0
    for option, annotation in _accepted(name).items():
        for value in WRONG.get(annotation, ()) if option != "name" else ():
            with pytest.raises(ValueError, match=f"^{option}=.*: expected "):
                _create(name, **{option: value})
            tried += 1
    assert tried > 20


@pytest.mark.parametrize("name", MODELS)
def test_unknown_names_are_told_the_nearest(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no option 'sed'. Did you mean seed"):
        _create(name, sed=3)
    with pytest.raises(ValueError, match="x=1: .* Take one of ") as error:
        _create(name, x=1)
    assert all(option in str(error.value) for option in _accepted(name))


def test_every_option_of_every_model_has_a_type_that_is_known() -> None:
    """Or is a network, a precision or names of layers, which the model checks."""
    unchecked = set()
    for name in MODELS:
        for option, annotation in _accepted(name).items():
            if not set(annotation.split(" | ")) <= registry.KINDS.keys():
                unchecked.add(option)
    networks = {"generator", "discriminator", "encoder", "decoder"}
    assert unchecked == {"dtype", "new_layers", *networks}


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [("dcgam", "Did you mean dcgan?"), ("[vae]", "Did you mean vae")]
    + [(far, f"Take one of {', '.join(MODELS)}. ") for far in ("xyz", "")],
)
def test_unknown_models_are_told_the_nearest(wrong: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"Unknown model {wrong!r}. {expected}")):
        zoo.create(wrong, SHAPE, 3)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("emaa", ["ema"]),  # added
        ("n_critc", ["n_critic"]),  # left out
        ("tturr", ["ttur"]),
        ("sede", ["seed"]),  # swapped
        ("regularizer_wieght", ["regularizer_weight"]),
        ("EMA", ["ema"]),
        ("latent", ["latent_dim"]),  # long parts in common
        ("width", []),  # whose nearest is dtype
        ("lr", []),
        ("epochs", []),
    ],
)
def test_suggestions_are_slips_of_the_hand(wrong: str, expected: list[str]) -> None:
    known = [option.name for option in registry.describe_options("wgan_gp")]
    assert names.nearest(wrong, known)[:1] == expected
    assert len(names.nearest(wrong, known)) <= 3


@pytest.mark.parametrize("name", MODELS)
def test_options_are_described_as_the_constructor_has_them(name: str) -> None:
    """They are read from the files, by syntax; here the classes are asked."""
    rows = registry.describe_options(name)
    cls = registry_class(name)
    assert {row.name for row in rows} == _accepted(name).keys()
    assert [row.name for row in rows if not row.meaning] == []
    for row in rows:
        owner = next((c for c in cls.__mro__ if row.name in _parameters(c)), None)
        if owner is None:  # of Keras
            continue
        default = _parameters(owner)[row.name].default
        assert row.default == (None if default is inspect.Parameter.empty else repr(default))


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    constructor = vars(cls).get("__init__")
    of_zoo = cls.__module__.startswith("zoo.") and constructor is not None
    return dict(inspect.signature(constructor).parameters) if of_zoo else {}


def test_a_variant_says_its_own_defaults_and_meanings() -> None:
    rows = {row.name: row for row in registry.describe_options("wgan_gp")}
    assert rows["n_critic"].default == "5"
    assert "WGAN" in rows["loss"].meaning or "critic" in rows["loss"].meaning
    assert rows["image_shape"].default is None
    with pytest.raises(ValueError, match="Unknown model 'wgan_pg'. Did you mean wgan_gp"):
        registry.describe_options("wgan_pg")


def test_the_meaning_of_an_option_names_its_choices() -> None:
    meanings = {row.name: row.meaning for row in registry.describe_options("gan")}
    for option, choices in (("loss", losses.ADVERSARIAL), ("regularizer", REGULARIZERS)):
        assert [name for name in choices if f'"{name}"' not in meanings[option]] == []


@pytest.mark.parametrize(
    "options",
    [
        {"n_critic": np.int64(2), "ema": np.float32(0.9), "ttur": 2},
        {"ema": None, "num_classes": np.uint8(3), "name": "mine", "dtype": "float32"},
        {"generator": object(), "diff_augment": "color"},
    ],
    ids="-".join,
)
def test_right_ones_reach_the_constructor(options: dict[str, Any]) -> None:
    registry.check_options("gan", options)


def test_a_model_of_the_users_own() -> None:
    """Its annotations may be types, its arguments positional, and some without annotation."""

    @zoo.register_model("options_of_my_own")
    class Mine(registry_class("vae")):  # type: ignore[misc]
        """Mine.

        Args:
            width: Units
                of a layer.
        """

        def __init__(self, width: int = 3, rate: float | None = None, other=None, **kwargs) -> None:
            super().__init__(**kwargs)

    try:
        name = "options_of_my_own"
        registry.check_options(name, {"width": 4, "rate": 2, "other": object(), "free_bits": 0.1})
        rows = {row.name: row for row in registry.describe_options(name)}
        assert rows["width"][1:] == ("3", "Units of a layer.")
        assert rows["free_bits"].default == "0.0"
        assert rows.keys() == _accepted(name).keys()
        for options in ({"width": 2.5}, {"rate": "fast"}, {"free_bits": "x"}, {"wdth": 3}):
            with pytest.raises(ValueError, match=next(iter(options))):
                registry.check_options(name, options)
        assert issubclass(Mine, keras.Model)
    finally:
        registry._classes.pop("options_of_my_own")


def registry_class(name: str) -> type:
    registry.check_name(name)
    return registry._classes[name]
