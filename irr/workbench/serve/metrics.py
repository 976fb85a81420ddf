"""What Prometheus reads of the service: requests, latencies, queue, texts, fallbacks and tokens."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from irr.types import Prediction, Usage

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The figures of one service; those of several processes are added up where they share a folder."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self._registry}
        self.requests = Counter("irr_requests", "Requests answered", ["path", "method", "status"], **own)
        self.seconds = Histogram("irr_request_seconds", "Time to answer", ["path"], buckets=_SECONDS, **own)
        self.queue = Gauge(
            "irr_queue_texts", "Texts that wait or are under way", multiprocess_mode="livesum", **own
        )
        self.texts = Counter("irr_texts", "Texts by what became of them", ["outcome"], **own)
        self.fallbacks = Counter(
            "irr_fallbacks", "Texts that did without a language model", ["stage", "code"], **own
        )
        self.calls = Counter("irr_lm_calls", "Requests to language models", ["stage"], **own)
        self.tokens = Counter("irr_lm_tokens", "Tokens of language models", ["stage", "kind"], **own)
        self.reloads = Counter(
            "irr_reloads", "Programs that were swapped in, or could not be", ["outcome"], **own
        )

    def count(self, predictions: Iterable[Prediction]) -> None:
        """Counts what became of some texts."""
        for found in predictions:
            outcome = "error" if found.error else "abstained" if found.abstained else "labelled"
            self.texts.labels(outcome).inc()
            for fallback in found.fallbacks:
                self.fallbacks.labels(fallback.stage, fallback.code).inc()
            self._spent("infer", found.costs.infer)
            self._spent("rank", found.costs.rank)

    def _spent(self, stage: str, usage: Usage) -> None:
        if usage.calls:
            self.calls.labels(stage).inc(usage.calls)
            self.tokens.labels(stage, "prompt").inc(usage.prompt_tokens)
            self.tokens.labels(stage, "completion").inc(usage.completion_tokens)

    def text(self) -> bytes:
        """All of it in Prometheus's format."""
        registry = self._registry
        if MULTIPROCESS in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class Measured:
    """Counts the requests that go through to an application, and their time, by route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 499  # the caller left

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, noted)
        finally:
            # Whoever asks for addresses or methods at random must not fill the memory.
            path = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(path, method, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began)
