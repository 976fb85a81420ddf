"""The application: the routes for texts, labels and operation, behind the guard that every request passes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from irr import IrrError, Prediction, RankedLabel, __version__
from irr.batch import fields_of
from irr.errors import TextsError
from irr.io.texts import TextId, TextRow
from irr.io.validation import explain, parse_json_row
from irr.types import RowError
from irr.workbench.serve.guard import Access, Guard
from irr.workbench.serve.label_search import FoundLabel
from irr.workbench.serve.service import ClassifyOptions, Refusal, Service

_ABOUT = "Puts texts into a label space. What cannot be answered has an error: a stable code, and a message."


class ClassifyRequest(ClassifyOptions):
    """One text or many, and how they are answered.

    Attributes:
        text: One text; the answer is its row.
        id: Its id, which comes back with it.
        texts: Many texts, or rows `{"id", "text"}` whose other keys come back under `meta`; the answer
            holds a row for each, in order.
    """

    text: str | None = None
    id: TextId | None = None
    texts: tuple[Any, ...] | None = None


class AnswerRow(BaseModel):
    """The answer to a text, as `irr classify` writes it; keys that do not apply are left out."""

    id: str | int | None
    labels: list[RankedLabel]
    error: RowError | None
    abstained: bool = False
    scope: float | None = None
    fallbacks: list[dict[str, str]] = []
    meta: dict[str, Any] = {}
    trace: dict[str, Any] | None = None


class ServiceState(BaseModel):
    """The state of the service, the digest of the program in use, and how many labels it has."""

    status: str
    program: str | None = None
    labels: int | None = None


_TEXT = "You will bake bread and plan the menus of the week."
_EXAMPLES: dict[str, Any] = {
    "one": {"summary": "One text", "value": {"text": _TEXT, "top_k": 3}},
    "many": {
        "summary": "Many texts, with a cut-off",
        "value": {
            "texts": [_TEXT, {"id": 7, "text": "Washing the dishes.", "page": 12}],
            "min_probability": 0.4,
            "without": ["S5.6.1"],
        },
    },
}
_CONTENT = {"schema": ClassifyRequest.model_json_schema(), "examples": _EXAMPLES}
_REQUEST_BODY = {"required": True, "content": {"application/json": _CONTENT}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": AnswerRow | dict[Literal["rows"], list[AnswerRow]]},
    **{status: {"model": AnswerRow} for status in (400, 401, 413, 422, 429, 504)},
}
_Typed = Annotated[str, Query(max_length=1_000, description="What was typed so far", examples=["bake br"])]
_Limit = Annotated[int, Query(ge=1, le=200, description="Labels, at most")]
_Labels = dict[Literal["labels"], list[FoundLabel]]
_Ids = Annotated[list[str], Query(alias="id", max_length=200, description="Ids of labels to give instead")]


def create_app(
    service: Service, *routers: APIRouter, access: Access | None = None, lifespan: Any = None
) -> FastAPI:
    """The application of a service: its routes and others, behind one guard; `lifespan` as in FastAPI."""
    # The pages of documentation would load scripts from elsewhere.
    pages: dict[str, Any] = {"docs_url": None, "redoc_url": None}
    app = FastAPI(title="irr", version=__version__, description=_ABOUT, lifespan=lifespan, **pages)
    for router in (_routes(service), *routers):
        app.include_router(router)
    for kind in (Refusal, IrrError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _refuse)
    app.add_middleware(Guard, access=access or Access(), metrics=service.metrics)
    return app


async def _refuse(_request: Request, error: Exception) -> JSONResponse:
    match error:
        case RequestValidationError():
            mistake = error.errors()[0]
            message = mistake["msg"].removeprefix("Value error, ")
            message = f'"{mistake["loc"][-1]}": {message[:1].lower()}{message[1:]}'
            return Refusal(400, "bad_request", message).response
        case HTTPException():
            code = {404: "not_found", 405: "bad_method"}.get(error.status_code, "bad_request")
            refusal = Refusal(error.status_code, code, str(error.detail))
            refusal.headers.update(error.headers or {})
            return refusal.response
    return Refusal.of(error).response


def _routes(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.post(
        "/v1/classify",
        tags=["texts"],
        response_model=None,
        responses=_RESPONSES,
        openapi_extra={"requestBody": _REQUEST_BODY},
    )
    async def classify(request: Request) -> Response:
        """Puts one text, or many, into the label space.

        The answer to one text is its row; to many, a row for each in their order. A text of many that cannot
        be answered has no labels and its error.
        """
        question = read_request(await request.body())
        served = service.current
        if question.text is not None:
            (prediction,) = await service.classify([question.text], question, served)
            error, content = prediction.error, _row(question.id, prediction)
            status = 200 if error is None else 500 if error.code == "internal" else 422
        else:
            given = [_read_text(text, number) for number, text in enumerate(question.texts or (), 1)]
            texts = [row.text for row in given if isinstance(row, _GivenText)]
            predictions = iter(await service.classify(texts, question, served))
            rows = []
            for row in given:
                if isinstance(row, _GivenText):
                    rows.append(_row(row.id, next(predictions), row.model_extra))
                else:
                    rows.append(_row(None, Prediction(error=row)))
            status, content = 200, {"rows": rows}
        # NaN, which JSON lacks, may stand in the keys that are carried through.
        body = to_json(content, inf_nan_mode="null")
        return Response(body, status, {"X-Irr-Program": served.digest}, "application/json")

    @routes.get("/v1/labels", tags=["labels"])
    async def labels(query: _Typed = "", limit: _Limit = 20, ids: _Ids = []) -> _Labels:  # noqa: B006
        """Finds labels by the words of their names and aliases, which may be only begun, and by meaning.

        With `id`, which may be given many times, gives those labels instead; unknown ids are left out.
        """
        search, space = service.current.search, service.current.program.space
        if ids:
            return {"labels": [search.describe(label_id) for label_id in ids if label_id in space]}
        return {"labels": await asyncio.to_thread(search, query, limit)}

    @routes.get("/healthz", tags=["operations"])
    async def healthz() -> ServiceState:
        """Whether the process answers."""
        return ServiceState(status="ok")

    @routes.get("/readyz", tags=["operations"], response_model=ServiceState)
    async def readyz() -> ServiceState:
        """Whether texts are taken: 200, or 503 before the program is loaded and once the service stops."""
        if not service.ready:
            raise Refusal(503, "not_ready", "the service stops, or has not begun: ask another one")
        return state("ready")

    @routes.get("/metrics", tags=["operations"], response_model=None)
    async def metrics() -> Response:
        """The figures of the service, as Prometheus reads them."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @routes.post(
        "/v1/reload",
        tags=["operations"],
        response_model=ServiceState,
        responses={202: {"model": ServiceState}},
    )
    async def reload() -> ServiceState | JSONResponse:
        """Loads the program anew and swaps it in; requests that are under way keep the one before."""
        if service.on_reload:
            service.on_reload()
            return JSONResponse({"status": "reloading"}, 202)
        await service.reload()
        return state("reloaded")

    def state(status: str) -> ServiceState:
        served = service.current
        return ServiceState(status=status, program=served.digest, labels=len(served.program.space))

    return routes


