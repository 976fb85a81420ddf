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
    _prepare()
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
        code, line = _judged(e)
        if line:
            display.note(f"irr: {line}")
    finally:
        # A further interrupt ends the process at once.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _let_go_of_broken_pipes()
    return code


def _judged(e: BaseException) -> tuple[int, str]:
    """The exit code and the message of an error."""
    match e:
        case IrrError():
            return EXIT_UNUSABLE, str(e)
        case typer.TyperException():
            return EXIT_UNUSABLE, _of_options(getattr(e, "format_message", e.__str__)())
        case KeyboardInterrupt() | typer.Abort():
            return EXIT_INTERRUPTED, ""
        case OSError(errno=errno.EPIPE):
            return EXIT_BROKEN_PIPE, ""
        case OSError() if e.strerror:
            what = e.filename if isinstance(e.filename, str) else "the output"
            return EXIT_UNUSABLE, f"{what} cannot be read or written: {e.strerror}"
        case MemoryError():
            return EXIT_UNUSABLE, "memory ran out: use a smaller input, or a larger machine"
    if _was_interrupted(e):
        return EXIT_INTERRUPTED, ""
    what = f"{type(e).__name__}: {e}" if str(e) else type(e).__name__
    return EXIT_UNUSABLE, f"a defect in irr ({what[:300]}): please report it, with what {DEBUG}=1 shows"


def _of_options(message: str) -> str:
    """Typer's message about the options, without pydantic's prefixes."""
    for theirs, ours in ((": Value error, ", ": "), (": Input should be ", ": must be ")):
        message = message.replace(theirs, ours, 1)
    return f"{message.rstrip('.')}. See irr --help."


def _was_interrupted(e: BaseException | None) -> bool:
    """Whether an interrupt caused an error, as in the middle of an import."""
    while e is not None:
        if isinstance(e, KeyboardInterrupt):
            return True
        e = e.__cause__ or e.__context__
    return False


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


def _prepare() -> None:
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


def _let_go_of_broken_pipes() -> None:
    """Keeps the interpreter from warning about a closed pipe when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
