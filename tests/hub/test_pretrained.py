"""Presets: what is written, what comes back, and what is refused before anything is made of it.

`frozen_preset/` was written by format 1, and its images drawn, in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import huggingface_hub
import keras
import numpy as np
import pytest

import zoo
from tests.cases import CASES, IMAGE_SHAPE, LATENT_DIM, Case
from zoo import convert
from zoo.core.registry import is_conditional
from zoo.hub import (
    catalog,
    list_pretrained,
    load_pretrained,
    load_sampler,
    measuring,
    resolve,
    save_run_as_preset,
)
from zoo.networks import conv
from zoo.presets import folder as folders
from zoo.presets import is_preset, load_preset, read_config, save_preset
from zoo.presets.allowed import check_objects
from zoo.presets.cards import card
from zoo.presets.weights import write_weights
from zoo.sampling.samplers import fit_sampler, sampler_of_run
from zoo.training.runs import save_run

FROZEN = Path(__file__).parents[1] / "frozen_preset"
HALF = 2.0**-11  # relative rounding error of float16
MEASURED = {
    "data": "fashion_mnist", "split": "test", "images": 60, "samples": 60, "sampler": "prior",
    "extractor": "fashion_mnist_classifier", "seed": 0,
    "metrics": {"frechet_distance": 1.5, "precision": 0.5},
    "sampling_error": {"frechet_distance": 0.1, "precision": 0.01},
}  # fmt: skip


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(FROZEN / "dcgan", tmp_path / "dcgan"))


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def _hash_anew(folder: Path) -> None:
    new = _hash(folder / "model.weights.h5")
    _edit(folder, lambda config: config["files"].update({"model.weights.h5": new}))


def _shake(model: Any) -> None:
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32" and weight.name != "psi":  # ψ stays below 1
            weight.assign(weight + rng.uniform(0.01, 0.02, weight.shape))
    model.step.assign(70_001)  # more than float16 could count


def _assert_round_trip(model: Any, folder: Path) -> None:
    _shake(model)
    save_preset(model, folder / "a", data="array")
    loaded = load_preset(folder / "a")
    assert type(loaded) is type(model)
    assert not loaded.compiled
    for found, own in zip(loaded.weights, model.weights, strict=True):
        wanted = np.asarray(own)
        if wanted.dtype == np.float32 and wanted.ndim:
            wanted = wanted.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(np.asarray(found), wanted, err_msg=own.path)
    write_weights(loaded, folder / "again.h5")
    assert _hash(folder / "again.h5") == _hash(folder / "a" / "model.weights.h5")


TRIED = ("projection_gan",)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, id=c.id, marks=[] if c.name in TRIED else pytest.mark.slow)
        for c in CASES
    ],
)  # fmt: skip
def test_round_trip(case: Case, tmp_path: Path) -> None:
    _assert_round_trip(case.create(), tmp_path)


@pytest.mark.slow
def test_round_trip_of_converted_models(tmp_path: Path) -> None:
    """They have networks of their own, serialised by Keras."""
    _assert_round_trip(convert.gan_to_vae(zoo.create("dcgan", IMAGE_SHAPE, 3))[0], tmp_path / "g")
    style = next(c for c in CASES if c.name == "stylegan2")
    _assert_round_trip(style.create(generator=style.create().generator), tmp_path / "s")
    vae = zoo.create("vae", IMAGE_SHAPE, 3)
    _assert_round_trip(convert.vae_to_gan(vae, whiten_posterior=False)[0], tmp_path / "v")
    conditional = {"discriminator_init": "random", "num_classes": 3, "ema": 0.9}
    gan, _ = convert.vae_to_gan(vae, whiten_posterior=False, **conditional)
    _assert_round_trip(gan, tmp_path / "c")


def test_the_frozen_preset_draws_its_images() -> None:
    drawn = load_pretrained(FROZEN / "dcgan").generate(4, seed=0)
    np.testing.assert_allclose(drawn, np.load(FROZEN / "dcgan.npy"), atol=1e-5)


def test_keras_alone_reads_the_weights(frozen: Path) -> None:
    model = load_preset(frozen)
    own = type(model).from_config(model.get_config())
    own.load_weights(frozen / "model.weights.h5")
    np.testing.assert_array_equal(own.generate(2, seed=1), model.generate(2, seed=1))


@pytest.mark.slow
def test_training_goes_on(images: np.ndarray) -> None:
    model = load_pretrained(FROZEN / "dcgan")
    before = model.steps_done
    model.compile()
    model.fit(images, batch_size=30, verbose=0)
    assert (before, model.steps_done) == (9, 11)


def test_a_preset_may_bring_a_sampler(tmp_path: Path, images: np.ndarray) -> None:
    model = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM)
    sampler = fit_sampler(model, images, components=2)
    out = tmp_path / "vae"
    save_preset(model, out, sampler=sampler, precision="float32")
    assert (out / "samples_gmm.png").exists()
    assert "load_sampler" in (out / "README.md").read_text()
    wanted = sampler.sample(5, seed=3)
    np.testing.assert_array_equal(load_sampler(out).sample(5, seed=3), wanted)
    # Nothing is fitted anew, for which there would be no data.
    ours = sampler_of_run(out, load_preset(out), "gmm")
    np.testing.assert_array_equal(ours.sample(5, seed=3), wanted)

    (out / "sampler_gmm.npz").write_bytes(b"another")
    with pytest.raises(ValueError, match="sampler_gmm.npz has the sha256"):
        load_sampler(out)
    with pytest.raises(ValueError, match="sampler_gmm.npz has the sha256"):
        sampler_of_run(out, load_preset(out), "gmm")
    with pytest.raises(ValueError, match=r"has no sampler_gmm\.npz"):
        load_sampler(FROZEN / "dcgan")


@pytest.mark.parametrize("classes", [0, 3])
def test_what_the_card_says_of_a_sampler_runs(
    tmp_path: Path, images: np.ndarray, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, labels = (
        ({"num_classes": classes}, np.arange(len(images)) % 3) if classes else ({}, None)
    )
    model = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, network="mlp", **options)
    sampler = fit_sampler(model, images, labels=labels, components=2)
    save_preset(model, tmp_path / "made", sampler=sampler)
    monkeypatch.chdir(tmp_path)  # where its name is a folder's
    found: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", Path("made/README.md").read_text(), re.DOTALL):
        exec(code, found)  # noqa: S102
        assert found["images"].shape == (16, *IMAGE_SHAPE)
    wanted = model.generate_from(sampler.sample(16, 0, 0), 0 if classes else None)
    np.testing.assert_allclose(found["images"], wanted, atol=1e-2)  # of weights in float16


@pytest.mark.slow
def test_a_preset_without_a_sampler_gets_one_fitted(tmp_path: Path) -> None:
    """To its data; the folder stays as it was."""
    save_preset(
        zoo.create("vae", IMAGE_SHAPE, LATENT_DIM), tmp_path / "vae", data="fashion_mnist_sample"
    )
    before = sorted(path.name for path in (tmp_path / "vae").iterdir())
    sampler = sampler_of_run(tmp_path / "vae", load_preset(tmp_path / "vae"), "gmm")
    assert sampler.sample(4, seed=0).shape == (4, LATENT_DIM)
    assert sorted(path.name for path in (tmp_path / "vae").iterdir()) == before


def test_what_float16_cannot_hold_stays_float32(tmp_path: Path) -> None:
    model = _small()
    kernel, bias = model.discriminator.weights[-2:]
    kernel.assign(kernel * 0 + 1e6)
    bias.assign(bias * 0 + 1.2345e-7)
    save_preset(model, tmp_path / "half")
    save_preset(model, tmp_path / "whole", precision="float32")
    half = load_preset(tmp_path / "half").discriminator.weights
    for found, own in zip(half, model.discriminator.weights, strict=True):
        np.testing.assert_allclose(found, own, rtol=HALF)
    np.testing.assert_array_equal(half[-1], bias)
    whole = load_preset(tmp_path / "whole")
    for found, own in zip(whole.weights, model.weights, strict=True):
        np.testing.assert_array_equal(found, own)
    with pytest.raises(ValueError, match="precision='int8': expected one of"):
        save_preset(model, tmp_path / "x", precision="int8")


@pytest.mark.parametrize("handle", [None, b"vae_fashion_mnist", 3, ["x"], "", " "])
def test_what_is_no_handle(handle: Any) -> None:
    with pytest.raises(ValueError, match=r"The handle of a model is .* Expected a run folder"):
        zoo.load(handle)


@pytest.mark.parametrize(
    "wrong",
    [{"data": 3}, {"facts": "x"}, {"metrics": {"a": 1}}, {"sampler": 3}],
)
def test_arguments_of_another_kind(wrong: dict[str, Any], frozen: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))}=.*: expected"):
        save_preset(zoo.load(frozen), tmp_path / "x", **wrong)
    assert not (tmp_path / "x").exists()


def _small(**options: Any) -> Any:
    options.setdefault("generator", conv.generator(IMAGE_SHAPE, LATENT_DIM, width=8))
    options.setdefault("discriminator", conv.discriminator(IMAGE_SHAPE, "batch", width=8))
    return zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM, **options)


def test_nothing_is_left_of_what_cannot_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    model = _small()
    with pytest.raises(ValueError, match=r"facts/at=.*: expected plain JSON"):
        save_preset(model, tmp_path / "x", facts={"at": np.float32(1)})
    with monkeypatch.context() as patch:
        patch.setattr(folders, "save_grid", full)
        with pytest.raises(OSError, match="No space"):
            save_preset(model, tmp_path / "x")
    inputs = keras.Input((LATENT_DIM,))
    pixels = keras.layers.Dense(64, activation="sigmoid")(inputs)
    images = keras.layers.Reshape(IMAGE_SHAPE)(pixels)
    outputs = keras.layers.Lambda(lambda x: x * 0.5)(images)
    with pytest.raises(ValueError, match=r"keras.layers.Lambda .*not allowed"):
        save_preset(_small(generator=keras.Model(inputs, outputs)), tmp_path / "x")
    model.discriminator.weights[0].assign(model.discriminator.weights[0] * np.nan)
    with pytest.raises(ValueError, match="discriminator/.* is not finite"):
        save_preset(model, tmp_path / "x")
    assert not list(tmp_path.iterdir())
    (tmp_path / "x").mkdir()
    with pytest.raises(FileExistsError, match="x exists already"):
        save_preset(model, tmp_path / "x")


# What a folder may not say

OBJECT = {"module": "keras.layers", "config": {"name": "x"}, "registered_name": None}


@pytest.mark.parametrize(
    "value",
    [
        {**OBJECT, "class_name": "Lambda"},
        {**OBJECT, "class_name": "TFSMLayer"},
        {**OBJECT, "class_name": "TorchModuleWrapper"},
        {**OBJECT, "class_name": "StringLookup"},
        {**OBJECT, "class_name": "__lambda__", "module": None},
        {**OBJECT, "class_name": ["Dense"]},
        {**OBJECT, "class_name": "Dense", "module": "evil.layers"},
        {**OBJECT, "class_name": "Dense", "registered_name": "other>Dense"},
        {**OBJECT, "class_name": "Dense", "registered_name": "zoo>unknown"},
        {**OBJECT, "class_name": "Lambda", "registered_name": "zoo>EqualizedDense"},
        {**OBJECT, "class_name": "__typespec__", "registered_name": "zoo>EqualizedDense"},
        {"class_name": "EqualizedDense", "config": {}, "registered_name": "zoo>EqualizedDense"},
        {**OBJECT, "class_name": "system", "module": "os"},
        {**OBJECT, "class_name": "get", "module": "keras.initializers"},
        {**OBJECT, "class_name": "Map", "module": "keras.src.ops.core"},
        {"class_name": "function", "config": "eval", "module": "builtins"},
        {"class_name": "Lambda", "config": {}},  # as Keras 2 wrote it
    ],
    ids=lambda value: str(value["class_name"]),
)
def test_other_classes_are_refused_wherever_they_stand(value: dict) -> None:
    dense = {**OBJECT, "class_name": "Dense"}
    own = {**OBJECT, "class_name": "EqualizedDense", "registered_name": "zoo>EqualizedDense"}
    check_objects({"generator": [dense, own]}, "it")
    with pytest.raises(ValueError, match="it/generator/0/config/x has an object of .*not allowed"):
        check_objects({"generator": [{**dense, "config": {"x": value}}]}, "it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=2), "is of format 2, but this version reads up to 1. Upgrade"),
        (lambda c: c.update(format="1"), "format is '1': expected a valid integer"),
        (lambda c: c.update(model="os"), "model='os': expected one of"),
        (lambda c: c.update(model=["dcgan"]), "model is .*: expected a valid string"),
        (lambda c: c.update(family="vae"), "family='vae': expected 'gan'"),
        (lambda c: c.update(image_shape=[8, 8, True]), "image_shape/2 is True: expected a valid"),
        (lambda c: c.update(image_shape=[8, 8]), "image_shape is .*at least 3 items"),
        (lambda c: c.update(latent_dim=0), "latent_dim is 0: expected greater than 0"),
        (lambda c: c.update(latent_dim=10**9), "latent_dim=1000000000, .*has only .* bytes"),
        (lambda c: c.update(parameters=10**9), "parameters=1000000000: .*has only .* bytes"),
        (lambda c: c["facts"].update(loss=float("nan")), "facts/loss is nan: expected a finite"),
        (lambda c: c.pop("facts"), "config.json: facts is missing.*Get the preset anew"),
        (lambda c: c["options"].update(hook="x"), "dcgan has no option 'hook'. Take one of .*ema"),
        (lambda c: c["options"].update(image_shape=[4, 4, 1]), "no option 'image_shape'"),
        (lambda c: c["options"].update(n_critic="two"), "config.json makes no dcgan"),
        (lambda c: c["options"].update(dtype={"class_name": "X"}), "object of None.X"),
        (lambda c: c["files"].update({"../x": "0" * 64}), "files=.*expected files among"),
        (lambda c: c["files"].update({"model.weights.h5": "0"}), "and their sha256"),
        (lambda c: c["files"].update({"model.weights.h5": "0" * 64}), "damaged or belongs"),
    ],
)
def test_a_configuration_is_checked(
    frozen: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    _edit(frozen, change)
    with pytest.raises(ValueError, match=message):
        load_preset(frozen)


def test_entries_of_other_versions_are_kept(frozen: Path) -> None:
    _edit(frozen, lambda c: c.update(trainer="x"))
    assert load_preset(frozen).model_name == "dcgan"
    assert read_config(frozen)["trainer"] == "x"


WEIGHT = "generator/layers/dense/vars/0"


def _replaced(make: Callable[[h5py.File, Any], Any]) -> Callable[[Path], None]:
    """Puts something else in the place of a weight."""

    def change(path: Path) -> None:
        with h5py.File(path, "a") as file:
            value = file.pop(WEIGHT)[()] if WEIGHT in file else None
            made = make(file, value)
            if made is not None:
                file[WEIGHT] = made

    return change


def _virtual(file: h5py.File, value: np.ndarray) -> None:
    layout = h5py.VirtualLayout(value.shape, value.dtype)
    layout[:] = h5py.VirtualSource("elsewhere.h5", "secret", value.shape)
    file.create_virtual_dataset(WEIGHT, layout)


def _external(file: h5py.File, value: np.ndarray) -> None:
    file.create_dataset(
        WEIGHT, value.shape, value.dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
    )


def _circle(file: h5py.File, value: np.ndarray) -> np.ndarray:
    file["generator/layers/dense/again"] = file["generator"]
    return value


def _more(file: h5py.File, value: np.ndarray) -> np.ndarray:
    file["generator/layers/dense/vars/9"] = value
    return value


def _count(file: h5py.File, value: np.ndarray) -> np.ndarray:
    step = file.pop("vars/0")
    file["vars/0"] = np.float16(step[()])
    return value


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-9000]), "cannot be read.*cut short"),
        pytest.param(
            lambda p: p.write_bytes(pickle.dumps(np.ones(3000))),
            "cannot be read",
            marks=SLOW,
        ),
        (_replaced(lambda file, value: h5py.ExternalLink("x.h5", "/x")), "is a link; expected"),
        pytest.param(
            _replaced(lambda file, value: h5py.SoftLink("/vars/0")),
            "is a link; expected",
            marks=SLOW,
        ),
        pytest.param(_replaced(_virtual), "lies in another file", marks=SLOW),
        (_replaced(_external), "lies in another file"),
        (_replaced(_circle), "has generator/layers/dense/again, which the model has not"),
        (_replaced(_more), r"lacks \[\] \(0 in all\) and has \['generator/.*9'\]"),
        (_replaced(lambda file, value: None), r"lacks \['generator/layers/dense/vars/0'\] \(1"),
        (_replaced(lambda file, value: value.T), r"is float16 \(\d+, 3\); expected float16 or"),
        pytest.param(_replaced(lambda file, value: value.astype("int32")), "is int32", marks=SLOW),
        (_replaced(lambda file, value: value * np.nan), "dense/vars/0 is not finite"),
        (_replaced(_count), r"vars/0 is float16 \(\); expected int64"),
    ],
)  # fmt: skip
def test_weights_are_checked(frozen: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(frozen / "model.weights.h5")
    with pytest.raises(ValueError, match="has the sha256 .*Get it anew"):
        load_preset(frozen)
    _hash_anew(frozen)
    with pytest.raises(ValueError, match=message):
        load_preset(frozen)


def test_what_is_no_preset(tmp_path: Path, frozen: Path) -> None:
    assert is_preset(frozen)
    assert not is_preset(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a preset"):
        load_pretrained(tmp_path)
    (frozen / "model.weights.h5").unlink()
    with pytest.raises(FileNotFoundError, match="copied whole"):
        load_pretrained(frozen)
    with pytest.raises(FileNotFoundError, match=r"is a preset without its model\.weights\.h5"):
        zoo.load(frozen)
    (frozen / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        load_pretrained(frozen)


# Cards and the catalogue


def test_the_card_is_read_by_hugging_face(tmp_path: Path, images: np.ndarray) -> None:
    facts = {"command": "zoo train vae", "commit": "abc", "hardware": "2 cores", "limits": "None."}
    vae = zoo.create("vae", IMAGE_SHAPE, LATENT_DIM, network="mlp")
    save_preset(vae, tmp_path / "vae_x", data="fashion_mnist", facts=facts, metrics=MEASURED,
        examples=(images[:4],),
    )  # fmt: skip
    card = huggingface_hub.ModelCard.load(tmp_path / "vae_x" / "README.md")
    data = card.data.to_dict()
    assert data["license"] == "mit"
    assert data["library_name"] == "keras"
    assert data["datasets"] == ["zalando-datasets/fashion_mnist"]
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert results == MEASURED["metrics"]
    for text in ("zoo train vae", "abc", "| frechet_distance | 1.5 | 0.1 |", "MIT", "\n\nNone.\n",
                 "`fashion_mnist_classifier`", "reconstructions.png"):  # fmt: skip
        assert text in card.text
    assert set(read_config(tmp_path / "vae_x")["files"]) == {
        "metrics.json", "model.weights.h5", "reconstructions.png", "samples.png",
    }  # fmt: skip


def test_a_card_without_an_extractor_claims_no_samples(frozen: Path) -> None:
    text = card("x", read_config(frozen), {**MEASURED, "extractor": None})
    assert "No samples were measured" in text
    assert "`None`" not in text
    assert "No samples were measured" not in card("x", read_config(frozen), MEASURED)


@pytest.fixture
def released(frozen: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The frozen preset, as if it had come with the package."""
    monkeypatch.setattr(catalog, "saved_models", lambda: frozen.parent)
    catalog.write_registry()
    return frozen


