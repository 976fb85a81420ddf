"""The benchmarks' command line: `python -m eval run`, `peers` and `table`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from eval.runs import RUNS, Run, append, new_session, read_runs, run_of
from eval.tables import SYSTEMS, TABLES, fill
from eval.task import Loaded, Split, Task, load_data, read_task, task_names
from irr.cli import display
from irr.cli.options import RankMethodName
from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import IrrError, UsageError
from irr.evaluate.evaluate import Classifier, score_rankings
from irr.hub import cache_folder
from irr.lm.registry import NO_MODEL, open_model
from irr.program.program import build
from irr.types import EntryKind

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Tasks = Annotated[list[str], typer.Argument(help=f"Some of {', '.join(task_names())}, or task files.")]
Data = Annotated[Path | None, typer.Option(help="The folder that the tasks' data stands in.", metavar="DIR")]
Texts = Annotated[str, typer.Option("--split", help="test, or dev to develop with.")]
Limit = Annotated[int | None, typer.Option(help="Only the first texts.", min=1)]
Output = Annotated[Path, typer.Option(help="Where runs are appended.", metavar="FILE")]
Keep = Annotated[bool, typer.Option(help="Append the runs to that file.")]
Fields = Annotated[str | None, typer.Option(help="Parts of a label that are used.", metavar="LIST")]
Model = Annotated[str, typer.Option(help="none, embedded or openai/MODEL.", metavar="NAME")]
IndexFolder = Annotated[
    Path | None, typer.Option(help="Where indexes are kept.", metavar="DIR", envvar="IRR_INDEX_FOLDER")
]
SHOWN = ("rp@5", "rp@10", "rp@50", "mrr")


@app.command()
def run(
    tasks: Tasks,
    data: Data = None,
    program: Annotated[
        Path | None, typer.Option(help="A frozen program; its labels must be the task's.", metavar="DIR")
    ] = None,
    fields: Fields = None,
    infer_lm: Model = NO_MODEL,
    rank_lm: Model = NO_MODEL,
    api_base: Annotated[str | None, typer.Option(help="URL of openai/MODEL.", metavar="URL")] = None,
    rank_method: Annotated[RankMethodName, typer.Option(help="How it ranks.")] = "auto",
    name: Annotated[str | None, typer.Option(help="What tables call it.", metavar="NAME")] = None,
    index_folder: IndexFolder = None,
    split: Texts = "test",
    limit: Limit = None,
    output: Output = RUNS,
    keep: Keep = True,
) -> None:
    """Run one program on some tasks, and append what it scored to eval/results/runs.jsonl."""
    from irr.frozen.freeze import load

    session, runs = new_session(), []
    models = open_model(infer_lm, api_base), open_model(rank_lm, api_base)
    for task, loaded in _loaded(tasks, data, split, limit):
        with display.progress("label entries", None) as on_entries:
            if program:
                classifier = load(
                    program,
                    infer_lm=models[0],
                    rank_lm=models[1],
                    task=task.prompts,
                    index_folder=index_folder,
                    progress=on_entries,
                )
            else:
                classifier = build(
                    loaded.space,
                    settings=_settings(fields, rank_method),
                    infer_lm=models[0],
                    rank_lm=models[1],
                    task=task.prompts,
                    index_folder=index_folder,
                    progress=on_entries,
                )
        if classifier.space.fingerprint != loaded.space.fingerprint:
            raise UsageError(f'{program} has other labels than task "{task.name}"', "name another program")
        system = name or _name_of(program, fields, infer_lm, rank_lm)
        runs.append(_measured(system, classifier, classifier.settings, task, loaded, split, limit, session))
    _finish(runs, output, keep)


@app.command()
def peers(
    tasks: Tasks,
    data: Data = None,
    cross_encoder: Annotated[
        str | None,
        typer.Option(help="A cross-encoder that orders irr's candidates, by name or folder.", metavar="NAME"),
    ] = None,
    index_folder: IndexFolder = None,
    split: Texts = "test",
    limit: Limit = None,
    output: Output = RUNS,
    keep: Keep = True,
) -> None:
    """Run irr and the plain baselines on some tasks, on the same texts, one after the other."""
    session, runs, encoder = new_session(), [], SentenceEncoder()
    for task, loaded in _loaded(tasks, data, split, limit):
        for system, classifier, settings in _rivals(loaded, encoder, index_folder, cross_encoder):
            runs.append(_measured(system, classifier, settings, task, loaded, split, limit, session))
    _finish(runs, output, keep)


@app.command()
def table(
    write: Annotated[
        list[Path] | None, typer.Option(help="Fill the tables of this page, too.", metavar="FILE")
    ] = None,
    output: Output = RUNS,
) -> None:
    """Print the tables made from the recorded runs, or put them between a page's markers."""
    runs = read_runs(output)
    for page in write or ():
        try:
            before = page.read_text("utf-8")
        except OSError as e:
            raise UsageError(f"{page} cannot be read ({e.strerror})", "name a page") from e
        after = fill(before, runs)
        if after != before:
            page.write_text(after, "utf-8")
        display.note(f"{page}: {'as it was' if after == before else 'tables made anew'}")
    if not write:
        for name, made in TABLES.items():
            print(f"{name}\n\n{made(runs)}\n")


