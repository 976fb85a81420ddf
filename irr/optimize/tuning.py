"""Scores candidate programs on examples with gold labels, and tunes them without a language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irr.config import HYPERPARAMETERS, RetrieveSettings, Settings
from irr.encoders.base import ContextVectors, Encoder, Places, encode_places
from irr.evaluate.metrics import METRICS
from irr.index.store import LabelIndex
from irr.io.texts import GoldRow
from irr.lm.cache import Budget
from irr.lm.protocol import LanguageModel
from irr.program.program import InferRetrieveRank
from irr.program.spec import Models, ProgramSpec
from irr.prompts.pack import TaskPack
from irr.retrieve.features import FEATURES, SCALE, Combination, Features, length_share
from irr.statistics import Estimate, estimate, lower_bound
from irr.text.words import clean
from irr.types import EntryKind, Example

Values = NDArray[np.float64]
DEPTH = 50
_RP_DEPTH = 10
# Queries that are looked up at a time.
_BLOCK = 256
# With fewer examples the weights stay as they are.
FEWEST = 30
_STRENGTHS = (10.0, 100.0, 1_000.0)
_FOLDS = 5
_NAMES = tuple(FEATURES)
# The most passes over all hyperparameters.
_PASSES = 2


@dataclass(frozen=True)
class Plan:
    """A candidate program: settings, prompts, models, weights, and whether it has examples."""

    settings: Settings
    task: TaskPack
    combination: Combination
    infer_lm: LanguageModel | None = None
    rank_lm: LanguageModel | None = None
    examples: bool = True

    @property
    def uses_examples(self) -> bool:
        """Whether its answers depend on its examples."""
        settings = self.settings
        near = settings.infer.near_demos + settings.rank.near_demos
        return bool(settings.retrieve.example_weight or near or self.combination.reads_examples)

    def set(self, changes: Mapping[str, Any]) -> Plan:
        """The plan with other settings, by dotted name."""
        return replace(self, settings=self.settings.replace(changes))


@dataclass(frozen=True)
class Trial:
    """A program that was tried: the step, what was changed, and its score."""

    step: str
    what: str
    metric: str
    score: Estimate
    calls: int

    def row(self) -> dict[str, str | int | float]:
        """The trial as a row of JSON."""
        score = {name: round(value, 6) for name, value in self.score}
        return {"step": self.step, "what": self.what, "metric": self.metric, **score, "calls": self.calls}


# Called with each trial, and with the expected number of trials of its step.
OnTrial = Callable[[Trial, int], None]


@dataclass(frozen=True)
class GoldFeatures:
    """The features of a text's proposed labels, which of them are gold, and how many labels are."""

    features: Features
    right: NDArray[np.bool_]
    gold: int

    def rank_precision(self, combination: Combination, depth: int = _RP_DEPTH) -> float:
        """RP@k of the labels by this combination, k being the depth."""
        order = np.argsort(-combination.scores(self.features), kind="stable")[:depth]
        return float(self.right[order].sum()) / min(depth, self.gold)


class Scorer:
    """Scores programs over an index and its encoder; no example is evidence for itself."""

    def __init__(
        self, index: LabelIndex, encoder: Encoder, train: Sequence[GoldRow], val: Sequence[GoldRow]
    ) -> None:
        self.index = index
        self.encoder = CachingEncoder(encoder)
        self._quick = CachingIndex(**{part.name: getattr(index, part.name) for part in fields(index)})
        # A text without gold has no score.
        self.train = [row for row in train if row.labels]
        self.val = [row for row in val if row.labels]
        self.examples = tuple(Example(text=row.text, labels=row.labels) for row in (*self.train, *self.val))

    def program(self, plan: Plan, quick: bool = False) -> InferRetrieveRank:
        """The program of a plan, with all examples as evidence for the other texts.

        Where `quick`, it scores only labels near a query, as in a large label space: much faster and nearly
        the same.
        """
        settings = plan.settings.replace({"retrieve.exact_entries": 0}) if quick else plan.settings
        index = self._quick if quick else self.index
        return self._assembled(replace(plan, settings=settings), self.encoder, index, leave_one_out=True)

    def final(self, plan: Plan) -> InferRetrieveRank:
        """The program of a plan as it is returned: every example is evidence, nothing is cached."""
        return self._assembled(plan, self.encoder.encoder, self.index, leave_one_out=False)

    def _assembled(
        self, plan: Plan, encoder: Encoder, index: LabelIndex, leave_one_out: bool
    ) -> InferRetrieveRank:
        models = Models(encoder, plan.infer_lm, plan.rank_lm)
        spec = ProgramSpec.of(
            models,
            settings=plan.settings,
            combination=plan.combination,
            task=plan.task,
            examples=self.examples if plan.examples else (),
            leave_one_out=leave_one_out,
        )
        return InferRetrieveRank.assemble(spec, models, index)

    def judged(self, plan: Plan, rows: Sequence[GoldRow]) -> list[GoldFeatures]:
        """The features of each row's labels and which are gold, without a language model."""
        program = self.program(replace(plan, infer_lm=None, rank_lm=None))
        inferences = program.stages.inferer.infer([clean(row.text) for row in rows])
        found = program.stages.retriever.features([inference.queries for inference in inferences], DEPTH)
        judged = []
        for row, features in zip(rows, found, strict=True):
            if features is not None:
                gold = [self.index.space.number_of[label] for label in row.labels]
                judged.append(GoldFeatures(features, np.isin(features.labels, gold), len(set(gold))))
        return judged

    def values(
        self, plan: Plan, rows: Sequence[GoldRow], metric: str = "rp@10", quick: bool = False
    ) -> Values:
        """The metric of each row, shape (rows,)."""
        predictions = self.program(plan, quick).batch([row.text for row in rows], DEPTH)
        rankings = [[label.id for label in prediction.labels] for prediction in predictions]
        score = METRICS[metric]
        return np.array([score(ids, set(row.labels)) for ids, row in zip(rankings, rows, strict=True)])


