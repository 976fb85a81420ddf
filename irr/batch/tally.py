"""What a batch came to so far: rows, errors, and what language models cost."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from irr.calibrate.calibration import Calibration
from irr.calibrate.scope import count, shift, unusual
from irr.errors import UsageError
from irr.types import Costs, Usage

# Of the rows of a run, this share may be answered without their language model.
TOLERATED = 0.1


class Price(BaseModel):
    """What a million tokens cost, sent and generated."""

    model_config = ConfigDict(frozen=True)

    prompt: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    new: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @classmethod
    def parse(cls, prices: str) -> Price:
        """Reads `IN,OUT`.

        Raises:
            UsageError: If it is no such pair of numbers.
        """
        try:
            prompt, new = map(float, prices.split(","))
            return cls(prompt=prompt, new=new)
        except ValueError as e:
            hint = "give what a million tokens cost, sent and generated: 0.15,0.60"
            raise UsageError(f'"{prices}" is no price', hint) from e

    def of(self, usage: Usage) -> float:
        """The price of some calls; cached tokens count in full."""
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.new) / 1e6


class Tally(BaseModel):
    """Sums over the rows of a run.

    Attributes:
        texts: Rows read and written.
        errors: How many of them carry an error.
        fallbacks: How many were answered without a language model that should have been asked.
        costs: What language-model calls cost, by stage.
        abstained: How many have no labels because nothing passed what they were chosen by.
        scope: Counts of how usual texts are, by bin; empty where that is not known.
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
        """Whether more rows did without their language model than a run with it may have."""
        return self.fallbacks > TOLERATED * self.texts

    @property
    def usage(self) -> Usage:
        """The costs of all stages together."""
        return self.costs.infer + self.costs.rank

    def summary(self, price: Price | None, calibration: Calibration | None = None) -> dict[str, Any]:
        """The same as plain numbers, with the price, and how unlike the calibration texts these are."""
        return {
            **self.model_dump(exclude={"scope"}),
            "unusual": unusual(self.scope) if calibration else None,
            "shift_p": shift(self.scope, calibration.texts) if calibration else None,
            "texts_per_second": self.texts / self.seconds if self.seconds else None,
            **self.usage.model_dump(include={"calls", "prompt_tokens", "cached_tokens", "completion_tokens"}),
            "price": price.of(self.usage) if price else None,
        }

    def read(self, row: dict[str, Any]) -> Tally:
        """With one row more, as it stands in an output; rows without costs add none."""
        costs = Costs.model_validate(row["costs"]) if "costs" in row else Costs()
        error, abstained = row["error"] is not None, row.get("abstained", False)
        return self.add(error, "fallbacks" in row, costs, abstained, row.get("scope"))

    def add(
        self,
        error: bool,
        fallback: bool,
        costs: Costs,
        abstained: bool = False,
        scope: float | None = None,
    ) -> Tally:
        """With one row more."""
        return self.model_copy(
            update={
                "texts": self.texts + 1,
                "errors": self.errors + error,
                "fallbacks": self.fallbacks + fallback,
                "costs": self.costs + costs if costs != _NOTHING else self.costs,
                "abstained": self.abstained + abstained,
                "scope": self.scope if scope is None else count(self.scope, scope),
            }
        )


_NOTHING = Costs()
