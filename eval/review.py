"""Reviewing: no judgment is lost.

python -m eval.review session                 # 100 texts in Chromium, the server killed five times
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from eval.record import record
from irr.review.judgment import Verdict
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
    parser.add_argument("what", choices=["session"])
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--kills", type=int, default=5)
    arguments = parser.parse_args()
    found = reviewed_with_kills(arguments.texts, arguments.kills)
    print(found)
    record("review_session", found)


if __name__ == "__main__":
    main()
