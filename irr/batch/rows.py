"""The rows of the batch job and their tally: an input row has a text or an error, an output row is a line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from operator import add
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from irr.calibrate.calibration import Calibration, count, shift, unusual
from irr.config import TOLERATED
from irr.errors import TextsError, UsageError
from irr.io.columns import TEXTS, distinct
from irr.io.records import RawRow, RawRows, parse_row
from irr.io.tables import TableColumn
from irr.io.texts import TextRow
from irr.types import Costs, Prediction, RowError, Usage

# So many bad rows at the beginning mean that the file holds something else than texts.
_MOST_BAD = 20


class Price(BaseModel):
    """The price of a million tokens: of the prompt, and of the completion (`new`)."""

    model_config = ConfigDict(frozen=True)

    prompt: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    new: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @classmethod
    def parse(cls, prices: str) -> Price:
        """Reads `IN,OUT`; raises a UsageError if that is not a pair of numbers from 0 up."""
        try:
            prompt, new = map(float, prices.split(","))
            return cls(prompt=prompt, new=new)
        except ValueError as e:
            hint = "give the prices of a million prompt and completion tokens, as in 0.15,0.60"
            raise UsageError(f'"{prices}" is not a pair of prices', hint) from e

    def of(self, usage: Usage) -> float:
        """The price of some calls; cached tokens count in full."""
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.new) / 1e6


class Tally(BaseModel):
    """Sums over the rows of a run.

    Attributes:
        texts: Rows read and written; of these, `errors` carry an error.
        fallbacks: Rows that a stage answered without its language model.
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

    @classmethod
    def of(cls, prediction: Prediction) -> Tally:
        """The tally of one prediction."""
        return cls.read({**fields_of(None, prediction), "costs": prediction.costs})

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Tally:
        """The tally of one row of an output; a row without costs has none."""
        return cls(
            texts=1,
            errors=row["error"] is not None,
            fallbacks="fallbacks" in row,
            costs=row.get("costs", _NOTHING),
            abstained=row.get("abstained", False),
            scope=count((), row["scope"]) if "scope" in row else (),
        )

    def __add__(self, other: Tally) -> Tally:
        scopes = self.scope, other.scope
        return Tally(
            texts=self.texts + other.texts,
            errors=self.errors + other.errors,
            fallbacks=self.fallbacks + other.fallbacks,
            costs=self.costs if other.costs == _NOTHING else self.costs + other.costs,
            abstained=self.abstained + other.abstained,
            scope=tuple(map(add, *scopes)) if all(scopes) else self.scope or other.scope,
            seconds=self.seconds + other.seconds,
        )

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


_NOTHING = Costs()


@dataclass(frozen=True, slots=True)
class InputRow:
    """A text to classify, or the error of a row that holds none, whose id may be unknown.

    Attributes:
        digest: The digest of the row's bytes, by which a run recognizes its input.
        meta: The keys that are carried through to the output.
    """

    id: str | int | None
    text: str
    digest: bytes
    meta: Mapping[str, Any] = field(default_factory=dict)
    error: RowError | None = None


@dataclass(frozen=True, slots=True)
class OutputRow:
    """A line of output with its line break, its tally, and the digest of the input row that it answers."""

    digest: bytes
    line: bytes
    tally: Tally


def rows_of(source: RawRows) -> Iterator[InputRow]:
    """The rows of a source, each read or with its error; the first ones are read at once.

    Raises:
        TextsError: If the first 20 rows are bad, if no row of a shorter source is a JSON object or a row of a
            table, or, later on, if the source breaks off.
    """
    bad: list[InputRow] = []
    are_records = False
    for raw in islice(source.rows, _MOST_BAD):
        row = _read_row(raw)
        if row.error is None:
            return chain(bad, [row], map(_read_row, source.rows))
        bad.append(row)
        are_records = are_records or _object(raw[1]) is not None
    which = f"the first {_MOST_BAD} rows" if len(bad) == _MOST_BAD else "its rows"
    if bad and bad[0].error and (len(bad) == _MOST_BAD or not are_records):
        # The row and its problem, without the hint for a single row.
        problem = ": ".join(bad[0].error.message.split(": ")[:2])
        hint = 'give {"id", "text"} a line, or a table'
        raise TextsError(source.name, f"none of {which} can be read; {problem}", hint)
    return iter(bad)


