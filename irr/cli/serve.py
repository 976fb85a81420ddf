"""The command `irr serve`: a program as an HTTP service until Ctrl-C."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from irr.cli import display, options
from irr.cli.options import value
from irr.errors import MissingExtraError, UsageError
from irr.text.strings import counted

if TYPE_CHECKING:
    from irr.workbench.serve.review_page import ReviewPage

TOKEN = "IRR_TOKEN"

_review_page = partial(value, panel="Review page")


def serve(
    host: Annotated[
        str, value(f"The address to listen on. All but this machine's own need a token in {TOKEN}.", "HOST")
    ] = "127.0.0.1",
    port: Annotated[int, value("The port; 0 for any that is free.", "PORT", min=0, max=65_535)] = 8080,
    workers: Annotated[int, value("Processes that serve; each loads the program.", min=1)] = 1,
    queue: Annotated[
        int, value("Texts that may wait or be under way in a process; more are refused with 429.", min=1)
    ] = 1_000,
    timeout: Annotated[
        float, value("Seconds that a request may take, else 504.", "SECONDS", min=0.1, max=86_400)
    ] = 60,
    max_body: Annotated[
        float, value("Size of a request in MiB, at most, else 413.", min=0.001, max=1_024)
    ] = 8,
    review: Annotated[
        Path | None,
        _review_page(
            'Texts to review at /review: JSONL {"id", "text"}, gold, or what irr audit writes.', "FILE"
        ),
    ] = None,
    decisions: Annotated[
        Path | None, _review_page("Folder of what people judge; what it holds is gone on with.", "DIR")
    ] = None,
    seed: Annotated[int, _review_page("Of the random order of texts.")] = 0,
    labels: options.Labels = None,
    language: options.Language = None,
    columns: options.ColumnNames = None,
    encoder: options.Encoder = None,
    fields: options.Fields = None,
    hierarchy: options.HierarchyChoice = None,
    settings: options.SettingValues = None,
    index_folder: options.IndexFolder = None,
    index_server: options.IndexServer = None,
    lm: options.LM = None,
    api_base: options.APIBase = None,
    infer_lm: options.InferLM = None,
    rank_lm: options.RankLM = None,
    rank_method: options.RankMethodChoice = "auto",
    task: options.Task = None,
    program: options.Program = None,
    rebind: options.Rebind = False,
    within: options.Within = None,
    only: options.Only = None,
    without: options.Without = None,
    concurrency: options.Concurrency = "auto",
    requests_per_minute: options.RequestsPerMinute = None,
    tokens_per_minute: options.TokensPerMinute = None,
    patience: options.ServicePatience = 0,
) -> None:
    """Serve a program over HTTP until Ctrl-C: POST /v1/classify, GET /v1/labels, /healthz, /readyz, /metrics.

    SIGHUP, or POST /v1/reload, swaps in what then stands in the program's folder. SIGTERM stops it after it
    answered what it took.
    """
    from irr.cli.program_options import ProgramOptions

    source = ProgramOptions.of(locals())
    try:
        from irr.workbench.serve.guard import Access, is_local
        from irr.workbench.serve.server import ServeSetup, listen
        from irr.workbench.serve.server import serve as run
    except ImportError as e:
        raise MissingExtraError(f"serving needs {e.name}", "pip install 'irr[serve]'") from e

    token = os.environ.get(TOKEN) or None
    if token is None and not is_local(host):
        hint = f"set {TOKEN}, which requests then carry as Authorization: Bearer TOKEN"
        raise UsageError(f"--host {host} lets others ask, and there is no token", hint)
    access = Access(token=token, body=int(max_body * 2**20), seconds=timeout)
    limits = options.limits(concurrency, requests_per_minute, tokens_per_minute, patience)
    page = _review_page_of(review, decisions, seed, workers)
    space = source.read_space()
    extensions = (page,) if page else ()
    setup = ServeSetup(
        build=source.builder(limits), queue=queue, access=access, extensions=extensions, workers=workers
    )
    with listen(host, port) as listening:
        host, port = listening.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        size = f"{counted(len(space), 'label')}, {counted(workers, 'process', 'processes')}"

        def ready() -> None:
            display.note(f"serving {program or labels} ({size}) at {address}")
            if page:
                display.note(f"review: {address}/review ({counted(len(page.texts), 'text')}, {page.folder})")

        run(setup, listening, ready)


def _review_page_of(
    review: Path | None, decisions: Path | None, seed: int, workers: int
) -> ReviewPage | None:
    """The review page of these texts; None without texts."""
    from irr.workbench.review.judgments import JudgmentStore
    from irr.workbench.review.session import read_texts
    from irr.workbench.serve.review_page import ReviewPage

    if review is None and decisions is None:
        return None
    if review is None or decisions is None:
        missing = "--review FILE" if review is None else "--decisions DIR"
        raise UsageError("a review needs texts and a folder for what people judge", f"add {missing}")
    if workers > 1:
        raise UsageError("a review is served by one process", "leave --workers out")
    texts = tuple(read_texts(review))
    JudgmentStore(decisions).check()
    return ReviewPage(texts=texts, folder=decisions, seed=seed)
