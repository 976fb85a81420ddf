"""The options that several commands share, as the types of their parameters."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from typer import Option

import irr
from irr.errors import UsageError

# The names of `irr.config.Hierarchy` and `irr.config.RankMethod`, whose import would slow `irr --help`.
HierarchyName = Literal["none", "closed", "leaves"]
RankMethodName = Literal["auto", "listwise", "pointwise"]
# The most requests at a time that `--concurrency auto` tries.
_MOST_REQUESTS = 256

_program = partial(Option, rich_help_panel="Program")
_models = partial(Option, rich_help_panel="Language models")
_servers = partial(Option, rich_help_panel="Model servers")
_decision = partial(Option, rich_help_panel="Labels returned, by a calibrated program")

Gold = Annotated[
    Path, Option(help='JSONL rows {"id", "text", "labels": ["ID"]}, or a table.', metavar="FILE")
]
PricePerMillion = Annotated[
    str | None, Option(help="What a million tokens cost, sent and generated: 0.15,0.60.", metavar="IN,OUT")
]

Labels = Annotated[
    Path | None,
    _program(
        help="Label file: .jsonl, .csv, .tsv, .xlsx, .parquet, .txt with one name a line, or SKOS as .rdf, "
        ".xml, .owl, .ttl, .nt, .jsonld or .json; .gz or .zst may follow.",
        metavar="FILE",
    ),
]
Language = Annotated[
    str | None,
    _program(
        help="For SKOS: languages of the labels, most wanted first, as in fi,en. Default: en.", metavar="LIST"
    ),
]
ColumnNames = Annotated[
    str | None,
    _program(
        help="Columns or keys that hold the fields of labels and texts, as in id=ID,name=Title,text=Abstract."
        " Default: the fields' own names, whatever their case.",
        metavar="LIST",
    ),
]
Encoder = Annotated[
    str | None,
    _program(
        help="Name or folder of a sentence-transformers model. Default: all-MiniLM-L6-v2.", metavar="NAME"
    ),
]
Fields = Annotated[
    str | None,
    _program(
        help="Parts of a label that texts are matched with. Default: name,alias,description.", metavar="LIST"
    ),
]
HierarchyChoice = Annotated[
    HierarchyName | None,
    _program(
        help="closed adds the ancestors of the labels returned; leaves keeps the most specific. "
        "Default: none."
    ),
]
SettingValues = Annotated[
    list[str] | None,
    _program(
        "--set",
        help="Another value for a setting, as in retrieve.text_weight=0.5; may be given many times.",
        metavar="NAME=VALUE",
    ),
]
IndexFolder = Annotated[
    Path | None,
    _program(
        help="Where label indexes are kept. Default: the user's cache folder.",
        metavar="DIR",
        envvar="IRR_INDEX_FOLDER",
        show_envvar=False,
    ),
]
IndexServer = Annotated[
    str | None,
    _program(
        "--index",
        help="URL of a Chroma server that holds the vectors of label entries, for many to share.",
        metavar="URL",
    ),
]
Program = Annotated[
    Path | None,
    _program(
        help="A frozen program. It brings its labels, encoder, settings, prompts and models.", metavar="DIR"
    ),
]
Rebind = Annotated[
    bool, _program("--rebind", help="Run the frozen program on other --labels than it was frozen with.")
]
Within = Annotated[
    list[str] | None,
    _program(
        help="Answer with labels of this branch only: the label of that id and all below it; "
        "may be given many times.",
        metavar="ID",
    ),
]
Only = Annotated[
    Path | None, _program(help="Answer with these labels only: a file with one id a line.", metavar="FILE")
]
Without = Annotated[
    Path | None, _program(help="Never answer with these labels: a file with one id a line.", metavar="FILE")
]

LM = Annotated[
    str | None,
    _models(
        help="Language model for both stages: none, embedded, openai/MODEL, or recorded/FILE. "
        "Default: none, or those of the frozen program.",
        metavar="NAME",
    ),
]
APIBase = Annotated[
    str | None,
    _models(
        help="URL of the server of openai/MODEL, up to /v1. Default: OpenAI's. Its key: OPENAI_API_KEY.",
        metavar="URL",
    ),
]
InferLM = Annotated[str | None, _models(help="Another one for infer.", metavar="NAME")]
RankLM = Annotated[str | None, _models(help="Another one for rank.", metavar="NAME")]
RankMethodChoice = Annotated[RankMethodName, _models(help="How the language model ranks.")]
Task = Annotated[
    str | None,
    _models(
        help="The prompts of the language models: a task pack (attack, biodex, default, esco, icd10, "
        "subjects) or a folder with a task.toml. Default: default.",
        metavar="NAME",
    ),
]

Concurrency = Annotated[
    str,
    _servers(
        help="Requests to a model server at a time; auto finds the best number, up to 256.", metavar="N|auto"
    ),
]
RequestsPerMinute = Annotated[
    float | None, _servers(help="Requests to each model, at most.", min=0.001, metavar="N")
]
TokensPerMinute = Annotated[
    float | None, _servers(help="Tokens sent to and from each model, at most.", min=1, metavar="N")
]
Patience = Annotated[
    float,
    _servers(
        help="Minutes to wait for a model server that is down or asks for a pause; then the run stops. "
        "With 0, rows are answered without the model.",
        min=0,
        metavar="MINUTES",
    ),
]
ServicePatience = Annotated[
    float,
    _servers(
        help="Minutes to wait for a model server that is down or asks for a pause. "
        "With 0 texts do without the model.",
        min=0,
        metavar="MINUTES",
    ),
]

MinProbability = Annotated[
    float | None, _decision(help="Only labels with at least this probability.", metavar="SHARE")
]
Precision = Annotated[
    float | None,
    _decision(help="Labels of which this share is right, with 99 % confidence.", metavar="SHARE"),
]
Recall = Annotated[
    float | None,
    _decision(help="Sets that hold this share of a text's right labels, in the mean.", metavar="SHARE"),
]
BestF1 = Annotated[bool, _decision("--best-f1", help="The set of the highest expected F1.")]
Scope = Annotated[
    float | None,
    _decision(
        help="No labels for texts as unusual as this share of the calibration texts. Default: 0.05 "
        "with --min-probability and --best-f1, else 0; a promise has its own.",
        metavar="SHARE",
    ),
]


def limits(
    concurrency: str, requests_per_minute: float | None, tokens_per_minute: float | None, patience: float
) -> irr.Limits:
    """The limits of a model server; `patience` is in minutes.

    Raises:
        UsageError: If `concurrency` is neither a number nor `auto`.
    """
    auto = concurrency == "auto"
    if not auto and not (concurrency.isdecimal() and int(concurrency) > 0):
        problem = f'--concurrency: "{concurrency}" is not a number of requests'
        raise UsageError(problem, "give auto, or 1 or more")
    requests = _MOST_REQUESTS if auto else int(concurrency)
    return irr.Limits(requests, auto, requests_per_minute, tokens_per_minute, 60 * patience)


def decision(
    min_probability: float | None,
    precision: float | None,
    recall: float | None,
    best_f1: bool,
    scope: float | None,
) -> irr.Decision:
    """The choice of labels by a calibrated program.

    Raises:
        UsageError: If options contradict each other, or a value is out of range.
    """
    from pydantic import ValidationError

    try:
        return irr.Decision(
            min_probability=min_probability, precision=precision, recall=recall, best_f1=best_f1, scope=scope
        )
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        option = "".join(f"--{part}: ".replace("_", "-") for part in first["loc"])
        reason = str(first.get("ctx", {}).get("error", "")) or first["msg"]
        raise UsageError(f"{option}{reason[:1].lower()}{reason[1:]}", "see irr classify --help") from e
