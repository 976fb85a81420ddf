"""What passes between the stages: frozen objects without behaviour."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _none_is_empty(value: Any) -> Any:
    return () if value is None else value


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# Ids of labels are texts; a file may write those that are numbers as such.
LabelId = Annotated[str, BeforeValidator(_number_as_text)]


class Label(BaseModel):
    """One label of a label space; keys that are not named here are ignored.

    Attributes:
        id: Unique in its label space.
        name: What people call it; any Unicode, commas and quotes included.
        description: What it means.
        aliases: Other names for the same label.
        parents: Ids of broader labels.
        prior: How often the label applies, as a share in [0, 1].
        examples: Texts that the label applies to; they speak for it as labelled examples do.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Annotated[LabelId, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    aliases: Annotated[tuple[str, ...], BeforeValidator(_none_is_empty)] = ()
    parents: Annotated[tuple[LabelId, ...], BeforeValidator(_none_is_empty)] = ()
    prior: Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)] | None = None
    examples: Annotated[tuple[str, ...], BeforeValidator(_none_is_empty)] = ()


class Example(_Frozen):
    """A text and the ids of its right labels."""

    text: str
    labels: tuple[LabelId, ...]


class QueryKind(StrEnum):
    """Where a query came from; retrieval keeps one score a label for each kind."""

    TEXT = "text"
    SPAN = "span"
    TERM = "term"


class EntryKind(StrEnum):
    """What part of a label an index entry stands for."""

    NAME = "name"
    ALIAS = "alias"
    DESCRIPTION = "description"


class Query(_Frozen):
    """Something to look up: the text or a passage of it, a span, or a term that a model proposed.

    Attributes:
        text: What is looked up.
        kind: Where it came from.
        passage: Number of the passage that it is or stands in; a term stands for the whole text.
        start: Where it begins in the text; None if it does not stand there.
        end: Where it ends.
    """

    text: str
    kind: QueryKind
    passage: int = 0
    start: int | None = None
    end: int | None = None


class Match(_Frozen):
    """Why a candidate was found: its best pair of query and entry for one kind of query.

    Attributes:
        kind: The kind of query.
        query: The query's text.
        entry: The text of the label's entry that it met.
        score: Cosine similarity less the entry kind's margin.
        start: Where the query begins in the text; None if it does not stand there.
        end: Where it ends.
    """

    kind: QueryKind
    query: str
    entry: str
    score: float
    start: int | None = None
    end: int | None = None


class Contribution(_Frozen):
    """What one feature adds to a candidate's score; those of a candidate add up to it."""

    feature: str
    value: float


class Candidate(_Frozen):
    """A label that retrieval proposes for a text.

    Attributes:
        label: The label.
        score: Fused over the kinds of query; comparable within one text.
        name_recall: IDF-weighted share of the name's words that stand in its passage.
        word_cosine: IDF-weighted cosine of its passage and all texts of the label.
        example: Similarity of the text to the nearest example that has the label; 0 without one.
        place: Where the passage that speaks most for it begins and ends in the text; None if not known.
        matches: The evidence in that passage, one match a kind; empty unless it was asked for.
        contributions: What each feature adds to the score, the largest first; empty likewise.
    """

    label: Label
    score: float
    name_recall: float = 0.0
    word_cosine: float = 0.0
    example: float = 0.0
    place: tuple[int, int] | None = None
    matches: tuple[Match, ...] = ()
    contributions: tuple[Contribution, ...] = ()


class RankedLabel(_Frozen):
    """A label of a prediction.

    Attributes:
        id: Its id.
        name: Its name.
        score: Comparable within one text.
        probability: That it is right; None where the program is not calibrated.
    """

    id: str
    name: str
    score: float
    probability: float | None = None


class Usage(_Frozen):
    """What language-model calls cost.

    Attributes:
        calls: Requests that were answered.
        prompt_tokens: Tokens sent.
        cached_tokens: How many of them the model had in its prefix cache.
        completion_tokens: Tokens generated.
        seconds: Time from request to answer, summed over calls.
        dropped: Parts of answers that named no candidate, or one twice.
    """

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    dropped: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            seconds=self.seconds + other.seconds,
            dropped=self.dropped + other.dropped,
        )


class Fallback(_Frozen):
    """A stage that did without its language model for a text: which, a stable `code`, and why."""

    stage: str
    code: str
    message: str


class Inference(_Frozen):
    """What infer makes of one text: its queries, what they cost, and whether the model was done without."""

    queries: tuple[Query, ...]
    usage: Usage = Usage()
    fallback: Fallback | None = None


class RowError(_Frozen):
    """Why a text has no labels: a stable `code` and a `message` for people."""

    code: str
    message: str


class Ranking(_Frozen):
    """A text's candidates in their final order, what ranking cost, and whether the model was done without."""

    labels: tuple[RankedLabel, ...]
    usage: Usage = Usage()
    fallback: Fallback | None = None


class Costs(_Frozen):
    """What each stage's language-model calls cost for one text."""

    infer: Usage = Usage()
    rank: Usage = Usage()

    def __add__(self, other: Costs) -> Costs:
        return Costs(infer=self.infer + other.infer, rank=self.rank + other.rank)


class Trace(_Frozen):
    """Every stage's output for one text."""

    queries: tuple[Query, ...]
    candidates: tuple[Candidate, ...]
    ranking: tuple[RankedLabel, ...]


class Prediction(_Frozen):
    """The labels of one text, best first, or the reason why there are none.

    Attributes:
        labels: At most `top_k` of them, and their ancestors if they were asked for, without duplicates.
        abstained: Whether nothing passed what the labels were chosen by.
        scope: The share of calibration texts that are no more usual than this one; None where the program is
            not calibrated.
        error: None when the text was answered.
        fallbacks: Stages that did without their language model, and why; the labels are those that the
            stage before it gave.
        costs: What language-model calls cost, by stage.
        trace: The stages' outputs; None unless it was asked for.
    """

    labels: tuple[RankedLabel, ...] = ()
    abstained: bool = False
    scope: float | None = None
    error: RowError | None = None
    fallbacks: tuple[Fallback, ...] = ()
    costs: Costs = Costs()
    trace: Trace | None = None
