"""The review page and its routes: the next text, the judgments of reviewers, and the progress."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from irr.workbench.review.judgments import (
    Judgment,
    JudgmentStore,
    Key,
    Order,
    Reviewer,
    SubmittedJudgment,
)
from irr.workbench.review.session import SHOWN, ReviewSession, ReviewText
from irr.workbench.serve.service import ClassifyOptions, Refusal, Service

logger = logging.getLogger(__name__)

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# Seconds between two checks whether a reviewer still waits.
_YIELD = 0.02
# Texts and labels come from anybody: nothing but the page's own files is ever run, shown or asked.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class UndoRequest(BaseModel):
    """The reviewer who takes their last judgment back; the same key does it once."""

    model_config = ConfigDict(extra="forbid")

    key: Key
    reviewer: Reviewer


@dataclass(frozen=True, kw_only=True)
class ReviewPage:
    """A review beside a service: texts, the folder of their judgments, and the seed of the random order."""

    texts: tuple[ReviewText, ...]
    folder: Path
    seed: int = 0

    def __call__(self, service: Service) -> APIRouter:
        """The routes over a service whose program is loaded."""
        store = JudgmentStore(self.folder)
        session = ReviewSession(service.current.program, self.texts, store, self.seed)
        return _routes(session, _Presenter(service, session))


def _routes(session: ReviewSession, presenter: _Presenter) -> APIRouter:
    routes = APIRouter(tags=["review"], dependencies=[Depends(_require_json), Depends(presenter.follow)])
    pages = files("irr.pages")
    assets = (*pages.joinpath("review").iterdir(), pages / "report" / "dom.js")
    contents = {asset.name: asset.read_bytes() for asset in assets}

    @routes.get("/review", include_in_schema=False)
    @routes.get("/review/{name}", include_in_schema=False)
    async def asset(name: str = "review.html") -> Response:
        if name not in contents:
            raise Refusal(404, "not_found", "Not Found")
        return Response(contents[name], headers=_HEADERS, media_type=_KINDS[Path(name).suffix])

    @routes.get("/v1/review/next")
    async def next_text(reviewer: Reviewer, order: Order, label: str | None = None) -> dict[str, Any]:
        """The next text for a person, with what the program proposes, and how far the review is."""
        text = await asyncio.to_thread(session.next, order, reviewer, label)
        return await presenter.answer(reviewer, text, order)

    @routes.get("/v1/review/progress")
    async def progress(reviewer: Annotated[Reviewer, Query()]) -> dict[str, Any]:
        """How far the review is."""
        return await presenter.answer(reviewer)

    @routes.post("/v1/review/judgments")
    async def judge(submitted: SubmittedJudgment) -> dict[str, str]:
        """Keeps a judgment; it is on the disk when this is answered."""
        text = session.text(submitted.text_id)
        if text.id not in session.proposals:  # another process showed the text
            await presenter.show(text, submitted.order)
        judgment = await asyncio.to_thread(session.record, submitted)
        return {"key": judgment.key, "at": judgment.at.isoformat()}

    @routes.post("/v1/review/undo")
    async def undo(request: UndoRequest) -> dict[str, Any]:
        """Takes a person's last judgment back, and shows its text again."""
        before = await asyncio.to_thread(session.undo, request.key, request.reviewer)
        return await presenter.answer(request.reviewer, session.text(before.text_id), before.order, before)

    return routes


def _require_json(request: Request) -> None:
    """Refuses other content, as a browser sends only that to another site without asking it first."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if request.method != "GET" and kind != "application/json":
        raise Refusal(400, "bad_request", "no JSON: send Content-Type: application/json")


class _Presenter:
    """Presents the texts of a session with the service's program, which also reads all texts ahead."""

    def __init__(self, service: Service, session: ReviewSession) -> None:
        self._service = service
        self._session = session
        self._waiting = 0
        self._start_reading()

    async def follow(self) -> None:
        """Changes the session to the program in use, if that was reloaded."""
        program = self._service.current.program
        if program is not self._session.program:
            self._session.use(program)
            self._start_reading()

    def _start_reading(self) -> None:
        threading.Thread(target=self._read_ahead, name="irr-review", daemon=True).start()

    def _read_ahead(self) -> None:
        program = self._session.program
        try:
            self._session.read_ahead(self._stopped)
        except Exception as e:  # a program that is closed after a swap may fail in any way
            if self._session.program is program and self._service.ready:
                logger.warning("not all texts could be read ahead: %s", e)

    def _stopped(self) -> bool:
        """Whether to stop reading; reviewers who wait for a text come first."""
        while self._waiting and self._service.ready:
            time.sleep(_YIELD)
        return not self._service.ready

    async def answer(
        self,
        reviewer: str,
        text: ReviewText | None = None,
        order: Order = Order.LISTED,
        before: Judgment | None = None,
    ) -> dict[str, Any]:
        """A text as the page shows it, or none, and the progress of the review."""
        shown = await self.show(text, order, before) if text else None
        progress = await asyncio.to_thread(self._session.progress, reviewer)
        return {"text": shown, "progress": progress}

    async def show(self, text: ReviewText, order: Order, before: Judgment | None = None) -> dict[str, Any]:
        """All that the page shows of a text."""
        await self.follow()
        served = self._service.current
        self._waiting += 1
        try:
            options = ClassifyOptions(top_k=SHOWN, trace=True)
            (prediction,) = await self._service.classify([text.text], options, served)
        finally:
            self._waiting -= 1
        shown = self._session.show(text, prediction, order, before)
        for label in (*shown["proposals"], *shown["others"]):
            label |= served.search.describe(label["id"]).model_dump(exclude={"score"})
        return shown
