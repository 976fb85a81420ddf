"""Infer: a text to queries."""
