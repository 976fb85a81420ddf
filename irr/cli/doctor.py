"""The command `irr doctor`: examines a language model, and forecasts the cost of a million rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import APIBase, PricePerMillion
from irr.errors import UsageError

if TYPE_CHECKING:
    from irr.evaluate.checkup import Finding

_ROWS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """The language model to examine."""

    lm: Annotated[str, Option(help="Language model: embedded, or openai/MODEL.", metavar="NAME")]
    api_base: APIBase = None
    price_per_million: PricePerMillion = None


@command("doctor --lm openai/Qwen/Qwen3-8B --api-base http://127.0.0.1:8000/v1")
def doctor(options: DoctorOptions) -> None:
    """Ask a language model ten questions with known answers, and say which stages it can serve.

    Exit code 0: it ranks better than chance, by one method at least; 1: it does not; 2: it cannot be asked.
    """
    from irr.batch import Price
    from irr.evaluate.checkup import QUESTIONS, TERMS, examine
    from irr.lm.registry import check_name, open_model
    from irr.lm.server_limits import Limits

    price = Price.parse(options.price_per_million) if options.price_per_million else None
    check_name(options.lm, options.api_base)
    model = open_model(options.lm, options.api_base, Limits(concurrency=QUESTIONS, patience=0))
    if model is None:
        raise UsageError("no language model to examine", "name one with --lm")
    findings = examine(model)
    _show(findings)
    methods = [finding for finding in findings if finding.way != TERMS]
    best = max(methods, key=lambda finding: (finding.ranks, finding.found))
    if findings[0].answers:
        display.say("It proposes terms in the right form; irr optimize finds out whether they help.")
    if best.ranks:
        display.say(f"It ranks better than chance: use --rank-method {best.way}.")
        cost = findings[0].usage + best.usage
        scale = _ROWS / best.asked
        seconds = scale * (findings[0].seconds + best.seconds)
        display.say(
            f"{_ROWS:,} short texts, both stages: {scale * cost.prompt_tokens:,.0f} prompt tokens "
            f"({_share(cost.cached_tokens, cost.prompt_tokens)} cached), "
            f"{scale * cost.completion_tokens:,.0f} completion tokens, "
            f"{display.duration(seconds)} with {QUESTIONS} requests at a time"
        )
        if price:
            display.say(f"price: {scale * price.of(cost):,.2f}")
        return
    display.say("It does NOT rank better than chance: use no language model in rank.")
    raise typer.Exit(EXIT_ROW_ERRORS)


def _show(findings: Sequence[Finding]) -> None:
    header = ("", "answers", "right labels first", "by chance", "p", "tokens a text", "seconds in all")
    display.table(header, map(_row, findings))
    for finding in findings:
        if finding.problem:
            display.say(f"{finding.way}: {finding.problem}")


def _row(finding: Finding) -> Sequence[str]:
    tokens = finding.usage.prompt_tokens + finding.usage.completion_tokens
    judged = ("", "", "")
    if finding.right:
        p = "< 0.001" if finding.p_value < 0.001 else f"{finding.p_value:.3f}"
        judged = (f"{finding.found} of {finding.right}", f"{finding.chance:.1f}", p)
    answered = f"{finding.answered} of {finding.asked}"
    return finding.way, answered, *judged, f"{tokens / finding.asked:,.0f}", f"{finding.seconds:.1f}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "none"
