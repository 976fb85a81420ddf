"""The options that several commands share, as the types of their parameters."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Option

import irr
from irr.errors import UsageError

# The names of `irr.config.Hierarchy` and `irr.config.RankMethod`, whose import would slow `irr --help`.
HierarchyName = Literal["none", "closed", "leaves"]
RankMethodName = Literal["auto", "listwise", "pointwise"]
# The most requests at a time that `--concurrency auto` tries.
_MOST_REQUESTS = 256


def value(help: str, metavar: str | None = None, *names: str, panel: str | None = None, **limits: Any) -> Any:
    """An option with a value, by its help and the placeholder of the value."""
    return Option(*names, help=help, metavar=metavar, rich_help_panel=panel, **limits)


def flag(name: str, help: str, panel: str | None = None) -> Any:
    """An option without a value."""
    return Option(name, help=help, rich_help_panel=panel)


_PROGRAM, _CALIBRATED = "Program", "Labels returned, by a calibrated program"
_program = partial(value, panel=_PROGRAM)
_models = partial(value, panel="Language models")
_servers = partial(value, panel="Model servers")
_decision = partial(value, panel=_CALIBRATED)

Gold = Annotated[Path, value('JSONL rows {"id", "text", "labels": ["ID"]}, or a table.', "FILE")]
PricePerMillion = Annotated[
    str | None, value("What a million tokens cost, sent and generated: 0.15,0.60.", "IN,OUT")
]

Labels = Annotated[
    Path | None,
    _program(
        "Label file: .jsonl, .csv, .tsv, .xlsx, .parquet, .txt with one name a line, or SKOS as .rdf, "
        ".xml, .owl, .ttl, .nt, .jsonld or .json; .gz or .zst may follow.",
        "FILE",
    ),
]
Language = Annotated[
    str | None,
    _program("For SKOS: languages of the labels, most wanted first, as in fi,en. Default: en.", "LIST"),
]
ColumnNames = Annotated[
    str | None,
    _program(
        "Columns or keys that hold the fields of labels and texts, as in id=ID,name=Title,text=Abstract."
        " Default: the fields' own names, whatever their case.",
        "LIST",
    ),
]
Encoder = Annotated[
    str | None,
    _program("Name or folder of a sentence-transformers model. Default: all-MiniLM-L6-v2.", "NAME"),
]
Fields = Annotated[
    str | None,
    _program("Parts of a label that texts are matched with. Default: name,alias,description.", "LIST"),
]
HierarchyChoice = Annotated[
    HierarchyName | None,
    _program(
        "closed adds the ancestors of the labels returned; leaves keeps the most specific. Default: none."
    ),
]
SettingValues = Annotated[
    list[str] | None,
    _program(
        "Another value for a setting, as in retrieve.text_weight=0.5; may be given many times.",
        "NAME=VALUE",
        "--set",
    ),
]
IndexFolder = Annotated[
    Path | None,
    _program(
        "Where label indexes are kept. Default: the user's cache folder.",
        "DIR",
        envvar="IRR_INDEX_FOLDER",
        show_envvar=False,
    ),
]
IndexServer = Annotated[
    str | None,
    _program(
        "URL of a Chroma server that holds the vectors of label entries, for many to share.", "URL", "--index"
    ),
]
Program = Annotated[
    Path | None,
    _program("A frozen program. It brings its labels, encoder, settings, prompts and models.", "DIR"),
]
Rebind = Annotated[
    bool, flag("--rebind", "Run the frozen program on other --labels than it was frozen with.", _PROGRAM)
]
Within = Annotated[
    list[str] | None,
    _program(
        "Answer with labels of this branch only: the label of that id and all below it; "
        "may be given many times.",
        "ID",
    ),
]
Only = Annotated[Path | None, _program("Answer with these labels only: a file with one id a line.", "FILE")]
Without = Annotated[
    Path | None, _program("Never answer with these labels: a file with one id a line.", "FILE")
]

LM = Annotated[
    str | None,
    _models(
        "Language model for both stages: none, embedded, openai/MODEL, or recorded/FILE. "
        "Default: none, or those of the frozen program.",
        "NAME",
    ),
]
APIBase = Annotated[
    str | None,
    _models(
        "URL of the server of openai/MODEL, up to /v1. Default: OpenAI's. Its key: OPENAI_API_KEY.", "URL"
    ),
]
InferLM = Annotated[str | None, _models("Another one for infer.", "NAME")]
RankLM = Annotated[str | None, _models("Another one for rank.", "NAME")]
RankMethodChoice = Annotated[RankMethodName, _models("How the language model ranks.")]
Task = Annotated[
    str | None,
    _models(
        "The prompts of the language models: a task pack (attack, biodex, default, esco, icd10, "
        "subjects) or a folder with a task.toml. Default: default.",
        "NAME",
    ),
]

Concurrency = Annotated[
    str, _servers("Requests to a model server at a time; auto finds the best number, up to 256.", "N|auto")
]
RequestsPerMinute = Annotated[float | None, _servers("Requests to each model, at most.", "N", min=0.001)]
TokensPerMinute = Annotated[
    float | None, _servers("Tokens sent to and from each model, at most.", "N", min=1)
]
Patience = Annotated[
    float,
    _servers(
        "Minutes to wait for a model server that is down or asks for a pause; then the run stops. "
        "With 0, rows are answered without the model.",
        "MINUTES",
        min=0,
    ),
]
ServicePatience = Annotated[
    float,
    _servers(
        "Minutes to wait for a model server that is down or asks for a pause. "
        "With 0 texts do without the model.",
        "MINUTES",
        min=0,
    ),
]

MinProbability = Annotated[float | None, _decision("Only labels with at least this probability.", "SHARE")]
Precision = Annotated[
    float | None, _decision("Labels of which this share is right, with 99 % confidence.", "SHARE")
]
Recall = Annotated[
    float | None, _decision("Sets that hold this share of a text's right labels, in the mean.", "SHARE")
]
BestF1 = Annotated[bool, flag("--best-f1", "The set of the highest expected F1.", _CALIBRATED)]
Scope = Annotated[
    float | None,
    _decision(
        "No labels for texts as unusual as this share of the calibration texts. Default: 0.05 "
        "with --min-probability and --best-f1, else 0; a promise has its own.",
        "SHARE",
    ),
]


def limits(
    concurrency: str, requests_per_minute: float | None, tokens_per_minute: float | None, patience: float
) -> irr.Limits:
    """The limits of a model server; `patience` is in minutes."""
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
    """The choice of labels by a calibrated program."""
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
