"""Folders in the layout that the package diffusers has for its class `AutoencoderKL`.

A folder has a config.json and the weights, as safetensors or as a file of PyTorch. `table` is the
mapping: every key of theirs, the weight of ours, and how its axes are turned. Reading takes every
key once and checks every shape before a weight is set. The package itself is not needed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo.hub.repositories import CLASS, CONFIG
from zoo.io import schemas
from zoo.io.files import replacing
from zoo.io.names import as_path
from zoo.io.records import read_json, write_json
from zoo.io.safetensor_files import SUFFIX, SafeTensors, write_safetensors
from zoo.io.torch_files import read_state_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from zoo.vae.autoencoder_kl import AutoencoderKL

# The first of them that is there is read.
WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.fp16.bin",
)
DOWN, UP = "DownEncoderBlock2D", "UpDecoderBlock2D"
# Theirs, which a config.json may omit.
DEFAULTS: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": [DOWN],
    "up_block_types": [UP],
    "block_out_channels": [64],
    "layers_per_block": 1,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 32,
    "scaling_factor": 0.18215,
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}
# Our layers and theirs, by patterns that match the whole name; `encoder.` or `decoder.` precedes.
LAYERS = (
    (r"input", "conv_in"),
    (r"output", "conv_out"),
    (r"output_norm", "conv_norm_out"),
    (r"(down|up)_(\d+)_block_(\d+)_(\w+)", r"\1_blocks.\2.resnets.\3.\4"),
    (r"down_(\d+)_downsample", r"down_blocks.\1.downsamplers.0.conv"),
    (r"up_(\d+)_upsample", r"up_blocks.\1.upsamplers.0.conv"),
    (r"middle_block_(\d+)_(\w+)", r"mid_block.resnets.\1.\2"),
    (r"attention_(\w+)", r"mid_block.attentions.0.\1"),
)
PARTS = {
    "norm_0": "norm1",
    "conv_0": "conv1",
    "norm_1": "norm2",
    "conv_1": "conv2",
    "shortcut": "conv_shortcut",
    "norm": "group_norm",
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "output": "to_out.0",
}
OUTSIDE = {"quant": "quant_conv", "post_quant": "post_quant_conv"}
VARIABLES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}
# By the number of axes: theirs in the order of ours, and the way back.
TO_OURS = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
TO_THEIRS = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
# What earlier versions called the layers of the attention.
OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
OLD_KEY = re.compile(rf"(.*\.attentions\.\d+\.)({'|'.join(OLD)})(\.(?:weight|bias))")
NAMED = 8  # of keys in an error


class Entry(NamedTuple):
    """A line of the table.

    Attributes:
        key: Theirs, such as "encoder.conv_in.weight".
        path: Ours, network/layer/weight.
        variable: The weight.
        shape: The shape that theirs has.
    """

    key: str
    path: str
    variable: Any
    shape: tuple[int, ...]


def table(model: AutoencoderKL) -> list[Entry]:
    """The mapping: a line for every weight of both networks.

    Example:
        >>> import zoo
        >>> from zoo.hub.diffusers import table
        >>> model = zoo.create("autoencoder_kl", (8, 8, 1), 2, channels=(4,), groups=2)
        >>> entry = table(model)[0]
        >>> entry.key, entry.shape, entry.path
        ('encoder.conv_in.weight', (4, 1, 3, 3), 'encoder/input/kernel')
    """
    entries = []
    for role in ("encoder", "decoder"):
        for layer in getattr(model, role).layers:
            for variable in layer.weights:
                name = f"{_layer(role, layer.name)}.{VARIABLES[variable.name]}"
                axes = TO_THEIRS[len(variable.shape)]
                shape = tuple(variable.shape[axis] for axis in axes)
                entries.append(Entry(name, f"{role}/{layer.name}/{variable.name}", variable, shape))
    return entries


def _layer(role: str, name: str) -> str:
    if name in OUTSIDE:
        return OUTSIDE[name]
    for pattern, theirs in LAYERS:
        match = re.fullmatch(pattern, name)
        if match:
            start, _, part = match.expand(theirs).rpartition(".")
            return f"{role}.{start}.{PARTS.get(part, part)}" if start else f"{role}.{part}"
    msg = f"{role}/{name}: this layer has no place in the layout."
    raise ValueError(msg)


def read_autoencoder(
    folder: str | Path, image_shape: Sequence[int] | None = None, **options: Any
) -> AutoencoderKL:
    """Reads an `AutoencoderKL` that diffusers or `write_autoencoder` wrote.

    Args:
        folder: It has the config.json and the weights: diffusion_pytorch_model.safetensors or .bin,
            in float32, float16 or bfloat16. No code of the files is run.
        image_shape: (height, width, channels) of the model, which makes its flat latents; None
            takes the size that the config has. `encode` and `decode` take every size.
        **options: Further options of the model, such as `seed`.

    Returns:
        The model in float32, not compiled. It computes what diffusers does: `encode` gives the
        moments before `scaling_factor` and `shift_factor`, which are attributes, and images are in
        [0, 1], not [−1, 1].

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If the config is of another class or asks for what the model has not; a file is
            damaged; or a key is missing, left over, or of another shape. The keys are named.

    Example:
        >>> import tempfile
        >>> import zoo
        >>> model = zoo.create("autoencoder_kl", (8, 8, 1), 2, channels=(4,), groups=2)
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = zoo.hub.write_autoencoder(model, f"{place}/vae")
        ...     again = zoo.hub.read_autoencoder(folder)
        >>> again.image_shape, again.channels
        ((8, 8, 1), [4])
    """
    return read_with_keys(folder, image_shape, **options)[0]


def read_with_keys(
    folder: str | Path, image_shape: Sequence[int] | None = None, **options: Any
) -> tuple[AutoencoderKL, dict[str, Entry]]:
    """As `read_autoencoder`; also returns the line of the table that each key of the file has."""
    from zoo.core.contracts import unchecked  # noqa: PLC0415  (imports Keras)
    from zoo.vae.autoencoder_kl import AutoencoderKL  # noqa: PLC0415

    folder = as_path(folder, "folder")
    if not (folder / CONFIG).is_file():
        msg = f"{folder} has no {CONFIG}. Expected the folder of an {CLASS}, often called vae."
        raise FileNotFoundError(msg)
    config = checked_config(folder / CONFIG)
    weights = weights_of(folder)
    size = config["sample_size"]
    with unchecked():
        model = AutoencoderKL(
            image_shape=image_shape or (size, size, config["in_channels"]),
            latent_dim=config["latent_channels"],
            channels=config["block_out_channels"],
            blocks=config["layers_per_block"],
            groups=config["norm_num_groups"],
            attention=config["mid_block_add_attention"],
            quant_conv=config["use_quant_conv"],
            post_quant_conv=config["use_post_quant_conv"],
            scaling_factor=config["scaling_factor"],
            shift_factor=config["shift_factor"] or 0.0,
            **options,
        )
    return model, assign(model, weights)


def write_autoencoder(model: AutoencoderKL, folder: str | Path) -> Path:
    """Writes a folder that diffusers loads with `AutoencoderKL.from_pretrained`.

    Args:
        model: An `autoencoder_kl` whose likelihood is "laplace_linear", as by default: others take
            the decoder's values for logits, and diffusers takes them for pixels.
        folder: Is made, and must not be there yet.

    Returns:
        The folder.

    Raises:
        TypeError: If the model is another one.
        ValueError: If its likelihood is another one.
        FileExistsError: If the folder is there.

    Example:
        >>> import tempfile
        >>> import zoo
        >>> model = zoo.create("autoencoder_kl", (8, 8, 1), 2, channels=(4,), groups=2)
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = zoo.hub.write_autoencoder(model, f"{place}/vae")
        ...     sorted(file.name for file in folder.iterdir())
        ['config.json', 'diffusion_pytorch_model.safetensors']
    """
    from zoo.vae.autoencoder_kl import AutoencoderKL  # noqa: PLC0415  (imports TensorFlow)

    if not isinstance(model, AutoencoderKL):
        msg = f"model={model!r}: expected an autoencoder_kl; the layout is that of no other model."
        raise TypeError(msg)
    if model.likelihood != "laplace_linear":
        msg = (
            f"likelihood={model.likelihood!r}: its decoder gives logits, and diffusers takes them "
            "for pixels. Train the model with likelihood='laplace_linear'."
        )
        raise ValueError(msg)
    folder = as_path(folder, "folder")
    if folder.exists():
        msg = f"{folder} exists. Name a folder that does not."
        raise FileExistsError(msg)
    with replacing(folder) as temporary:
        temporary.mkdir()
        arrays = {
            key: np.asarray(variable, np.float32).transpose(TO_THEIRS[len(shape)])
            for key, _, variable, shape in table(model)
        }
        write_safetensors(temporary / WEIGHTS[0], arrays)
        write_json(temporary / CONFIG, _config_of(model))
    return folder


def _config_of(model: AutoencoderKL) -> dict[str, Any]:
    levels = len(model.channels)
    return {
        "_class_name": CLASS,
        **DEFAULTS,
        "in_channels": model.image_shape[2],
        "out_channels": model.image_shape[2],
        "down_block_types": [DOWN] * levels,
        "up_block_types": [UP] * levels,
        "block_out_channels": model.channels,
        "layers_per_block": model.blocks,
        "latent_channels": model.latent_dim,
        "norm_num_groups": model.groups,
        "sample_size": max(model.image_shape[:2]),
        "scaling_factor": model.scaling_factor,
        "shift_factor": model.shift_factor or None,
        "use_quant_conv": model.quant_conv,
        "use_post_quant_conv": model.post_quant_conv,
        "mid_block_add_attention": model.attention,
    }


def checked_config(path: Path) -> dict[str, Any]:
    """The entries of a config.json, with their defaults, if the model can be what they say.

    Raises:
        ValueError: If the class is another, or has what the model has not; the entry is named.
    """
    given = read_json(path)
    name = given.get("_class_name", CLASS) if isinstance(given, dict) else CLASS
    if name != CLASS:
        msg = f"{path} is of the class {name}; expected {CLASS}, the only one that can be read."
        raise ValueError(msg)
    given = read_json(path, schemas.AUTOENCODER)
    config = {**DEFAULTS, **given}
    levels = len(config["block_out_channels"])
    expected = {
        "down_block_types": [DOWN] * levels,
        "up_block_types": [UP] * levels,
        "act_fn": "silu",
        "out_channels": config["in_channels"],
        "latents_mean": None,
        "latents_std": None,
    }
    for name, value in expected.items():
        if config[name] != value:
            msg = f"{path}: {name} is {config[name]!r}; autoencoder_kl has {value!r} alone."
            raise ValueError(msg)
    return config


def weights_of(folder: Path) -> Mapping[str, np.ndarray]:
    """The arrays of the folder by key; those of safetensors are read when they are asked for."""
    file = weights_file(folder)
    return (SafeTensors if file.suffix == SUFFIX else read_state_dict)(file)


def weights_file(folder: Path) -> Path:
    """The file of weights that is read; FileNotFoundError if there is none."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    msg = f"{folder} has no weights. Expected one of {', '.join(WEIGHTS)}."
    raise FileNotFoundError(msg)