def _rivals(
    loaded: Loaded, encoder: SentenceEncoder, index_folder: Path | None, cross_encoder: str | None
) -> Iterator[tuple[str, Classifier, Settings]]:
    from eval.peers import CrossEncoderRanker, MostSimilarQuery, WholeText, WordsOnly
    from irr.index.store import open_index

    root = index_folder or cache_folder("indexes")
    for suffix, settings in (
        ("", Settings()),
        ("/names", Settings().replace({"retrieve.fields": (EntryKind.NAME,)})),
    ):
        with display.progress("label entries", None) as on_entries:
            program = build(
                loaded.space, encoder=encoder, settings=settings, index_folder=root, progress=on_entries
            )
        index = open_index(loaded.space, encoder, settings.retrieve.fields, root)
        yield f"irr{suffix}", program, settings
        yield f"cosine{suffix}", WholeText(f"cosine{suffix}", index, encoder), settings
        if suffix:
            yield f"query{suffix}", MostSimilarQuery(index, encoder, settings), settings
        else:
            yield "bm25", WordsOnly(loaded.space), settings
            if cross_encoder:
                ranker = CrossEncoderRanker(cross_encoder)
                reranked = build(
                    loaded.space, encoder=encoder, settings=settings, ranker=ranker, index_folder=root
                )
                yield f"irr, then {cross_encoder}", reranked, settings


def _loaded(
    tasks: list[str], data: Path | None, split: str, limit: int | None
) -> Iterator[tuple[Task, Loaded]]:
    which: Split
    match split:
        case "test" | "dev":
            which = split
        case _:
            raise UsageError(f"--split {split}", "choose test or dev")
    named = [read_task(name) for name in tasks]
    for task in named:
        loaded = load_data(task, which, data)
        yield task, Loaded(loaded.space, loaded.rows[:limit], loaded.digest)


def _measured(
    system: str,
    classifier: Classifier,
    settings: Settings,
    task: Task,
    loaded: Loaded,
    split: str,
    limit: int | None,
    session: str,
) -> Run:
    # What is built at first use is built here, so that the time is that of the texts.
    next(iter(classifier.batch([loaded.rows[0].text], 1, False)))
    with display.progress(f"{task.name}: {system}", len(loaded.rows)) as on_text:
        report = score_rankings(classifier, loaded.rows, on_text)
    means = "  ".join(f"{name} {100 * report.metrics[name].mean:.1f}" for name in SHOWN)
    print(f"{task.name}  {SYSTEMS.get(system, system).strip('*')}  {means}", flush=True)
    return run_of(
        report,
        session=session,
        task=task.name,
        split=split,
        limit=limit,
        system=system,
        data=loaded.digest,
        settings=settings.flat(),
    )


def _finish(runs: list[Run], output: Path, keep: bool) -> None:
    if keep:
        append(runs, output)
        display.note(f"appended to {output}")


def _settings(fields: str | None, method: RankMethodName) -> Settings:
    if fields is None:
        return Settings().replace({"rank.method": method})
    try:
        kinds = tuple(EntryKind(name.strip()) for name in fields.split(","))
    except ValueError as e:
        raise UsageError(f"--fields: {e}", f"name some of {','.join(EntryKind)}") from e
    return Settings().replace({"retrieve.fields": kinds, "rank.method": method})


def _name_of(program: Path | None, fields: str | None, infer_lm: str | None, rank_lm: str | None) -> str:
    parts = [f"irr {program.name}" if program else "irr"]
    if fields:
        parts[0] = "irr/names" if fields == EntryKind.NAME else f"irr, {fields}"
    parts += [
        f"{stage}: {lm}" for stage, lm in (("infer", infer_lm), ("rank", rank_lm)) if lm and lm != NO_MODEL
    ]
    return ", ".join(parts)


if __name__ == "__main__":
    try:
        app(standalone_mode=False)
    except (IrrError, typer.TyperException) as error:
        display.note(f"eval: {getattr(error, 'format_message', error.__str__)()}")
        sys.exit(2)
