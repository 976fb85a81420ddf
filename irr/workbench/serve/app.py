"""The application: the routers of a service, behind the guard that every request passes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from irr import __version__
from irr.errors import IrrError
from irr.workbench.serve import classify, labels, operations
from irr.workbench.serve.guard import Access, Guard
from irr.workbench.serve.metrics import Measured
from irr.workbench.serve.refusals import Refusal, refusal_of
from irr.workbench.serve.service import Service

_CODES = {404: "not_found", 405: "bad_method"}
_ABOUT = "Puts texts into a label space. What cannot be answered has an error: a stable code, and a message."


def create_app(
    service: Service, *routers: APIRouter, access: Access | None = None, lifespan: Any = None
) -> FastAPI:
    """Joins a service's routes and others into one application.

    Args:
        service: Answers texts.
        routers: Further routes, behind the same guard.
        access: Who may ask, and how much.
        lifespan: What begins and ends with the application, as FastAPI has it.
    """
    app = FastAPI(
        title="irr",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    own = (classify.router(service), labels.router(service), operations.router(service))
    for router in (*own, *routers):
        app.include_router(router)
    for kind in (Refusal, IrrError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _refuse)
    app.add_middleware(Guard, access=access or Access())
    app.add_middleware(Measured, metrics=service.metrics)
    return app


async def _refuse(_request: Request, error: Exception) -> JSONResponse:
    refusal = _refusal_of(error)
    return JSONResponse(refusal.body, refusal.status, refusal.headers)


def _refusal_of(error: Exception) -> Refusal:
    match error:
        case RequestValidationError():
            first = error.errors()[0]
            said = first["msg"].removeprefix("Value error, ")
            return Refusal(400, "bad_request", f'"{first["loc"][-1]}": {said[:1].lower()}{said[1:]}')
        case HTTPException():
            refusal = Refusal(
                error.status_code, _CODES.get(error.status_code, "bad_request"), str(error.detail)
            )
            refusal.headers.update(error.headers or {})
            return refusal
    return refusal_of(error)
