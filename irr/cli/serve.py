"""The command `irr serve`: a program as an HTTP service until Ctrl-C."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from typer import Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.options import LimitOptions, ProgramOptions
from irr.errors import MissingExtraError, UsageError
from irr.text.strings import counted

if TYPE_CHECKING:
    from irr.workbench.serve.guard import Access
    from irr.workbench.serve.review import ReviewPage

TOKEN = "IRR_TOKEN"


@dataclass(frozen=True, kw_only=True)
class ServiceLimitOptions(LimitOptions):
    """How much is asked of a model server; nobody waits an hour for an answer over HTTP."""

    panel: ClassVar[str] = "Model servers"

    patience: Annotated[
        float,
        Option(
            help="Minutes to wait for a model server that is down or asks for a pause. "
            "With 0 texts do without the model.",
            min=0,
            metavar="MINUTES",
        ),
    ] = 0


@dataclass(frozen=True, kw_only=True)
class ReviewPageOptions:
    """Which texts people review at /review, and where their judgments are kept."""

    panel: ClassVar[str] = "Review page"

    review: Annotated[
        Path | None,
        Option(
            help='Texts to review at /review: JSONL {"id", "text"}, gold, or what irr audit writes.',
            metavar="FILE",
        ),
    ] = None
    decisions: Annotated[
        Path | None,
        Option(help="Folder of what people judge; what it holds is gone on with.", metavar="DIR"),
    ] = None
    seed: Annotated[int, Option(help="Of the random order of texts.")] = 0

    def read(self, workers: int) -> ReviewPage | None:
        """The page that they ask for; None without texts.

        Raises:
            UsageError: If they do not fit together.
            TextsError: If the texts cannot be read.
        """
        from irr.workbench.review.store import JudgmentStore
        from irr.workbench.review.texts import read_texts
        from irr.workbench.serve.review import ReviewPage

        if self.review is None or self.decisions is None:
            if self.review is None and self.decisions is None:
                return None
            missing = "--review FILE" if self.review is None else "--decisions DIR"
            raise UsageError("a review needs texts and a folder for what people judge", f"add {missing}")
        if workers > 1:
            raise UsageError("a review is served by one process", "leave --workers out")
        texts = tuple(read_texts(self.review))
        JudgmentStore(self.decisions).check()
        return ReviewPage(texts=texts, folder=self.decisions, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """What to serve, where, and how much at a time."""

    host: Annotated[
        str,
        Option(
            help=f"The address to listen on. All but this machine's own need a token in {TOKEN}.",
            metavar="HOST",
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int, Option(help="The port; 0 for any that is free.", min=0, max=65_535, metavar="PORT")
    ] = 8080
    workers: Annotated[int, Option(help="Processes that serve; each loads the program.", min=1)] = 1
    queue: Annotated[
        int,
        Option(help="Texts that may wait or be under way in a process; more are refused with 429.", min=1),
    ] = 1_000
    timeout: Annotated[
        float,
        Option(help="Seconds that a request may take, else 504.", min=0.1, max=86_400, metavar="SECONDS"),
    ] = 60
    max_body: Annotated[
        float, Option(help="Size of a request in MiB, at most, else 413.", min=0.001, max=1_024)
    ] = 8
    review: ReviewPageOptions = ReviewPageOptions()
    program: ProgramOptions
    limits: ServiceLimitOptions

    def access(self) -> Access:
        """Who may ask, and how much.

        Raises:
            UsageError: If others than this machine could ask without a token.
        """
        from irr.workbench.serve.guard import Access, is_local

        token = os.environ.get(TOKEN) or None
        if token is None and not is_local(self.host):
            hint = f"set {TOKEN}, which requests then carry as Authorization: Bearer TOKEN"
            raise UsageError(f"--host {self.host} lets others ask, and there is no token", hint)
        return Access(token=token, body=int(self.max_body * 2**20), seconds=self.timeout)


@command("serve --program program --port 8080")
def serve(options: ServeOptions) -> None:
    """Serve a program over HTTP until Ctrl-C: POST /v1/classify, GET /v1/labels, /healthz, /readyz, /metrics.

    SIGHUP, or POST /v1/reload, swaps in what then stands in the program's folder. SIGTERM stops it after it
    answered what it took.
    """
    try:
        from irr.workbench.serve.server import Setup, listen
        from irr.workbench.serve.server import serve as run
    except ImportError as e:
        raise MissingExtraError(f"serving needs {e.name}", "pip install 'irr[serve]'") from e

    access, limits = options.access(), options.limits.read()
    page = options.review.read(options.workers)
    space = options.program.read_space()
    setup = Setup(
        build=options.program.elsewhere(limits),
        queue=options.queue,
        access=page.allowed(access) if page else access,
        extensions=(page,) if page else (),
        workers=options.workers,
    )
    with listen(options.host, options.port) as listening:
        host, port = listening.getsockname()[:2]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        what = f"{counted(len(space), 'label')}, {counted(options.workers, 'process', 'processes')}"

        def ready() -> None:
            display.note(
                f"serving {options.program.program or options.program.labels} ({what}) at http://{address}"
            )
            if page:
                display.note(
                    f"review: http://{address}/review ({counted(len(page.texts), 'text')}, {page.folder})"
                )

        run(setup, listening, ready)
