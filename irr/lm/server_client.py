"""A language model behind an OpenAI-compatible server, vLLM or another."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import time
import weakref
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from irr.errors import LMError, LMUnavailableError
from irr.lm.loop import close_on_loop, on_loop
from irr.lm.protocol import Capabilities, ChatRequest, count
from irr.lm.server_errors import (
    NEEDS_VLLM,
    Reply,
    answer_without_key,
    check_address,
    failure_of,
    json_object,
    quoted,
    read_key,
)
from irr.lm.server_limits import Flow, Limits, Outage
from irr.types import Usage

if TYPE_CHECKING:
    import aiohttp

OPENAI = "https://api.openai.com/v1"
# Far above any answer that is asked for; a longer one is refused.
_LARGEST_ANSWER = 4_000_000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
# Seconds that a text waits for a server that asks for a pause, unless the patience is longer.
_LONGEST_RETRY_AFTER = 30.0
_LIMITS = Limits()

logger = logging.getLogger(__name__)


class ServedModel:
    """A model on an OpenAI-compatible server, whose key is read from `OPENAI_API_KEY`.

    `chat` works on any such server; `probabilities` needs vLLM.

    Args:
        name: The model's name on the server.
        api_base: The server's address, usually ending in `/v1`.
        timeout: Seconds of one try.
        retries: Further tries after a failure that may pass.
        limits: Concurrency and rate limits.

    Raises:
        UsageError: If the address is not a plain http(s) URL.
    """

    capabilities = Capabilities()

    def __init__(
        self, name: str, api_base: str, *, timeout: float = 120, retries: int = 3, limits: Limits = _LIMITS
    ) -> None:
        self.name = name
        self.concurrency = limits.concurrency
        self._endpoint = _Endpoint(api_base, timeout, retries, limits)
        self._unsupported: set[str] = set()
        self._first_tokens: dict[str, list[int]] = {}

    async def chat(self, request: ChatRequest) -> str:
        """Answers in words; a setting that the server rejects is left out of all further requests.

        Raises:
            LMError: If the server gives no usable answer.
        """
        while True:
            body = self._chat_body(request)
            try:
                answer = await self._post(f"{self._endpoint.base}/chat/completions", body)
                break
            except LMError as e:
                refused = _unsupported(e)
                if refused is None or refused not in body:
                    raise
                logger.warning("model %s does not take %s: asking without it", self.name, refused)
                self._unsupported.add(refused)
        try:
            choice = answer["choices"][0]
            text, finish = choice["message"].get("content") or "", choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError) as e:
            raise LMError("unparsable", "the server's answer is not a chat completion") from e
        # Checked here, because DSPy would complete JSON that was cut off.
        if finish == "length":
            raise LMError("truncated", "the answer was cut off", "allow more tokens, or ask for less")
        if not isinstance(text, str) or not text.strip():
            raise LMError("empty", "the model answered nothing")
        return answer_without_key(text)

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """As every model's, by vLLM; only the first tokens of `yes` and `no` count.

        Raises:
            LMError: If the server gives no usable answer; `refused` if it is not vLLM.
        """
        if not items:
            return []
        (query, limit), *words = await asyncio.gather(
            self._tokenize(prefix + context, special=True), self._first_token(yes), self._first_token(no)
        )
        if not all(words) or words[0] == words[1]:
            raise LMError("bad_request", f"{yes!r} and {no!r} begin with the same token", "use other words")
        await self._check_items(items, limit - len(query) - 1)
        body = {"query": query, "items": list(items), "label_token_ids": words[0] + words[1]}
        body["apply_softmax"] = True
        answer = await self._post(f"{self._endpoint.root}/generative_scoring", body)
        try:
            scores = {row["index"]: float(row["score"]) for row in answer["data"]}
            values = [scores[i] for i in range(len(items))]
        except (KeyError, TypeError, ValueError) as e:
            raise LMError("unparsable", "the server's scores do not fit the items") from e
        if not all(map(math.isfinite, values)):
            raise LMError("unparsable", "the server's scores are not numbers")
        return values

    async def close(self) -> None:
        """Closes the connections."""
        await on_loop(_close(self._endpoint.sessions))

    def _chat_body(self, request: ChatRequest) -> dict[str, Any]:
        tokens = "max_completion_tokens" if "max_tokens" in self._unsupported else "max_tokens"
        body: dict[str, Any] = {
            "messages": [{"role": role, "content": text} for role, text in request.messages],
            tokens: request.max_tokens,
            "temperature": None if "temperature" in self._unsupported else request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "stop": list(request.stop) or None,
        }
        if "response_format" in self._unsupported:
            pass  # the prompt asks for JSON as well
        elif request.schema is not None:
            schema = {"name": "answer", "schema": request.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif request.json:
            body["response_format"] = {"type": "json_object"}
        return {key: value for key, value in body.items() if value is not None} | dict(request.extra)

    async def _check_items(self, items: Sequence[str], room: int) -> None:
        """Raises an LMError for an item that is too long, because vLLM would cut it without an error."""
        # A token stands for at least one byte, so that only long items have to be counted.
        long = [item for item in items if 2 * len(item.encode("utf-8", "replace")) + 8 > room]
        for tokens, _ in await asyncio.gather(*map(self._tokenize, long)):
            if len(tokens) > room:
                problem = f"the prompt is too long for the model: {len(tokens)} tokens, {room} fit"
                raise LMError("too_long", problem)

    async def _first_token(self, word: str) -> list[int]:
        if word not in self._first_tokens:
            self._first_tokens[word] = (await self._tokenize(word))[0][:1]
        return self._first_tokens[word]

    async def _tokenize(self, text: str, *, special: bool = False) -> tuple[list[int], int]:
        """The tokens of a text, and the model's context length."""
        body = {"model": self.name, "prompt": text, "add_special_tokens": special}
        answer, _ = await self._endpoint.post(f"{self._endpoint.root}/tokenize", body)
        try:
            return [int(token) for token in answer["tokens"]], int(answer["max_model_len"])
        except (KeyError, TypeError, ValueError) as e:
            raise LMError("bad_request", "the server's /tokenize is not vLLM's", NEEDS_VLLM) from e

    async def _post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        answer, seconds = await self._endpoint.post(url, {"model": self.name, **body})
        count(_usage(answer, seconds))
        return answer


