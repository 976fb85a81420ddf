"""Teach: a strong language model makes examples, from which a program is optimized that needs no model."""

from irr.teach.label import label
from irr.teach.work import Taught, forget, sized, spent, within_budget
from irr.teach.write import write

__all__ = ["Taught", "forget", "label", "sized", "spent", "within_budget", "write"]