def test_presets_by_name(released: Path) -> None:
    (preset,) = list_pretrained()
    assert (preset.name, preset.family, preset.model) == ("dcgan", "gan", "dcgan")
    assert preset.headline == ("frechet_distance", 1.5)
    assert preset.size == sum(path.stat().st_size for path in released.iterdir())
    assert preset.image_shape == IMAGE_SHAPE
    assert list_pretrained("dc*") == [preset]
    assert not list_pretrained("*vae*")
    assert load_pretrained("dcgan").step == 9
    for name in ("dcgam", "../dcgan2", "os"):
        with pytest.raises((ValueError, FileNotFoundError), match="dcgan|not a preset"):
            load_pretrained(name)
    with pytest.raises(ValueError, match="leave it out"):
        load_pretrained("dcgan", sha256="0" * 64)
    _edit(released, lambda config: config["facts"].update(seed=1))
    with pytest.raises(ValueError, match=r"but registry.json says .*Install the package anew"):
        load_pretrained("dcgan")


def test_the_registry_and_the_cards_are_up_to_date() -> None:
    """After a change of saved_models/: `python benchmarks/tables.py`."""
    folder = catalog.saved_models()
    assert json.loads((folder / catalog.REGISTRY).read_text()) == catalog.registry_of(folder)
    for preset in list_pretrained():
        own = folder / preset.name
        config = read_config(own)
        wanted = card(preset.name, config, json.loads((own / "metrics.json").read_text()))
        assert (own / "README.md").read_text(encoding="utf-8") == wanted