class _Endpoint:
    """Posts JSON to a server, again where that may help; the key stays in the environment alone."""

    def __init__(self, api_base: str, timeout: float, retries: int, limits: Limits) -> None:
        self.base = check_address(api_base)
        read_key()
        # vLLM's own endpoints lie beside /v1.
        self.root = self.base.removesuffix("/v1")
        self._timeout = timeout
        self._retries = retries
        self._limits = limits
        # Whether this address has ever answered: then a failure means that it is down, not wrong.
        self._has_answered = False
        self._flow = Flow(limits)
        self._outage = Outage(self.base, limits.patience, self._is_up)
        # The session that is open, if one is; all requests are sent on the loop that models share.
        self.sessions: list[aiohttp.ClientSession] = []
        weakref.finalize(self, _close_in_the_end, self.sessions)

    async def post(self, url: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        """The answer to `body`, and the seconds that the answered try took."""
        return await on_loop(self._post(url, body))

    async def _post(self, url: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        began, tried = time.monotonic(), 0
        while True:
            since, asked_pause = time.monotonic(), 0.0
            try:
                reply = await self._exchange(url, body)
                if reply.status == 200:
                    if (answer := json_object(reply.body)) is None:
                        problem = "the server's answer is not a JSON object"
                        raise LMError("unparsable", problem, "check the address")
                    return answer, reply.seconds
                error, asked_pause = failure_of(reply, url), reply.retry_after
            except LMError as e:
                error = e
            if not error.retryable or asked_pause > max(_LONGEST_RETRY_AFTER, self._limits.patience):
                raise error
            if asked_pause > _LONGEST_RETRY_AFTER:
                logger.warning("%s asks for a pause of %.0f s", self.base, asked_pause)
            if tried >= self._retries:
                if error.code == "rate_limited":
                    if time.monotonic() - began >= self._limits.patience:
                        raise error
                elif await self._outage.outlast(error, since):
                    tried = 0
                    continue
                else:
                    raise error
            # A random share of the pause spreads out requests that failed together.
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**tried) * random.uniform(0.5, 1.0)
            tried += 1
            logger.info("trying again in %.1f s: %s", max(pause, asked_pause), error)
            await asyncio.sleep(max(pause, asked_pause))

    async def _exchange(self, url: str, body: Mapping[str, Any]) -> Reply:
        """Sends one request and returns its reply."""
        import aiohttp

        key = read_key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # An estimate that the answer corrects.
        expected = len(json.dumps(body)) / 4 if self._limits.tokens_per_minute else 0.0
        async with self._flow.request(expected):
            started = time.perf_counter()
            # Redirects are refused, because they could carry the text or the key to another host.
            request = self._session().post(url, json=body, headers=headers, allow_redirects=False)
            try:
                async with request as response:
                    content = bytearray()
                    async for chunk in response.content.iter_chunked(65_536):
                        content += chunk
                        if len(content) > _LARGEST_ANSWER:
                            raise LMError("unparsable", f"the answer exceeds {_LARGEST_ANSWER:,} bytes")
                    pause = _seconds(response.headers.get("Retry-After", ""))
                    reply = Reply(response.status, bytes(content), time.perf_counter() - started, pause)
            except TimeoutError as e:
                self._flow.overloaded(0.0)
                message = f"no answer from {self.base} within {self._timeout:g} s"
                raise LMError("timeout", message, "lower `concurrency`", True) from e
            except (aiohttp.ClientError, OSError) as e:
                wrong = (aiohttp.ClientConnectorDNSError, aiohttp.ClientSSLError, aiohttp.InvalidURL)
                if not self._has_answered and isinstance(e, wrong):
                    message = f"no model server at {self.base} ({_cause(e)})"
                    raise LMUnavailableError("refused", message, "correct `api_base`") from e
                message = f"no answer from {self.base} ({type(e).__name__})"
                raise LMError("unreachable", message, "check that the server runs there", True) from e
        self._has_answered = True
        if reply.status in (429, 503):
            self._flow.overloaded(min(reply.retry_after, self._limits.patience))
        else:
            spent = _usage(json_object(reply.body) or {}, 0.0) if expected else Usage()
            self._flow.answered(spent.prompt_tokens + spent.completion_tokens - expected)
        return reply

    async def _is_up(self) -> bool:
        """Whether the server answers, and without a server error."""
        import aiohttp

        try:
            timeout = aiohttp.ClientTimeout(total=min(self._timeout, 10.0))
            async with self._session().get(f"{self.base}/models", timeout=timeout) as response:
                return response.status < 500
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False

    def _session(self) -> aiohttp.ClientSession:
        if not self.sessions:
            import aiohttp

            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # `Flow` limits the requests
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
            )
            self.sessions.append(session)
        return self.sessions[0]


