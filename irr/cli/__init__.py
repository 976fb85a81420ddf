"""The command line: one file a command, with its options, a call, an exit code, and what is shown."""

from __future__ import annotations


def main() -> None:
    """Runs the command line and ends the process; no failure ends in a traceback."""
    import os
    import signal
    import sys

    # Until the commands are there, an interrupt has nothing to clean up.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A closed descriptor would be given to the next file that is opened, which then gets what is printed.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)

    from irr.cli.app import call
    from irr.cli.exits import run

    sys.exit(run(lambda: call(sys.argv[1:] or ["--help"])))
