"""Teach: a strong language model makes examples, from which a program is optimized that needs no model."""

from irr.workbench.teach.label import label
from irr.workbench.teach.work import Taught, forget, sized, spent, within_budget
from irr.workbench.teach.write import write

__all__ = ["Taught", "forget", "label", "sized", "spent", "within_budget", "write"]
