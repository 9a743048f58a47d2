"""Folders of diffusers' `AutoencoderKL`: read, computed as diffusers computes, and written.

`frozen_autoencoder/` was written by diffusers 0.42 with random weights, and outputs.npz has what it
made of images of two sizes. Where the package is installed it is asked itself.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.hub import diffusers
from zoo.io.safetensor_files import SafeTensors

if TYPE_CHECKING:
    from collections.abc import Callable

FROZEN = Path(__file__).parents[1] / "frozen_autoencoder"
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def model() -> Any:
    return zoo.load(FROZEN)


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return dict(SafeTensors(FROZEN / WEIGHTS))


def assert_same_outputs(model: Any, outputs: Any) -> dict[str, float]:
    """To within float32's noise, relative to the largest value; returns the differences."""
    found = {}
    for size in "01":
        images = outputs[f"images_{size}"]
        mean, log_variance = model.encode(images)
        ours = {
            "mean": mean,
            "log_variance": log_variance,
            "values": model.logits(outputs[f"mean_{size}"]),
        }
        for name, value in ours.items():
            wanted = outputs[f"{name}_{size}"]
            assert value.shape == wanted.shape
            error = float(np.abs(value - wanted).max() / np.abs(wanted).max())
            assert error < 5e-6, (name, images.shape)
            found[name] = max(found.get(name, 0.0), error)
        again = np.clip(outputs[f"values_{size}"], 0, 1)
        np.testing.assert_allclose(model.reconstruct(images), again, atol=2e-5)
    return found


def test_it_computes_what_diffusers_computes(model: Any) -> None:
    """A square and an oblong; the config says the rest."""
    assert_same_outputs(model, np.load(FROZEN / "outputs.npz"))
    assert (model.image_shape, model.latent_dim, model.channels) == ((8, 8, 1), 2, [4, 8])
    assert (model.scaling_factor, model.shift_factor) == (0.5, 0.25)


def test_what_was_read_is_written(model: Any, weights: Any, tmp_path: Path) -> None:
    """The same arrays by the same keys, and the same config, bit for bit."""
    folder = diffusers.write_autoencoder(model, tmp_path / "vae")
    written = SafeTensors(folder / WEIGHTS)
    assert written.keys() == weights.keys()
    for key, array in weights.items():
        np.testing.assert_array_equal(written[key], array, err_msg=key)
    ours, theirs = (json.loads((each / "config.json").read_text()) for each in (folder, FROZEN))
    assert ours.items() <= theirs.items()
    assert theirs.keys() - ours.keys() <= {"_diffusers_version", "force_upcast"}
    with pytest.raises(FileExistsError, match="vae exists"):
        diffusers.write_autoencoder(model, folder)


OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def _renamed(key: str) -> str:
    for new, old in OLD.items():
        key = key.replace(f".{new}.", f".{old}.")
    return key


def test_keys_of_earlier_versions(model: Any, weights: Any) -> None:
    """In the order of the alphabet, which is not that of the layers."""
    before = model.get_weights()
    turned = {_renamed(key): 2 * weights[key] for key in sorted(weights)}
    assert "decoder.mid_block.attentions.0.proj_attn.weight" in turned
    diffusers.assign(model, turned)
    networks = [*model.encoder.weights, *model.decoder.weights]
    expected = [w for w in before if w.shape][: len(networks)]
    for variable, value in zip(networks, expected, strict=True):
        np.testing.assert_array_equal(variable, 2 * value)
    diffusers.assign(model, weights)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
@pytest.mark.parametrize("form", ["bin", "safetensors"])
def test_files_of_other_types(form: str, kind: str, weights: Any, tmp_path: Path) -> None:
    """As PyTorch and the package safetensors write them; each number is exactly theirs."""
    torch = pytest.importorskip("torch")
    halved = {key: torch.tensor(array).to(getattr(torch, kind)) for key, array in weights.items()}
    if form == "bin":
        torch.save(halved, tmp_path / "diffusion_pytorch_model.bin")
    else:
        pytest.importorskip("safetensors.torch").save_file(halved, tmp_path / WEIGHTS)
    found = diffusers.weights_of(tmp_path)
    assert found.keys() == weights.keys()
    for key, tensor in halved.items():
        np.testing.assert_array_equal(np.float32(found[key]), tensor.float().numpy(), err_msg=key)


