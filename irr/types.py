"""The data that passes between the stages: frozen objects without behaviour."""

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


# Ids of labels are strings; a file may write them as numbers.
LabelId = Annotated[str, BeforeValidator(_number_as_text)]


class Label(BaseModel):
    """One label of a label space; keys that are not named here are ignored.

    Attributes:
        id: Unique in its label space.
        name: Its name, in any Unicode.
        description: Its meaning.
        aliases: Other names for the same label.
        parents: Ids of broader labels.
        prior: The share of texts to which it applies, in [0, 1].
        examples: Texts to which it applies, which are evidence for it as labelled examples are.
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
    """A text and the ids of its gold labels."""

    text: str
    labels: tuple[LabelId, ...]


class QueryKind(StrEnum):
    """The source of a query; retrieval keeps one score a label for each kind."""

    TEXT = "text"
    SPAN = "span"
    TERM = "term"


class EntryKind(StrEnum):
    """The part of a label that an index entry stands for."""

    NAME = "name"
    ALIAS = "alias"
    DESCRIPTION = "description"


class Query(_Frozen):
    """A query: the text or a passage of it, a span, or a term that a model proposed."""

    text: str
    kind: QueryKind
    passage: int = 0  # the number of its passage; a term belongs to the whole text
    start: int | None = None  # its start in the text; None if it is not in the text
    end: int | None = None


class Match(_Frozen):
    """The best pair of query and entry of a candidate for one kind of query, by their texts."""

    kind: QueryKind
    query: str
    entry: str
    score: float  # cosine similarity less the entry kind's margin
    start: int | None = None  # the query's start in the text; None if it is not in the text
    end: int | None = None


class Contribution(_Frozen):
    """The part of a candidate's score that one feature adds."""

    feature: str
    value: float


class Candidate(_Frozen):
    """A label that retrieval proposes for a text.

    Attributes:
        label: The label.
        score: Fused over the kinds of query; comparable within one text.
        name_recall: IDF-weighted share of the name's words that are in its best passage.
        word_cosine: IDF-weighted cosine of that passage and all texts of the label.
        example: Similarity of the text to the nearest example that has the label; 0 without one.
        place: The start and end of its best passage; None if unknown.
        matches: The matches in that passage, one a kind; empty without a trace.
        contributions: The parts of the score by feature, the largest first; empty without a trace.
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
        probability: The probability that it is right; None without a calibration.
    """

    id: str
    name: str
    score: float
    probability: float | None = None


class Usage(_Frozen):
    """The usage of language models."""

    calls: int = 0  # requests that were answered
    prompt_tokens: int = 0  # tokens sent
    cached_tokens: int = 0  # tokens of these from the prefix cache
    completion_tokens: int = 0  # tokens generated
    seconds: float = 0.0  # time from request to answer, summed over calls
    dropped: int = 0  # parts of answers that named no candidate, or one twice

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: value + getattr(other, name) for name, value in self})


class Fallback(_Frozen):
    """A stage that worked without its language model for a text: the stage, a stable `code`, the reason."""

    stage: str
    code: str
    message: str


class Inference(_Frozen):
    """The output of infer for one text: its queries, their cost, and the fallback if there was one."""

    queries: tuple[Query, ...]
    usage: Usage = Usage()
    fallback: Fallback | None = None


class RowError(_Frozen):
    """The reason why a text has no labels: a stable `code` and a `message`."""

    code: str
    message: str


# A text, or the reason why there is none.
TextOrError = str | RowError


class Ranking(_Frozen):
    """The output of rank for one text: ordered candidates, the cost, and the fallback if there was one."""

    labels: tuple[RankedLabel, ...]
    usage: Usage = Usage()
    fallback: Fallback | None = None


class Costs(_Frozen):
    """The usage of language models by stage for one text."""

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
        labels: At most `top_k` labels, and their ancestors if asked for, without duplicates.
        abstained: Whether no label passed the decision.
        scope: The share of calibration texts that are no more usual than this one; None where the program is
            not calibrated.
        error: None when the text was answered.
        fallbacks: Stages that did without their language model, and why; the labels are those that the
            stage before it gave.
        costs: The usage of language models, by stage.
        trace: The stages' outputs, if asked for.
    """

    labels: tuple[RankedLabel, ...] = ()
    abstained: bool = False
    scope: float | None = None
    error: RowError | None = None
    fallbacks: tuple[Fallback, ...] = ()
    costs: Costs = Costs()
    trace: Trace | None = None
