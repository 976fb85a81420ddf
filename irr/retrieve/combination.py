"""The combination of features: a linear model with weights for short texts and weights for long ones."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from irr.retrieve.features import FEATURES, Features
from irr.retrieve.scoring import Floats

# From so many passages on a text is as long as can be.
_LONG = 16
# Log-odds in a point of the score, so that scores keep the spread of the hand-weighted score.
SCALE = 14.0

Weight = Annotated[float, Field(allow_inf_nan=False)]


class Combination(BaseModel):
    """The weights of the features.

        score(l) = sum over features f: ((1 - m) · short(f) + m · long(f)) · value(f, l)

    with m = ln(passages) / ln(16), at most 1.

    Attributes:
        short: Weights in a text of one passage, by feature; 0 for those not named.
        long: Weights in a text of 16 passages or more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    short: dict[str, Weight] = {"score": 1.0}
    long: dict[str, Weight] = {"score": 1.0}

    @model_validator(mode="after")
    def _known(self) -> Combination:
        unknown = sorted({*self.short, *self.long} - set(FEATURES))
        if unknown:
            raise ValueError(f"no feature {unknown[0]}")
        return self

    def contributions(self, features: Features) -> Floats:
        """What each feature adds to the score of each label, shape (labels, features)."""
        return features.values * self._weights(features.passages)

    def reads(self, passages: int) -> frozenset[str]:
        """The features that have a weight in a text of so many passages."""
        weights = zip(FEATURES, self._weights(passages).tolist(), strict=True)
        return frozenset(name for name, weight in weights if weight)

    @property
    def reads_examples(self) -> bool:
        """Whether a feature of the examples has a weight."""
        return any(name.startswith("example") for name in {*self.short, *self.long})

    def _weights(self, passages: int) -> Floats:
        share = length_share(passages)
        return np.array(
            [(1 - share) * self.short.get(name, 0.0) + share * self.long.get(name, 0.0) for name in FEATURES],
            np.float32,
        )

    def scores(self, features: Features) -> Floats:
        """The score of each label, shape (labels,); comparable within a text."""
        scores: Floats = self.contributions(features).sum(axis=1)
        return scores


# The hand-weighted score alone.
PLAIN = Combination()


def length_share(passages: int) -> float:
    """How long a text is, from 0 for one passage to 1 for 16 or more."""
    return min(1.0, float(np.log(max(passages, 1)) / np.log(_LONG)))


@cache
def default_combination() -> Combination:
    """The combination that comes with the package; `make weights` makes it."""
    return Combination.model_validate_json(files("irr.retrieve").joinpath("default.json").read_text("utf-8"))
