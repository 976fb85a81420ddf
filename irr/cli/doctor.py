"""The command `irr doctor`: examines a language model, and forecasts the cost of a million rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

import irr
from irr.cli import display, options
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import value
from irr.errors import UsageError

if TYPE_CHECKING:
    from irr.evaluate.model_doctor import DoctorFinding

_ROWS = 1_000_000


def doctor(
    lm: Annotated[str, value("Language model: embedded, or openai/MODEL.", "NAME")],
    api_base: options.APIBase = None,
    price_per_million: options.PricePerMillion = None,
) -> None:
    """Ask a language model ten questions with known answers, and say which stages it can serve.

    Exit code 0: it ranks better than chance, by one method at least; 1: it does not; 2: it cannot be asked.
    """
    from irr.batch import Price
    from irr.evaluate.model_doctor import QUESTIONS, TERMS
    from irr.evaluate.model_doctor import doctor as run
    from irr.lm.registry import check_name

    price = Price.parse(price_per_million) if price_per_million else None
    check_name(lm, api_base)
    model = irr.open_model(lm, api_base, irr.Limits(concurrency=QUESTIONS, patience=0))
    if model is None:
        raise UsageError("no language model to examine", "name one with --lm")
    findings = run(model)
    _show_findings(findings)
    methods = [finding for finding in findings if finding.task != TERMS]
    best = max(methods, key=lambda finding: (finding.ranks, finding.found))
    if findings[0].answers:
        display.say("It proposes terms in the right form; irr optimize finds out whether they help.")
    if not best.ranks:
        display.say("It does NOT rank better than chance: use no language model in rank.")
        raise typer.Exit(EXIT_ROW_ERRORS)
    display.say(f"It ranks better than chance: use --rank-method {best.task}.")
    usage = findings[0].usage + best.usage
    scale = _ROWS / best.asked
    cached = f"{usage.cached_tokens / usage.prompt_tokens:.0%}" if usage.prompt_tokens else "none"
    sent = f"{scale * usage.prompt_tokens:,.0f} prompt tokens ({cached} cached)"
    generated = f"{scale * usage.completion_tokens:,.0f} completion tokens"
    duration = display.duration(scale * (findings[0].seconds + best.seconds))
    forecast = f"{sent}, {generated}, {duration} with {QUESTIONS} requests at a time"
    display.say(f"{_ROWS:,} short texts, both stages: {forecast}")
    if price:
        display.say(f"price: {scale * price.of(usage):,.2f}")


def _show_findings(findings: Sequence[DoctorFinding]) -> None:
    rows = []
    for finding in findings:
        ranking = ("", "", "")
        if finding.right:
            p_value = "< 0.001" if finding.p_value < 0.001 else f"{finding.p_value:.3f}"
            ranking = (f"{finding.found} of {finding.right}", f"{finding.chance:.1f}", p_value)
        tokens = (finding.usage.prompt_tokens + finding.usage.completion_tokens) / finding.asked
        answers, cost = f"{finding.answered} of {finding.asked}", (f"{tokens:,.0f}", f"{finding.seconds:.1f}")
        rows.append((finding.task, answers, *ranking, *cost))
    header = ("", "answers", "right labels first", "by chance", "p", "tokens a text", "seconds in all")
    display.table(header, rows)
    for finding in findings:
        if finding.problem:
            display.say(f"{finding.task}: {finding.problem}")
