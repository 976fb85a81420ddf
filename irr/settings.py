"""The numbers a program runs with; optimization tunes them and a frozen program keeps them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from irr.types import EntryKind, QueryKind

Weight = Annotated[float, Field(ge=0.0, le=10.0)]
Margin = Annotated[float, Field(ge=0.0, le=2.0)]


class RankMethod(StrEnum):
    """How a language model ranks; `auto` is listwise, but by likelihood for the small embedded model."""

    AUTO = "auto"
    LISTWISE = "listwise"
    POINTWISE = "pointwise"
    LIKELIHOOD = "likelihood"


class Hierarchy(StrEnum):
    """What is returned of a hierarchy: the best labels, their ancestors too, or the most specific only."""

    NONE = "none"
    CLOSED = "closed"
    LEAVES = "leaves"


class Settings(BaseModel):
    """How queries are made and how their matches become one score.

    Attributes:
        fields: Parts of a label that get index entries; a name always does.
        span_words: Longest span, in words.
        span_content_words: Most words of a span that are no stopwords.
        max_characters: A longer text is refused with an error of its own.
        text_weight: Weight of the best match over the text's passages.
        span_weight: Weight of the best match over its spans.
        span_generality: What a span's matches lose for being near to many labels.
        term_weight: Weight of the best match over proposed terms.
        lexical_weight: Weight of the share of the label's name that stands in the text, word by word.
        example_weight: Weight of the similarity to the nearest example that has the label.
        alias_margin: What a match with an alias loses, so that a name wins ties.
        description_margin: What a match with a description loses.
        prior_weight: A in score · log(A · prior + e); 0 ignores the label prior.
        candidates: How many labels retrieval hands to the ranker.
        demos: How many of a task's examples a language model is shown; by likelihood it sees all.
        infer_near_demos: If not 0, the model that infers is shown instead this many of the program's own
            examples, those that resemble the text most.
        rank_near_demos: The same for the model that ranks.
        rank_method: How a language model ranks.
        rank_window: For listwise: candidates seen at a time, 0 for all.
        listwise_weight: Weight of a place in the model's list, 1 down to 0.
        pointwise_weight: Weight of the model's probability of "yes", in [0, 1].
        likelihood_weight: Weight of a name's mean log-probability per token.
        hierarchy: What is returned of a label's hierarchy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: tuple[EntryKind, ...] = tuple(EntryKind)
    span_words: Annotated[int, Field(ge=1, le=10)] = 5
    span_content_words: Annotated[int, Field(ge=1, le=10)] = 3
    max_characters: Annotated[int, Field(ge=1)] = 100_000
    text_weight: Weight = 0.7
    span_weight: Weight = 1.0
    span_generality: Weight = 0.2
    term_weight: Weight = 0.5
    lexical_weight: Weight = 0.1
    example_weight: Weight = 0.2
    alias_margin: Margin = 0.06
    description_margin: Margin = 0.05
    prior_weight: Weight = 1.0
    candidates: Annotated[int, Field(ge=1)] = 50
    demos: Annotated[int, Field(ge=0, le=32)] = 2
    infer_near_demos: Annotated[int, Field(ge=0, le=32)] = 0
    rank_near_demos: Annotated[int, Field(ge=0, le=32)] = 0
    rank_method: RankMethod = RankMethod.AUTO
    rank_window: Annotated[int, Field(ge=0)] = 0
    listwise_weight: Weight = 2.0
    pointwise_weight: Weight = 1.0
    likelihood_weight: Weight = 0.04
    hierarchy: Hierarchy = Hierarchy.NONE

    def kind_weight(self, kind: QueryKind) -> float:
        """The weight of one kind of query."""
        match kind:
            case QueryKind.TEXT:
                return self.text_weight
            case QueryKind.SPAN:
                return self.span_weight
            case QueryKind.TERM:
                return self.term_weight

    def margin(self, kind: EntryKind) -> float:
        """What a match with this kind of entry loses."""
        match kind:
            case EntryKind.NAME:
                return 0.0
            case EntryKind.ALIAS:
                return self.alias_margin
            case EntryKind.DESCRIPTION:
                return self.description_margin

    def method_weight(self, method: RankMethod) -> float:
        """The weight of what a model says, by how it ranks."""
        match method:
            case RankMethod.POINTWISE:
                return self.pointwise_weight
            case RankMethod.LIKELIHOOD:
                return self.likelihood_weight
            case _:
                return self.listwise_weight
