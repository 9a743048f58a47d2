"""What is served: exports, their playground, runs; and the command."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import zoo
from export import export_model, read_export
from export.metadata import write_metadata
from export.serving import protocol, server
from tests.cases import CASES, IMAGE_SHAPE, LATENT_DIM, Case
from tests.support.scalars import ENTRIES
from tests.support.serving import (
    GENERATE,
    LABELS,
    LATENTS,
    Client,
    array_of,
    request_for,
    tensor_of,
    with_latent,
)
from zoo.cli import app
from zoo.training.runs import save_run


@pytest.fixture
def web(exported: Path, tmp_path: Path) -> Path:
    """A playground with a page of its own."""
    web = tmp_path / "web"
    shutil.copytree(exported, web / "models")
    (web / "index.html").write_text("<title>zoo</title>")
    facts = read_export(exported)
    entries = {k: v for k, v in facts.items() if k not in ("format", "run", "files", "folder")}
    write_metadata(web, web, "web", None, entries)
    return web


def test_the_playground_is_at_the_root(exported: Path, web: Path) -> None:
    client = Client(server.app(web))
    assert client.get("/").text == "<title>zoo</title>"
    assert client.get("/models/generate.onnx").content == (exported / "generate.onnx").read_bytes()
    assert client.get("/v2/models/generate").json()["name"] == "generate"
    assert client.post("/v2/models/generate/infer", json=with_latent()).status_code == 200


def test_paths_stay_inside_the_folder(web: Path, tmp_path: Path) -> None:
    client = Client(server.app(web))
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "web-secret").write_text("secret")  # whose path begins as the folder's does
    (web / "link").symlink_to(tmp_path / "secret")
    (web / "folder").symlink_to(tmp_path)
    (web / "inside").symlink_to("index.html")
    for method in ("GET", "HEAD"):
        assert client.get_raw(b"/index.html", method) == 200
        assert client.get_raw(b"/inside", method) == 200
        for path in OUTSIDE:
            assert client.get_raw(path, method) == 404, path
    assert client.get_raw(b"/index.html", "POST") == 405


OUTSIDE = (
    b"/../secret",
    b"/models/../../secret",
    b"/%2e%2e/secret",
    b"/%2E%2E%2Fsecret",
    b"/..%2fsecret",
    b"/..%5csecret",
    b"/%252e%252e/secret",
    b"/../web-secret",
    b"/link",
    b"/folder/secret",
    b"/folder/../secret",
    b"//etc/passwd",
    b"/%2fetc%2fpasswd",
    b"/etc/passwd",
    b"/index.html%00",
    b"/%00",
    b"/%ff",
    b"/index.html/x",
    b"/models",
    b"/" + b"a" * 5000,
    b"/" + b"a/" * 3000,
)


def test_what_cannot_be_served(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not an export"):
        server.app(tmp_path)
    changed = tmp_path / "changed"
    shutil.copytree(exported, changed)
    (changed / "encode.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match="encode.onnx is missing, or not what was exported"):
        server.app(changed)
    saved = tmp_path / "saved"
    saved.mkdir()
    write_metadata(saved, saved, "saved_model", None, ENTRIES)
    with pytest.raises(ValueError, match="saved_model: expected an export of format web or onnx"):
        server.app(saved)


def test_a_run_is_exported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a playground, or where that fails as plain ONNX."""
    formats: list[str] = []

    def export(_: None, path: Path, format: str, run: Path) -> Path:  # noqa: A002
        formats.append(format)
        if format == "web" and len(formats) == 1:
            raise FileNotFoundError("there is no npm")
        path.mkdir(parents=True)
        (path / "zoo_export.json").touch()
        return path

    monkeypatch.setattr(server, "load_run", lambda _: None)
    monkeypatch.setattr(server, "export_model", export)
    run, lines = tmp_path / "run", []
    run.mkdir()
    (run / "config.json").touch()
    (run / "model.keras").touch()
    web, plain = run / "export" / "web", run / "export" / "onnx"
    assert server.export_of(run, lines.append) == plain
    assert lines[0].startswith(f"Exporting {run} to {web}")
    assert lines[1:] == ["No playground: there is no npm"]
    assert server.export_of(run, lines.append) == web
    assert server.export_of(run, lines.append) == web
    assert formats == ["web", "onnx", "web"]
    assert server.export_of(plain, lines.append) == plain
    assert len(lines) == 3
    os.utime(web / "zoo_export.json", (0, 0))
    assert server.export_of(run, lines.append) == web
    assert "older than the run's model" in lines[3]


