"""Forecasts the time and cost of a batch: counts its rows and classifies a sample of them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from irr.batch.rows import Row
from irr.batch.tally import Price
from irr.program.program import InferRetrieveRank
from irr.types import Usage

_SAMPLE = 100


class Forecast(BaseModel):
    """The time and cost of a batch, scaled up from a sample.

    Attributes:
        rows: Rows of the input, counted.
        bad_rows: Rows without a readable text, counted.
        sample: Rows that were drawn at random and classified.
        calls: Requests to language models.
        prompt_tokens: Tokens sent.
        completion_tokens: Tokens generated.
        seconds: Expected time.
        price: Expected price of the tokens; None if no price is given.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    bad_rows: int
    sample: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    price: float | None


def forecast(program: InferRetrieveRank, rows: Iterable[Row], price: Price | None) -> Forecast:
    """Reads all rows, and classifies a sample of them with the program's language models."""
    count, bad, sample = _sample(rows)
    for row in sample[:1]:
        program(row.text)  # the first text takes longest, and is not timed
    start = time.perf_counter()
    usage = Usage()
    for prediction in program.batch(row.text for row in sample):
        usage += prediction.costs.infer + prediction.costs.rank
    seconds = time.perf_counter() - start
    scale = (count - bad) / len(sample) if sample else 0.0
    scaled = Usage(
        calls=round(usage.calls * scale),
        prompt_tokens=round(usage.prompt_tokens * scale),
        completion_tokens=round(usage.completion_tokens * scale),
    )
    return Forecast(
        rows=count,
        bad_rows=bad,
        sample=len(sample),
        **scaled.model_dump(include={"calls", "prompt_tokens", "completion_tokens"}),
        seconds=seconds * scale,
        price=price.of(scaled) if price else None,
    )


def _sample(rows: Iterable[Row]) -> tuple[int, int, list[Row]]:
    """The number of rows, the number of bad ones, and a sample of the others (reservoir sampling)."""
    chance = random.Random(0)
    count = bad = 0
    sample: list[Row] = []
    for row in rows:
        count += 1
        if row.error:
            bad += 1
        elif len(sample) < _SAMPLE:
            sample.append(row)
        elif (place := chance.randrange(count - bad)) < _SAMPLE:
            sample[place] = row
    return count, bad, sample
