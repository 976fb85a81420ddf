"""Evaluates a program on texts with gold labels in one pass, and compares it with earlier evaluations."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from irr.calibrate.decision import BEST, Decision
from irr.config import TOLERATED, Settings, Share
from irr.errors import InputError, UsageError
from irr.evaluate.diagnosis import Diagnosis
from irr.evaluate.metrics import DEPTH, METRICS, rp_curve
from irr.evaluate.sets import SetCollector, SetScores
from irr.io.streams import read_lines
from irr.io.texts import GoldRow, gold_within
from irr.io.validation import explain
from irr.program.program import InferRetrieveRank
from irr.statistics import Difference, Estimate, estimate, paired_bootstrap
from irr.text.words import clean
from irr.types import Costs, Prediction
from irr.version import __version__

Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


class Classifier(Protocol):
    """A program, or an object that answers as one."""

    @property
    def digest(self) -> str:
        """The hash of all that its answers depend on."""

    def batch(self, texts: Iterable[str], top_k: int, trace: bool) -> Iterator[Prediction]:
        """Yields one prediction for each text, in order."""


class PerText(BaseModel):
    """The scores of each text with gold by metric, in file order; the digest is that of the texts."""

    model_config = ConfigDict(frozen=True)

    ids: tuple[str | int, ...]
    digest: str
    scores: dict[str, tuple[Share, ...]]

    @model_validator(mode="after")
    def _one_score_a_text(self) -> PerText:
        if "rp@10" not in self.scores:
            raise ValueError('no "rp@10"')
        if any(len(column) != len(self.ids) for column in self.scores.values()):
            raise ValueError("not one score a text")
        return self


class Baseline(BaseModel):
    """An earlier evaluation; `program` is the digest of its program, `curve` its mean RP@k from k = 1."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str | None = None
    program: str
    curve: Annotated[tuple[Share, ...], Field(min_length=1)]
    per_text: PerText


class Comparison(NamedTuple):
    """A baseline, its means by metric, and how much better another evaluation is, by metric."""

    baseline: Baseline
    means: dict[str, float]
    differences: dict[str, Difference]

    def as_json(self) -> dict[str, Any]:
        """The baseline, and the differences by metric with their intervals and p-values."""
        metrics = {}
        for name, d in self.differences.items():
            ends = [round(d.low, 6), round(d.high, 6)]
            metrics[name] = {"difference": round(d.mean, 6), "ci95": ends, "p": round(d.p, 6)}
        return {"name": self.baseline.name, "program": self.baseline.program, "metrics": metrics}


@dataclass(frozen=True, kw_only=True)
class RankingScores:
    """The ranking metrics of a program, given by its digest, and counts of texts.

    Attributes:
        metrics: Each metric's mean over the texts with gold, as a share of 1, with its interval.
        curves: RP@k of each text with gold for k = 1 to 50, shape (texts, 50).
        per_text: The values behind the means.
        texts_without_gold: Texts that count in no mean.
        errors: Texts that were answered with an error; with gold, each scores 0.
        fallbacks: Texts that were answered without their language model.
        seconds: The time of classification, without the loading of index and encoder.
    """

    program: str
    metrics: dict[str, Estimate]
    curves: NDArray[np.float64] = field(repr=False)
    per_text: PerText = field(repr=False)
    texts: int
    texts_without_gold: int
    errors: int
    fallbacks: int
    costs: Costs
    seconds: float

    @property
    def without_model(self) -> bool:
        """Whether more texts were answered without their language model than is tolerated."""
        return self.fallbacks > TOLERATED * self.texts

    @property
    def texts_per_second(self) -> float:
        """Throughput over all texts."""
        return self.texts / self.seconds

    def as_json(self, per_text: bool = True) -> dict[str, Any]:
        """Means by name, their intervals under `ci95`, the counts, and each text's scores if wanted."""
        counts = ("texts", "texts_without_gold", "errors", "fallbacks")
        fields: dict[str, Any] = {
            **{name: round(e.mean, 6) for name, e in self.metrics.items()},
            "ci95": {name: [round(e.low, 6), round(e.high, 6)] for name, e in self.metrics.items()},
            **{name: getattr(self, name) for name in counts},
            "costs": self.costs.model_dump(),
            "texts_per_second": round(self.texts_per_second, 3),
            "seconds": round(self.seconds, 3),
            "program": self.program,
        }
        if per_text:
            fields["curve"] = self.curves.mean(axis=0).round(6).tolist()
            scores = {name: [round(v, 6) for v in row] for name, row in self.per_text.scores.items()}
            fields["per_text"] = self.per_text.model_dump() | {"scores": scores}
        return fields


