"""The command line: arguments, a call, an exit code, and what people see of it."""

from irr.cli.app import app, main

__all__ = ["app", "main"]
