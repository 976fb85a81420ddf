"""What a batch came to so far: rows, errors, and what language models cost."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

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
        seconds: Time spent, over all calls that worked on the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: int = 0
    errors: int = 0
    fallbacks: int = 0
    costs: Costs = Costs()
    seconds: float = 0.0

    @property
    def without_model(self) -> bool:
        """Whether more rows did without their language model than a run with it may have."""
        return self.fallbacks > TOLERATED * self.texts

    @property
    def usage(self) -> Usage:
        """The costs of all stages together."""
        return self.costs.infer + self.costs.rank

    def summary(self, price: Price | None) -> dict[str, Any]:
        """The same as plain numbers, with the price where one is known."""
        return {
            **self.model_dump(),
            "texts_per_second": self.texts / self.seconds if self.seconds else None,
            **self.usage.model_dump(include={"calls", "prompt_tokens", "cached_tokens", "completion_tokens"}),
            "price": price.of(self.usage) if price else None,
        }

    def read(self, row: dict[str, Any]) -> Tally:
        """With one row more, as it stands in an output; rows without costs add none."""
        costs = Costs.model_validate(row["costs"]) if "costs" in row else Costs()
        return self.add(row["error"] is not None, "fallbacks" in row, costs)

    def add(self, error: bool, fallback: bool, costs: Costs) -> Tally:
        """With one row more."""
        return self.model_copy(
            update={
                "texts": self.texts + 1,
                "errors": self.errors + error,
                "fallbacks": self.fallbacks + fallback,
                "costs": self.costs + costs if costs != _NOTHING else self.costs,
            }
        )


_NOTHING = Costs()
