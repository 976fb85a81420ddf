"""Settings by stage, and the table of hyperparameters that are tuned."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from irr.errors import UsageError
from irr.types import EntryKind, QueryKind

# The share of texts that may be answered without their language model.
TOLERATED = 0.1

Weight = Annotated[float, Field(ge=0.0, le=10.0)]
Margin = Annotated[float, Field(ge=0.0, le=2.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
Demos = Annotated[int, Field(ge=0, le=32)]


class RankMethod(StrEnum):
    """The rank method of a language model; `auto` is listwise."""

    AUTO = "auto"
    LISTWISE = "listwise"
    POINTWISE = "pointwise"


class Hierarchy(StrEnum):
    """The labels of a hierarchy that are returned: the best, their ancestors too, or the most specific."""

    NONE = "none"
    CLOSED = "closed"
    LEAVES = "leaves"


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InferSettings(_Settings):
    """Settings of infer, which makes queries of a text."""

    passage_words: Count = 60  # words of a passage, at most
    passage_characters: Count = 500  # characters of a passage, at most
    passage_overlap: Annotated[int, Field(ge=0)] = 0  # words that neighbouring passages share
    span_words: Annotated[int, Field(ge=1, le=10)] = 5  # words of a span, at most
    # Words of a span that are not stopwords, at most.
    span_content_words: Annotated[int, Field(ge=1, le=10)] = 3
    demos: Demos = 2  # demos of the task in the prompt
    near_demos: Demos = 0  # the most similar examples of the program in their place; 0 for none


class RetrieveSettings(_Settings):
    """Settings of retrieve, which scores labels; `retrieve.score` holds the formulas."""

    # Parts of a label that get index entries; a name always does.
    fields: tuple[EntryKind, ...] = tuple(EntryKind)
    text_weight: Weight = 0.7  # weight of the best match of a passage
    span_weight: Weight = 1.0  # weight of the best match of a span
    term_weight: Weight = 0.5  # weight of the best match of a term that a language model proposed
    alias_margin: Margin = 0.06  # subtracted from a match with an alias
    description_margin: Margin = 0.05  # subtracted from a match of a span or a term with a description
    # Share of a span's mean similarity to its nearest names that its matches lose.
    hubness_penalty: Weight = 0.2
    hubness_names: Count = 20  # the number of nearest names of that mean
    # Weight of the IDF-weighted share of a name's words that a passage holds.
    name_recall_weight: Weight = 0.1
    # Weight of the IDF-weighted cosine of a passage and all texts of a label.
    word_cosine_weight: Weight = 0.2
    # Temperature of the soft maximum over passages.
    passage_temperature: Annotated[float, Field(gt=0.0, le=10.0)] = 0.05
    example_weight: Weight = 0.2  # weight of the similarity to the nearest example that has the label
    parent_share: Share = 0.5  # share of the difference by which a label is raised towards its best child
    # Factor of ln(1 + n) for a label when n better ones rest on the same span.
    redundancy_penalty: Weight = 0.07
    redundancy_pool: Count = 4  # labels with this penalty, as a multiple of those asked for
    prior_weight: Weight = 1.0  # A in score · ln(A · prior + e); 0 ignores label priors
    spans_always: Annotated[int, Field(ge=0)] = 256  # distinct spans of a text that are encoded in any case
    # Share of the distinct spans of a longer text that are encoded: the likeliest to match.
    span_share: Share = 0.2
    candidates: Count = 50  # labels that retrieval passes to the ranker
    # The most index entries that are all scored; above, labels are proposed first.
    exact_entries: Annotated[int, Field(ge=0)] = 200_000
    # Entries nearest to a query, and labels sharing words with a passage, that are proposed.
    neighbors: Count = 200

    def kind_weight(self, kind: QueryKind) -> float:
        """The weight of one kind of query."""
        return {"text": self.text_weight, "span": self.span_weight, "term": self.term_weight}[kind]

    def margin(self, entry: EntryKind, query: QueryKind) -> float:
        """The margin of a match of this kind of query with this kind of entry."""
        if entry is EntryKind.ALIAS:
            return self.alias_margin
        # A passage is about as long as a description, so their match needs no margin.
        if entry is EntryKind.DESCRIPTION and query is not QueryKind.TEXT:
            return self.description_margin
        return 0.0


class RankSettings(_Settings):
    """Settings of rank, which orders the candidates by a language model."""

    method: RankMethod = RankMethod.AUTO
    characters: Annotated[int, Field(ge=500)] = 4_000  # the most characters of a text that the model reads
    demos: Demos = 2  # demos of the task in the prompt
    near_demos: Demos = 0  # the most similar examples of the program in their place; 0 for none
    window: Annotated[int, Field(ge=0)] = 0  # for listwise: candidates in one prompt; 0 for all
    # For listwise: times that the model is asked, each with the candidates in another order.
    passes: Annotated[int, Field(ge=1, le=10)] = 1
    # For listwise: characters of a candidate's description that the model is shown; 0 for names alone.
    description_characters: Annotated[int, Field(ge=0)] = 0
    # Candidates whose retrieval score is further below the best are not shown; 0 for no limit.
    score_gap: Weight = 0.0
    # For listwise: whether the model may answer that no candidate applies, which keeps retrieval scores.
    none_fits: bool = False
    # Candidates that a listwise answer names, at most; so many are shown in any case.
    listwise_count: Count = 10
    listwise_weight: Weight = 2.0  # weight of a place in the model's list, from 1 down to 0
    pointwise_weight: Weight = 1.0  # weight of the model's probability of "yes"

    def method_weight(self, method: RankMethod) -> float:
        """The weight of a method's evidence."""
        return self.pointwise_weight if method is RankMethod.POINTWISE else self.listwise_weight


