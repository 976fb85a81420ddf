"""The benchmarks' command line: `python -m eval run`, `peers` and `table`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from eval.peers import MostSimilarQuery, WholeText, WordsOnly
from eval.record import RUNS, Run, append, command, machine, read_runs
from eval.tables import SYSTEMS, TABLES, fill
from eval.task import Loaded, Task, load_data, read_task, task_names
from irr.cli import display
from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import IrrError, UsageError
from irr.evaluation.evaluate import Classifier, score_rankings
from irr.frozen.freeze import load
from irr.hub import cache_folder
from irr.index.store import open_index
from irr.program.program import build
from irr.types import EntryKind

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Tasks = Annotated[list[str], typer.Argument(help=f"Some of {', '.join(task_names())}, or task files.")]
Data = Annotated[Path | None, typer.Option(help="The folder that the tasks' data stands in.", metavar="DIR")]
Split = Annotated[Literal["test", "dev"], typer.Option(help="Which texts: dev to develop with.")]
Limit = Annotated[int | None, typer.Option(help="Only the first texts.", min=1)]
Output = Annotated[Path, typer.Option(help="Where runs are appended.", metavar="FILE")]
IndexFolder = Annotated[
    Path | None, typer.Option(help="Where indexes are kept.", metavar="DIR", envvar="IRR_INDEX_FOLDER")
]
SHOWN = ("rp@5", "rp@10", "rp@50", "mrr")
NAMES_ONLY = Settings().replace({"retrieve.fields": (EntryKind.NAME,)})


@dataclass(frozen=True)
class Session:
    """What all runs of a command share: when it began, which texts it takes, and where its runs go."""

    split: Literal["test", "dev"]
    limit: int | None
    output: Path
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def load(self, names: list[str], data: Path | None) -> Iterator[tuple[Task, Loaded]]:
        """The tasks and their data; every name is read before the first task runs."""
        for task in [read_task(name) for name in names]:
            loaded = load_data(task, self.split, data)
            yield task, Loaded(loaded.space, loaded.rows[: self.limit], loaded.digest)

    def measure(
        self, system: str, classifier: Classifier, settings: Settings, task: Task, loaded: Loaded
    ) -> None:
        """Evaluates one system on a task's texts, prints its scores, and appends the run."""
        # What is built at first use is built here, so that the time is that of the texts.
        next(iter(classifier.batch([loaded.rows[0].text], 1, False)))
        with display.progress(f"{task.name}: {system}", len(loaded.rows)) as on_text:
            report = score_rankings(classifier, loaded.rows, on_text)
        means = "  ".join(f"{name} {100 * report.metrics[name].mean:.1f}" for name in SHOWN)
        print(f"{task.name}  {SYSTEMS.get(system, system).strip('*')}  {means}", flush=True)
        run = Run(
            session=self.began,
            task=task.name,
            split=self.split,
            limit=self.limit,
            system=system,
            program=report.program,
            data=loaded.digest,
            scores=report.as_json(per_text=False),
            settings=settings.flat(),
            machine=machine(),
            command=command(),
        )
        append([run], self.output)


@app.command()
def run(
    tasks: Tasks,
    data: Data = None,
    program: Annotated[
        Path | None, typer.Option(help="A frozen program; its labels must be the task's.", metavar="DIR")
    ] = None,
    names_only: Annotated[bool, typer.Option("--names-only", help="Without aliases, descriptions.")] = False,
    name: Annotated[str | None, typer.Option(help="What tables call it.", metavar="NAME")] = None,
    index_folder: IndexFolder = None,
    split: Split = "test",
    limit: Limit = None,
    output: Output = RUNS,
) -> None:
    """Run one program on some tasks, and append what it scored to eval/results/runs.jsonl."""
    session = Session(split, limit, output)
    for task, loaded in session.load(tasks, data):
        if program:
            classifier = load(program, index_folder=index_folder)
        else:
            settings = NAMES_ONLY if names_only else Settings()
            classifier = build(loaded.space, settings=settings, index_folder=index_folder)
        if classifier.space.fingerprint != loaded.space.fingerprint:
            raise UsageError(f'{program} has other labels than task "{task.name}"', "name another program")
        system = name or (f"irr {program.name}" if program else "irr/names" if names_only else "irr")
        session.measure(system, classifier, classifier.settings, task, loaded)
    display.note(f"appended to {output}")


@app.command()
def peers(
    tasks: Tasks,
    data: Data = None,
    index_folder: IndexFolder = None,
    split: Split = "test",
    limit: Limit = None,
    output: Output = RUNS,
) -> None:
    """Run irr and the plain baselines on some tasks, on the same texts, one after the other."""
    session, encoder = Session(split, limit, output), SentenceEncoder()
    root = index_folder or cache_folder("indexes")
    for task, loaded in session.load(tasks, data):
        for suffix, settings in (("", Settings()), ("/names", NAMES_ONLY)):
            with display.progress("label entries", None) as on_entries:
                program = build(
                    loaded.space, encoder=encoder, settings=settings, index_folder=root, progress=on_entries
                )
            index = open_index(loaded.space, encoder, settings.retrieve.fields, root)
            cosine = WholeText(f"cosine{suffix}", index, encoder)
            rivals: dict[str, Classifier] = {"irr": program, "cosine": cosine}
            if suffix:
                rivals["query"] = MostSimilarQuery(index, encoder, settings)
            else:
                rivals["bm25"] = WordsOnly(loaded.space)
            for name, classifier in rivals.items():
                session.measure(f"{name}{suffix}", classifier, settings, task, loaded)
    display.note(f"appended to {output}")


@app.command()
def table(
    pages: Annotated[list[Path] | None, typer.Argument(help="Pages whose tables are filled.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Fail where a page has other tables.")] = False,
    output: Output = RUNS,
) -> None:
    """Print the tables made from the recorded runs, or put them between the markers of pages."""
    runs = read_runs(output)
    for page in pages or ():
        try:
            before = page.read_text("utf-8")
        except OSError as e:
            raise UsageError(f"{page} cannot be read ({e.strerror})", "name a page") from e
        after = fill(before, runs)
        if check and after != before:
            raise UsageError(f"{page} has other tables than the runs", f"run: python -m eval table {page}")
        page.write_text(after, "utf-8")
    if not pages:
        for name, made in TABLES.items():
            print(f"{name}\n\n{made(runs)}\n")


if __name__ == "__main__":
    try:
        app(standalone_mode=False)
    except (IrrError, typer.TyperException) as error:
        display.note(f"eval: {getattr(error, 'format_message', error.__str__)()}")
        sys.exit(2)
