"""What a listwise prompt must show: tokens and scores by the number of candidates and by the score gap.

python -m eval.shown --data DIR [--name shown]

DIR holds esco/ and recorded/esco.jsonl, as for `eval.recorded`, whose answers are repeated by name: a
candidate that is not shown is not chosen, and one that was not shown in the recording is not either. Tokens
are those of prompt and answer as the small model reads them, relative to the paper's form of prompt with 50
candidates and an answer of ten names. Choose on dev; the 60 texts of each test set are a check.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from transformers import AutoTokenizer

from eval import reference
from eval.record import finish, options
from eval.recorded import read
from irr.config import RankMethod, Settings
from irr.evaluation.metrics import rp_at_k
from irr.io.texts import GoldRow
from irr.lm.packaged import packaged_folder
from irr.lm.protocol import ChatRequest, count
from irr.lm.recorded import RecordedModel
from irr.program.program import InferRetrieveRank, build
from irr.prompts.pack import load_task
from irr.rank.ranker import LMRanker, depth, evidence_by
from irr.statistics import estimate, paired_bootstrap
from irr.text.words import clean
from irr.types import Candidate, Usage

TASK = "esco"
CANDIDATES = (30, 50, 100)
GAPS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
# What every row is compared with.
AS_BEFORE = (50, 0.0)


class CountingModel(RecordedModel):
    """The recorded model, which counts the tokens of ranking prompts and answers by the small model's."""

    tokenizer: Any = None

    async def chat(self, request: ChatRequest) -> str:
        """Answers as recorded."""
        answer = await super().chat(request)
        if "ranking" in (request.schema or {}).get("properties", {}):
            messages = [{"role": role, "content": text} for role, text in request.messages]
            prompt = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            # A server with compact structured output writes no spaces; the end of the turn is a token.
            compact = json.dumps(json.loads(answer), separators=(",", ":"))
            count(Usage(prompt_tokens=self.tokens(prompt), completion_tokens=self.tokens(compact) + 1))
        return answer

    def tokens(self, text: str) -> int:
        """The number of tokens of a text."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])


class Texts(NamedTuple):
    """Texts with gold, what the ranking model reads of each, and their candidates."""

    gold: Sequence[set[str]]
    shown: Sequence[str]
    candidates: Sequence[Sequence[Candidate]]


class Ranked(NamedTuple):
    """What a ranking of texts scores and costs: a value a text."""

    scores: Mapping[str, list[float]]
    shown: list[int]
    tokens: list[int]


def main() -> None:
    """Ranks the same candidates with every pair of values, and records the figures."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--index-folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recorded = read(arguments.data, Path(folder))
        model = CountingModel.read(recorded.files["task"])
    model.tokenizer = AutoTokenizer.from_pretrained(packaged_folder(), local_files_only=True)
    program, plain = (
        build(
            recorded.space,
            settings=Settings().replace({"retrieve.candidates": max(CANDIDATES)}),
            infer_lm=infer_lm,
            task=TASK,
            index_folder=arguments.index_folder,
        )
        for infer_lm in (model, None)
    )
    prompt = reference.prompt_of(plain, TASK)
    figures: dict[str, Any] = {}
    for name, rows in {"dev": recorded.dev, **recorded.test}.items():
        texts = retrieved(program, rows)
        names = [[one.label.name for one in candidates] for candidates in texts.candidates]
        theirs = fmean(
            model.tokens(prompt(text, options[: reference.OPTIONS]))
            + model.tokens(reference.answer_of(options[:10]))
            for text, options in zip(texts.shown, names, strict=True)
        )
        found = {
            (depth, gap): ranked(texts, model, depth, gap)
            for depth, gap in itertools.product(CANDIDATES, GAPS)
        }
        figures[name] = {
            "reference tokens a text": round(theirs, 1),
            "rows": [
                {"candidates": depth, "score_gap": gap, **as_json(one, found[AS_BEFORE], theirs)}
                for (depth, gap), one in found.items()
            ],
        }
    finish(figures, arguments.name)


def retrieved(program: InferRetrieveRank, rows: Sequence[GoldRow]) -> Texts:
    """The texts with their candidates."""
    texts = [clean(row.text) for row in rows]
    traces = [prediction.trace for prediction in program.batch(texts, trace=True)]
    candidates = [trace.candidates if trace else () for trace in traces]
    return Texts(
        [{*row.labels} for row in rows], [*map(program.stages.rank_text, texts, candidates)], candidates
    )


def ranked(texts: Texts, model: CountingModel, most: int, gap: float) -> Ranked:
    """The texts ranked by a model that is shown so many candidates, none too far below the best."""
    settings = Settings().replace({"retrieve.candidates": most, "rank.score_gap": gap})
    evidence = evidence_by(RankMethod.LISTWISE, model, load_task(TASK), settings.rank)
    ranker = LMRanker(evidence, settings.rank.listwise_weight, settings)
    rankings = ranker.rank(texts.shown, texts.candidates)
    answers = [[label.id for label in ranking.labels] for ranking in rankings]
    usages = [ranking.usage for ranking in rankings]
    return Ranked(
        {f"rp@{k}": [rp_at_k(a, g, k=k) for a, g in zip(answers, texts.gold, strict=True)] for k in (5, 10)},
        [depth(settings, [one.score for one in candidates]) for candidates in texts.candidates],
        [usage.prompt_tokens + usage.completion_tokens for usage in usages],
    )


def as_json(one: Ranked, before: Ranked, theirs: float) -> dict[str, Any]:
    """Scores with the difference to before, candidates shown, and tokens relative to the reference."""
    return {
        **{metric: estimate(values).percent() for metric, values in one.scores.items()},
        "against 50 and no gap": {
            metric: paired_bootstrap(values, before.scores[metric]).percent()
            for metric, values in one.scores.items()
        },
        "shown a text": round(fmean(one.shown), 1),
        "tokens a text": round(fmean(one.tokens), 1),
        "share of the reference": round(fmean(one.tokens) / theirs, 3),
    }


if __name__ == "__main__":
    main()
