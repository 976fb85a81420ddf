"""A person at the review page, by keyboard alone, while the server is killed again and again."""

from __future__ import annotations

import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irr.workbench.review.judgments import Judgment, JudgmentStore, Verdict, valid_judgments
from tests.doubles.served import in_process
from tests.support import KITCHEN, write_jsonl

# What a text says is what its reviewer does; the page shows it, and the script reads it there.
WORDS = {
    "bake": "bake bread",
    "wash": "wash dirty dishes",
    "none": "paint a wall",
    "unsure": "whatever this is",
}


@dataclass
class Server:
    """A review server on a port of its own, in a process that can be killed and started again."""

    folder: Path
    texts: Path
    port: int = 0
    process: subprocess.Popen[str] | None = field(default=None, repr=False)
    _context: Any = field(default=None, repr=False)

    @property
    def decisions(self) -> Path:
        """Where judgments are kept."""
        return self.folder / "decisions"

    def start(self) -> str:
        """Starts it, and gives its address once it listens."""
        labels = write_jsonl(self.folder / "kitchen.jsonl", KITCHEN)
        self.port = self.port or _free_port()
        options = ("--port", self.port, "--review", self.texts, "--decisions", self.decisions)
        self._context = in_process(labels, self.folder / "index", *map(str, options))
        address, self.process = self._context.__enter__()
        return str(address)

    def kill(self) -> None:
        """Ends it at once, as a power cut would."""
        assert self.process
        self.process.kill()
        self.process.wait()
        self.stop()

    def stop(self) -> None:
        """Ends it."""
        self._context.__exit__(None, None, None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_texts(path: Path, count: int) -> Path:
    """Texts each of which says what its reviewer does."""
    kinds = list(WORDS)
    return write_jsonl(
        path, ({"id": n, "text": f"{WORDS[kinds[n % len(kinds)]]}, number {n}"} for n in range(count))
    )


@contextmanager
def server(folder: Path, count: int) -> Iterator[Server]:
    """A server that reviews so many texts."""
    found = Server(folder, write_texts(folder / "texts.jsonl", count))
    found.start()
    try:
        yield found
    finally:
        found.stop()


def open_page(browser: Any, address: str, name: str = "ada", **options: Any) -> Any:
    """The review page, with a name typed into it."""
    page = browser.new_context(**options).new_page()
    page.add_init_script("localStorage.setItem('irr review order', 'random')")
    page.goto(f"{address}/review")
    page.get_by_label("You").fill(name)
    page.keyboard.press("Enter")
    return page


def judge(page: Any, before: str = "") -> str:
    """Judges the text that follows `before` as it says, and returns it."""
    page.wait_for_function(
        "(before) => { const now = document.getElementById('body').textContent;"
        " return now && now !== before && !document.querySelector('#verdicts button:last-child').disabled }",
        arg=before,
        timeout=20_000,
    )
    text = str(page.locator("#body").inner_text())
    kind = next(kind for kind, words in WORDS.items() if text.startswith(words))
    if kind in ("bake", "wash"):
        names = page.locator("#labels .name").all_inner_texts()
        wanted = next(label["name"] for label in KITCHEN if label["id"] == kind)
        page.keyboard.press(str((names.index(str(wanted)) + 1) % 10))
        page.keyboard.press("s")
    else:
        page.keyboard.press({"none": "n", "unsure": "u"}[kind])
    return text


def session(browser: Any, folder: Path, texts: int, kills: int, seed: int = 0) -> list[Judgment]:
    """Reviews texts while the server is killed at random moments; gives the judgments that hold.

    Raises:
        AssertionError: If one is lost, doubled, or another than was made.
    """
    moments = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with server(folder, texts) as found:
        page = open_page(browser, f"http://127.0.0.1:{found.port}")
        killed_at = set(moments.sample(range(1, texts), kills))
        text, seen = "", []
        for number in range(texts):
            if number in killed_at:
                # In the middle of what the page and the server say to each other.
                delay = moments.uniform(0, 0.05)
                killer = threading.Thread(target=_kill_and_start, args=(found, delay))
                killer.start()
            text = judge(page, text)
            seen.append(text)
            if number in killed_at:
                killer.join()
        page.get_by_text("No text of this order is left.").wait_for(timeout=60_000)
        page.context.close()
        made = JudgmentStore(found.decisions).judgments()
    kept = valid_judgments(made)
    assert len(seen) == len(set(seen)) == texts
    assert len(made) == len(kept) == len({one.key for one in made}) == texts, "none doubled, none lost"
    for one in kept:
        kind = next(kind for kind, words in WORDS.items() if one.text.startswith(words))
        expected = {"none": Verdict.NONE_FITS, "unsure": Verdict.UNSURE}.get(kind, Verdict.LABELS)
        assert one.verdict is expected
        assert one.labels == ((kind,) if expected is Verdict.LABELS else ())
        assert one.proposed, "what was proposed is kept, whichever process proposed it"
    return kept


def _kill_and_start(found: Server, delay: float) -> None:
    time.sleep(delay)
    found.kill()
    found.start()
