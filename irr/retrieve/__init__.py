"""Retrieve: queries to candidates."""
