"""The review page and its routes: the next text, what people say of it, and how far they are."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from irr.pages.document import FOLDER
from irr.workbench.review.desk import Desk, Said
from irr.workbench.review.judgment import Judgment, Key, Order, Reviewer
from irr.workbench.review.outlook import SHOWN
from irr.workbench.review.store import JudgmentStore
from irr.workbench.review.texts import ReviewText
from irr.workbench.serve.guard import Access
from irr.workbench.serve.labels import described
from irr.workbench.serve.refusals import Refusal
from irr.workbench.serve.search import Found
from irr.workbench.serve.service import Loaded, Service, Wish

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
logger = logging.getLogger(__name__)

# Seconds between looks at whether somebody still waits.
_POLITE = 0.02
# Texts and labels are anybody's: nothing but our own files is ever run, shown or asked.
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


class Undo(BaseModel):
    """Who takes their last judgment back; the same key does it once."""

    model_config = ConfigDict(extra="forbid")

    key: Key
    reviewer: Reviewer


@dataclass(frozen=True, kw_only=True)
class ReviewPage:
    """A review beside a service: called with it, gives the routes.

    Attributes:
        texts: The texts to review.
        folder: Where judgments are kept.
        seed: Of the random order of texts.
    """

    texts: tuple[ReviewText, ...]
    folder: Path
    seed: int = 0

    def __call__(self, service: Service) -> APIRouter:
        """The routes over a service whose program is loaded."""
        desk = Desk(service.loaded.program, self.texts, JudgmentStore(self.folder), self.seed)
        return router(service, desk)

    def allowed(self, access: Access) -> Access:
        """The same access, and the page's own files for anybody: they hold nothing, and ask for the token."""
        return replace(access, public=(*access.public, "/review"))


def router(service: Service, desk: Desk) -> APIRouter:
    """The page's files and its routes."""
    routes = APIRouter(tags=["review"], dependencies=[Depends(_json_only)])
    page = _Page(service, desk)
    held = _files()
    for name, (content, kind) in held.items():
        routes.get(f"/review/{name}", include_in_schema=False)(_file(content, kind))
    routes.get("/review", include_in_schema=False)(_file(*held["review.html"]))

    @routes.get("/v1/review/next")
    async def following(reviewer: Reviewer, order: Order, label: str | None = None) -> dict[str, Any]:
        """The next text for a person, with what the program proposes, and how far the review is."""
        loaded = page.loaded()
        text = await asyncio.to_thread(desk.next, order, reviewer, label)
        return await page.answer(loaded, reviewer, text, order)

    @routes.get("/v1/review/progress")
    async def progress(reviewer: Annotated[Reviewer, Query()]) -> dict[str, Any]:
        """How far the review is."""
        return await page.answer(page.loaded(), reviewer, None, Order.LISTED)

    @routes.post("/v1/review/judgments")
    async def judge(said: Said) -> dict[str, str]:
        """Keeps what a person says of a text; it is on the disk when this is answered."""
        loaded = page.loaded()
        if not desk.was_shown(said.text_id):  # by this process
            await page.shown(loaded, desk.text(said.text_id), said.order)
        kept = await asyncio.to_thread(desk.keep, said)
        return {"key": kept.key, "at": kept.at.isoformat()}

    @routes.post("/v1/review/undo")
    async def undo(who: Undo) -> dict[str, Any]:
        """Takes a person's last judgment back, and shows its text again."""
        loaded = page.loaded()
        before = await asyncio.to_thread(desk.undo, who.key, who.reviewer)
        return await page.answer(loaded, who.reviewer, desk.text(before.text_id), before.order, before)

    return routes


def _json_only(request: Request) -> None:
    """Refuses other kinds of content: a browser asks before it sends JSON to another site, not before those.

    Raises:
        Refusal: If it is no JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if request.method != "GET" and kind != "application/json":
        raise Refusal(400, "bad_request", "no JSON: send Content-Type: application/json")


class _Page:
    """What the routes share: the desk over the program that the service has in use."""

    def __init__(self, service: Service, desk: Desk) -> None:
        self._service = service
        self._desk = desk
        self._waiting = 0
        self._look()

    def loaded(self) -> Loaded:
        """The program in use; the desk goes over to it where it was swapped."""
        loaded = self._service.loaded
        if loaded.program is not self._desk.program:
            self._desk.use(loaded.program)
            self._look()
        return loaded

    def _look(self) -> None:
        threading.Thread(target=self._read, name="irr-review", daemon=True).start()

    def _read(self) -> None:
        program = self._desk.program
        try:
            self._desk.look(self._stops)
        except Exception as e:  # whatever becomes of a program that is closed after a swap
            if self._desk.program is program and self._service.ready:
                logger.warning("not all texts could be read ahead: %s", e)

    def _stops(self) -> bool:
        """Whether to read no more texts; whoever waits for a text goes first."""
        while self._waiting and self._service.ready:
            time.sleep(_POLITE)
        return not self._service.ready

    async def answer(
        self,
        loaded: Loaded,
        reviewer: str,
        text: ReviewText | None,
        order: Order,
        before: Judgment | None = None,
    ) -> dict[str, Any]:
        """A text as the page shows it, or none, and how far the review is."""
        shown = await self.shown(loaded, text, order, before) if text else None
        progress = await asyncio.to_thread(self._desk.progress, reviewer)
        return {"text": shown, "progress": progress.model_dump()}

    async def shown(
        self, loaded: Loaded, text: ReviewText, order: Order, before: Judgment | None = None
    ) -> dict[str, Any]:
        """All that the page shows of a text."""
        self._waiting += 1
        try:
            (prediction,) = await self._service.classify([text.text], Wish(SHOWN, trace=True), loaded)
        finally:
            self._waiting -= 1
        shown = self._desk.shown(text, prediction, order, before)
        for one in (*shown["proposals"], *shown["others"]):
            number = loaded.program.space.number_of[one["id"]]
            one |= described(loaded.search, Found(number, None)).model_dump(exclude={"score"})
        return shown


def _files() -> dict[str, tuple[bytes, str]]:
    """The page's files by name, with their kind; what makes elements is the report's."""
    return {
        file.name: (file.read_bytes(), _KINDS[Path(file.name).suffix])
        for file in (*(FOLDER / "review").iterdir(), FOLDER / "report" / "dom.js")
    }


def _file(content: bytes, kind: str) -> Callable[[], Any]:
    async def answer() -> Response:
        return Response(content, headers=_HEADERS, media_type=kind)

    return answer