def test_the_runtime_in_the_docs_is_the_tested_one() -> None:
    tests = Path(__file__).parents[2]
    runtime = (tests / "export" / "servers" / "mlserver_onnx.py").read_text().split("\n\n", 1)[1]
    assert runtime in (tests.parent / "docs" / "serving.md").read_text()


@pytest.mark.slow
def test_a_run_without_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    model = zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM)
    model.compile()
    save_run(model, tmp_path / "run", {"data": "x", "epochs": 0, "batch_size": 8, "seed": 0})
    lines: list[str] = []
    path = server.export_of(tmp_path / "run", lines.append)
    assert path == tmp_path / "run" / "export" / "onnx"
    assert "npm" in lines[1]
    body = {"inputs": [tensor_of("latent", LATENTS)]}
    answer = Client(server.app(path)).post("/v2/models/generate/infer", json=body)
    np.testing.assert_allclose(array_of(answer), model.generate_from(LATENTS), atol=1e-5)
    assert read_export(path)["run"] == tmp_path / "run"


def test_the_commands_limits_are_the_servers(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: dict[str, Any] = {}

    def run(application: Any, **settings: Any) -> None:
        served.update(settings, application=application)

    monkeypatch.setattr(server.uvicorn, "run", run)
    monkeypatch.setattr(server.signal, "signal", lambda *_: None)
    options = ["--port", "0", "--max-batch", "3", "--max-values", "128", "--timeout", "2.5"]
    assert CliRunner().invoke(app, ["serve", str(exported), *options]).exit_code == 0
    client = Client(served["application"])
    for n, message in ((4, "expected 1 to 3"), (3, "expected at most 128"), (2, None)):
        answer = client.post(GENERATE, json=request_for(n, 0))
        assert answer.status_code == (400 if message else 200)
        assert not message or message in answer.json()["error"]
    assert client.application.state.timeout == 2.5
    assert served["http"].keywords == {"seconds": 2.5}


def test_a_request_that_the_servers_end_cuts_off() -> None:
    """It is dropped, for uvicorn would log a traceback."""

    async def cut_off(*_: object) -> None:
        raise asyncio.CancelledError

    at_once = protocol._AtOnce(cut_off, most=1)
    asyncio.run(at_once({"type": "http", "method": "POST"}, None, None))  # type: ignore[arg-type]
    assert at_once._held == 0


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.core], ids=lambda case: case.id)
def test_every_model_may_be_batched(case: Case, tmp_path: Path) -> None:
    path = export_model(case.create(), tmp_path / "onnx", format="onnx")
    models = server.app(path).state.models
    for name, model in models.items():
        assert model._joins == (name != "sample"), name


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_as_it_should(
    exported: Path, model: keras.Model, sent: signal.Signals
) -> None:
    command = [sys.executable, "-m", "zoo", "serve", str(exported), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            url = None
            while url is None:
                line = server.stderr.readline()
                assert line, "the server ended"
                url = re.search(r"http://127\.0\.0\.1:\d+", line)
            answer = httpx.post(
                f"{url[0]}/v2/models/generate/infer", json=with_latent(), timeout=30
            )
            wanted = model.generate_from(LATENTS, LABELS)
            np.testing.assert_allclose(array_of(answer), wanted, atol=1e-5)
            server.send_signal(sent)
            assert server.wait(30) == 0
            assert "Traceback" not in server.stderr.read()
        finally:
            server.kill()
