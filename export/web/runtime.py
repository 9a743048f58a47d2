"""ONNX Runtime for browsers: one pinned release from npm, kept in a cache."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from zoo.io.files import replacing

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
# As npm gives it for this release (`npm view onnxruntime-web@VERSION dist.integrity`).
INTEGRITY = (
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZ"
    "ClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
# The least that computes on a CPU. Static servers know .js as JavaScript, but not all of them .mjs.
FILES = {
    "package/dist/ort.wasm.bundle.min.mjs": "ort.js",
    "package/dist/ort-wasm-simd-threaded.wasm": "ort.wasm",
}


def cached_tarball() -> Path:
    """Where the release is kept: under `ZOO_HOME`, or else ~/.cache/vaegan-zoo."""
    home = os.environ.get("ZOO_HOME")
    folder = Path(home).expanduser() if home else Path.home() / ".cache" / "vaegan-zoo"
    return folder / f"{PACKAGE}-{VERSION}.tgz"


def fetch_runtime() -> Path:
    """The release's tarball, downloaded by npm if the cache has it not yet.

    Returns:
        Its path. Its SHA-512 is that of the release, at every call.

    Raises:
        FileNotFoundError: If it has to be downloaded and npm is not installed.
        OSError: If npm fails.
        ValueError: If the bytes are not those of the release. What was downloaded is removed, what
            was in the cache is left.
    """
    tarball = cached_tarball()
    if tarball.exists():
        _check(tarball, f"Remove it, and the next export downloads {PACKAGE} {VERSION} again.")
        return tarball
    by_hand = f"Or run `npm pack {PACKAGE}@{VERSION}` elsewhere and put the file at {tarball}."
    npm = shutil.which("npm")
    if npm is None:
        msg = (
            f"The playground needs {PACKAGE} {VERSION}, and there is no npm. Install it. {by_hand}"
        )
        raise FileNotFoundError(msg)
    with replacing(tarball) as temporary:
        done = subprocess.run(
            [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(temporary.parent)],
            cwd=temporary.parent, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode or not temporary.exists():
            reason = done.stderr.strip()[-500:] or f"exit status {done.returncode}"
            msg = f"npm could not download {PACKAGE} {VERSION}: {reason}. Try again. {by_hand}"
            raise OSError(msg)
        _check(temporary, f"Is npm set to another registry? {by_hand}")
    return tarball


def write_runtime(tarball: Path, folder: Path) -> None:
    """Writes the files that a page needs into an existing folder."""
    with tarfile.open(tarball) as archive:
        for member, name in FILES.items():
            file = archive.extractfile(member)
            if file is None:
                msg = f"{tarball}: {member} is not a file."
                raise ValueError(msg)
            with file, (folder / name).open("wb") as target:
                shutil.copyfileobj(file, target)


def _check(tarball: Path, remedy: str) -> None:
    digest = hashlib.sha512(tarball.read_bytes()).digest()
    integrity = "sha512-" + base64.b64encode(digest).decode()
    if integrity != INTEGRITY:
        msg = f"{tarball} is not {PACKAGE} {VERSION}: {integrity}, expected {INTEGRITY}. {remedy}"
        raise ValueError(msg)
