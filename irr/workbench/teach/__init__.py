"""Teach: a strong language model makes examples, from which a program is optimized that needs no model."""

from irr.workbench.teach.teaching import (
    Models,
    TeachingResult,
    WritingPlan,
    label_texts,
    labels_to_write_for,
    write_texts,
)

__all__ = ["Models", "TeachingResult", "WritingPlan", "label_texts", "labels_to_write_for", "write_texts"]