@dataclass(frozen=True, kw_only=True)
class Evaluation(RankingScores):
    """The scores of a program, its setup, and comparisons with earlier evaluations.

    Attributes:
        title: The name of the run, or its labels, models and changed settings; and the gold.
        setup: Name, gold, labels, models, examples and settings, as JSON has them.
        left_out: Texts that are examples of the program, each of which was scored without its own example.
        sets: The scores of the returned sets of labels; None without a calibration.
        diagnosis: Where gold labels are lost, if that was asked for.
    """

    title: str
    setup: dict[str, Any]
    left_out: int
    sets: SetScores | None
    comparisons: tuple[Comparison, ...]
    diagnosis: Diagnosis | None = field(repr=False)

    def as_json(self, per_text: bool = True) -> dict[str, Any]:
        """The same with the setup, the sets and the comparisons."""
        fields = super().as_json(per_text) | self.setup
        if self.sets:
            fields["sets"] = self.sets.as_json()
        if self.comparisons:
            fields["compare"] = [comparison.as_json() for comparison in self.comparisons]
        return fields

    def to_text(self) -> str:
        """The JSON file of the evaluation, one key a line, which later evaluations can be compared with."""
        lines = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in self.as_json().items())
        return "{\n" + ",\n".join(lines) + "\n}\n"


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What an evaluation measures besides the ranking metrics, and the names of run and files that it shows.

    Attributes:
        labels: The label file, or the frozen program with the labels.
        decision: The decision whose sets are scored, if the program is calibrated.
        diagnose: Whether to find out where gold labels are lost, as the report shows it.
    """

    name: str | None = None
    gold: str | Path = "gold"
    labels: str | Path = "labels"
    decision: Decision = BEST
    baselines: Sequence[Baseline] = ()
    diagnose: bool = False


def evaluate(
    program: InferRetrieveRank,
    gold: Sequence[GoldRow],
    options: EvaluationOptions | None = None,
    progress: Progress = lambda what, steps: nullcontext(lambda: None),
) -> Evaluation:
    """Classifies texts and scores the answers.

    If texts are examples of the program, each text is scored without its own example. For a program on a part
    of its label space, gold labels outside that part are ignored.

    Args:
        program: The program.
        gold: Texts with gold labels.
        options: What is measured besides the ranking metrics.
        progress: Called with a description and the number of steps; gives a context manager whose function
            is called after each step.

    Raises:
        UsageError: If no text has gold labels, or the calibration cannot keep the promise of the decision.
    """
    options = options or EvaluationOptions()
    rows = gold_within(program.part, gold)
    known = {_folded(example.text) for example in program.examples}
    left_out = sum(_folded(row.text) in known for row in rows)
    scored = program.leaving_examples_out() if left_out else program
    sets = SetCollector.of(scored, options.decision)
    diagnosis = Diagnosis(scored) if options.diagnose else None
    with progress("texts", len(rows)) as on_text:
        ranking = score_rankings(scored, rows, on_text, [c for c in (sets, diagnosis) if c])
    if diagnosis:
        with progress("labels that were lost", diagnosis.to_look_up) as on_text:
            diagnosis.look_up(on_text)
    return Evaluation(
        **(vars(ranking) | {"program": program.digest}),
        title=_title(program, options),
        setup=_setup(program, options, left_out),
        left_out=left_out,
        sets=sets.scores() if sets else None,
        comparisons=tuple(compare(ranking.per_text, baseline) for baseline in options.baselines),
        diagnosis=diagnosis,
    )


def score_rankings(
    program: Classifier,
    rows: Sequence[GoldRow],
    on_text: Callable[[], None] = lambda: None,
    collectors: Sequence[SetCollector | Diagnosis] = (),
) -> RankingScores:
    """Classifies texts once, scores the rankings, and gives texts and predictions to the collectors."""
    if not any(row.labels for row in rows):
        raise UsageError("no text has gold labels", 'give texts with "labels"')
    values: dict[str, list[float]] = {name: [] for name in METRICS}
    curves, errors, fallbacks, costs = [], 0, 0, Costs()
    start = time.perf_counter()
    trace = any(collector.reads_trace for collector in collectors)
    predictions = program.batch((row.text for row in rows), DEPTH, trace=trace)
    for row, prediction in zip(rows, predictions, strict=True):
        errors += prediction.error is not None
        fallbacks += bool(prediction.fallbacks)
        costs += prediction.costs
        if row.labels:
            predicted, gold = [label.id for label in prediction.labels], set(row.labels)
            for name, metric in METRICS.items():
                values[name].append(metric(predicted, gold))
            curves.append(rp_curve(predicted, gold, DEPTH))
        for collector in collectors:
            collector.add(row, prediction)
        on_text()
    seconds = time.perf_counter() - start
    return RankingScores(
        program=program.digest,
        metrics={name: estimate(column) for name, column in values.items()},
        curves=np.array(curves),
        per_text=PerText(
            ids=tuple(row.id for row in rows if row.labels),
            digest=texts_digest(rows),
            scores={name: tuple(column) for name, column in values.items()},
        ),
        texts=len(rows),
        texts_without_gold=len(rows) - len(curves),
        errors=errors,
        fallbacks=fallbacks,
        costs=costs,
        seconds=seconds,
    )


def read_baseline(path: Path, rows: Sequence[GoldRow]) -> Baseline:
    """Reads an earlier evaluation and checks that it has these texts.

    Raises:
        InputError: If the file holds no such evaluation, or its texts or gold are others.
    """
    content = "".join(line for _, line in read_lines(path, InputError))
    try:
        baseline = Baseline.model_validate_json(content)
    except ValidationError as e:
        hint = "name a file that this version of irr eval --json has written"
        raise InputError(path, f"is not what irr eval writes ({explain(e)[0]})", hint) from e
    if baseline.per_text.digest != texts_digest(rows):
        here, there = {row.id for row in rows if row.labels}, set(baseline.per_text.ids)
        difference = f"{len(there - here):,} are only there, {len(here - there):,} only here"
        if here == there:
            difference = "the ids are the same, but texts or gold have changed"
        problem = f"was measured on other texts ({difference})"
        raise InputError(path, problem, "compare on the same file of gold")
    return baseline.model_copy(update={"name": baseline.name or path.stem})


def compare(run: PerText, baseline: Baseline) -> Comparison:
    """Compares a run with a baseline on the same texts, metric by metric, text by text."""
    # Rounded as the file is, so that equal scores are equal.
    ours = {name: [round(v, 6) for v in row] for name, row in run.scores.items()}
    theirs = baseline.per_text.scores
    shared = [name for name in ours if name in theirs]
    return Comparison(
        baseline=baseline,
        means={name: sum(theirs[name]) / len(theirs[name]) for name in shared},
        differences={name: paired_bootstrap(ours[name], theirs[name]) for name in shared},
    )


def texts_digest(rows: Sequence[GoldRow]) -> str:
    """SHA-256 over the ids, contents and gold of the texts that have gold; other keys count for nothing."""
    parts = [[row.id, row.text, sorted(set(row.labels))] for row in rows if row.labels]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _setup(program: InferRetrieveRank, options: EvaluationOptions, left_out: int) -> dict[str, Any]:
    infer, rank, space = program.models.infer_lm, program.models.rank_lm, program.space
    models = {"encoder": program.encoder, "infer": infer, "rank": rank}
    return {
        "name": options.name,
        "gold": str(options.gold),
        "labels": {"file": str(options.labels), "count": len(space), "fingerprint": space.fingerprint},
        "models": {role: model.name if model else None for role, model in models.items()},
        "examples": {"count": len(program.examples), "left_out": left_out},
        "settings": program.settings.flat(),
        "irr": __version__,
    }


def _title(program: InferRetrieveRank, options: EvaluationOptions) -> str:
    stages = {"infer": program.models.infer_lm, "rank": program.models.rank_lm}
    models = [f"{stage} {model.name}" for stage, model in stages.items() if model]
    changed = program.settings.difference(Settings()).items()
    settings = [f"{name}={value}" for name, (value, _) in changed]
    name = options.name or ", ".join([Path(options.labels).stem, *models, *settings])
    return f"{name} on {Path(options.gold).name}"


def _folded(text: str) -> str:
    """A text without differences of letter case and spaces."""
    return " ".join(clean(text).casefold().split())
