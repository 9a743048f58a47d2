"""From what a user names a pretrained model by to the model.

Imports are late: `zoo list --pretrained` comes by here, and needs no TensorFlow.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.hub import catalog

if TYPE_CHECKING:
    from zoo.core.model import ZooModel
    from zoo.sampling.samplers import Sampler


def load_pretrained(handle: str | Path, *, sha256: str | None = None) -> ZooModel:
    """Loads a pretrained model. No code of its files is run.

    Args:
        handle: A name of `list_pretrained()`; a preset's folder (`./name` if a preset has that
            name); `hf://org/repo` or `hf://org/repo@revision` of Hugging Face; or the `https://`
            address of a .zip or .tar.gz of a preset, with its hash: `https://…/x.zip#sha256=…`.
        sha256: The archive's hash, if the address does not end in it.

    Returns:
        The model, not compiled: `generate` and the like work; `compile()` it to train on, with new
        optimizers.

    Raises:
        FileNotFoundError: If the folder does not exist, or is no preset.
        ValueError: If the name is unknown, a hash is missing or wrong, or a file is damaged, not
            of the model, or names classes that might run code.
        ConnectionError: If a download fails; it is resumed by the next call.
        ImportError: If `hf://` is given and huggingface_hub is not installed.
    """
    from zoo.presets import load_preset  # noqa: PLC0415

    return load_preset(resolve(handle, sha256=sha256))


def load_sampler(handle: str | Path, *, sha256: str | None = None) -> Sampler:
    """Loads the Gaussian mixture that a pretrained VAE may bring to draw its latents from.

    Args:
        handle: As for `load_pretrained`.
        sha256: As for `load_pretrained`.

    Returns:
        A sampler for the model: `model.generate_from(sampler.sample(16, seed=0))`, and of a
        conditional one `model.generate_from(sampler.sample(16, 0, labels), labels)`.

    Raises:
        ValueError: If it brings none; or as `load_pretrained`, whose other errors it has too.
    """
    from zoo.presets import check_files, read_config  # noqa: PLC0415
    from zoo.presets.files import SAMPLER  # noqa: PLC0415
    from zoo.sampling import samplers  # noqa: PLC0415

    folder = resolve(handle, sha256=sha256)
    config = read_config(folder)
    if SAMPLER not in config["files"]:
        msg = f"{handle} brings no {SAMPLER}: its latents come from the prior, model.generate(n)."
        raise ValueError(msg)
    check_files(folder, config, [SAMPLER])
    classes = config["options"].get("num_classes", 0)
    return samplers.load_sampler(folder / SAMPLER, "gmm", config["latent_dim"], classes)


def resolve(handle: str | Path, *, sha256: str | None = None) -> Path:
    """The local folder of a handle, downloaded if need be; arguments and errors as above."""
    text = str(handle)
    if sha256 is not None and "://" not in text:
        msg = f"sha256 is given for {text}, but only downloads take one: leave it out."
        raise ValueError(msg)
    if text.startswith("hf://"):
        from zoo.hub import huggingface  # noqa: PLC0415

        if sha256 is not None:
            msg = f"{text} takes no sha256: name a commit, hf://org/repo@commit, to pin one."
            raise ValueError(msg)
        return huggingface.download(text)
    if "://" in text:
        from zoo.hub import downloads  # noqa: PLC0415

        return downloads.fetch(text, sha256)
    return Path(handle).expanduser() if _is_path(handle) else catalog.folder_of(text)


def is_handle(text: str) -> bool:
    """Whether `resolve` takes this for a pretrained model, and not a run folder.

    True for names of `list_pretrained()`, `hf://` and web addresses, and folders of presets.
    """
    from zoo.presets import is_preset  # noqa: PLC0415

    if "://" in text:
        return True
    return is_preset(text) if _is_path(text) else text in _names()


def _is_path(handle: str | Path) -> bool:
    """Names come first: a folder of the same name is meant by ./name."""
    if isinstance(handle, Path) or "/" in handle or "\\" in handle or handle in (".", "..", "~"):
        return True
    return handle not in _names() and Path(handle).is_dir()


def _names() -> set[str]:
    return {preset.name for preset in catalog.list_pretrained()}
