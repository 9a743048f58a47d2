"""Autoencoders of diffusers in repositories and folders: found, downloaded, resumed, refused.

The server is this machine's, and speaks Hugging Face's paths to the real client.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants

import zoo
from tests.support.hub_server import COMMIT, HubServer, hub_server
from zoo.hub import huggingface, load_pretrained, repositories, resolve
from zoo.io import downloads as transfers
from zoo.io.safetensor_files import SafeTensors

FROZEN = Path(__file__).parents[1] / "frozen_autoencoder"
WEIGHTS = "diffusion_pytorch_model.safetensors"
CONFIG = (FROZEN / "config.json").read_bytes()
NUMBERS = (FROZEN / WEIGHTS).read_bytes()
CARD = b"---\nlicense: mit\n---\n# A model\n"
PIPELINE = b'{"_class_name": "StableDiffusionPipeline"}'


def _class(name: str) -> bytes:
    return json.dumps({**json.loads(CONFIG), "_class_name": name}).encode()


# Beside what is to be read, files that are not to be downloaded.
REPOSITORIES = {
    "me/plain": {
        "config.json": CONFIG, WEIGHTS: NUMBERS, "README.md": CARD, "evil.py": b"1 / 0",
        "diffusion_pytorch_model.bin": b"x", "unet.safetensors": b"x", ".gitattributes": b"x",
    },
    "me/pipeline": {
        "model_index.json": PIPELINE, "README.md": CARD, "vae/config.json": CONFIG,
        f"vae/{WEIGHTS}": NUMBERS, "unet/config.json": b"{}", f"unet/{WEIGHTS}": b"x",
    },
    "me/tiny": {"config.json": _class("AutoencoderTiny"), WEIGHTS: NUMBERS},
    "me/unet": {"config.json": b'{"_class_name": "UNet2DModel", "sample_size": "x"}', WEIGHTS: b""},
    "me/text": {"model_index.json": PIPELINE, "text_encoder/config.json": b"{}"},
    "me/bare": {"config.json": CONFIG, "README.md": b"# Nothing"},
    "me/empty": {"README.md": b"# Nothing"},
}  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(transfers, "CHUNK", 1000)  # whole ones are kept
    with hub_server(REPOSITORIES) as made:
        monkeypatch.setattr(constants, "ENDPOINT", made.url)
        template = made.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield made


def _computes_as_the_frozen_one(model: Any) -> None:
    outputs = np.load(FROZEN / "outputs.npz")
    mean, _ = model.encode(outputs["images_0"])
    np.testing.assert_allclose(mean, outputs["mean_0"], atol=1e-5)


def test_a_repository(server: HubServer) -> None:
    """Three files of it; the token goes to the hub, and not to where that leads."""
    _computes_as_the_frozen_one(zoo.load("hf://me/plain"))
    assert server.downloaded == sorted([WEIGHTS, "README.md", "config.json"])
    assert (WEIGHTS, "Bearer secret") in server.tokens
    assert (f"cdn/{WEIGHTS}", None) in server.tokens
    with pytest.raises(ValueError, match="me/plain is an autoencoder of diffusers: zoo.load"):
        load_pretrained("hf://me/plain")
    assert len(server.asked) == 3  # the second time they were there


def test_a_pipeline(server: HubServer) -> None:
    """By its subfolder, or by itself with a notice."""
    found = huggingface.download(f"hf://me/pipeline/vae@{COMMIT}")
    assert (found.folder, found.commit) == (found.root / "vae", COMMIT)
    assert server.downloaded == sorted(["README.md", "vae/config.json", f"vae/{WEIGHTS}"])
    with pytest.warns(UserWarning, match=r"StableDiffusionPipeline: only .* in its folder vae is"):
        place = repositories.noted_autoencoder_in(resolve("hf://me/pipeline"))
    assert place == found.folder
    assert {path for path, _ in server.asked if "unet" in path} == set()


def test_it_goes_on_where_it_was_cut_off(server: HubServer) -> None:
    """Within a call, and in the next one after an error."""
    server.cut, server.cuts = 20_000, 2
    server.refusal = 503
    with pytest.raises(ConnectionError, match="20,000 bytes are here; the next call goes on"):
        huggingface.download("hf://me/plain")
    server.refusal = 0
    folder = huggingface.download("hf://me/plain").folder
    assert (folder / WEIGHTS).read_bytes() == NUMBERS
    asked = [each for path, each in server.asked if path == WEIGHTS]
    assert asked == [None, "bytes=20000-", "bytes=20000-", "bytes=40000-"]


def test_what_is_not_what_was_listed_is_not_kept(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(transfers, "sha256_of", lambda _: "0" * 64)
        with pytest.raises(ValueError, match="It is not what was asked for"):
            huggingface.download("hf://me/plain")
    folder = huggingface.download("hf://me/plain").folder
    assert (folder / WEIGHTS).read_bytes() == NUMBERS


@pytest.mark.parametrize(
    ("handle", "message"),
    [
        ("hf://me/tiny", r"is of the class AutoencoderTiny; expected AutoencoderKL, the only"),
        ("hf://me/unet", r"is of the class UNet2DModel; expected AutoencoderKL"),
        (
            "hf://me/text",
            r"is a pipeline of diffusers, StableDiffusionPipeline, without a vae/conf",
        ),
        ("hf://me/bare", r"hf://me/bare has a config.json, but no weights. Expected one of diffus"),
        ("hf://me/empty", r"has no config.json. Expected a preset, or .* is hf://me/empty/FOLDER"),
        ("hf://me/pipeline/unet", r"pipeline/unet has a config.json, but no weights. .*unet/model"),
        ("hf://me/plain/vae", r"hf://me/plain/vae has no config.json"),
        ("hf://me/gone", r"hf://me/gone: Hugging Face has no such repository that you may read"),
        ("hf://me/plain/../x", r"expected hf://org/repo, hf://org/repo/subfolder"),
        ("hf://me", r"expected hf://org/repo"),
    ],
)
def test_what_cannot_be_read(handle: str, message: str, server: HubServer) -> None:
    """One sentence each, before any weights are downloaded."""
    with pytest.raises((ValueError, OSError), match=message) as error:
        zoo.load(handle)
    assert "\n" not in str(error.value)
    assert not [path for path in server.downloaded if path.endswith(WEIGHTS)]


def test_without_a_network(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was downloaded is there; what was not is told so."""
    huggingface.download("hf://me/plain")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert (huggingface.download("hf://me/plain").folder / WEIGHTS).is_file()
    with pytest.raises(ConnectionError, match="hf://me/pipeline is not on this machine, and Hug"):
        zoo.load("hf://me/pipeline")


