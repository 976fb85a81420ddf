"""Looks for inputs that break the program: see `python -m eval.fuzz --help`."""
