"""Makes a preset of weights that others trained, with their licence and where they come from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.convert.report import TensorRow, table_of_tensors
from zoo.hub import diffusers, huggingface
from zoo.hub.loading import resolve
from zoo.hub.repositories import LICENCE, PIPELINE, licence_of, noted_autoencoder_in
from zoo.io.files import sha256
from zoo.io.names import as_path, printable
from zoo.presets import is_preset, save_preset
from zoo.presets.cards import UNKNOWN

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from zoo.hub.diffusers import Entry

INTENDED = (
    "To encode images as grids of latents, and to decode such grids. A diffusion model of latents "
    "takes (mean − shift_factor) · scaling_factor; both are options of this model."
)
LIMITS = (
    "Latents of N(0, I) are not those of images: what `generate` and `zoo sample` draw of them "
    "shows no objects. Its publisher says what it was trained on."
)


@dataclass(frozen=True)
class Imported:
    """The account of one import.

    Attributes:
        source: What was imported, as the user named it.
        origin: What the preset says of it: `source`, `revision` (the commit, of a repository),
            `repository`, `file`, `sha256` of the file of weights, `class` and `tensors`.
        licence: `license`, and `license_name` and `license_link` if they are given; "unknown" if
            none is stated.
        rows: A row for every weight of the model, and the key that it comes from.

    Example:
        >>> from zoo.hub.importing import Imported
        >>> report = Imported("vae", {"file": "x.safetensors"}, {"license": "mit"}, [])
        >>> report.summary()
        '0 keys of x.safetensors, each used once, for all 0 weights. Licence: mit.'
    """

    source: str
    origin: dict[str, Any]
    licence: dict[str, str]
    rows: list[TensorRow]

    def summary(self) -> str:
        """One sentence for the keys, and one for the licence."""
        count = len(self.rows)
        stated = self.licence["license"]
        named = self.licence.get("license_name")
        licence = "not stated" if stated == UNKNOWN else f"{stated} ({named})" if named else stated
        return (
            f"{count} keys of {self.origin['file']}, each used once, for all {count} weights. "
            f"Licence: {licence}."
        )

    def table(self) -> Table:
        """A printable table, 80 columns wide, with the summary as its caption."""
        return table_of_tensors(f"{self.source} → autoencoder_kl", self.summary(), self.rows)


def import_model(
    source: str | Path,
    folder: str | Path,
    *,
    image_size: int | None = None,
    precision: str = "float16",
) -> Imported:
    """Makes a preset of weights that others trained, whole or not at all.

    Args:
        source: An `AutoencoderKL` in the layout of the package diffusers, as for `zoo.load`:
            `hf://org/repo`, `hf://org/repo/subfolder`, with @revision or without; or a folder.
        folder: The new folder. Its name becomes the preset's name.
        image_size: Height and width of the images that exports take and `generate` draws; None
            takes the size that the config.json has. `encode` and `decode` take every size.
        precision: "float16" halves the file and rounds weights to 3 digits; "float32" keeps them.

    Returns:
        The report: where every weight comes from, and the licence. The preset's config.json, its
        card, and the metadata of its exports say the same.

    Warns:
        UserWarning: If no licence is stated, which the card says too.

    Raises:
        FileExistsError: If the folder exists.
        FileNotFoundError: If there is no such model, or it has no weights.
        ValueError: If it is a preset or a run already, a model of another class, or its weights do
            not fit; every key that is missing, left over or of another shape is named.
        ConnectionError: If a download fails; the next call resumes it.
        ImportError: If `hf://` is given and huggingface_hub is not installed.

    Example:
        >>> import tempfile
        >>> import zoo
        >>> model = zoo.create("autoencoder_kl", (8, 8, 1), 2, channels=(4,), groups=2)
        >>> with tempfile.TemporaryDirectory() as place:
        ...     theirs = zoo.hub.write_autoencoder(model, f"{place}/vae")
        ...     report = zoo.import_model(theirs, f"{place}/mine")
        ...     again = zoo.load(f"{place}/mine")
        >>> len(report.rows), report.licence, again.channels
        (92, {'license': 'unknown'}, [4])
    """
    folder = as_path(folder, "folder").absolute()
    if folder.exists():
        msg = f"{folder} exists already. Choose another folder, or remove it."
        raise FileExistsError(msg)
    if precision not in ("float16", "float32"):
        msg = f"precision={precision!r}: expected 'float16' or 'float32'."
        raise ValueError(msg)
    place, origin, licence = _found(source)
    channels = diffusers.checked_config(place / diffusers.CONFIG)["in_channels"]
    shape = None if image_size is None else (image_size, image_size, channels)
    model, taken = diffusers.read_with_keys(place, shape)
    origin |= {"class": diffusers.CLASS, "tensors": len(taken)}
    facts = {**licence, "intended_use": INTENDED, "limits": LIMITS, "imported_from": origin}
    save_preset(model, folder, facts=facts, precision=precision, samples=False)
    if licence["license"] == UNKNOWN:
        message = (
            f"{source} states no licence. Ask its publisher before you use the weights or pass "
            "them on; the preset's card says so too."
        )
        warnings.warn(message, stacklevel=1)
    file = origin["file"]
    return Imported(
        origin["source"], origin, licence, [_row(*each, file) for each in taken.items()]
    )


def _found(source: str | Path) -> tuple[Path, dict[str, Any], dict[str, str]]:
    """The folder of the model, what is known of its origin, and its licence."""
    handle, origin = str(source), {"source": printable(str(source))}
    if handle.startswith("hf://"):
        root, path, commit = huggingface.download(handle)
        repo = huggingface.parse(handle).repo
        origin |= {"revision": commit, "repository": repo}
    else:
        root = path = resolve(source)
    place = None if is_preset(path) else noted_autoencoder_in(path)
    if place is None:
        raise _no_weights(source, path)
    if not handle.startswith("hf://"):
        root = place.parent if (place.parent / PIPELINE).is_file() else path
    file = diffusers.weights_file(place)
    name = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
    origin |= {"file": name, "sha256": sha256(file)}
    licence = licence_of(dict.fromkeys([place, path, root]))
    link = licence.get("license_link")
    if link and "://" not in link and "repository" in origin:  # a file of the repository
        address = f"https://huggingface.co/{origin['repository']}/blob/{origin['revision']}"
        licence["license_link"] = f"{address}/{link}"
    return place, origin, {key: licence[key] for key in LICENCE if key in licence}


def _no_weights(source: str | Path, path: Path) -> OSError | ValueError:
    if not path.exists():
        return FileNotFoundError(f"{source} does not exist.")
    if is_preset(path):
        return ValueError(f"{source} is a preset already, which zoo.load and every command take.")
    expected = f"Expected a folder with the {diffusers.CONFIG} of an {diffusers.CLASS}"
    if (path / diffusers.CONFIG).is_file():
        return ValueError(f"{source} is no model of diffusers. {expected}; a run needs no import.")
    return FileNotFoundError(f"{source} has no {diffusers.CONFIG}. {expected}, or a pipeline.")


def _row(key: str, entry: Entry, file: str) -> TensorRow:
    turned = len(entry.shape) > 1
    return TensorRow(
        target=entry.path,
        source=f"{file.rpartition('/')[2]}/{key}",
        rule="transpose" if turned else "copy",
        shape=tuple(entry.variable.shape),
        status="TRANSFORMED" if turned else "COPIED",
        source_shape=entry.shape,
    )