def test_local_folders(tmp_path: Path) -> None:
    """That of a pipeline, or of another repository that has a vae/."""
    shutil.copytree(FROZEN, tmp_path / "vae")
    with pytest.warns(UserWarning, match="is a folder: only the autoencoder in its folder vae is"):
        assert repositories.noted_autoencoder_in(tmp_path) == tmp_path / "vae"
    (tmp_path / "model_index.json").write_bytes(PIPELINE)
    with pytest.warns(UserWarning, match="StableDiffusionPipeline: only"):
        _computes_as_the_frozen_one(zoo.load(tmp_path))
    (tmp_path / "vae" / "config.json").write_bytes(_class("VQModel"))
    with pytest.raises(ValueError, match="is of the class VQModel; expected AutoencoderKL, the on"):
        zoo.load(tmp_path / "vae")
    (tmp_path / "vae" / "config.json").unlink()
    with pytest.raises(ValueError, match="is a pipeline of diffusers, StableDiffusionPipeline, wi"):
        zoo.load(tmp_path)
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(FileNotFoundError, match="is no run, no checkpoint and no preset"):
        zoo.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nlicense: mit\ntags:\n- x\n---\n", {"license": "mit"}),
        ("\ufeff---\r\nlicense: 'cc-by-4.0'  # or so\r\n---\r\n", {"license": "cc-by-4.0"}),
        ("---\ntags: [a]\nlicense:\n  - openrail\n---", {"license": "openrail"}),
        ('---\nlicense: ["mit", "x"]\n---\n', {"license": "mit"}),
        (
            "---\nlicense: other\nlicense_name: flux-dev\nlicense_link: LICENSE.md\n---\nx",
            {"license": "other", "license_name": "flux-dev", "license_link": "LICENSE.md"},
        ),
        ("# A model\nlicense: mit\n", {"license": "unknown"}),
        ("---\nlicense:\ntags:\n- mit\n---\n", {"license": "unknown"}),
        ("---\nnot_license: mit\n---\n", {"license": "unknown"}),
        ("", {"license": "unknown"}),
    ],
)
def test_licences(text: str, expected: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "near").mkdir()
    (tmp_path / "README.md").write_bytes(text.encode())
    folders = [tmp_path / "near", tmp_path, tmp_path / "gone"]
    assert repositories.licence_of(folders) == expected
    (tmp_path / "near" / "README.md").write_bytes(CARD)
    assert repositories.licence_of(folders) == {"license": "mit"}


@pytest.mark.slow
def test_two_processes_download_once(server: HubServer) -> None:
    """With the environment alone, as users have it."""
    code = "import sys; from zoo.hub import resolve; print(resolve(sys.argv[1]))"
    command = [sys.executable, "-c", code, "hf://me/plain"]
    env = {**os.environ, "HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1"}
    running = [
        subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE) for _ in range(2)
    ]
    first, second = (each.communicate()[0].strip() for each in running)
    assert first == second
    assert [path for path, _ in server.asked].count(WEIGHTS) == 1
    assert SafeTensors(Path(first) / WEIGHTS).keys() == SafeTensors(FROZEN / WEIGHTS).keys()