def _read_row(raw: RawRow) -> InputRow:
    number, content = raw
    line = content.strip() if isinstance(content, bytes) else json.dumps(content).encode()
    digest = hashlib.blake2b(line, digest_size=16).digest()
    try:
        row = parse_row(raw, TextRow, "", TEXTS)
    except TextsError as e:
        error = RowError(code="bad_row", message=f"row {number}: {e.problem}: {e.hint}")
        return InputRow(_id_of(content), "", digest, error=error)
    return InputRow(row.id, row.text, digest, row.model_extra or {})


def _id_of(content: object) -> str | int | None:
    """The id of a row whose other fields cannot be used."""
    name = (_object(content) or {}).get("id")
    if isinstance(name, str) and name:
        return name.encode("utf-8", "replace").decode()
    return name if type(name) is int and abs(name) < 2**63 else None


def _object(content: object) -> dict[str, Any] | None:
    """The JSON object that a line holds; None if it holds none."""
    try:
        fields = json.loads(content) if isinstance(content, bytes) else content
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def answer(row: InputRow, prediction: Prediction, costs: bool) -> OutputRow:
    """The line of output for a row; with `costs`, it holds the usage of language models."""
    if row.error:
        prediction = Prediction(error=row.error)
    fields = fields_of(row.id, prediction)
    tally = Tally.read({**fields, "costs": prediction.costs})
    if costs:
        fields["costs"] = prediction.costs.model_dump()
    if row.meta:
        fields["meta"] = row.meta
    return OutputRow(row.digest, json_line(fields), tally)


def fields_of(name: str | int | None, prediction: Prediction) -> dict[str, Any]:
    """The fields of an output row: the id of its text, its labels, its error, and what else applies."""
    labels = [label.model_dump(exclude_none=True) for label in prediction.labels]
    fields: dict[str, Any] = {"id": name, "labels": labels, "error": None}
    if prediction.error:
        fields["error"] = prediction.error.model_dump()
    if prediction.abstained:
        fields["abstained"] = True
    if prediction.scope is not None:
        fields["scope"] = prediction.scope
    if prediction.fallbacks:
        fields["fallbacks"] = [fallback.model_dump() for fallback in prediction.fallbacks]
    return fields


def json_line(fields: dict[str, Any]) -> bytes:
    """A row of JSON with its end; NaN among the keys that are carried through becomes null."""
    try:
        line = json.dumps(fields, ensure_ascii=False, allow_nan=False)
    except ValueError:  # JSON cannot write NaN, which Python reads
        fields["meta"] = json.loads(json.dumps(fields["meta"]), parse_constant=lambda _: None)
        line = json.dumps(fields, ensure_ascii=False, allow_nan=False)
    return line.encode("utf-8", "replace") + b"\n"


def read_output_row(line: bytes) -> dict[str, Any] | None:
    """The answer that a line of an output holds; None for a line that a crash cut off."""
    fields = _object(line) if line.endswith(b"\n") else None
    return fields if fields is not None and {"id", "error"} <= fields.keys() else None


def answer_columns(answers: Iterable[Mapping[str, Any]]) -> list[TableColumn]:
    """The columns of a table of answers, the best label of each first, and then those of its input."""
    others: dict[str, None] = {}
    keys: set[str] = set()
    for answer in answers:
        others.update(dict.fromkeys(answer.get("meta", ())))
        keys.update(answer, *answer["labels"])

    def members(source: str, key: str, answer: Mapping[str, Any]) -> list[Any]:
        return [member.get(key) for member in answer.get(source, ())]

    columns = [
        TableColumn("id", lambda answer: answer["id"]),
        TableColumn("labels", partial(members, "labels", "id"), str),
        TableColumn("names", partial(members, "labels", "name"), str),
        TableColumn("scores", partial(members, "labels", "score"), float),
    ]
    if "probability" in keys:
        columns.append(TableColumn("probabilities", partial(members, "labels", "probability"), float))
    if "abstained" in keys:
        columns.append(TableColumn("abstained", lambda answer: bool(answer.get("abstained"))))
    columns.append(TableColumn("error", lambda answer: answer["error"] and answer["error"]["message"]))
    if "fallbacks" in keys:
        columns.append(TableColumn("fallbacks", partial(members, "fallbacks", "stage"), str))
    for key, name in zip(distinct(others, [column.name for column in columns]), others, strict=True):
        columns.append(TableColumn(key, partial(lambda name, answer: answer.get("meta", {}).get(name), name)))
    return columns
