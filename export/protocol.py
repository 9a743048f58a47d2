"""The REST calls of the Open Inference Protocol (KServe's v2), over the models of an application.

The application's state has `models` (`Served` by name), `version` and `max_bytes`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from export.inference import VERSION, Served

NAME = "vaegan-zoo"

router = APIRouter(prefix="/v2")


def add_to(api: FastAPI) -> None:
    """Adds the calls; whatever fails there, or elsewhere, is answered as the protocol has it."""
    api.include_router(router)
    api.exception_handler(AnyHTTPException)(_refuse)
    api.exception_handler(Exception)(_fail)


def _refuse(_: Request, error: AnyHTTPException) -> JSONResponse:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _fail(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 500)


def _model(request: Request, name: str, version: str = VERSION) -> Served:
    models = request.app.state.models
    if name not in models:
        raise HTTPException(404, f"There is no model {name!r}: there are {', '.join(models)}.")
    if version != VERSION:
        raise HTTPException(404, f"{name} has no version {version!r}, only {VERSION}.")
    return models[name]


async def _body(request: Request) -> bytes:
    if "inference-header-content-length" in request.headers:
        raise HTTPException(400, "Binary tensors are not supported: send and ask for JSON.")
    most, body = request.app.state.max_bytes, bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise HTTPException(413, f"The request has more than {most} bytes. Send several.")
    return bytes(body)


@router.get("")
def _server(request: Request) -> dict[str, Any]:
    return {"name": NAME, "version": request.app.state.version, "extensions": []}


@router.get("/health/live")
def _live() -> dict[str, Any]:
    return {"live": True}


@router.get("/health/ready")
def _ready() -> dict[str, Any]:
    return {"ready": True}


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
def _metadata(model: Annotated[Served, Depends(_model)]) -> dict[str, Any]:
    return model.metadata()


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready")
def _model_ready(model: Annotated[Served, Depends(_model)]) -> dict[str, Any]:
    return {"name": model.name, "ready": True}


# No coroutine: FastAPI runs it in a thread, and goes on answering others.
@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{version}/infer")
def _infer(
    model: Annotated[Served, Depends(_model)], body: Annotated[bytes, Depends(_body)]
) -> Response:
    try:
        return Response(model.answer(body), media_type="application/json")
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
