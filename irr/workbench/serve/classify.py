"""The route that puts texts into the label space."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from irr.batch import fields_of
from irr.errors import TextsError
from irr.io.texts import TextId, TextRow
from irr.io.validation import explain, parse_json_row
from irr.types import Prediction, RowError
from irr.workbench.serve import forms
from irr.workbench.serve.forms import Question
from irr.workbench.serve.refusals import Refusal
from irr.workbench.serve.service import Service, Wish

# The header that names the program which answered.
PROGRAM = "X-Irr-Program"
_STATUS = {"internal": 500}
_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": Question.model_json_schema(),
            "examples": {
                "one": {"summary": "One text", "value": forms.ONE},
                "many": {"summary": "Many texts, with a cut-off", "value": forms.MANY},
            },
        }
    },
}
_REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": forms.Row, "description": "The request cannot be used as it is"},
    401: {"model": forms.Row, "description": "No token, or another one"},
    413: {"model": forms.Row, "description": "The request is too large"},
    422: {"model": forms.Row, "description": "The one text that was sent cannot be answered"},
    429: {"model": forms.Row, "description": "Too many texts wait; Retry-After says how many seconds to"},
    504: {"model": forms.Row, "description": "No answer within the time"},
}


def router(service: Service) -> APIRouter:
    """The route over a service."""
    routes = APIRouter(prefix="/v1", tags=["texts"])

    @routes.post(
        "/classify",
        response_model=None,
        responses={200: {"model": forms.Row | forms.Rows}, **_REFUSED},
        openapi_extra={"requestBody": _BODY},
    )
    async def classify(request: Request) -> Response:
        """Puts one text, or many, into the label space.

        The answer to one text is its row; to many, a row for each in their order. A text of many that cannot
        be answered has no labels and its error.
        """
        question = read(await request.body())
        wish = wish_of(question)
        loaded = service.loaded
        headers = {PROGRAM: loaded.digest}
        if question.text is not None:
            (found,) = await service.classify([question.text], wish, loaded)
            status = 200 if found.error is None else _STATUS.get(found.error.code, 422)
            return _Answer(_row(question.id, found), status, headers)
        rows = [_given(given, number) for number, given in enumerate(question.texts or ())]
        texts = [row.text for row in rows if isinstance(row, _Given)]
        answers = iter(await service.classify(texts, wish, loaded))
        done = [
            _row(row.id, next(answers), row.model_extra)
            if isinstance(row, _Given)
            else _row(None, Prediction(error=row))
            for row in rows
        ]
        return _Answer({"rows": done}, 200, headers)

    return routes


def read(body: bytes) -> Question:
    """Reads what was asked.

    Raises:
        Refusal: If it cannot be read.
    """
    try:
        question = parse_json_row(Question, body.decode(), Path(), 1, TextsError, repair=True)
    except UnicodeDecodeError as e:
        raise Refusal(400, "bad_request", "not UTF-8: send JSON in UTF-8") from e
    except TextsError as e:
        raise Refusal(400, "bad_request", f"{e.problem}: {e.hint}") from e
    if (question.text is None) == (question.texts is None):
        given = 'no "text" and no "texts"' if question.text is None else 'both "text" and "texts"'
        raise Refusal(400, "bad_request", f"{given}: give one of them")
    return question


def wish_of(question: Question) -> Wish:
    """What is wanted of each text.

    Raises:
        Refusal: If it contradicts itself.
    """
    try:
        return question.wish
    except ValidationError as e:
        raise Refusal(400, "bad_request", explain(e)[0].removeprefix('"": ')) from e


class _Given(TextRow):
    """A text of many, which may do without an id."""

    id: TextId | None = None  # type: ignore[assignment]


def _given(given: Any, number: int) -> _Given | RowError:
    """A text of many; what is wrong with it is its row's error."""
    try:
        return _Given.model_validate({"text": given} if isinstance(given, str) else given)
    except ValidationError as e:
        return RowError(code="bad_row", message=f"text {number + 1}: {': '.join(explain(e))}")


def _row(name: str | int | None, found: Prediction, meta: dict[str, Any] | None = None) -> dict[str, Any]:
    fields = fields_of(name, found)
    if found.trace:
        fields["trace"] = found.trace.model_dump(mode="json")
    return fields | ({"meta": meta} if meta else {})


class _Answer(JSONResponse):
    """JSON whatever came in with the keys that are carried through."""

    def render(self, content: Any) -> bytes:
        try:
            text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        except ValueError:  # NaN, which JSON lacks
            content = json.loads(json.dumps(content), parse_constant=lambda _: None)
            text = json.dumps(content, ensure_ascii=False)
        return text.encode("utf-8", "replace")
