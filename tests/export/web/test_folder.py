"""The playground’s folder is complete, or not written at all."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

import zoo
from export import export_model, read_export, verify, web
from export.metadata import hashes
from export.web import SAMPLES, export_web, runtime
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from zoo.io.pictures import GAP, grid


def _tarball(path: Path) -> str:
    """Writes one with the members that are needed; returns its integrity."""
    with tarfile.open(path, "w:gz") as archive:
        for name in runtime.FILES:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


def _npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only npm on the PATH; `$4` is the folder to put the tarball in."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_folder_is_complete(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "INTEGRITY", _tarball(tmp_path / "x.tgz"))
    _npm(
        tmp_path / "bin",
        f'test "$*" = "pack onnxruntime-web@{runtime.VERSION} --pack-destination $4" || exit 3\n'
        f'cp {tmp_path}/x.tgz "$4/onnxruntime-web-{runtime.VERSION}.tgz"',
        monkeypatch,
    )
    model = zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM)
    path = export_model(model, tmp_path / "web", format="web", run=tmp_path / "run", verify=False)
    found = read_export(path)
    assert (found["format"], found["run"]) == ("web", tmp_path / "run")
    assert found["versions"]["onnxruntime-web"] == runtime.VERSION
    assert found["files"] == hashes(path)
    assert (path / "onnxruntime/ort.wasm").read_text() == (
        "package/dist/ort-wasm-simd-threaded.wasm"
    )
    _check_references(path)
    latents = json.loads((path / "latents.json").read_text())
    np.testing.assert_array_equal(
        np.asarray(latents["samples"], np.float32), model.sample_latents(SAMPLES, seed=0)
    )
    assert np.shape(latents["directions"]) == (LATENT_DIM, LATENT_DIM)
    assert verify(path, model).passed
    # From the cache, and never over what is there.
    monkeypatch.setenv("PATH", str(tmp_path))
    assert runtime.fetch_runtime() == home / f"onnxruntime-web-{runtime.VERSION}.tgz"
    with pytest.raises(FileExistsError, match="exists"):
        export_web(model, path)


def _check_references(path: Path) -> None:
    """Every file that the page names is there, and every element."""
    page = (path / "index.html").read_text()
    scripts = {file.name: file.read_text() for file in path.glob("*.js")}
    names = re.findall(r'(?:href|src)="([\w./]+)"', page)
    for text in scripts.values():
        names += re.findall(r'(?:from |read\(|url\()"([\w./]+)"', text)
    assert {"page.js", "style.css", "./model.js", "latents.json", "onnxruntime/ort.wasm"} <= {
        *names
    }
    assert [name for name in names if not (path / name).is_file()] == []
    wanted = {x for text in scripts.values() for x in re.findall(r'find\("([\w-]+)"\)', text)}
    assert len(wanted) > 15
    assert wanted <= set(re.findall(r' id="([\w-]+)"', page))
    for text in (page, *scripts.values(), (path / "style.css").read_text()):
        assert "://" not in text


@pytest.mark.parametrize(
    ("script", "error", "match"),
    [
        (None, FileNotFoundError, r"no npm.*npm pack onnxruntime-web@.*put the file at .*home"),
        ("echo no network >&2; exit 1", OSError, "could not download .*: no network"),
        ("true", OSError, "could not download .*exit status 0"),
        (f'echo x > "$4/onnxruntime-web-{runtime.VERSION}.tgz"', ValueError, "expected sha512-q0y"),
    ],
)
def test_without_the_release_nothing_is_written(
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str | None,
    error: type[Exception],
    match: str,
) -> None:
    if script is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        _npm(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(error, match=match):
        export_web(zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM), tmp_path / "web")
    assert not home.exists() or not list(home.iterdir())
    assert not (tmp_path / "web").exists()


def test_a_damaged_cache_is_named_and_left(home: Path) -> None:
    home.mkdir()
    tarball = runtime.cached_tarball()
    tarball.write_text("cut short")
    with pytest.raises(ValueError, match=r"onnxruntime-web-[\d.]+tgz is not .*Remove it"):
        runtime.fetch_runtime()
    assert tarball.read_text() == "cut short"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_the_page_paints_what_grids_show(channels: int) -> None:
    """The pixels of a canvas are those of `zoo.io.pictures.grid`."""
    image = np.random.default_rng(0).uniform(size=(3, 4, channels)).astype(np.float32)
    view = (web.PAGE / "view.js").as_uri()
    program = f"""
      const {{ pictures }} = await import({view!r});
      globalThis.ImageData = class {{
        constructor(w, h) {{ this.data = new Uint8ClampedArray(4 * w * h); }}
      }};
      const canvas = {{ getContext: () => ({{ putImageData: (x) => (canvas.data = x.data) }}) }};
      pictures([3, 4, {channels}]).paint(canvas, {image.ravel().tolist()});
      console.log(JSON.stringify([canvas.height, canvas.width, [...canvas.data]]));
    """
    done = subprocess.run(
        ["node", "--input-type=module", "-e", program], capture_output=True, text=True, check=True
    )
    height, width, values = json.loads(done.stdout)
    wanted = grid(image[None])[GAP:-GAP, GAP:-GAP]
    painted = np.array(values).reshape(height, width, 4)
    assert (painted[..., 3] == 255).all()
    np.testing.assert_array_equal(painted[..., :3], wanted)
