"""The routes for whoever operates the service: is it there, does it take requests, its figures, the swap."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from irr.workbench.serve.refusals import Refusal
from irr.workbench.serve.service import Service


class State(BaseModel):
    """What the service is at.

    Attributes:
        status: `ok`, `ready`, `reloaded`, or `reloading` where several processes swap one after the other.
        program: SHA-256 over all that the answers of the program in use depend on.
        labels: How many labels it knows.
    """

    status: str
    program: str | None = None
    labels: int | None = None


def router(service: Service) -> APIRouter:
    """The routes over a service."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/healthz")
    async def healthz() -> State:
        """Whether the process answers."""
        return State(status="ok")

    @routes.get("/readyz", response_model=State)
    async def readyz() -> State:
        """Whether texts are taken: 200, or 503 before the program is loaded and once the service stops."""
        if not service.ready:
            raise Refusal(503, "not_ready", "the service stops, or has not begun: ask another one")
        return _state("ready")

    @routes.get("/metrics", response_model=None)
    async def metrics() -> Response:
        """The figures of the service, as Prometheus reads them."""
        return Response(service.metrics.text(), media_type=service.metrics.content_type)

    @routes.post("/v1/reload", response_model=State, responses={202: {"model": State}})
    async def reload() -> State | JSONResponse:
        """Loads the program anew and swaps it in; requests that are under way keep the one before."""
        if service.told_to_reload:
            service.told_to_reload()
            return JSONResponse(State(status="reloading").model_dump(exclude_none=True), 202)
        await service.reload()
        return _state("reloaded")

    def _state(status: str) -> State:
        loaded = service.loaded
        return State(status=status, program=loaded.digest, labels=len(loaded.program.space))

    return routes
