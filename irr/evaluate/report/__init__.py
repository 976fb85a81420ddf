"""The evaluation report: one page, complete in itself, that shows where labels are lost and why."""

from __future__ import annotations

from irr.evaluate.report.page import write_page
from irr.evaluate.report.watch import Diagnoser

__all__ = ["Diagnoser", "write_page"]
