"""The report: what it counts, checked against the labels' vectors, and the page as a browser shows it."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trove_classifiers import sorted_classifiers

from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.evaluate import diagnosis as figures
from irr.evaluate.diagnosis import Diagnosis, GoldOutcome
from irr.evaluate.evaluate import Evaluation, EvaluationOptions, compare, evaluate, read_baseline
from irr.evaluate.evaluation_page import curve, write_page
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank, build
from irr.rank.ranker import by_score
from irr.types import Candidate, EntryKind, QueryKind, Ranking
from tests.support import KITCHEN, Irr, write_jsonl

TEXTS = (
    "A web framework for Django that renders maps, tests chess engines and compiles Fortran on Windows",
    "Command line tool that reads audio files & prints their spectrum <script>alert(1)</script>",
    "Machine learning with neural networks; database drivers for PostgreSQL, monitoring and logging.",
    "读写 电子邮件 with Python",
    "Games: a puzzle for children, an arcade shooter, and a role-playing adventure with multiplayer chat",
)


def classifier(name: str) -> dict[str, Any]:
    *above, last = name.split(" :: ")
    return {"id": name, "name": last, "parents": [" :: ".join(above)] if above else []}


@pytest.fixture(scope="module")
def space() -> LabelSpace:
    return LabelSpace(classifier(name) for name in sorted_classifiers)


@pytest.fixture(scope="module")
def trove(space: LabelSpace, encoder: SentenceEncoder, index_folder: Path) -> InferRetrieveRank:
    # Alone, a query then orders labels by cosine, as the test of outcomes below works it out.
    settings = Settings().replace(
        {
            "retrieve.fields": (EntryKind.NAME,),
            "retrieve.name_recall_weight": 0,
            "retrieve.word_cosine_weight": 0,
            "retrieve.parent_share": 0,
        }
    )
    return build(space, encoder=encoder, settings=settings, index_folder=index_folder)


@pytest.fixture(scope="module")
def rows(trove: InferRetrieveRank) -> list[GoldRow]:
    """For each text: its first label, one that rank puts at 20, and two outside the pool."""
    texts = []
    for number, text in enumerate(TEXTS):
        trace = trove(text, 50, trace=True).trace
        assert trace
        ranking = [label.id for label in trace.ranking]
        outside = [label.id for label in trove.space if label.id not in ranking]
        gold = (ranking[0], ranking[19], *outside[number * 7 :: 200][:2])
        texts.append(GoldRow(id=f"text {number}", text=text, labels=gold))
    return [*texts, GoldRow(id="none", text="no gold", labels=()), GoldRow(id="bad", text=" ", labels=gold)]


OPTIONS = EvaluationOptions(name="first", gold="gold <1>.jsonl", labels="trove.jsonl", diagnose=True)


@pytest.fixture(scope="module")
def evaluation(trove: InferRetrieveRank, rows: list[GoldRow]) -> Evaluation:
    return evaluate(trove, rows, OPTIONS)


@pytest.fixture(scope="module")
def diagnosis(evaluation: Evaluation) -> Diagnosis:
    assert evaluation.diagnosis
    return evaluation.diagnosis


def test_every_gold_label_has_the_outcome_that_the_vectors_say(
    diagnosis: Diagnosis, trove: InferRetrieveRank
) -> None:
    """A query asked alone orders labels by cosine, names being the only entries."""
    names = trove.encoder.encode([label.name for label in trove.space])
    outcomes = set()
    for text in diagnosis.texts[: len(TEXTS)]:
        trace = trove(text.text, 50, trace=True).trace
        assert trace
        # The whole text is left out: shared words count for it, too.
        spans = [query.text for query in trace.queries if query.kind is QueryKind.SPAN]
        ordered = (-(trove.encoder.encode(spans) @ names.T)).argsort(axis=1)[:, :10]
        near = {trove.space[int(number)].id for number in np.unique(ordered)}
        for gold in text.gold:
            outcomes.add(gold.outcome)
            if gold.rank:
                assert [label.id for label in trace.ranking][gold.rank - 1] == gold.label
                assert gold.outcome is (GoldOutcome.FOUND if gold.rank <= 10 else GoldOutcome.LOW)
            elif gold.outcome is GoldOutcome.UNMATCHED:
                assert gold.label not in near
            else:
                assert gold.outcome is GoldOutcome.UNRETRIEVED
                assert gold.nearest and gold.nearest[1] <= 10
                if gold.nearest[0].kind is QueryKind.SPAN:
                    assert gold.label in near
    assert {GoldOutcome.FOUND, GoldOutcome.LOW, GoldOutcome.UNMATCHED} <= outcomes


def test_the_funnel_adds_up_and_its_gains_are_what_a_stage_without_loss_would_bring(
    evaluation: Evaluation, diagnosis: Diagnosis
) -> None:
    lost = {stage.outcome: stage for stage in figures.funnel(diagnosis.texts)}
    assert sum(stage.labels for stage in lost.values()) == 4 * 6
    assert lost[GoldOutcome.UNANSWERED].labels == 4
    # One of four labels in each of six texts but the one that was not answered.
    assert lost[GoldOutcome.LOW].gain == pytest.approx(5 / 6 / 4)
    # With at most ten gold labels a text, all gains together lead to 1.
    assert evaluation.metrics["rp@10"].mean + sum(stage.gain for stage in lost.values()) == pytest.approx(1)
    means = [e.mean for e in curve(evaluation)]
    ranks = [sorted(gold.rank or 99 for gold in text.gold) for text in diagnosis.texts if text.gold]
    by_hand = [
        np.mean([sum(rank <= k for rank in ranked) / min(k, len(ranked)) for ranked in ranks])
        for k in range(1, 51)
    ]
    assert means == pytest.approx(by_hand)
    assert means[9] == pytest.approx(evaluation.metrics["rp@10"].mean)


def test_groups_hold_every_label_and_every_text_once(diagnosis: Diagnosis, space: LabelSpace) -> None:
    assert sum(group.size for group in figures.by_frequency(diagnosis.texts)) == 4 * 6
    assert sum(group.size for group in figures.by_depth(diagnosis.texts, space)) == 4 * 6
    assert sum(group.size for group in figures.by_length(diagnosis.texts)) == 6
    assert figures.by_depth(diagnosis.texts, LabelSpace(["a", "b"])) == []
    levels = figures.levels(LabelSpace(KITCHEN))
    assert (levels["cook"], levels["plan"]) == (1, 2)
    circle = [{"id": "a", "name": "a", "parents": ["b"]}, {"id": "b", "name": "b", "parents": ["a"]}]
    assert figures.levels(LabelSpace(circle)) == {"a": 1, "b": 1}


def test_confused_is_the_wrong_label_above_whose_name_is_nearest(
    diagnosis: Diagnosis, space: LabelSpace, encoder: SentenceEncoder
) -> None:
    pairs = figures.confusions(diagnosis.texts, space, encoder)
    assert pairs
    for pair in pairs:
        for number in pair.texts:
            text = diagnosis.texts[number]
            right = {gold.label for gold in text.gold}
            assert pair.gold in right
            assert pair.wrong not in right
            assert pair.wrong in [p.label for p in text.predicted]


def page_of(evaluation: Evaluation) -> str:
    out = io.StringIO()
    write_page(out, evaluation)
    return out.getvalue()


def test_the_page_is_complete_in_itself_and_no_text_can_break_it(evaluation: Evaluation) -> None:
    page = page_of(evaluation)
    assert page.count("</script>") == 2, "a text's own end of script must not end ours"
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert "<title>first on gold &lt;1&gt;.jsonl" in page
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data = json.loads(found[1])
    assert data["texts"][1]["text"] == TEXTS[1]
    assert data["facts"]["program"] == evaluation.program


class Backwards:
    """A ranker that undoes what retrieval did."""

    def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
        return [by_score(group, [-candidate.score for candidate in group]) for group in candidates]


def test_what_rank_did_to_the_order_of_retrieval_is_counted(
    space: LabelSpace, encoder: SentenceEncoder, rows: list[GoldRow], index_folder: Path
) -> None:
    """The label that retrieval puts first is moved to the end; the others stay out of the first ten."""
    program = build(
        space,
        encoder=encoder,
        settings=Settings().replace({"retrieve.fields": (EntryKind.NAME,)}),
        ranker=Backwards(),
        index_folder=index_folder,
    )
    page = page_of(evaluate(program, rows, OPTIONS))
    data = json.loads(re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)[0])
    assert data["facts"]["reranked"]
    assert data["moved"] == {"up": 0, "down": len(TEXTS)}


def test_an_ancestor_outside_the_candidates_has_no_matches(
    space: LabelSpace, encoder: SentenceEncoder, rows: list[GoldRow], index_folder: Path
) -> None:
    settings = Settings().replace({"hierarchy": "closed", "retrieve.fields": (EntryKind.NAME,)})
    program = build(space, encoder=encoder, settings=settings, index_folder=index_folder)
    evaluation = evaluate(program, rows[:2], OPTIONS)
    assert evaluation.diagnosis
    predicted = [label for text in evaluation.diagnosis.texts for label in text.predicted]
    assert any(not label.matches for label in predicted)
    assert "<!doctype html>" in page_of(evaluation)


def test_the_command_writes_the_page(irr: Irr, labels_file: Path, tmp_path: Path) -> None:
    gold = write_jsonl(tmp_path / "gold.jsonl", [{"id": "1", "text": "bake bread", "labels": ["bake"]}])
    page, scores = tmp_path / "report.html", tmp_path / "scores.json"
    call = ("eval", "--labels", labels_file, "--gold", gold)
    result = irr(*call, "--report", page, "--json", scores)
    assert result.returncode == 0, result.stderr
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert json.loads(scores.read_text("utf-8"))["rp@10"] == 1
    result = irr(*call, "--report", gold)
    assert result.returncode == 2
    assert "is both read and written" in result.stderr
    result = irr(*call, "--report", page, "--json", page)
    assert result.returncode == 2
    assert "--report and --json" in result.stderr


# From here on: as a browser shows it.


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """Opens a page; fails for whatever it logs, and for whatever it asks a network for."""
    complaints: list[str] = []

    def open_page(path: Path, **options: Any) -> Any:
        page = browser.new_context(**options).new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda r: complaints.append(r.url) if not r.url.startswith(("file:", "data:")) else 0
        )
        page.goto(path.as_uri())
        return page

    yield open_page
    assert complaints == []


@pytest.fixture(scope="module")
def compared(evaluation: Evaluation, rows: list[GoldRow], tmp_path_factory: Any) -> Path:
    """A page with another run beside it, in which the first text was lost."""
    folder = tmp_path_factory.mktemp("report")
    other = folder / "other.json"
    fields = evaluation.as_json() | {"name": "other"}
    for column in fields["per_text"]["scores"].values():
        column[0] = 0.0
    other.write_text(json.dumps(fields))
    comparison = compare(evaluation.per_text, read_baseline(other, rows))
    path = folder / "report.html"
    path.write_text(page_of(dataclasses.replace(evaluation, comparisons=(comparison,))), "utf-8")
    return path


def test_filter_sort_find_and_compare_in_a_browser(opened: Any, compared: Path) -> None:
    page = opened(compared)
    assert page.locator("h1").inner_text() == "first on gold <1>.jsonl"
    cards = page.locator("ol.texts > li")
    assert cards.count() == 7
    page.get_by_role("button", name="Not answered 1").click()
    assert cards.count() == 1
    assert "nothing to read" in cards.inner_text()
    page.get_by_role("button", name="All 7", exact=True).click()
    page.get_by_label("Order").select_option("longest first")
    lengths = [len(text) for text in page.locator("ol.texts .body").all_inner_texts()]
    assert lengths == sorted(lengths, reverse=True)
    page.get_by_label("Find in").fill("<SCRIPT>")
    assert cards.count() == 1
    assert page.get_by_role("status").inner_text() == "1 – 1 of 1 text"
    page.get_by_label("Find in").fill("")
    comparison = page.locator("#compare")
    assert "Against other" in comparison.inner_text()
    comparison.get_by_role("button", name="1 text is better").click()
    assert cards.count() == 1
    assert "+25.0 against other" in cards.inner_text()
    page.get_by_role("button", name="Show the texts: Ranked too low").click()
    assert cards.count() == 5
    page.locator("#pairs .link").first.click()
    assert cards.count() >= 1


def test_it_can_be_used_by_keyboard_alone(opened: Any, compared: Path) -> None:
    page = opened(compared)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the texts"
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('label')"):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    lit = page.evaluate("[...document.querySelectorAll('mark.on')].map((m) => m.textContent).join(' ')")
    assert lit, "the words that spoke for the label stand out"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert "→" in page.locator(".why").inner_text()
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, select, input')]"
        ".filter((n) => !(n.textContent.trim() || n.getAttribute('aria-label'))).length"
    )
    assert unnamed == 0


def contrast(page: Any, selector: str) -> float:
    """The contrast of an element's ink to the nearest opaque ground under it (WCAG 2.2, 1.4.3)."""
    ink, ground = page.evaluate(
        """(selector) => {
            let node = document.querySelector(selector);
            const ink = getComputedStyle(node).color;
            const clear = (n) => getComputedStyle(n).backgroundColor === "rgba(0, 0, 0, 0)";
            while (clear(node)) node = node.parentElement;
            return [ink, getComputedStyle(node).backgroundColor].map((c) => c.match(/[\\d.]+/g).map(Number));
        }""",
        selector,
    )

    def luminance(color: list[float]) -> float:
        parts = [c / 255 for c in color[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(ink), luminance(ground)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_light_and_dark_wide_and_narrow(opened: Any, compared: Path, scheme: str, width: int) -> None:
    page = opened(compared, color_scheme=scheme, viewport={"width": width, "height": 1000})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing runs out of the page"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    assert dark == (scheme == "dark")
    for selector in (
        "p.lead", ".facts", ".note", "nav a", "td.soft", ".chip", ".body", ".body mark.right",
        ".label .where", ".is-found .where", ".is-low .where", ".is-unmatched .where", "a, .link",
        ".bar .found", ".bar .low", ".bar .unmatched",
    ):  # fmt: skip
        assert contrast(page, selector) >= 4.5, selector


def packages(space: LabelSpace) -> tuple[LabelSpace, list[GoldRow]]:
    """Half of the packages of this environment with their classifiers; the other half gives the priors."""
    declared = {}
    for package in sorted(distributions(), key=lambda one: one.name.lower()):
        labels = [name for name in package.metadata.get_all("Classifier") or [] if name in space]
        words = " ".join(str(package.metadata.json.get("description", "")).split())[:600]
        text = "\n".join([package.name, str(package.metadata.json.get("summary", "")), words])
        declared[package.name] = GoldRow(id=package.name, text=text, labels=tuple(dict.fromkeys(labels)))
    rows = [row for row in declared.values() if row.labels]
    times = Counter(label for row in rows[::2] for label in row.labels)
    labels = [
        {
            "id": label.id,
            "name": " ".join(label.id.split(" :: ")[-2:]),
            "aliases": [label.name],
            "prior": times[label.id] / len(rows[::2]),
        }
        for label in space
    ]
    return LabelSpace(labels), rows[1::2]


@pytest.mark.skipif("IRR_PICTURES" not in os.environ, reason="makes the pictures of the docs: make pictures")
def test_pictures_for_the_docs(
    opened: Any, space: LabelSpace, encoder: SentenceEncoder, index_folder: Path, tmp_path: Path
) -> None:
    """The PyPI classifiers of some packages of this environment, with their priors against without."""
    space, rows = packages(space)
    program = build(space, encoder=encoder, index_folder=index_folder)
    plain = build(
        space,
        encoder=encoder,
        settings=Settings().replace({"retrieve.prior_weight": 0.0}),
        index_folder=index_folder,
    )
    before = tmp_path / "before.json"
    before.write_text(evaluate(plain, rows, EvaluationOptions(name="without priors")).to_text())
    options = EvaluationOptions(
        name="with priors",
        gold="packages.jsonl",
        labels="trove.jsonl",
        baselines=[read_baseline(before, rows)],
        diagnose=True,
    )
    path = tmp_path / "report.html"
    path.write_text(page_of(evaluate(program, rows, options)), "utf-8")
    folder = Path(os.environ["IRR_PICTURES"])
    for scheme in ("light", "dark"):
        page = opened(path, color_scheme=scheme, viewport={"width": 1200, "height": 1180})
        page.screenshot(path=folder / f"report-{scheme}.png")
        page.locator("#texts").scroll_into_view_if_needed()
        page.get_by_label("Order").select_option("shortest first")
        page.get_by_role("button", name="Ranked too low", exact=False).last.click()
        page.locator("#texts").evaluate("(node) => node.scrollIntoView()")
        page.locator(".text .is-found .label").first.click()
        page.screenshot(path=folder / f"report-texts-{scheme}.png")


def test_ten_thousand_texts_open_in_two_seconds(
    opened: Any, evaluation: Evaluation, diagnosis: Diagnosis, tmp_path: Path
) -> None:
    times = 10_000 // len(diagnosis.texts) + 1
    many = Diagnosis(diagnosis.program)
    many.texts = [dataclasses.replace(t, id=f"{t.id}, {i}") for i in range(times) for t in diagnosis.texts][
        :10_000
    ]
    judged = [text for text in many.texts if text.gold]
    scores = {name: tuple(0.5 for _ in judged) for name in evaluation.metrics}
    per_text = evaluation.per_text.model_copy(update={"ids": tuple(t.id for t in judged), "scores": scores})
    path = tmp_path / "report.html"
    large = dataclasses.replace(evaluation, per_text=per_text, texts=len(many.texts), diagnosis=many)
    path.write_text(page_of(large), "utf-8")
    page = opened(path)
    page.locator("ol.texts > li").first.wait_for()
    inspector = page.context.new_cdp_session(page)
    inspector.send("Performance.enable")
    spent = {one["name"]: one["value"] for one in inspector.send("Performance.getMetrics")["metrics"]}
    assert 0 < spent["ProcessTime"] < 2, "of a processor, however busy the machine is"
    page.get_by_label("Order").select_option("lowest RP@10 first")
    page.get_by_role("button", name="Next").click()
    assert page.get_by_role("status").inner_text() == "21 – 40 of 10,000 texts"
