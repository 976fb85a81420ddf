"""The review page in a real browser: by keyboard alone, hostile texts, accessibility, kills of the server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from irr.workbench.review.judgments import JudgmentStore, Verdict, valid_judgments
from irr.workbench.review.session import ReviewText
from irr.workbench.serve.guard import Access
from irr.workbench.serve.review_page import ReviewPage
from irr.workbench.serve.service import Service
from tests.doubles.reviewer import session
from tests.doubles.served import hashed, in_thread
from tests.support import KITCHEN, write_jsonl

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
TEXTS = [
    {"id": "a", "text": f"😀 bake bread {HOSTILE}", "labels": ["cook"]},
    {"id": "b", "text": "wash dirty dishes", "labels": []},
    {"id": 3, "text": "plan menus and order supplies"},
    {"id": "d", "text": "supervise kitchen staff " * 40},
]
LABELS = [
    *KITCHEN,
    {
        "id": "<b>",
        "name": f"{HOSTILE} label",
        "description": HOSTILE,
        "aliases": [HOSTILE],
        "parents": ["bake"],
    },
]
FINDING = {"kind": "wrong", "label": "cook", "suspicion": 0.9, "why": f"the program ranks it 7 {HOSTILE}"}
Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    folder = tmp_path_factory.mktemp("served")
    labels = write_jsonl(folder / "labels.jsonl", LABELS)
    found = Service(lambda: hashed(labels, folder / "index"))
    found.load()
    return found


@pytest.fixture
def opened(browser: Any, service: Service, tmp_path: Path) -> Iterator[Opened]:
    """Opens the page on its own decisions; fails for whatever it logs, or asks anybody but its server."""
    complaints: list[str] = []
    texts = tuple(ReviewText.model_validate(text) for text in TEXTS)
    first = texts[0].model_copy(update={"findings": ReviewText(id=1, text="", findings=[FINDING]).findings})
    review = ReviewPage(texts=(first, *texts[1:]), folder=tmp_path / "decisions")
    with in_thread(service, review(service)) as address:

        def open_page(name: str = "ada", order: str = "listed", **options: Any) -> Any:
            context = browser.new_context(**options)
            context.add_init_script(
                f"localStorage.setItem('irr review reviewer', '{name}');"
                f"localStorage.setItem('irr review order', '{order}');"
            )
            page = context.new_page()
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("dialog", lambda dialog: complaints.append(dialog.message))
            page.on(
                "request", lambda r: 0 if r.url.startswith((address, "data:")) else complaints.append(r.url)
            )
            page.goto(f"{address}/review")
            page.locator("#labels li").first.wait_for()
            return page

        yield open_page
    assert complaints == []


def kept(tmp_path: Path) -> list[Any]:
    return valid_judgments(JudgmentStore(tmp_path / "decisions").judgments())


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def shows(page: Any, text: str) -> None:
    page.wait_for_function(
        "(text) => document.getElementById('body').textContent.includes(text)"
        " && !document.querySelector('#verdicts button:last-child').disabled",
        arg=text,
    )


def test_a_review_by_keyboard_alone(opened: Opened, tmp_path: Path) -> None:
    page = opened()
    shows(page, "bake bread")
    names = page.locator("#labels .name").all_inner_texts()
    # What the text came with is accepted already; here it is taken back, and another is accepted instead.
    assert page.locator("#labels li.yes .name").all_inner_texts() == ["cook meals, for groups"]
    assert "Given, and probably wrong" in page.locator("#labels .finding").inner_text()
    press(page, *["j"] * names.index("cook meals, for groups"), "r")
    press(page, str(names.index("bake bread") + 1))
    marked = page.locator("#body mark.on").all_inner_texts()
    assert any("bake" in words for words in marked), "words after an emoji are marked, too"
    press(page, "m")
    page.keyboard.type("no cook here")
    press(page, "Enter", "s")
    shows(page, "wash dirty dishes")
    # A label is added by searching.
    press(page, "/")
    page.keyboard.type("order supp")
    page.locator("#add-options [role=option]").first.wait_for()
    press(page, "Enter")
    page.wait_for_function("() => document.querySelectorAll('#labels li.yes').length === 1")
    press(page, "s")
    shows(page, "plan menus")
    press(page, "n")
    shows(page, "supervise")
    press(page, "z")
    shows(page, "plan menus")
    press(page, "u")
    shows(page, "supervise")
    found = {one.text_id: one for one in kept(tmp_path)}
    assert (found["a"].labels, found["a"].rejected, found["a"].note) == (("bake",), ("cook",), "no cook here")
    assert found["a"].given == ("cook",)
    assert found["a"].seconds > 0
    assert found["b"].labels == ("buy",)
    assert found[3].verdict is Verdict.UNSURE
    assert page.locator("#figures").inner_text().replace("\n", " ").startswith("judged 3 of 4")


def test_hostile_texts_and_labels_are_only_ever_text(opened: Opened) -> None:
    page = opened()
    shows(page, "bake bread")
    assert HOSTILE in page.locator("#body").inner_text()
    assert HOSTILE in page.locator("#labels .finding").inner_text()
    press(page, "/")
    page.keyboard.type("onerror")
    page.locator("#add-options [role=option]").first.wait_for()
    press(page, "Enter")
    page.wait_for_function("() => document.querySelectorAll('#labels li.yes').length === 2")
    assert page.locator("img, script:not([src])").count() == 0


def test_the_policy_lets_nothing_else_run(opened: Opened, service: Service) -> None:
    page = opened()
    policy = page.request.get(page.url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    unwatched = page.context.new_page()
    unwatched.goto(page.url)
    markup = "try { document.body.innerHTML = '<i>'; 'ran' } catch (e) { 'refused' }"
    assert unwatched.evaluate(markup) == "refused"


def test_a_page_of_another_site_cannot_judge(service: Service, tmp_path: Path) -> None:
    review = ReviewPage(texts=(ReviewText(id=1, text="bake bread"),), folder=tmp_path)
    said = {"key": "k", "reviewer": "ada", "text_id": 1, "verdict": "none_fits", "order": "listed"}
    body = json.dumps(said).encode()
    with in_thread(service, review(service)) as address:
        url, kind = f"{address}/v1/review/judgments", {"Content-Type": "application/json"}
        assert httpx.post(url, content=body).status_code == 400
        assert httpx.post(url, content=body, headers={"Content-Type": "text/plain"}).status_code == 400
        assert (
            httpx.post(url, content=body, headers=kind | {"Sec-Fetch-Site": "cross-site"}).status_code == 403
        )
        assert not JudgmentStore(tmp_path).judgments()
        assert httpx.post(url, content=body, headers=kind).status_code == 200
    assert len(JudgmentStore(tmp_path).judgments()) == 1


def test_an_id_that_a_browser_would_round_comes_back_as_it_came(service: Service, tmp_path: Path) -> None:
    large = 2**60 + 1
    review = ReviewPage(texts=(ReviewText(id=large, text="bake bread"),), folder=tmp_path)
    with in_thread(service, review(service)) as address:
        where = {"reviewer": "ada", "order": "listed"}
        shown = httpx.get(f"{address}/v1/review/next", params=where).json()["text"]["id"]
        assert shown == str(large)
        said = where | {"key": "k", "text_id": shown, "verdict": "none_fits"}
        assert httpx.post(f"{address}/v1/review/judgments", json=said).status_code == 200
    assert [one.text_id for one in JudgmentStore(tmp_path).judgments()] == [large]


def test_what_cannot_be_kept_is_said_until_it_can(browser: Any, service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "decisions"
    texts = tuple(ReviewText.model_validate(text) for text in TEXTS)
    review = ReviewPage(texts=texts, folder=folder)
    with in_thread(service, review(service)) as address:
        page = browser.new_context().new_page()
        page.add_init_script(
            "localStorage.setItem('irr review reviewer', 'ada');"
            "localStorage.setItem('irr review order', 'listed');"
        )
        page.goto(f"{address}/review")
        shows(page, "bake bread")
        folder.rename(tmp_path / "away")
        folder.write_text("in the way")
        press(page, "n")
        page.get_by_text("Not saved yet").filter(has_text="cannot be written").wait_for()
        folder.unlink()
        shows(page, "wash dirty dishes")
    assert [one.text_id for one in kept(tmp_path)] == ["a"]


def test_the_orders_and_one_label(opened: Opened) -> None:
    page = opened(order="random")
    page.get_by_label("Next text").select_option("label")
    page.wait_for_function("() => document.activeElement.id === 'order-label'")
    page.keyboard.type("supervise")
    page.locator("#order-label-options [role=option]").first.wait_for()
    press(page, "Enter")
    shows(page, "supervise")
    page.get_by_label("Next text").select_option("unsure")
    shows(page, "")
    page.get_by_label("Next text").select_option("second")
    page.get_by_text("No text of this order is left.").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1600])
def test_wide_and_narrow_light_and_dark_it_is_accessible(opened: Opened, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 900})
    shows(page, "bake bread")
    press(page, "1", "j", "r")
    page.locator("#help summary").click()
    press(page, "/")
    page.keyboard.type("bread")
    page.locator("#add-options [role=option]").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing runs out of the page"
    found = axe.run(page).response["violations"]
    serious = [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in ("serious", "critical")]
    assert serious == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    assert dark == (scheme == "dark")


def test_a_token_is_asked_for_once(browser: Any, service: Service, tmp_path: Path) -> None:
    review = ReviewPage(texts=(ReviewText(id=1, text="bake bread"),), folder=tmp_path)
    with in_thread(service, review(service), access=Access(token="geheim ü €")) as address:
        page = browser.new_context().new_page()
        page.goto(f"{address}/review")
        page.get_by_label("You").fill("ada")
        press(page, "Enter")
        page.get_by_label("Token of the service").fill("geheim ü €")
        press(page, "Enter")
        shows(page, "bake bread")
        page.reload()
        shows(page, "bake bread")


def test_a_review_goes_on_where_the_server_was_killed(browser: Any, tmp_path: Path) -> None:
    assert len(session(browser, tmp_path / "session", texts=8, kills=2)) == 8
