"""Tables in Markdown, made from recorded runs and what others published, and put between a page's markers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from eval.record import RESULTS, Run
from eval.task import Task, read_task
from irr.errors import UsageError

ESCO = ("house", "tech", "techwolf")
# The systems in the order of tables, with what they are called there.
SYSTEMS = {
    "irr": "**irr, names, aliases and descriptions**",
    "irr/names": "irr, names only",
    "cosine": "whole text, cosine to the best of a label's entries",
    "cosine/names": "whole text, cosine to the name",
    "bm25": "BM25 over names, aliases and descriptions",
    "query/names": "irr's queries, the most similar one counts (the paper's retrieve step), names only",
}
_MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def quality(runs: Iterable[Run]) -> str:
    """RP@10 on the three ESCO sets, beside what others published."""
    tasks = [read_task(name) for name in ESCO]
    found = _latest(runs)
    rows = [
        [SYSTEMS[system], *(_score(found.get((t.name, system)), "rp@10", system == "irr") for t in tasks)]
        for system in ("irr", "irr/names")
    ]
    rows += [[system, *cells] for system, cells in _published(tasks, "rp@10")]
    return _table(["", *(task.title for task in tasks)], rows)


def peers(runs: Iterable[Run]) -> str:
    """Every system on the three ESCO sets, and the time a text takes as a multiple of irr's."""
    tasks = [read_task(name) for name in ESCO]
    found = _latest(runs)
    systems = [*SYSTEMS, *sorted({system for _, system in found} - set(SYSTEMS))]
    rows = []
    for system in systems:
        own = [found.get((task.name, system)) for task in tasks]
        if any(own):
            pool = " / ".join(_points(run, "rp@50") for run in own)
            cells = [_score(run, "rp@10", system == "irr") for run in own]
            rows.append([SYSTEMS.get(system, system), *cells, pool, _time(own, found)])
    for system, cells in _published(tasks, "rp@10"):
        rows.append([system, *cells, "", ""])
    return _table(["", *(f"{task.title}, RP@10" for task in tasks), "RP@50", "time a text"], rows)


def strong(_runs: Iterable[Run]) -> str:
    """RP@10 with recorded answers of a large language model, as `eval.recorded` measured it."""
    figures = json.loads((RESULTS / "recorded.json").read_text("utf-8"))["figures"]
    titles = {name: read_task(name).title for name in ESCO}
    rows = []
    for system, sets in figures["systems"].items():
        means = [(100 * sets[name]["rp@10"], sets[name]["ci95"]["rp@10"]) for name in ESCO]
        cells = [f"{mean:.1f} ({100 * low:.1f} – {100 * high:.1f})" for mean, (low, high) in means]
        pool = " / ".join(f"{100 * sets[name]['rp@50']:.1f}" for name in ESCO)
        rows.append([system, *cells, pool])
    texts = ", ".join(f"{n} texts" for n in sorted(set(figures["texts"].values())))
    return _table([f"RP@10, {texts} a set", *titles.values(), "RP@50"], rows)


def _latest(runs: Iterable[Run]) -> dict[tuple[str, str], Run]:
    """The last run over all test texts of each task and system."""
    return {(run.task, run.system): run for run in runs if run.split == "test" and run.limit is None}


TABLES: Mapping[str, Callable[[Iterable[Run]], str]] = {
    "quality": quality,
    "strong": strong,
    "peers": peers,
}


def fill(page: str, runs: Sequence[Run]) -> str:
    """The page with every table between its markers made anew.

    A table stands between `<!-- table: NAME -->` and `<!-- /table -->`, each on a line of its own.

    Raises:
        UsageError: If a marker names no table, or one is left open.
    """
    if page.count("<!-- table:") != len(_MARKED.findall(page)) or page.count("<!-- /table -->") != page.count(
        "<!-- table:"
    ):
        raise UsageError("a table's marker is left open", "end it with a line <!-- /table -->")

    def made(match: re.Match[str]) -> str:
        name = match[2]
        if name not in TABLES:
            raise UsageError(f'no table "{name}"', f"name one of {', '.join(TABLES)}")
        return f"{match[1]}\n{TABLES[name](runs)}\n\n{match[3]}"

    return _MARKED.sub(made, page)


def _score(run: Run | None, metric: str, strong: bool = False) -> str:
    if run is None:
        return "–"
    low, high = run.scores["ci95"][metric]
    mean = _points(run, metric)
    return f"{f'**{mean}**' if strong else mean} ({100 * low:.1f} – {100 * high:.1f})"


def _points(run: Run | None, metric: str) -> str:
    return "–" if run is None else f"{100 * run.scores[metric]:.1f}"


def _time(own: Sequence[Run | None], found: Mapping[tuple[str, str], Run]) -> str:
    """Seconds over the tasks that irr ran on in the same session, as a multiple of irr's."""
    pairs = [(run, found.get((run.task, "irr"))) for run in own if run]
    shared = [(run, irr) for run, irr in pairs if irr and irr.session == run.session]
    if not shared:
        return "–"
    ours = sum(irr.seconds_a_text for _, irr in shared)
    return f"{sum(run.seconds_a_text for run, _ in shared) / ours:.2f}×"


def _published(tasks: Sequence[Task], metric: str) -> list[tuple[str, list[str]]]:
    """What others say they scored, with a link to where they do."""
    rows = []
    for system in dict.fromkeys(p.system for task in tasks for p in task.published):
        own = [next((p for p in task.published if p.system == system), None) for task in tasks]
        url = next(p.url for p in own if p)
        cells = [f"{p.scores[metric]:.1f}" if p and metric in p.scores else "" for p in own]
        rows.append((f"[{system}]({url})", cells))
    return rows


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"| {cell} " if cell else "| " for cell in cells) + "|" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
