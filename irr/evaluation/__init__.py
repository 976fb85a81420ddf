"""Evaluation: metrics, sets of labels, comparisons, the report, and the doctor of language models."""
