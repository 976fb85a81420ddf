"""Frozen programs: a folder that gives the same answers anywhere."""
