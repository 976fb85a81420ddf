"""Reviewing: no judgment is lost, and what reviewed texts are worth.

python -m eval.review session                 # 100 texts in Chromium, the server killed five times
python -m eval.review rounds --data DIR       # ten rounds of 20 texts: unsure first against random
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from eval.audit import load
from eval.record import record
from eval.rounds import Run, reviewed, summed_up
from irr.workbench.review.judgments import Order, Verdict
from tests.doubles.reviewer import session


def reviewed_with_kills(texts: int, kills: int) -> dict[str, Any]:
    """A script reviews texts by keyboard while the server is killed; a lost or doubled judgment raises."""
    from playwright.sync_api import sync_playwright

    began = time.monotonic()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        kept = session(chromium, Path(folder), texts, kills)
        chromium.close()
    return {
        "texts": texts,
        "kills": kills,
        "judgments": len(kept),
        "lost": texts - len({one.text_id for one in kept}),
        "doubled": len(kept) - len({one.text_id for one in kept}),
        "verdicts": {verdict: sum(one.verdict is verdict for one in kept) for verdict in Verdict},
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> None:
    """Does what the command line says, and records it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["session", "rounds"])
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sets", nargs="*", default=["clinc150", "annoctr"])
    parser.add_argument("--orders", nargs="*", default=["random", "unsure", "different"])
    parser.add_argument("--held", type=int, default=400, help="texts that nobody reviews")
    parser.add_argument("--limit", type=int, help="only so many texts of each set, drawn at random")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--name", default="review_rounds", help="record the rounds under this name")
    arguments = parser.parse_args()
    if arguments.what == "session":
        found = reviewed_with_kills(arguments.texts, arguments.kills)
        print(found)
        record("review_session", found)
        return
    if arguments.data is None:
        parser.error("rounds need --data DIR")
    figures: dict[str, Any] = {"seeds": arguments.seeds, "held_texts": arguments.held, "sets": {}}
    orders = [Order(name) for name in arguments.orders]
    for name in arguments.sets:
        space, rows = load(arguments.data, name)
        rows = [row for row in rows if row.labels]
        if arguments.limit:  # files are ordered by label
            rows = random.Random(0).sample(rows, arguments.limit)
        done: list[Run] = []
        for seed in range(arguments.seeds):
            for run in reviewed(space, rows, arguments.held, seed, orders):
                figures["sets"][name] = {"texts": len(rows), **summed_up([*done, run])}
                print(name, seed, figures["sets"][name], flush=True)
                record(arguments.name, figures)  # what was measured so far
            done.append(run)


if __name__ == "__main__":
    main()
