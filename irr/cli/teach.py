"""The command `irr teach`: a strong language model makes examples for `irr optimize`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import irr
from irr.cli import display, options
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import flag, value
from irr.errors import UsageError
from irr.text.strings import counted


def teach(
    output: Annotated[str, value("Where the examples go, as JSONL.", "FILE")],
    texts: Annotated[Path | None, value('Texts to label: JSONL {"id", "text"}, or a table.', "FILE")] = None,
    labels_without_examples: Annotated[
        bool,
        flag(
            "--labels-without-examples",
            "Write texts for the labels that no example has, instead of labelling texts.",
        ),
    ] = False,
    examples: Annotated[
        Path | None, value("The examples that there are, for --labels-without-examples.", "FILE")
    ] = None,
    per_label: Annotated[int, value("Texts to write for each label.", min=1, max=20)] = 3,
    top_k: Annotated[int, value("Labels that a labelled text gets, at most.", min=1)] = 3,
    budget: Annotated[
        int | None, value("Requests that may be sent, those of earlier calls included.", "CALLS", min=0)
    ] = None,
    restart: Annotated[bool, flag("--restart", "Begin anew, and replace an output that is there.")] = False,
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
    patience: options.Patience = 60,
) -> None:
    """Let a strong language model make examples, from which irr optimize makes a program without a model.

    It labels texts through the whole program, or writes texts for labels that no example has. A call that was
    stopped goes on where it was when it is repeated. Look at the examples before you trust them: irr optimize
    says what they are worth.

    Exit code 0: all is done; 1: some rows carry an error, or the budget was spent before the end.
    """
    from irr.batch import Job
    from irr.cli.monitor import batch_monitor
    from irr.cli.program_options import ProgramOptions
    from irr.io.outputs import check_output
    from irr.io.texts import read_gold
    from irr.prompts.pack import load_task
    from irr.workbench.teach import Models, WritingPlan, label_texts, labels_to_write_for, write_texts

    source = ProgramOptions.of(locals())
    check_output(output)
    if bool(texts) == labels_without_examples:
        raise UsageError("nothing to teach with, or two things", "give --texts or --labels-without-examples")
    if not any(source.lm_names):
        raise UsageError("no language model that teaches", "give --lm NAME")
    limits = options.limits(concurrency, requests_per_minute, tokens_per_minute, patience)
    space = source.read_space()
    files = (*source.files_read, *([examples] if examples else []))

    open_models = partial(source.open_models, limits)

    def build(models: Models = (None, None)) -> irr.InferRetrieveRank:
        return source.build(space, models=models)

    with batch_monitor(None) as on_row:
        if texts:
            job = Job(str(texts), output, top_k, True, restart, reads=files, columns=source.column_names)
            result = label_texts(job, open_models, build, budget, on_row)
        else:
            rows = read_gold(examples, space, source.column_names) if examples else []
            missing = labels_to_write_for(space, (row.labels for row in rows))
            if not missing:
                raise UsageError("every label has an example", "leave --labels-without-examples out")
            plan = WritingPlan(missing, load_task(task or "default"), per_label, budget, restart, files)
            result = write_texts(output, plan, open_models, build, on_row)
    if result.stopped:
        display.note(f"{result.stopped}: repeat the call with a larger --budget to go on")
    elif result.errors:
        where = ': see "error" in them' if texts else ""
        display.note(f"{result.errors:,} of {counted(result.asked, 'row')} with an error{where}")
    display.note(f"{counted(result.examples, 'example')} in {output}")
    if result.usage.calls:
        display.note(display.usage("in all", result.usage))
    if result.stopped or result.errors:
        raise typer.Exit(EXIT_ROW_ERRORS)
