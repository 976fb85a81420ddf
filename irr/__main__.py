"""Runs the command line as `python -m irr`."""

from irr.cli import main

main()
