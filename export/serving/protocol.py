"""The REST calls of the Open Inference Protocol (KServe's v2), over the models of an application.

The application's state has `models` (`Served` by name), `batches` (`Batches` by name), `version`,
`max_bytes` and `timeout`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect

from export.serving.inference import VERSION, Served

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

NAME = "vaegan-zoo"
LONGEST = 1000  # characters of what is said of a request, which may quote it

router = APIRouter(prefix="/v2")


def add_to(api: FastAPI, max_requests: int) -> None:
    """Adds the calls; whatever fails there, or elsewhere, is answered as the protocol has it.

    Args:
        api: The application.
        max_requests: Most inference requests at once; more are refused.
    """
    # Routes of Starlette, and first: FastAPI takes longer to find and call one of its own than a
    # small image takes to compute.
    for place in ("{name}", "{name}/versions/{version}"):
        api.add_route(f"/v2/models/{place}/infer", _infer, methods=["POST"])
    api.include_router(router)
    api.add_middleware(_AtOnce, most=max_requests)
    api.exception_handler(AnyHTTPException)(_refuse)
    api.exception_handler(Exception)(_fail)


def _refuse(_: Request, error: AnyHTTPException) -> JSONResponse:
    return JSONResponse({"error": str(error.detail)[:LONGEST]}, error.status_code, error.headers)


def _fail(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": f"{type(error).__name__}: {error}"[:LONGEST]}, 500)


class _AtOnce:
    """Bounds the memory that inference takes: so many requests are held, from head to answer."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif self._held >= self._most:
            says = f"The server is at work on {self._most} requests. Try again later."
            response = JSONResponse({"error": says}, 503, {"Retry-After": "1"})
            await response(scope, receive, send)
        else:
            self._held += 1
            try:
                await self._app(scope, receive, send)
            except asyncio.CancelledError:  # the server ends, and has waited for it long enough
                return
            finally:
                self._held -= 1


class _Answer(Response):
    """JSON that counts as sent when the client has taken it."""

    media_type = "application/json"

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        headers = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        # Servers hold this back as long as their buffer is full.
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _model(request: Request, name: str, version: str) -> Served:
    models = request.app.state.models
    if name not in models:
        raise HTTPException(404, f"There is no model {name!r}: there are {', '.join(models)}.")
    if version != VERSION:
        raise HTTPException(404, f"{name} has no version {version!r}, only {VERSION}.")
    return models[name]


async def _body(request: Request) -> bytes:
    if "inference-header-content-length" in request.headers:
        raise HTTPException(400, "Binary tensors are not supported: send and ask for JSON.")
    state, body = request.app.state, bytearray()
    try:
        with anyio.fail_after(state.timeout):
            async for part in request.stream():
                body += part
                if len(body) > state.max_bytes:
                    says = f"The request has more than {state.max_bytes} bytes. Send several."
                    raise HTTPException(413, says)
    except TimeoutError as error:
        says = f"The request did not arrive within {state.timeout:g} seconds."
        raise HTTPException(408, says, {"Connection": "close"}) from error
    except ClientDisconnect as error:  # nobody is told
        raise HTTPException(400, "The client went away.") from error
    return bytes(body)


# What follows are coroutines: FastAPI runs functions in a few threads, which could all be taken.
@router.get("")
async def _server(request: Request) -> dict[str, Any]:
    return {"name": NAME, "version": request.app.state.version, "extensions": []}


@router.get("/health/live")
async def _live() -> dict[str, Any]:
    return {"live": True}


@router.get("/health/ready")
async def _ready() -> dict[str, Any]:
    return {"ready": True}


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
async def _metadata(request: Request, name: str, version: str = VERSION) -> dict[str, Any]:
    return _model(request, name, version).metadata()


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready")
async def _model_ready(request: Request, name: str, version: str = VERSION) -> dict[str, Any]:
    return {"name": _model(request, name, version).name, "ready": True}


async def _infer(request: Request) -> Response:
    name, state = request.path_params["name"], request.app.state
    _model(request, name, request.path_params.get("version", VERSION))
    body = await _body(request)
    answer = asyncio.wrap_future(state.batches[name].submit(body))
    try:
        return _Answer(await asyncio.wait_for(answer, state.timeout))
    except (TimeoutError, asyncio.TimeoutError) as error:  # one class, as of Python 3.11
        says = (
            f"{name} did not answer within {state.timeout:g} seconds. Send fewer images at once, "
            "or try again later."
        )
        raise HTTPException(503, says, {"Retry-After": "1"}) from error
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
