"""The commands of the command line, in the order that `irr --help` shows them."""

from __future__ import annotations

from typing import Annotated

from typer import Exit, Option, Typer, echo

from irr.cli.audit import audit
from irr.cli.calibrate import calibrate
from irr.cli.classify import classify
from irr.cli.doctor import doctor
from irr.cli.draft import draft
from irr.cli.eval import evaluate
from irr.cli.index import index
from irr.cli.inspect import inspect
from irr.cli.labels import labels
from irr.cli.optimize import optimize
from irr.cli.review import review
from irr.cli.serve import serve
from irr.cli.serve_lm import serve_lm
from irr.cli.show import show
from irr.cli.teach import teach

# Each command with an example of its call, whose first word is its name.
_COMMANDS = (
    (classify, "classify --labels skills.jsonl --input ads.jsonl --output out.jsonl"),
    (evaluate, "eval --labels skills.jsonl --gold test.jsonl --json scores.json"),
    (inspect, "inspect --labels skills.jsonl --text 'You will bake bread and cakes'"),
    (labels, "labels eurovoc.rdf.gz --language fi,en --output eurovoc.jsonl"),
    (draft, "draft --input texts.jsonl --output labels.jsonl --size 100"),
    (index, "index prune --days 30"),
    (serve, "serve --program program --port 8080"),
    (serve_lm, "serve-lm Qwen/Qwen3-8B --port 8000 -- --max-model-len 8192"),
    (doctor, "doctor --lm openai/Qwen/Qwen3-8B --api-base http://127.0.0.1:8000/v1"),
    (teach, "teach --labels skills.jsonl --texts ads.jsonl --lm openai/gpt-4o --output examples.jsonl"),
    (optimize, "optimize --labels skills.jsonl --train examples.jsonl --output program"),
    (calibrate, "calibrate --program program --gold examples.jsonl"),
    (audit, "audit --labels skills.jsonl --gold gold.jsonl --output suspects.jsonl"),
    (review, "review export --decisions judgments --output gold.jsonl"),
    (show, "show program"),
)

app = Typer(
    name="irr",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Puts any text into a label space of ten to a million labels, without training.",
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from irr.version import __version__

        echo(__version__)
        raise Exit


for _command, _example in _COMMANDS:
    # What serve-lm does not know goes to vLLM.
    _passes_on = _command is serve_lm
    app.command(
        _example.split()[0],
        epilog=f"Example:  irr {_example}",
        context_settings={"allow_extra_args": _passes_on, "ignore_unknown_options": _passes_on},
    )(_command)
