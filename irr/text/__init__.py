"""Texts: words, their stems, and passages."""
