"""The service: the program in use, its queue, and the swap to another program."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Annotated, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import Field
from starlette.responses import JSONResponse
from starlette.types import Scope

from irr import Decision, InferRetrieveRank, IrrError, Prediction
from irr.errors import LMUnavailableError, OutputError
from irr.types import RowError
from irr.workbench.serve.label_search import LabelSearch

# Parts of the label space that are kept ready.
_PARTS = 32
# Groups of texts that one request has under way or waiting.
_GROUPS_PER_REQUEST = 2
# The weight of the last request in the estimated speed of the queue.
_SMOOTHING = 0.2

LabelIds = Annotated[tuple[str, ...], Field(max_length=100_000)]
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
logger = logging.getLogger(__name__)


class Refusal(Exception):  # noqa: N818 - the answer to a request, not a failure of the service
    """A request that is not answered: its HTTP status, the error of its row, and headers of the answer."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        self.status = status
        self.error = RowError(code=code, message=message)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(message)

    @property
    def response(self) -> JSONResponse:
        """The answer: a row with the error."""
        content = {"id": None, "labels": list[str](), "error": self.error.model_dump()}
        return JSONResponse(content, self.status, self.headers)

    @classmethod
    def of(cls, error: Exception) -> Refusal:
        """The refusal that an error means to the caller of the service."""
        match error:
            case Refusal():
                return error
            case LMUnavailableError():
                return cls(503, "model_unavailable", str(error), retry_after="60")
            case OutputError():
                return cls(507, "not_written", str(error))
            case IrrError():
                return cls(400, "bad_request", str(error))
        kind = type(error).__name__
        return cls(500, "internal", f"an error inside irr ({kind}): see the log of the service")


class ClassifyOptions(Decision):
    """How the texts of a request are answered: a decision, and what else a caller chooses.

    Attributes:
        top_k: Labels a text, at most; ten, if nothing else chooses them.
        within: Ids of labels: only they and what is below them are answers.
        only: Ids of the labels that can be answers, without those below them.
        without: Ids of labels that are excluded.
        trace: Whether rows carry the output of every stage.
    """

    # Each label that is asked for costs work.
    top_k: Annotated[int, Field(ge=1, le=1_000)] | None = None
    within: LabelIds = ()
    only: LabelIds | None = None
    without: LabelIds = ()
    trace: bool = False


class ServiceMetrics:
    """The figures of one service; those of several processes are summed where they share a folder."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(name, help_text, labels, registry=self._registry)

        self.requests = counter("irr_requests", "Requests answered", "path", "method", "status")
        self.texts = counter("irr_texts", "Texts by what became of them", "outcome")
        self.fallbacks = counter("irr_fallbacks", "Texts that did without a language model", "stage", "code")
        self.calls = counter("irr_lm_calls", "Requests to language models", "stage")
        self.tokens = counter("irr_lm_tokens", "Tokens of language models", "stage", "kind")
        self.reloads = counter("irr_reloads", "Programs that were swapped in, or could not be", "outcome")
        own: dict[str, Any] = {"registry": self._registry}
        self.seconds = Histogram("irr_request_seconds", "Time to answer", ["path"], buckets=_SECONDS, **own)
        own["multiprocess_mode"] = "livesum"
        self.queue = Gauge("irr_queue_texts", "Texts that wait or are under way", **own)

    def count_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Counts a request by its route; unknown paths and methods share one, so that they fill no memory."""
        path = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.requests.labels(path, method, status).inc()
        self.seconds.labels(path).observe(seconds)

    def count(self, predictions: Iterable[Prediction]) -> None:
        """Counts the outcomes of texts, and the usage of language models."""
        for prediction in predictions:
            outcome = "error" if prediction.error else "abstained" if prediction.abstained else "labelled"
            self.texts.labels(outcome).inc()
            for fallback in prediction.fallbacks:
                self.fallbacks.labels(fallback.stage, fallback.code).inc()
            for stage, usage in prediction.costs:
                if usage.calls:
                    self.calls.labels(stage).inc(usage.calls)
                    self.tokens.labels(stage, "prompt").inc(usage.prompt_tokens)
                    self.tokens.labels(stage, "completion").inc(usage.completion_tokens)

    def text(self) -> bytes:
        """All figures in Prometheus's format."""
        registry = self._registry
        if MULTIPROCESS in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class ServedProgram:
    """A program that is warmed up, with its digest, its label search, and the parts of its label space."""

    def __init__(self, program: InferRetrieveRank) -> None:
        program.warm_up()
        self.program = program
        self.digest = program.digest
        self.search = LabelSearch(program)
        self._within = lru_cache(_PARTS)(program.within)

    async def part(self, options: ClassifyOptions) -> InferRetrieveRank:
        """The program on the part of its label space that a request chooses."""
        if not options.within and options.only is None and not options.without:
            return self.program
        return await asyncio.to_thread(
            self._within, options.within, only=options.only, without=options.without
        )