def scored(step: str, what: str, metric: str, values: Sequence[float] | Values, calls: int) -> Trial:
    """A trial with the mean of its values and its interval."""
    return Trial(step, what, metric, estimate(values), calls)


class CachingEncoder:
    """An encoder that encodes no text twice."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._places: dict[tuple[str, Places], tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new or not texts:
            vectors = self.encoder.encode(new)
            if not texts:
                return vectors
            self._vectors.update(zip(new, vectors, strict=True))
        return np.array([self._vectors[text] for text in texts], np.float32)

    def encode_places(self, texts: Sequence[str], places: Sequence[Places]) -> ContextVectors | None:
        """Returns the vectors of texts and of places in them; None if the encoder has none of places."""
        keys = [(text, tuple(of_text)) for text, of_text in zip(texts, places, strict=True)]
        new = [key for key in dict.fromkeys(keys) if key not in self._places]
        if new:
            found = encode_places(self.encoder, [text for text, _ in new], [of_text for _, of_text in new])
            if found is None:
                return None
            self._places.update(zip(new, zip(*found, strict=True), strict=True))
        vectors, of_places = zip(*(self._places[key] for key in keys), strict=True)
        return ContextVectors(np.array(vectors, np.float32), list(of_places))


@dataclass(frozen=True)
class CachingIndex(LabelIndex):
    """An index that looks up no query twice."""

    known: dict[bytes, NDArray[np.int64]] = field(default_factory=dict)

    def nearest(self, vectors: NDArray[np.float32], n_results: int) -> NDArray[np.int64]:
        """Returns the nearest entries of each query vector, exact ones in a small label space."""
        keys = [vector.tobytes() for vector in vectors]
        new = [row for row, key in enumerate(keys) if key not in self.known]
        n_results = min(n_results, len(self.vectors))
        for start in range(0, len(new), _BLOCK):
            rows = new[start : start + _BLOCK]
            if len(self.vectors) > RetrieveSettings().exact_entries:
                found = super().nearest(vectors[rows], n_results)
            else:
                found = np.argpartition(vectors[rows] @ self.vectors.T, -n_results)[:, -n_results:]
            self.known.update(zip((keys[row] for row in rows), found, strict=True))
        return np.array([self.known[key] for key in keys])


@dataclass(frozen=True)
class Fitted:
    """A combination fitted to all examples with a prior of this strength.

    `before` and `after` are RP@10 of each example, shape (examples,): by the prior, and by a combination
    fitted without the example.
    """

    combination: Combination
    strength: float
    before: Values
    after: Values

    @property
    def pays(self) -> bool:
        """Whether the gain on held-out examples is beyond luck."""
        return lower_bound(self.after - self.before) > 0


def fit_by_cross_validation(texts: Sequence[GoldFeatures], start: Combination, seed: int) -> Fitted | None:
    """Fits a combination with the strength that scores best on held-out examples; None with too few."""
    usable = [text for text in texts if text.right.any()]
    if len(usable) < FEWEST:
        return None
    before = np.array([text.rank_precision(start) for text in usable])
    tried = [(strength, cross_validated(usable, start, strength, seed)) for strength in _STRENGTHS]
    # Of equal strengths the highest, which stays nearest to the prior.
    strength, after = max(tried, key=lambda item: (item[1].mean(), item[0]))
    return Fitted(fit(usable, start, strength), strength, before, after)


def cross_validated(
    texts: Sequence[GoldFeatures], start: Combination, strength: float, seed: int, depth: int = _RP_DEPTH
) -> Values:
    """RP@k of each text by a combination fitted without its fold, shape (texts,); k is `depth`."""
    fold = np.random.default_rng(seed).permutation(len(texts)) % _FOLDS
    values = np.empty(len(texts))
    for held in range(_FOLDS):
        rest = [text for text, own in zip(texts, fold, strict=True) if own != held]
        found = fit(rest, start, strength)
        for at in np.flatnonzero(fold == held).tolist():
            values[at] = texts[at].rank_precision(found, depth)
    return values


def fit(texts: Sequence[GoldFeatures], start: Combination, strength: float) -> Combination:
    """The weights that minimize

        sum over texts t: mean over gold l of -ln softmax(SCALE · score)(l)
        + 1/2 · strength · |w - start|^2

    with w in standard deviations of the features: the listwise loss of ListNet (Cao et al. 2007) with a
    Gaussian prior. Texts without a gold label among the proposed are ignored.
    """
    from scipy.optimize import minimize

    texts = [text for text in texts if text.right.any()]
    values = np.concatenate([text.features.values for text in texts]).astype(np.float64)
    # A feature that never varies keeps its weight.
    deviation = np.tile(values.std(axis=0) + 1e-3, 2)
    counts = [len(text.right) for text in texts]
    shares = np.repeat([length_share(text.features.passages) for text in texts], counts)[:, None]
    rows = np.concatenate([values * (1 - shares), values * shares], axis=1) / deviation
    target = np.concatenate([text.right / text.right.sum() for text in texts])
    given = [part.get(name, 0.0) for part in (start.short, start.long) for name in _NAMES]
    prior = np.array(given) * SCALE * deviation
    starts = np.cumsum([0, *counts[:-1]])

    def loss(weights: Values) -> tuple[float, Values]:
        logits = rows @ weights
        highest = np.maximum.reduceat(logits, starts)
        raised = np.exp(logits - np.repeat(highest, counts))
        total = np.add.reduceat(raised, starts)
        value = (np.log(total) + highest).sum() - (target * logits).sum()
        change = weights - prior
        gradient = rows.T @ (raised / np.repeat(total, counts) - target) + strength * change
        return float(value + 0.5 * strength * (change**2).sum()), gradient

    found = minimize(loss, prior, jac=True, method="L-BFGS-B").x / deviation / SCALE
    weights = [
        {name: round(float(w), 6) for name, w in zip(_NAMES, part, strict=True) if abs(w) >= 5e-7}
        for part in np.split(found, 2)
    ]
    return Combination(short=weights[0], long=weights[1])


def tune(scorer: Scorer, plan: Plan, rows: Sequence[GoldRow], budget: Budget, on_trial: OnTrial) -> Plan:
    """Returns the plan with the hyperparameters that score best on `rows`, by RP@10, tuned one at a time."""
    grid = _applicable(scorer, plan)
    most = 1 + _PASSES * sum(len(options) - 1 for options in grid.values())
    start, values = plan, scorer.values(plan, rows, quick=True)
    on_trial(scored("tuning", "as given", "rp@10", values, 0), most)
    unchanged = 0
    for name in [*grid] * _PASSES:
        tried: list[tuple[float, Plan, Values]] = []
        for option in grid[name]:
            if option == plan.settings.flat()[name] or budget.reason:
                continue
            other = plan.set({name: option})
            others = scorer.values(other, rows, quick=True)
            on_trial(scored("tuning", f"{name}={option:g}", "rp@10", others, 0), most)
            tried.append((lower_bound(others - values), other, others))
        gain, other, others = max(tried, key=lambda item: item[0], default=(0.0, plan, values))
        if gain > 0:
            plan, values, unchanged = other, others, 0
        else:
            unchanged += 1
        if unchanged >= len(grid) or budget.reason:
            break
    if plan == start:
        return start
    # The gain of quick scoring must hold in full scoring.
    return plan if scorer.values(plan, rows).mean() > scorer.values(start, rows).mean() else start


def combine(scorer: Scorer, plan: Plan, rows: Sequence[GoldRow], seed: int, on_trial: OnTrial) -> Plan:
    """Returns the plan with weights fitted to `rows`, if they pay on rows held out of the fit."""
    fitted = fit_by_cross_validation(scorer.judged(plan, rows), plan.combination, seed)
    if fitted is None:
        return plan
    on_trial(scored("combining", "weights as given", "rp@10", fitted.before, 0), 2)
    on_trial(scored("combining", f"fitted, strength={fitted.strength:g}", "rp@10", fitted.after, 0), 2)
    return replace(plan, combination=fitted.combination) if fitted.pays else plan


def _applicable(scorer: Scorer, plan: Plan) -> dict[str, tuple[float, ...]]:
    """The hyperparameters without a language model that this label space and these examples can show."""
    space, kinds = scorer.index.space, plan.settings.retrieve.fields
    described = EntryKind.DESCRIPTION in kinds and any(label.description for label in space)
    idle = {
        "retrieve.example_weight": not scorer.examples,
        "retrieve.alias_margin": EntryKind.ALIAS not in kinds or not any(label.aliases for label in space),
        "retrieve.description_margin": not described,
        "retrieve.parent_share": not any(label.parents for label in space),
        "retrieve.prior_weight": not any(label.prior for label in space),
    }
    of_model = {"retrieve.term_weight", "rank.listwise_weight", "rank.pointwise_weight"}
    return {n: options for n, options in HYPERPARAMETERS.items() if n not in of_model and not idle.get(n)}
