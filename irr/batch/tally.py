"""Sums over the rows of a batch: rows, errors, and what language models cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from irr.calibrate.calibration import Calibration, count, shift, unusual
from irr.config import TOLERATED
from irr.errors import UsageError
from irr.types import Costs, Prediction, Usage


class Price(BaseModel):
    """The price of a million tokens: of the prompt, and of the completion (`new`)."""

    model_config = ConfigDict(frozen=True)

    prompt: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    new: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @classmethod
    def parse(cls, prices: str) -> Price:
        """Reads `IN,OUT`.

        Raises:
            UsageError: If it is not a pair of numbers from 0 up.
        """
        try:
            prompt, new = map(float, prices.split(","))
            return cls(prompt=prompt, new=new)
        except ValueError as e:
            hint = "give the prices of a million prompt and completion tokens, as in 0.15,0.60"
            raise UsageError(f'"{prices}" is not a pair of prices', hint) from e

    def of(self, usage: Usage) -> float:
        """The price of some calls; cached tokens count in full."""
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.new) / 1e6


class Outcome(BaseModel):
    """The part of a run's sums that one answered row adds.

    Attributes:
        error: Whether it carries an error.
        fallback: Whether a stage answered without its language model.
        costs: What its language-model calls cost.
        abstained: Whether no label passed the decision.
        scope: How usual the text is; None if that is not known.
    """

    model_config = ConfigDict(frozen=True)

    error: bool = False
    fallback: bool = False
    costs: Costs = Costs()
    abstained: bool = False
    scope: float | None = None

    @classmethod
    def of(cls, prediction: Prediction) -> Outcome:
        """The outcome of a prediction."""
        return cls(
            error=prediction.error is not None,
            fallback=bool(prediction.fallbacks),
            costs=prediction.costs,
            abstained=prediction.abstained,
            scope=prediction.scope,
        )

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Outcome:
        """The outcome of a row of an output; a row without costs has none."""
        return cls(
            error=row["error"] is not None,
            fallback="fallbacks" in row,
            costs=Costs.model_validate(row["costs"]) if "costs" in row else Costs(),
            abstained=row.get("abstained", False),
            scope=row.get("scope"),
        )


class Tally(BaseModel):
    """Sums over the rows of a run.

    Attributes:
        texts: Rows read and written.
        errors: Rows that carry an error.
        fallbacks: Rows that a stage answered without its language model.
        costs: What language-model calls cost, by stage.
        abstained: Rows without labels because no label passed the decision.
        scope: Counts of texts by how usual they are, in bins; empty where that is not known.
        seconds: Time spent, over all calls that worked on the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: int = 0
    errors: int = 0
    fallbacks: int = 0
    costs: Costs = Costs()
    abstained: int = 0
    scope: tuple[int, ...] = ()
    seconds: float = 0.0

    @property
    def without_model(self) -> bool:
        """Whether more rows were answered without their language model than is tolerated."""
        return self.fallbacks > TOLERATED * self.texts

    @property
    def usage(self) -> Usage:
        """The costs of all stages together."""
        return self.costs.infer + self.costs.rank

    def summary(self, price: Price | None, calibration: Calibration | None = None) -> dict[str, Any]:
        """The sums as JSON has them, with the price and the distance to the calibration texts."""
        return {
            **self.model_dump(exclude={"scope"}),
            "unusual": unusual(self.scope) if calibration else None,
            "shift_p": shift(self.scope, calibration.texts) if calibration else None,
            "texts_per_second": self.texts / self.seconds if self.seconds else None,
            **self.usage.model_dump(include={"calls", "prompt_tokens", "cached_tokens", "completion_tokens"}),
            "price": price.of(self.usage) if price else None,
        }

    def add(self, row: Outcome) -> Tally:
        """The sums with one row more."""
        return self.model_copy(
            update={
                "texts": self.texts + 1,
                "errors": self.errors + row.error,
                "fallbacks": self.fallbacks + row.fallback,
                "costs": self.costs + row.costs if row.costs != _NOTHING else self.costs,
                "abstained": self.abstained + row.abstained,
                "scope": self.scope if row.scope is None else count(self.scope, row.scope),
            }
        )


_NOTHING = Costs()
