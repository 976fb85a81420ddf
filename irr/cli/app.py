"""The commands of the command line, in the order that `irr --help` shows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from typer import Exit, Typer, echo
from typer.main import get_command

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
from irr.cli.options import flag
from irr.cli.review import review
from irr.cli.serve import serve
from irr.cli.serve_lm import serve_lm
from irr.cli.show import show
from irr.cli.teach import teach
from irr.errors import IrrError, UsageError

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
def _root(version: Annotated[bool, flag("--version", "Print the version.")] = False) -> None:
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


# Names of arguments in messages: in backticks, with an underscore, or before what is wrong with a value.
_ARGUMENT = re.compile(r"`(\w+)`|(?<![\w./'\"-])([a-z]+_\w+)(?![\w./'\"])|^(\w+)(?=: )")


def call(arguments: Sequence[str]) -> int | None:
    """Runs a command and returns its exit code; in errors, options replace the arguments that these name."""
    try:
        code: int | None = app(arguments, standalone_mode=False)
        return code
    except IrrError as e:
        root: Any = get_command(app)
        flags = {p.name: p.opts[0] for command in root.commands.values() for p in command.params}
        starts_with_file = not isinstance(e, UsageError)

        def flag(match: re.Match[str]) -> str:
            if match[3] and starts_with_file:
                return match[0]
            return str(flags.get(match[1] or match[2] or match[3], match[0]))

        e.args = (_ARGUMENT.sub(flag, str(e)),)
        raise
