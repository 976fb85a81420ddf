"""The evaluation report: one HTML file that shows where labels are lost and why."""

from __future__ import annotations

from irr.evaluate.report.diagnoser import Diagnoser
from irr.evaluate.report.page import write_page

__all__ = ["Diagnoser", "write_page"]
