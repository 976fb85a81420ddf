"""What requests and answers hold, with the examples that stand in the OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from irr.calibrate.decision import Decision
from irr.io.texts import TextId
from irr.workbench.serve.service import Part, Wish

TEXT = "You will bake bread and plan the menus of the week."
ONE: dict[str, Any] = {"text": TEXT, "top_k": 3}
MANY: dict[str, Any] = {
    "texts": [TEXT, {"id": 7, "text": "Washing the dishes.", "page": 12}],
    "min_probability": 0.4,
    "without": ["S5.6.1"],
}
LABEL: dict[str, Any] = {"id": "S5.6.1", "name": "bake bread", "score": 1.31}
ROW: dict[str, Any] = {"id": None, "labels": [LABEL], "error": None}
BAD: dict[str, Any] = {
    "id": None,
    "labels": [],
    "error": {"code": "bad_request", "message": 'no "text" and no "texts": give one of them'},
}
# Of one text; each that is asked for costs work.
_MOST_LABELS = 1_000
Ids = Annotated[tuple[str, ...], Field(max_length=100_000)]


class Question(BaseModel):
    """One text or many, and what is wanted of each.

    Attributes:
        text: One text; the answer is its row.
        id: Its id, which comes back with it.
        texts: Many texts, or rows `{"id", "text"}` whose other keys come back under `meta`; the answer
            holds a row for each, in order.
        top_k: Labels a text, at most 1,000; ten, if nothing else chooses them.
        min_probability: Only labels that are at least so probable.
        precision: Labels of which this share is right, with 99 % confidence.
        recall: Sets that hold this share of a text's right labels, in the mean.
        best_f1: The set of the highest expected F1.
        scope: No labels for texts as unusual as this share of the calibration texts.
        within: Ids of labels: only they and what is below them are answers.
        only: Ids of the only labels that are answers.
        without: Ids of labels that are no answers.
        trace: Whether rows carry the output of every stage.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [ONE, MANY]},
    )

    text: str | None = None
    id: TextId | None = None
    texts: tuple[Any, ...] | None = None
    top_k: Annotated[int, Field(ge=1, le=_MOST_LABELS)] | None = None
    min_probability: Annotated[float, Field(ge=0, le=1)] | None = None
    precision: Annotated[float, Field(gt=0, lt=1)] | None = None
    recall: Annotated[float, Field(gt=0, lt=1)] | None = None
    best_f1: bool = False
    scope: Annotated[float, Field(ge=0, lt=1)] | None = None
    within: Ids = ()
    only: Ids | None = None
    without: Ids = ()
    trace: bool = False

    @property
    def wish(self) -> Wish:
        """What is wanted of each text.

        Raises:
            ValidationError: If two ways to choose labels are given.
        """
        names = ("min_probability", "precision", "recall", "best_f1", "scope")
        decision = Decision(**{name: getattr(self, name) for name in names})
        return Wish(self.top_k, decision, Part(self.within, self.only, self.without), self.trace)


class Error(BaseModel):
    """Why there is no answer: a stable code, and a message for people."""

    code: str
    message: str


class RowLabel(BaseModel):
    """A label of a row."""

    id: str
    name: str
    score: float
    probability: float | None = None


class Row(BaseModel):
    """The answer to a text, as `irr classify` writes it; keys that do not apply are left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [ROW, BAD]})

    id: str | int | None
    labels: list[RowLabel]
    error: Error | None
    abstained: bool = False
    scope: float | None = None
    fallbacks: list[dict[str, str]] = []
    meta: dict[str, Any] = {}
    trace: dict[str, Any] | None = None


class Rows(BaseModel):
    """A row for each text, in order."""

    rows: list[Row]


class Place(BaseModel):
    """A label that another one is below."""

    id: str
    name: str


class FoundLabel(BaseModel):
    """A label of the label space, and its place in the hierarchy.

    Attributes:
        parents: The labels right above it.
        path: The labels above it, the broadest first; along one parent where it has several.
        narrower: How many labels stand right below it.
        score: How well it fits the query.
    """

    id: str
    name: str
    description: str | None
    aliases: tuple[str, ...]
    parents: list[Place]
    path: list[Place]
    narrower: int
    score: float | None


class FoundLabels(BaseModel):
    """The labels that were found, the best first."""

    labels: list[FoundLabel]