def read_request(body: bytes) -> ClassifyRequest:
    """Reads the body of a request to classify; a `Refusal` if it cannot be read or contradicts itself."""
    try:
        request = parse_json_row(ClassifyRequest, body.decode(), Path(), 1, TextsError, repair=True)
    except UnicodeDecodeError as e:
        raise Refusal(400, "bad_request", "not UTF-8: send JSON in UTF-8") from e
    except TextsError as e:
        raise Refusal(400, "bad_request", f"{e.problem}: {e.hint}".removeprefix('"": ')) from e
    if (request.text is None) == (request.texts is None):
        given = 'no "text" and no "texts"' if request.text is None else 'both "text" and "texts"'
        raise Refusal(400, "bad_request", f"{given}: give one of them")
    return request


class _GivenText(TextRow):
    """A text of many, which may do without an id."""

    id: TextId | None = None  # type: ignore[assignment]


def _read_text(given: Any, number: int) -> _GivenText | RowError:
    """A text of many, or the error of its row."""
    try:
        return _GivenText.model_validate({"text": given} if isinstance(given, str) else given)
    except ValidationError as e:
        return RowError(code="bad_row", message=f"text {number}: {': '.join(explain(e))}")


def _row(
    text_id: str | int | None, prediction: Prediction, meta: dict[str, Any] | None = None
) -> dict[str, Any]:
    fields = fields_of(text_id, prediction)
    if prediction.trace:
        fields["trace"] = prediction.trace.model_dump(mode="json")
    return fields | ({"meta": meta} if meta else {})