def test_names_say_what_is_conditional() -> None:
    """A model that always has classes says so by its own name."""
    for preset in list_pretrained():
        by_nature = is_conditional(preset.model)
        assert bool(preset.num_classes) == ("conditional" in preset.name or by_nature), preset.name


@pytest.mark.parametrize("old", catalog.RENAMED)
def test_earlier_names_lead_to_the_same_preset(old: str) -> None:
    new = old.replace("_fashion", "_conditional_fashion")
    assert old not in {preset.name for preset in list_pretrained()}
    message = f"^The preset {old} is now called {new}.$"
    with pytest.warns(FutureWarning, match=message):
        assert resolve(old) == catalog.saved_models() / new


@pytest.mark.slow
def test_a_preset_loads_by_its_earlier_name() -> None:
    with pytest.warns(FutureWarning, match="is now called"):
        by_old_name = load_pretrained("dcgan_fashion_mnist")
    drawn = load_pretrained("dcgan_conditional_fashion_mnist").generate(2, seed=0, labels=3)
    np.testing.assert_array_equal(by_old_name.generate(2, seed=0, labels=3), drawn)


def test_the_card_says_whether_there_are_classes() -> None:
    for name, tag, told in (
        (
            "dcgan_conditional_fashion_mnist",
            "class-conditional-image-generation",
            "10 classes: 0 = T-shirt/top, 1 = Trouser",
        ),
        ("vae_fashion_mnist", "unconditional-image-generation", "Unconditional: no classes."),
    ):
        model_card = huggingface_hub.ModelCard.load(catalog.saved_models() / name / "README.md")
        assert tag in model_card.data.tags
        assert model_card.data.eval_results[0].task_type == tag
        conditional = tag.startswith("class")
        assert (model_card.data.pipeline_tag is None) == conditional
        assert told in model_card.text
        assert ("labels=0" in model_card.text) == conditional