class Service:
    """Answers texts with the program in use, and swaps another one in without dropping a request.

    Args:
        build: Builds or loads the program; called again for each swap.
        queue: How many texts may wait or be under way.

    Attributes:
        ready: Whether requests are taken; False before the program is loaded and once the service stops.
        on_reload: Replaces the reload in this process, where several processes must reload together.
    """

    def __init__(self, build: Callable[[], InferRetrieveRank], queue: int = 1_000) -> None:
        self._build = build
        self._queue = queue
        self._waiting = 0
        self._texts_per_second = 0.0
        self._current: ServedProgram | None = None
        self._reloading = asyncio.Lock()
        self.metrics = ServiceMetrics()
        self.ready = False
        self.on_reload: Callable[[], None] | None = None

    @property
    def current(self) -> ServedProgram:
        """The program in use; a `Refusal` if none is loaded yet."""
        if self._current is None:
            raise Refusal(503, "not_ready", "the program is being loaded: ask again", retry_after="5")
        return self._current

    def load(self) -> None:
        """Loads the first program; errors are those of `build`."""
        self._current = ServedProgram(self._build())
        self.ready = True

    async def reload(self) -> None:
        """Loads the program anew and swaps it in; a `Refusal` if it cannot, and the old one stays."""
        async with self._reloading:
            before = self._current
            try:
                loaded = await asyncio.to_thread(lambda: ServedProgram(self._build()))
            except Exception as e:
                self.metrics.reloads.labels("failed").inc()
                reason = str(e) if isinstance(e, IrrError) else f"{type(e).__name__}: {e}"
                logger.warning("the program could not be loaded anew, the one before goes on: %s", reason)
                raise Refusal(409, "not_reloaded", f"{reason}; the program before goes on") from e
            self._current, self.ready = loaded, True
            self.metrics.reloads.labels("done").inc()
            logger.warning("the program was loaded anew: %s", loaded.digest)
            if before:
                await asyncio.to_thread(before.program.close)
                del before
                await asyncio.to_thread(_release_memory)

    async def classify(
        self, texts: Sequence[str], options: ClassifyOptions, served: ServedProgram
    ) -> list[Prediction]:
        """Answers the texts of a request; a `Refusal` if too many wait already."""
        program = await served.part(options)
        self._admit(len(texts))
        start = time.perf_counter()
        try:
            predictions = await _predictions(program, texts, options)
        finally:
            self._waiting -= len(texts)
            self.metrics.queue.dec(len(texts))
        self.metrics.count(predictions)
        if texts:
            rate = (self._waiting + len(texts)) / (time.perf_counter() - start)
            self._texts_per_second += _SMOOTHING * (rate - self._texts_per_second)
        return predictions

    def _admit(self, texts: int) -> None:
        if texts > self._queue:
            message = f"{texts:,} texts, at most {self._queue:,} are taken at a time: send fewer"
            raise Refusal(413, "too_large", message)
        if self._waiting + texts > self._queue:
            seconds = self._waiting / self._texts_per_second if self._texts_per_second else 1.0
            pause = str(min(60, max(1, math.ceil(seconds / 2))))
            message = f"the queue is full ({self._waiting:,} of {self._queue:,} texts): ask again later"
            raise Refusal(429, "busy", message, retry_after=pause)
        self._waiting += texts
        self.metrics.queue.inc(texts)


def _release_memory() -> None:
    """Returns the memory of the old program to the system, so that swaps do not add up."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


async def _predictions(
    program: InferRetrieveRank, texts: Sequence[str], options: ClassifyOptions
) -> list[Prediction]:
    """The predictions of a request's texts; few wait at a time, so that other requests get between."""
    free = asyncio.Semaphore(_GROUPS_PER_REQUEST * program.concurrency)

    async def predict(text: str) -> Prediction:
        async with free:
            return await program.aclassify(text, options.top_k, options.trace, options)

    predictions = []
    for answer in await asyncio.gather(*map(predict, texts), return_exceptions=True):
        if isinstance(answer, IrrError) or not isinstance(answer, Prediction | Exception):
            raise answer
        if isinstance(answer, Exception):
            logger.error("a text could not be answered", exc_info=answer)
            answer = Prediction(error=Refusal.of(answer).error)
        predictions.append(answer)
    return predictions
