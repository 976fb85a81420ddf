"""Evaluation: metrics, comparisons, and the report."""
