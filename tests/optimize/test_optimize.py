"""Optimization: numbers, prompts by every optimizer, budgets and interrupts, and what comes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from trove_classifiers import sorted_classifiers

import irr as package
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import BudgetSpentError, LMError, LMUnavailableError
from irr.io.texts import GoldRow
from irr.lm.cache import Budget, CachedModel
from irr.lm.loop import run_on_loop
from irr.lm.protocol import ChatRequest
from irr.optimize.optimization import Optimized, Teachers, optimize
from irr.optimize.prompt_search import Optimizer
from tests.doubles.scripted import ScriptedModel

# What the texts mean stands in none of their words: only an example, or a model, can know it.
MEANT = {"zorvik": "bake bread", "plimbo": "wash dishes", "quandle": "plan menus", "frotzel": "buy food"}
# Each of these comes only once, so that no example helps: only a model can know it.
STRANGE = {
    f"{start}{end}": name
    for start, end, name in zip(
        "blom kref dwil snar glup vost treg primp hask juld".split(),
        "ax ost ip arn eg oon ulk ing art eph".split(),
        "sell shoes;mend nets;drive a tram;teach chess;tune pianos;cut hedges;paint walls;keep bees;"
        "weigh parcels;shear sheep".split(";"),
        strict=True,
    )
}
NAMES = [*MEANT.values(), *STRANGE.values(), *sorted_classifiers[::7]]
ROWS = [
    GoldRow(id=f"{word}{i}", text=f"{word} in case {i}, {word}", labels=(name,))
    for i in range(4)
    for word, name in MEANT.items()
]
ODD = [GoldRow(id=word, text=f"{word} is asked for", labels=(name,)) for word, name in STRANGE.items()]


@pytest.fixture(scope="module")
def space() -> package.LabelSpace:
    """More labels than are looked at, so that finding one means something."""
    return package.LabelSpace(NAMES)


def knowing(needs: str = "") -> Callable[[ChatRequest], str]:
    """Answers as one who knows what the words mean, if what comes before the question holds `needs`."""

    def reply(request: ChatRequest) -> str:
        *before, (_, question) = request.messages
        if request.schema is None:
            field = re.search(r"starting with the field `(\[\[ ## \w+ ## \]\])`", question)
            return f"{field[1]}\nthe secret rule" if field else "```\nthe secret rule\n```"
        if fields := [name for name in request.schema["properties"] if name not in ("terms", "ranking")]:
            return json.dumps(dict.fromkeys(fields, "the secret rule"))
        able = any(needs in text for _, text in before)
        meant = next((name for word, name in (MEANT | STRANGE).items() if word in question), "")
        if "terms" in request.schema["properties"]:
            return json.dumps({"terms": [meant if able and meant else "nothing of use"]})
        names = re.findall(r"^\d+ (.*)$", question, re.M)
        return json.dumps({"ranking": [names.index(meant) + 1 if able and meant in names else len(names)]})

    return reply


@pytest.fixture
def run(space: package.LabelSpace, encoder: SentenceEncoder, index_folder: Path) -> Callable[..., Optimized]:
    """Optimizes on two halves of rows; the runs of a process share the encoder that is open."""

    def run(rows: list[GoldRow], infer: Any = None, rank: Any = None, **options: Any) -> Optimized:
        half = len(rows) // 2
        program = package.build(
            space, encoder=encoder, infer_lm=infer, rank_lm=rank, task="esco", index_folder=index_folder
        )
        return optimize(program, rows[:half], rows[half:], **options)

    return run


def test_examples_speak_for_their_labels_and_the_same_seed_gives_the_same_program(
    run: Callable[..., Optimized],
) -> None:
    one, two = run(ROWS, seed=1), run(ROWS, seed=1)
    assert one.program.digest == two.program.digest
    assert one.scores["after"].metrics["rp@5"].mean > one.scores["before"].metrics["rp@5"].mean
    assert "bake bread" in [label.id for label in one.program("zorvik in case 9").labels[:5]]
    assert one.history["calls"] == 0
    assert {trial.step for trial in one.trials} == {"tuning"}


def test_what_the_trainset_adds_is_measured_on_the_valset(
    space: package.LabelSpace, encoder: SentenceEncoder, index_folder: Path
) -> None:
    train = [row for row in ROWS if not row.id.startswith("zorvik")]
    val = [row for row in ROWS if row.id.endswith("0")]
    program = package.build(space, encoder=encoder, index_folder=index_folder)
    result = optimize(program, [row for row in train if row not in val], val)
    assert result.of_train is not None
    assert result.of_train.mean == pytest.approx(0.75, abs=0.1), "all but one of four words"


# What the student has to be shown or told before it knows anything.
NEEDS = {Optimizer.BOOTSTRAP: "sell shoes", Optimizer.MIPRO: "secret rule", Optimizer.GEPA: "secret rule"}


@pytest.mark.parametrize("optimizer", NEEDS)
def test_prompts_are_optimized_stage_by_stage(run: Callable[..., Optimized], optimizer: Optimizer) -> None:
    student, teacher = ScriptedModel(knowing(NEEDS[optimizer])), ScriptedModel(knowing())
    teacher.name = "teacher"
    result = run(ODD, student, student, teachers=Teachers(teacher, teacher), optimizer=optimizer)
    for step in ("infer", "rank"):
        tried = [trial.what for trial in result.trials if trial.step == step]
        assert any(what.startswith(str(optimizer)) for what in tried), tried
    assert result.scores["before"].metrics["rp@5"].mean < 0.5
    assert result.scores["after"].metrics["rp@5"].mean == 1.0
    assert result.program.models.infer_lm is student, "the teacher is not for keeps"
    assert teacher.requests, "the teacher was never asked"
    assert not result.stopped
    # What was measured is what is kept: the program answers as it scored, from its prompts alone.
    assert result.program(ODD[-1].text).labels[0].id == ODD[-1].labels[0]
    told = result.program.spec.task
    assert told is not None
    assert NEEDS[optimizer] in told.infer.model_dump_json()
    again = run(ODD, student, student, teachers=Teachers(teacher, teacher), optimizer=optimizer)
    assert again.program.digest == result.program.digest


def test_both_stages_together_and_a_stage_that_does_not_pay_is_left_out(
    run: Callable[..., Optimized],
) -> None:
    knows, knows_not = ScriptedModel(knowing()), ScriptedModel(lambda request: LMError("server_error", "500"))
    result = run(ODD, knows, knows, end_to_end=True, optimizer=Optimizer.BOOTSTRAP)
    assert {trial.step for trial in result.trials} == {"tuning", "infer+rank"}
    assert result.scores["after"].metrics["rp@1"].mean == 1.0

    result = run(ODD, infer=knows, rank=knows_not, optimizer=Optimizer.NONE)
    assert result.program.models.infer_lm is knows
    assert result.program.models.rank_lm is None


def test_a_budget_that_is_spent_leaves_the_best_so_far(run: Callable[..., Optimized]) -> None:
    for calls in (0, 12, 40):
        model = ScriptedModel(knowing("sell shoes"))
        teacher = ScriptedModel(knowing())
        result = run(ODD, model, teachers=Teachers(teacher), budget=Budget(calls))
        assert len(model.requests) + len(teacher.requests) == calls == result.history["calls"]
        assert "budget" in result.stopped
        assert result.program(ODD[0].text).error is None
        assert len(result.program(ODD[0].text).labels) == 10


def test_who_has_had_enough_gets_the_best_so_far(run: Callable[..., Optimized]) -> None:
    budget = Budget()
    asked = 0

    def reply(request: ChatRequest) -> str:
        nonlocal asked
        asked += 1
        if asked == 30:
            budget.stop("interrupted")
        return knowing("sell shoes")(request)

    result = run(ODD, infer=ScriptedModel(reply), budget=budget)
    assert result.stopped == "interrupted"
    assert asked < 30 + 8, "it went on for long"
    assert any(trial.step == "infer" for trial in result.trials)


def test_judgements_are_paid_for_once() -> None:
    model, budget = ScriptedModel(), Budget(3)
    counted = CachedModel(model, budget)
    judge = partial(counted.probabilities, "p", "bake")
    first = run_on_loop(judge(["bread", "pans"], " yes", " no"))
    assert run_on_loop(judge(["pans", "flour", "bread"], " yes", " no"))[::2] == first[::-1]
    run_on_loop(judge(["bread"], " true", " false"))
    assert [items for _, _, items in model.judged] == [("bread", "pans"), ("flour",), ("bread",)]
    with pytest.raises(BudgetSpentError, match="budget of 3"):
        run_on_loop(counted.probabilities("p", "wash", ["bread"], " yes", " no"))


def test_a_model_that_is_refused_in_mid_search_ends_it_at_once(run: Callable[..., Optimized]) -> None:
    asked = 0

    def reply(request: ChatRequest) -> str | LMError:
        nonlocal asked
        asked += 1
        refused = LMUnavailableError("refused", "the model server refuses the key (401)")
        return refused if asked > 40 else knowing("sell shoes")(request)

    with pytest.raises(LMUnavailableError, match="refuses the key"):
        run(ODD, infer=ScriptedModel(reply))
    assert asked < 40 + 32, "it went on asking"


def test_a_model_that_falls_silent_leaves_the_best_so_far_and_no_trial_of_its_silence(
    run: Callable[..., Optimized],
) -> None:
    asked = 0

    def reply(request: ChatRequest) -> str | LMError:
        nonlocal asked
        asked += 1
        silent = LMError("unreachable", "no answer", retryable=True)
        return silent if asked > 7 else knowing()(request)

    budget = Budget()
    result = run(ODD, infer=ScriptedModel(reply), optimizer=Optimizer.NONE, budget=budget)
    assert budget.silent
    assert "unanswered" in result.stopped
    answered = [trial for trial in result.trials if trial.step == "infer" and trial.what != "without"]
    assert all(trial.score.mean > 0.5 for trial in answered), "a silence was taken for an answer"