def assign(model: AutoencoderKL, weights: Mapping[str, np.ndarray]) -> dict[str, Entry]:
    """Sets every weight of both networks, if each has its array and each array its weight.

    Args:
        model: Its weights are set, all or none of them.
        weights: Arrays by key of `table`, or by the keys of earlier versions for the attention.

    Returns:
        The line of the table that each key of `weights` has, in the order of the table.

    Raises:
        ValueError: If a key is missing, left over, or of another shape; all of them are named.
    """
    entries = {entry.key: entry for entry in table(model)}
    keys: dict[str, str] = {}  # of the file, by the key of today
    surplus = []
    for key in weights:
        match = OLD_KEY.fullmatch(key)
        today = f"{match[1]}{OLD[match[2]]}{match[3]}" if match else key
        if today in keys or today not in entries:
            surplus.append(key)
        else:
            keys[today] = key
    shape_of = weights.shape if isinstance(weights, SafeTensors) else lambda key: weights[key].shape
    faults = {
        "that are missing": [key for key in entries if key not in keys],
        "that the model has no place for": surplus,
        "of another shape": [
            f"{key} {tuple(shape_of(key))}, expected {entries[today].shape}"
            for today, key in keys.items()
            if tuple(shape_of(key)) != entries[today].shape
        ],
    }
    if any(faults.values()):
        found = (f"{len(each)} {what}: {_some(each)}" for what, each in faults.items() if each)
        msg = f"The weights do not fit their {CONFIG}. Keys {'; keys '.join(found)}."
        raise ValueError(msg)
    taken = {keys[today]: entry for today, entry in entries.items()}
    for key, entry in taken.items():
        array = weights[key].astype(np.float32)
        entry.variable.assign(array.transpose(TO_OURS[array.ndim]))
    return taken


def _some(keys: Iterable[str]) -> str:
    keys = list(keys)
    more = len(keys) - NAMED
    return ", ".join(keys[:NAMED]) + (f" and {more} more" if more > 0 else "")
