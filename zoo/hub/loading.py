"""From the handle of a model, such as a preset's name or a run folder, to the model.

Imports are late, because `zoo list --pretrained` comes by here and needs no TensorFlow.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.hub import catalog

if TYPE_CHECKING:
    from zoo.core.model import ZooModel
    from zoo.sampling.samplers import Sampler


EXPECTED = (
    "Expected a run folder, a checkpoint in one (.keras), the name or the folder of a preset, "
    "hf://org/repo, or https://….zip#sha256=…"
)


def load(handle: str | Path, *, sha256: str | None = None) -> ZooModel:
    """Loads a model from wherever it is: a run, a checkpoint, a preset or an address.

    Args:
        handle: A run folder, for its latest state; a checkpoint in one, such as
            `runs/vae/best.keras`; a pretrained model, as for `load_pretrained`; or an
            `AutoencoderKL` of the package diffusers, as for `zoo.hub.read_autoencoder`: a folder,
            `hf://org/repo` or `hf://org/repo/subfolder`. A pipeline has it in its folder vae.
        sha256: The archive's hash, if the address does not end in it.

    Returns:
        The model. The model of a run is compiled and has its optimizers' state; others are not
        compiled.

    Raises:
        FileNotFoundError: If the path does not exist, or is neither a run, a checkpoint nor a
            preset.
        ValueError: If a name without a slash is neither a preset nor a file (the nearest presets
            are suggested), a file is damaged, or a hash is missing or wrong.
        ConnectionError: If a download fails; the next call resumes it.
        ImportError: If `hf://` is given and huggingface_hub is not installed.

    Example:
        >>> import zoo
        >>> zoo.load("vae_fashion_mnist").generate(2, seed=0).shape
        (2, 28, 28, 1)
    """
    from zoo.hub import diffusers, repositories  # noqa: PLC0415
    from zoo.presets import is_preset  # noqa: PLC0415
    from zoo.training.run_files import LOAD_MODEL, run_folder  # noqa: PLC0415
    from zoo.training.runs import load_run  # noqa: PLC0415

    path = resolve(handle, sha256=sha256)
    if not is_preset(path) and (place := repositories.noted_autoencoder_in(path)) is not None:
        return diffusers.read_autoencoder(place)
    if not (is_preset(path) or (run_folder(path) / "config.json").exists()):
        if path.suffix == ".keras" and path.exists():
            raise FileNotFoundError(f"{path} is in no run folder. {LOAD_MODEL}")
        fault = "is no run, no checkpoint and no preset" if path.exists() else "does not exist"
        raise FileNotFoundError(f"{path} {fault}. {EXPECTED}")
    return load_run(path)


def load_pretrained(handle: str | Path, *, sha256: str | None = None) -> ZooModel:
    """Loads a preset: a pretrained model. No code of its files is run.

    Args:
        handle: A name of `list_pretrained()`; a preset's folder (`./name` if a preset has that
            name); `hf://org/repo` or `hf://org/repo@revision` of Hugging Face; or the `https://`
            address of a .zip or .tar.gz of a preset, with its hash: `https://…/x.zip#sha256=…`.
        sha256: The archive's hash, if the address does not end in it.

    Returns:
        The model, not compiled: `generate` and the like work. To train it further, `compile()` it,
        which makes new optimizers.

    Raises:
        FileNotFoundError: If the folder does not exist, or is no preset.
        ValueError: If the name is unknown, a hash is missing or wrong, or a file is damaged,
            belongs to another model, or names classes that might run code.
        ConnectionError: If a download fails; the next call resumes it.
        ImportError: If `hf://` is given and huggingface_hub is not installed.

    Example:
        >>> import zoo
        >>> zoo.load_pretrained("cvae_fashion_mnist").generate(2, seed=0, labels=[3, 5]).shape
        (2, 28, 28, 1)
    """
    from zoo.hub.repositories import check_is_none  # noqa: PLC0415
    from zoo.presets import is_preset, load_preset  # noqa: PLC0415

    folder = resolve(handle, sha256=sha256)
    if not is_preset(folder):
        check_is_none(folder, handle)
    return load_preset(folder)


def load_sampler(handle: str | Path, *, sha256: str | None = None) -> Sampler:
    """Loads the Gaussian mixture of a pretrained VAE, which its latents may be drawn from.

    Args:
        handle: As for `load_pretrained`.
        sha256: As for `load_pretrained`.

    Returns:
        A sampler for the model. For a conditional model, give labels to both calls:
        `model.generate_from(sampler.sample(16, 0, labels), labels)`.

    Raises:
        ValueError: If the preset has no mixture; or as `load_pretrained`, whose other errors it
            raises too.

    Example:
        >>> import zoo
        >>> latents = zoo.hub.load_sampler("vae_fashion_mnist").sample(2, seed=0)
        >>> zoo.load_pretrained("vae_fashion_mnist").generate_from(latents).shape
        (2, 28, 28, 1)
    """
    from zoo.presets import check_files, read_config  # noqa: PLC0415
    from zoo.presets.files import SAMPLER  # noqa: PLC0415
    from zoo.sampling import samplers  # noqa: PLC0415

    folder = resolve(handle, sha256=sha256)
    config = read_config(folder)
    if SAMPLER not in config["files"]:
        msg = f"{handle} has no {SAMPLER}: draw latents from the prior, with model.generate(n)."
        raise ValueError(msg)
    check_files(folder, config, [SAMPLER])
    classes = config["options"].get("num_classes", 0)
    return samplers.load_sampler(folder / SAMPLER, "gmm", config["latent_dim"], classes)


def resolve(handle: str | Path, *, sha256: str | None = None) -> Path:
    """The local path of a handle; downloads a preset that is not here yet.

    Arguments and errors are those of `load_pretrained`, but a path is not looked at.

    Example:
        >>> from zoo.hub import resolve
        >>> resolve("vae_fashion_mnist").name
        'vae_fashion_mnist'
        >>> resolve("./runs/vae").as_posix()
        'runs/vae'
    """
    if not isinstance(handle, (str, Path)) or not str(handle).strip():
        msg = f"The handle of a model is {handle!r}. {EXPECTED}, as a str or a Path."
        raise ValueError(msg)
    text = str(handle)
    if sha256 is not None and "://" not in text:
        msg = f"sha256 is given for {text}, but only downloads take one: leave it out."
        raise ValueError(msg)
    if text.startswith("hf://"):
        from zoo.hub import huggingface  # noqa: PLC0415

        if sha256 is not None:
            msg = f"{text} takes no sha256: name a commit, hf://org/repo@commit, to pin one."
            raise ValueError(msg)
        return huggingface.download(text).folder
    if "://" in text:
        from zoo.hub import downloads  # noqa: PLC0415

        return downloads.fetch(text, sha256)
    return Path(handle).expanduser() if _is_path(handle) else catalog.folder_of(text)


def _is_path(handle: str | Path) -> bool:
    """Whether a handle is a path. A preset's name is none, even where a file has the name."""
    if isinstance(handle, Path) or "/" in handle or "\\" in handle or handle in (".", "..", "~"):
        return True
    names = {preset.name for preset in catalog.list_pretrained()} | catalog.RENAMED.keys()
    return handle not in names and Path(handle).exists()
