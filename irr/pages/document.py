"""Writes data as JSON, and the script that shows it, into one HTML document without external parts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any, TextIO

FOLDER = files("irr.pages")


def write_document(out: TextIO, title: str, data: Mapping[str, Any], scripts: Sequence[str]) -> None:
    """Writes a page that loads neither files nor anything from a network.

    Args:
        out: The file.
        title: The title of the page.
        data: The data that the scripts read from the element "data".
        scripts: The sources of the scripts, run one after the other.
    """
    written = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    page = Template((FOLDER / "report" / "page.html").read_text("utf-8"))
    out.write(
        page.substitute(
            title=_html(title),
            style=(FOLDER / "report" / "page.css").read_text("utf-8"),
            # Nothing in the data can end the script element or open a comment in it.
            data=written.replace("<", "\\u003c"),
            script="\n".join(scripts),
        )
    )


def script(name: str) -> str:
    """The source of one of the evaluation's scripts, as part of one script: without its exports."""
    return re.sub("^export ", "", (FOLDER / "report" / name).read_text("utf-8"), flags=re.MULTILINE)


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