def _without(*keys: str) -> Callable[[dict[str, Any]], Any]:
    return lambda weights: [weights.pop(key) for key in keys]


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "missing": (
        _without("quant_conv.bias", "decoder.conv_in.weight"),
        "Keys 2 that are missing: quant_conv.bias, decoder.conv_in.weight.$",
    ),
    "surplus": (
        lambda weights: weights.update(logit_scale=np.zeros(1)),
        "Keys 1 that the model has no place for: logit_scale",
    ),
    "twice": (
        lambda weights: weights.update(
            {"encoder.mid_block.attentions.0.query.bias": np.zeros(8, np.float32)}
        ),
        "no place for: encoder.mid_block.attentions.0.query.bias",
    ),
    "misshapen": (
        lambda weights: weights.update({"decoder.conv_in.weight": np.zeros((8, 3, 3, 3))}),
        r"of another shape: decoder.conv_in.weight \(8, 3, 3, 3\), expected \(8, 2, 3, 3\)",
    ),
    "many": (
        lambda weights: weights.clear(),
        r"that are missing: encoder.conv_in.weight, (.+, ){6}\S+ and \d+ more",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_weights_that_do_not_fit_change_nothing(name: str, model: Any, weights: Any) -> None:
    spoil, message = FAULTS[name]
    spoiled = {key: array + 1 for key, array in weights.items()}
    spoil(spoiled)
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        diffusers.assign(model, spoiled)
    for value, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"_class_name": "VQModel"}, "is of the class VQModel; expected AutoencoderKL"),
        ({"act_fn": "relu"}, "act_fn is 'relu'; autoencoder_kl has 'silu' alone"),
        ({"down_block_types": ["AttnDownEncoderBlock2D"] * 2}, "down_block_types is "),
        ({"out_channels": 3}, "out_channels is 3; autoencoder_kl has 1 alone"),
        ({"latents_mean": [0.5, 0.5]}, "latents_mean is "),
        ({"latent_channels": "4"}, "config.json.*latent_channels"),
        ({"norm_num_groups": 3}, "groups=3: expected a divisor of the channels of every level"),
    ],
)
def test_configs_that_do_not_fit(entry: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FROZEN, tmp_path / "vae"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **entry}))
    with pytest.raises(ValueError, match=message):
        diffusers.read_autoencoder(folder)


# What is in the config.json of public weights, except for what has no effect here.
PUBLIC: dict[str, dict[str, Any]] = {
    "sd-vae-ft-mse": {"_diffusers_version": "0.4.2", "latent_channels": 4, "sample_size": 256},
    "SDXL": {"force_upcast": True, "sample_size": 1024, "scaling_factor": 0.13025},
    "SD 3": {
        "latent_channels": 16, "latents_mean": None, "latents_std": None, "sample_size": 1024,
        "scaling_factor": 1.5305, "shift_factor": 0.0609, "use_post_quant_conv": False,
        "use_quant_conv": False, "_name_or_path": "../sdxl-vae",
    },
    "FLUX": {
        "latent_channels": 16, "latents_mean": None, "latents_std": None, "sample_size": 1024,
        "scaling_factor": 0.3611, "shift_factor": 0.1159, "use_post_quant_conv": False,
        "use_quant_conv": False, "mid_block_add_attention": True, "force_upcast": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC)
def test_configs_of_public_weights(name: str, tmp_path: Path) -> None:
    """They are taken as they are; what they omit is as in diffusers."""
    common = {
        "_class_name": "AutoencoderKL", "act_fn": "silu", "in_channels": 3, "out_channels": 3,
        "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "norm_num_groups": 32,
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
    }  # fmt: skip
    given = {**common, **PUBLIC[name]}
    (tmp_path / "config.json").write_text(json.dumps(given))
    found = diffusers.checked_config(tmp_path / "config.json")
    assert given.items() <= found.items()
    assert found["use_quant_conv"] == (found["latent_channels"] == 4)
    assert (found["shift_factor"] is None) == (found["latent_channels"] == 4)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no config.json. Expected the folder of an A"):
        diffusers.read_autoencoder(tmp_path)
    shutil.copy(FROZEN / "config.json", tmp_path)
    with pytest.raises(FileNotFoundError, match="has no weights. Expected one of diffusion_py"):
        diffusers.read_autoencoder(tmp_path)
    content = (FROZEN / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[:-4])
    with pytest.raises(ValueError, match=rf"{WEIGHTS} is no file of safetensors .*Copy or"):
        diffusers.read_autoencoder(tmp_path)


def test_models_that_have_no_such_folder(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TypeError, match="model=None: expected an autoencoder_kl"):
        diffusers.write_autoencoder(None, tmp_path / "x")  # type: ignore[arg-type]
    monkeypatch.setattr(model, "likelihood", "gaussian")
    with pytest.raises(ValueError, match="likelihood='gaussian': its decoder gives logits"):
        diffusers.write_autoencoder(model, tmp_path / "x")
    assert not list(tmp_path.iterdir())


# The package itself

SMALL = {"in_channels": 3, "out_channels": 3, "norm_num_groups": 4, "sample_size": 16}
CONFIGS: dict[str, dict[str, Any]] = {
    "colour": {"block_out_channels": (8, 16, 16), "layers_per_block": 2, "latent_channels": 4},
    "bare": {
        "block_out_channels": (8, 16),
        "latent_channels": 16,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "mid_block_add_attention": False,
        "shift_factor": 0.1,
    },
    "one level": {"block_out_channels": (8,), "latent_channels": 2, "use_quant_conv": False},
}


def _reference(**config: Any) -> Any:
    """Theirs with random weights, of which none is without an effect."""
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("diffusers")
    levels = len(config["block_out_channels"])
    theirs = package.AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        **{**SMALL, **config},
    ).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in theirs.named_parameters():
            if name.endswith("bias"):
                value.normal_(0.0, 0.2, generator=generator)
            elif value.ndim == 1:
                value.uniform_(0.5, 1.5, generator=generator)
            else:
                value.normal_(0.0, value[0].numel() ** -0.5, generator=generator)
    return theirs


