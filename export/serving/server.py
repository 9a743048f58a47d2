"""An export over HTTP: its playground, and the REST calls of the Open Inference Protocol."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export import export_model
from export.metadata import NAME, changed_files, read_export
from zoo.io.cache import home
from zoo.io.files import sha256
from zoo.presets import is_preset
from zoo.training.run_files import LATEST
from zoo.training.runs import load_run

try:
    import uvicorn
    from fastapi import FastAPI
    from fastapi.staticfiles import StaticFiles

    from export.serving import protocol
    from export.serving.batching import Batches
    from export.serving.connections import Connection
    from export.serving.inference import Served
except ImportError as error:
    msg = (
        f"zoo serve needs FastAPI, uvicorn and orjson ({error}). "
        "Install them with: pip install 'vaegan-zoo[serving]'"
    )
    raise ImportError(msg) from error

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BATCH = 256
MAX_BYTES = 16 * 2**20
MAX_VALUES = 2**20  # of some 12 bytes each
MAX_REQUESTS = 32
MAX_CONNECTIONS = 512
TIMEOUT = 30.0  # seconds
SECONDS = 10  # that requests under way have to end in, at shutdown


def app(
    path: str | Path,
    *,
    max_batch: int = MAX_BATCH,
    max_bytes: int = MAX_BYTES,
    max_values: int = MAX_VALUES,
    max_requests: int = MAX_REQUESTS,
    timeout: float = TIMEOUT,
) -> FastAPI:
    """The web application of an export.

    Each endpoint, such as `generate`, is a model of the protocol; tensors are JSON. The playground,
    if the export has one, is at `/`. A request that is wrong is answered with a status of 4xx and
    `{"error": message}`, one that comes at a bad time with 503 and the same.

    Args:
        path: An export of format `"web"` or `"onnx"`.
        max_batch: Most images a request may have.
        max_bytes: Most bytes a request may have.
        max_values: Most numbers an answer may have.
        max_requests: Most inference requests at once.
        timeout: Seconds that a request may take to arrive, and then to be computed.

    Returns:
        An ASGI application.

    Raises:
        FileNotFoundError: If `path` is no export.
        ValueError: If it is of another format, or a file of it is not what was exported.
    """
    facts = read_export(path)
    folder, web = facts["folder"], facts["format"] == "web"
    if facts["format"] not in ("web", "onnx"):
        msg = f"{path} is a {facts['format']}: expected an export of format web or onnx."
        raise ValueError(msg)
    changed = [name for name in changed_files(folder, facts["files"]) if name in facts["files"]]
    if changed:
        msg = f"{folder / changed[0]} is missing, or not what was exported. Export again."
        raise ValueError(msg)
    place = folder / "models" if web else folder
    # FastAPI's own pages of documentation load from the network.
    api = FastAPI(title=protocol.NAME, docs_url=None, redoc_url=None)
    api.state.version = facts["versions"]["vaegan-zoo"]
    api.state.max_bytes = max_bytes
    api.state.timeout = timeout
    api.state.models = {
        name: Served(place / f"{name}.onnx", name, facts, max_batch, max_values)
        for name in facts["endpoints"]
    }
    api.state.batches = {name: Batches(model) for name, model in api.state.models.items()}
    protocol.add_to(api, max_requests)
    if web:
        api.mount("/", StaticFiles(directory=folder, html=True))
    return api


def serve(
    path: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    max_batch: int = MAX_BATCH,
    max_values: int = MAX_VALUES,
    timeout: float = TIMEOUT,
) -> None:
    """Serves an export, as `app` does, until SIGINT or SIGTERM; requests under way are answered.

    Args:
        path: The export.
        host: Address to listen at. There is no authentication: put a proxy before any that others
            can reach.
        port: Its port; 0 takes a free one.
        max_batch: Most images a request may have.
        max_values: Most numbers an answer may have.
        timeout: Seconds that a request may take to arrive, to be computed, and to be answered.

    Raises:
        As `app`.
    """
    application = app(path, max_batch=max_batch, max_values=max_values, timeout=timeout)
    # Having shut down, uvicorn sends itself the signal again: as SIGINT, it ends `run`.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    uvicorn.run(application, host=host, port=port, **settings(timeout))


def settings(timeout: float) -> dict[str, Any]:
    """What uvicorn is to bound: connections, and how long a client may take."""
    return {
        "http": partial(Connection, seconds=timeout),
        "ws": "none",
        "limit_concurrency": MAX_CONNECTIONS,
        "timeout_graceful_shutdown": SECONDS,
    }


def export_of(path: str | Path, say: Callable[[str], None]) -> Path:
    """The export that stands for a run folder: RUN/export/web, made if it is not there.

    Where there can be no playground, as without npm, it is RUN/export/onnx. Those of a preset are
    in the cache folder, by the hash of its configuration.

    Args:
        path: A run folder or a preset's; or an export, which is returned.
        say: Takes lines about what is done.

    Returns:
        The export.

    Raises:
        ValueError: If the model cannot be exported.
    """
    path = Path(path)
    if not (path / "config.json").exists():
        return path
    of_preset = is_preset(path)
    place = path / "export"
    if of_preset:
        place = home() / "exports" / f"{path.resolve().name}-{sha256(path / 'config.json')[:16]}"
    web, plain = place / "web", place / "onnx"
    if not web.exists():
        model = load_run(path)
        say(f"Exporting {path} to {web}: once, and it takes a while.")
        try:
            return export_model(model, web, format="web", run=path)
        except (OSError, ValueError) as error:
            say(f"No playground: {error}")
        if not plain.exists():
            return export_model(model, plain, format="onnx", run=path)
    artefact = web if web.exists() else plain
    if not of_preset and (artefact / NAME).stat().st_mtime < (path / LATEST).stat().st_mtime:
        say(f"{artefact} is older than the run's model. Remove it, and it is made anew.")
    return artefact
