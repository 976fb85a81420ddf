"""Ends a call with an exit code, and with one line on stderr if it failed."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable

import typer

from irr.cli import display
from irr.errors import IrrError
from irr.text.strings import printable

EXIT_ROW_ERRORS = 1
EXIT_UNUSABLE = 2
# As shells report the end by a signal: 128 and its number.
EXIT_INTERRUPTED, EXIT_BROKEN_PIPE, EXIT_TERMINATED = 130, 141, 143
DEBUG = "IRR_DEBUG"


def run(call: Callable[[], int | None]) -> int:
    """Makes a call and returns its exit code; with IRR_DEBUG set, errors show their traceback."""
    _prepare_process()
    try:
        code = call() or 0
        if sys.stdout is not None:
            sys.stdout.flush()
    except BaseException as e:
        if isinstance(e, SystemExit):
            if not isinstance(e.__context__, BrokenPipeError):
                raise
            e = e.__context__  # Typer would exit with the code of rows with errors
        if os.environ.get(DEBUG):
            logging.getLogger("irr").error("the call failed", exc_info=True)
        code, line = _code_and_line(e)
        if line:
            display.note(f"irr: {line}")
    finally:
        # A further interrupt ends the process at once.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:  # of a closed pipe the interpreter would warn when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def _code_and_line(error: BaseException) -> tuple[int, str]:
    """The exit code of an error, and the line that tells the user; "" for none."""
    match error:
        case IrrError():
            return EXIT_UNUSABLE, str(error)
        case typer.TyperException():
            message = getattr(error, "format_message", error.__str__)()
            for prefix, ours in ((": Value error, ", ": "), (": Input should be ", ": must be ")):
                message = message.replace(prefix, ours, 1)
            return EXIT_UNUSABLE, f"{message.rstrip('.')}. See irr --help."
        case KeyboardInterrupt() | typer.Abort():
            return EXIT_INTERRUPTED, ""
        case OSError(errno=errno.EPIPE):
            return EXIT_BROKEN_PIPE, ""
        case OSError() if error.strerror:
            what = error.filename if isinstance(error.filename, str) else "the output"
            return EXIT_UNUSABLE, f"{what} cannot be read or written: {error.strerror}"
        case MemoryError():
            return EXIT_UNUSABLE, "memory ran out: use a smaller input, or a larger machine"
    cause = error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):  # in the middle of an import
            return EXIT_INTERRUPTED, ""
        cause = cause.__cause__ or cause.__context__
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return EXIT_UNUSABLE, f"a defect in irr ({what[:300]}): please report it, with what {DEBUG}=1 shows"


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


def _prepare_process() -> None:
    """Sets up the log, the signals and the streams."""
    handler = logging.StreamHandler()
    handler.setFormatter(_PrintableFormatter("irr: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("irr.io").setLevel(logging.INFO)  # the detected properties of files
    logging.captureWarnings(True)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # An exit, so that clean-up runs.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