async def _close(sessions: list[aiohttp.ClientSession]) -> None:
    while sessions:
        await sessions.pop().close()


def _close_in_the_end(sessions: list[aiohttp.ClientSession]) -> None:
    """Closes the session of a model that is dropped, or at exit, because aiohttp warns if it is left open."""
    if sessions:
        close_on_loop(_close(sessions))


def _cause(error: Exception) -> str:
    reason = getattr(error, "os_error", None) or getattr(error, "certificate_error", None)
    return quoted(str(getattr(reason, "strerror", None) or reason or type(error).__name__))


def _usage(answer: Mapping[str, Any], seconds: float) -> Usage:
    """The cost of a request, as its answer reports it."""

    def number(source: Any, name: str) -> int:
        value = source.get(name) if isinstance(source, dict) else None
        return value if isinstance(value, int) else 0

    reported = answer.get("usage")
    details = reported.get("prompt_tokens_details") if isinstance(reported, dict) else None
    return Usage(
        calls=1,
        prompt_tokens=number(reported, "prompt_tokens"),
        cached_tokens=number(details, "cached_tokens"),
        completion_tokens=number(reported, "completion_tokens"),
        seconds=seconds,
    )


def _seconds(retry_after: str) -> float:
    """The pause that a header asks for, in seconds or until a date; 0 for none."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def _unsupported(error: LMError) -> str | None:
    """The setting that a server rejects, as OpenAI's servers word it; None for other errors."""
    if error.code != "bad_request":
        return None
    if any(word in error.message for word in ("response_format", "json_schema", "schema")):
        return "response_format"
    if "nsupported" not in error.message:
        return None
    return next((name for name in ("max_tokens", "temperature") if f"'{name}'" in error.message), None)