class Settings(_Settings):
    """All settings of a program: those of each stage, the longest text, and the labels returned."""

    infer: InferSettings = InferSettings()
    retrieve: RetrieveSettings = RetrieveSettings()
    rank: RankSettings = RankSettings()
    max_characters: Count = 1_500_000  # the most characters of a text; a longer one gets an error
    hierarchy: Hierarchy = Hierarchy.NONE

    def replace(self, changes: Mapping[str, Any]) -> Settings:
        """These settings with others by dotted name, as in `{"retrieve.text_weight": 1.0}`.

        Raises:
            UsageError: If there is no such setting, or a value is out of its range.
        """
        values = self.model_dump()
        for name, value in changes.items():
            *stage, key = name.split(".")
            group = values.get(stage[0]) if len(stage) == 1 else values if not stage else None
            if not isinstance(group, dict) or key not in group or isinstance(group[key], dict):
                raise UsageError(f'no setting "{name}"', f"name one of {', '.join(self.flat())}")
            group[key] = value
        try:
            return Settings.model_validate(values)
        except ValidationError as e:
            first = e.errors(include_url=False)[0]
            name = ".".join(map(str, first["loc"]))
            raise UsageError(f"setting {name}: {first['msg']}", "correct the value") from e

    def flat(self) -> dict[str, Any]:
        """Every setting by its dotted name, as JSON has it."""
        values = self.model_dump(mode="json")
        stages = {stage: values.pop(stage) for stage in ("infer", "retrieve", "rank")}
        return {f"{stage}.{key}": value for stage, of in stages.items() for key, value in of.items()} | values

    def difference(self, other: Settings) -> dict[str, tuple[Any, Any]]:
        """The settings that differ, by dotted name: the value here and the value there."""
        theirs = other.flat()
        return {name: (ours, theirs[name]) for name, ours in self.flat().items() if ours != theirs[name]}


# Each hyperparameter that optimization tunes, in the order of tuning, and the values that are tried.
# A margin of 2 takes that kind of entry out.
HYPERPARAMETERS: Mapping[str, tuple[float, ...]] = {
    "retrieve.example_weight": (0.0, 0.1, 0.2, 0.4, 0.8),
    "retrieve.text_weight": (0.35, 0.5, 0.7, 1.0, 1.4),
    "retrieve.hubness_penalty": (0.0, 0.2, 0.4),
    "retrieve.redundancy_penalty": (0.0, 0.07, 0.15),
    "retrieve.name_recall_weight": (0.0, 0.1, 0.2, 0.4),
    "retrieve.word_cosine_weight": (0.0, 0.1, 0.2, 0.4),
    "retrieve.parent_share": (0.0, 0.5, 0.8),
    "retrieve.description_margin": (0.0, 0.05, 0.1, 2.0),
    "retrieve.alias_margin": (0.0, 0.03, 0.06, 0.1, 2.0),
    "retrieve.prior_weight": (0.0, 1.0, 3.0),
    "infer.span_content_words": (2, 3, 4),
    "retrieve.term_weight": (0.25, 0.5, 1.0),
    "rank.listwise_weight": (0.25, 0.5, 1.0, 2.0, 4.0),
    "rank.pointwise_weight": (0.25, 0.5, 1.0, 2.0),
}