def _outputs(theirs: Any, factor: int) -> dict[str, np.ndarray]:
    import torch

    rng = np.random.default_rng(0)
    found = {}
    for i, size in enumerate([(16, 16), (24, 16 + factor)]):
        images = rng.random((2, *size, 3), np.float32)
        with torch.no_grad():
            posterior = theirs.encode(torch.tensor(2 * images - 1).permute(0, 3, 1, 2)).latent_dist
            decoded = theirs.decode(posterior.mean).sample
        tensors = {"mean": posterior.mean, "log_variance": posterior.logvar, "values": decoded}
        last = {name: tensor.permute(0, 2, 3, 1).numpy() for name, tensor in tensors.items()}
        last["values"] = (last["values"] + 1) / 2
        found |= {f"{name}_{i}": value for name, value in {"images": images, **last}.items()}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_the_package(name: str, tmp_path: Path) -> None:
    """It writes and we read; we write and it loads; both compute the same."""
    theirs = _reference(**CONFIGS[name])
    outputs = _outputs(theirs, 2 ** (len(CONFIGS[name]["block_out_channels"]) - 1))
    theirs.save_pretrained(tmp_path / "theirs")
    model = diffusers.read_autoencoder(tmp_path / "theirs")
    differences = assert_same_outputs(model, outputs)
    print(name, differences)
    folder = diffusers.write_autoencoder(model, tmp_path / "ours")
    import diffusers as package

    again, report = package.AutoencoderKL.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    ours, wanted = (
        {k: list(v) if isinstance(v, tuple) else v for k, v in each.config.items() if k[0] != "_"}
        for each in (again, theirs)
    )
    assert ours == wanted
    for key, value in theirs.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[key], value, err_msg=key)
    theirs.save_pretrained(tmp_path / "pickled", safe_serialization=False)
    pickled = diffusers.read_autoencoder(tmp_path / "pickled")
    for ours, wanted in zip(pickled.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, wanted)


@pytest.mark.slow
def test_the_gradients_of_a_step() -> None:
    """Of the loss to every weight, against PyTorch's through the package's networks."""
    theirs = _reference(**CONFIGS["colour"])
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    images, noise = rng.random((2, 16, 16, 3), np.float32), np.float32(rng.normal(size=(2, 64)))
    posterior = theirs.encode(torch.tensor(2 * images - 1).permute(0, 3, 1, 2)).latent_dist
    drawn = torch.tensor(noise.reshape(2, 4, 4, 4)).permute(0, 3, 1, 2)
    decoded = theirs.decode(posterior.mean + posterior.std * drawn).sample
    values = (decoded.permute(0, 2, 3, 1) + 1) / 2
    distortion = (values - torch.tensor(images)).abs().sum(dim=(1, 2, 3)) + 768 * np.log(2)
    loss = distortion + 0.01 * posterior.kl()
    loss.sum().backward()

    options = {"channels": (8, 16, 16), "blocks": 2, "groups": 4, "kl_weight": 0.01}
    model = zoo.create("autoencoder_kl", (16, 16, 3), 4, **options)
    diffusers.assign(model, {key: value.numpy() for key, value in theirs.state_dict().items()})
    entries = diffusers.table(model)
    with tf.GradientTape() as tape:
        terms = model.terms({"images": tf.constant(images), "posterior": noise}, training=True)
    np.testing.assert_allclose(terms["loss"], loss.detach(), rtol=1e-5)
    gradients = tape.gradient(terms["loss"], [entry.variable.value for entry in entries])
    wanted = dict(theirs.named_parameters())
    for entry, gradient in zip(entries, gradients, strict=True):
        turned = np.transpose(gradient, diffusers.TO_THEIRS[len(entry.shape)])
        expected = wanted[entry.key].grad.numpy()
        # The keys' bias moves all scores of a position alike: its gradient is 0 but for rounding.
        of_kernel = wanted[f"{entry.key.rpartition('.')[0]}.weight"].grad
        scale = max(np.abs(expected).max(), float(of_kernel.abs().max()))
        np.testing.assert_allclose(turned / scale, expected / scale, atol=1e-4, err_msg=entry.key)