def test_listing_is_cheap() -> None:
    code = "import sys, zoo.hub as p; p.list_pretrained(); assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# Metrics


def test_metrics_say_how_sure_they_are(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def evaluate(model: Any, source: Any, *, seed: int, **protocol: Any) -> dict[str, Any]:
        asked.append({"seed": seed, "source": source, **protocol})
        values = {"frechet_distance": (1.0, 2.0, 6.0)[seed], "precision": 0.5}
        return {"data": "/somewhere/images.npz", "seed": seed, "metrics": values}

    monkeypatch.setattr(measuring, "evaluate", evaluate)
    found = measuring.measure(None, "it", samples=7)
    assert [each["seed"] for each in asked] == [0, 1, 2]
    assert found["metrics"] == {"frechet_distance": 1.0, "precision": 0.5}
    assert found["data"] == "images.npz"
    # by hand: the mean is 3, √((4 + 1 + 9) / 2) = √7
    assert found["sampling_error"] == pytest.approx({"frechet_distance": 7**0.5, "precision": 0})
    with pytest.raises(ValueError, match="expected at least two"):
        measuring.measure(None, "it", seeds=(1, 1))

    # The frozen preset states 1.5 ± 0.1: at 1.0 it is 5 deviations off.
    assert measuring.check("dcgan", "it") == [
        "dcgan: frechet_distance is 1, but metrics.json says 1.5 ± 0.3."
    ]
    assert asked[-1] == {
        "seed": 0, "source": "it", "split": "test", "samples": 60, "extractor": "none",
    }  # fmt: skip
    (released / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match=r"metrics.json has the sha256"):
        measuring.check("dcgan", "it")


def test_data_that_are_not_here_are_named(frozen: Path) -> None:
    _edit(frozen, lambda config: config["facts"].update(fetch="npm pack it"))
    message = r"not at \./array\. Fetch them: npm pack it"
    with pytest.raises(measuring.NoTestDataError, match=message):
        measuring.check(frozen)


@pytest.mark.slow
def test_a_run_becomes_a_preset_whose_metrics_hold(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    vae = zoo.create("vae", (28, 28, 1), 4, network="mlp")
    vae.compile()
    config = {"data": "fashion_mnist_sample", "seed": 0, "epochs": 0}
    save_run(vae, tmp_path / "run", config)
    out = tmp_path / "vae_preset"
    save_run_as_preset(tmp_path / "run", out, seeds=(0, 1), facts={"command": "none"})
    assert read_config(out)["facts"]["command"] == "none"
    assert {"reconstructions.png", "sampler_gmm.npz"} <= read_config(out)["files"].keys()
    assert measuring.check(out) == []
    metrics = json.loads((out / "metrics.json").read_text())
    values = metrics["metrics"]
    assert values["frechet_distance_gmm"] != values["frechet_distance"]
    metrics["metrics"]["mse"] *= 1.01
    (out / "metrics.json").write_text(json.dumps(metrics))
    _edit(out, lambda c: c["files"].update({"metrics.json": _hash(out / "metrics.json")}))
    (fault,) = measuring.check(out)
    assert "mse is" in fault
