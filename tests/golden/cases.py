"""The golden cases: programs, texts, and the labels and scores that they give.

Labels and texts stand in this file and in the folder `data`, whose SOURCE.md says where they come from. Data
sets that may not be copied here are checked where they lie, if IRR_DATA or ../shared/data has them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irr.config import Settings
from irr.encoders.base import Encoder
from irr.lm.protocol import ChatRequest
from irr.program.program import build
from tests.doubles.scripted import ScriptedModel

HERE = Path(__file__).parent
DATA = HERE / "data"
FILES = {name: HERE / f"{name}.jsonl" for name in ("written", "packs")}
Answers = list[list[tuple[str, float]]]

TREE = {
    "bake": ("bake bread and pastry", ["make loaves", "bake dough"], "Mix, knead, prove and bake dough."),
    "cook": ("cook meals, for groups", ["prepare food"], "Prepare hot food for many guests."),
    "plan": ("plan menus", [], "Choose dishes for a season, with their costs."),
    "wash": ('wash "dirty" dishes', ["clean plates and cutlery"], None),
    "hygiene": ("food hygiene", ["HACCP", "food safety rules"], "Keep kitchens clean and food cold."),
    "kitchen": ("kitchen work", [], None),
    "cpp": ("C++", ["C plus plus"], None),
    "csharp": ("C#", [], "A language of the .NET platform."),
    "node": ("node.js", ["JavaScript on servers"], None),
    "program": ("computer programming", ["software development", "coding"], "Write and test software."),
    "sql": ("query relational databases", ["SQL"], "Read and write tables with joins."),
    "phish": ("phishing", [], "Messages that lure people into giving their passwords away."),
    "spear": ("spearphishing attachment", ["targeted e-mail with malware"], "A forged letter with a file."),
    "zh": ("包饺子 (dumplings)", ["做饺子", "餃子を作る"], "用面皮包肉馅。"),
    "tea": ("泡茶", ["茶道"], "用热水冲泡茶叶。"),
    "pipes": ("repair water pipes", ["plumbing", "fix leaking taps"], None),
    "weld": ("weld steel pipes", [], "Join pipes by an electric arc."),
    "bicycles": ("repair bicycles", ["bicycle maintenance", "mend bikes"], None),
    "staff": ("supervise kitchen staff", ["lead a brigade"], "Plan shifts and train newcomers."),
    "buy": ("order supplies", ["purchase ingredients", "procurement"], None),
    "strasse": ("Straßenbau", ["road building"], "Straßen planen und bauen."),
    "care": ("care for elderly people", ["geriatric nursing"], "Help old people to eat, wash and dress."),
}
PARENTS = {
    "bake": ["kitchen"],
    "cook": ["kitchen"],
    "plan": ["cook"],
    "wash": ["kitchen", "hygiene"],
    "cpp": ["program"],
    "csharp": ["program"],
    "node": ["program"],
    "sql": ["program"],
    "spear": ["phish"],
    "zh": ["cook"],
    "weld": ["pipes"],
}
LABELS = [
    {
        "id": label,
        "name": name,
        "aliases": aliases,
        "description": description,
        "parents": PARENTS.get(label, []),
        "prior": (number % 5) / 20,
    }
    for number, (label, (name, aliases, description)) in enumerate(TREE.items())
]

_DULL = "This agreement is made between the parties named below. Further pages follow it. "
TEXTS = [
    "You will bake sourdough bread every morning, and clean the plates afterwards.",
    "Lead the kitchen brigade; plan menus with seasonal vegetables and order the ingredients.",
    "We look for a developer who knows C++ or C#, SQL and a little node.js.",
    "The group sent forged letters with a malicious attachment to three ministries.",
    "我们需要会包饺子和泡茶的人。",
    "Sie planen den Bau von Straßen und Brücken.",
    "Fixing taps, welding, mending old bikes",
    "C++",
    "and of the 1984",
    "A nurse helps old people; she washes, dresses and feeds them, and she cooks for groups at weekends.",
    f"{_DULL * 12}In the morning they bake bread. {_DULL * 14}Later they wash dirty dishes, "
    f"and a plumber repairs the pipes. {_DULL * 10}Passwords were stolen by phishing. {_DULL * 5}",
]
EXAMPLES = [
    {"text": "Knead the dough at four o'clock.", "labels": ["bake"]},
    {"text": "The e-mail carried a document with a macro.", "labels": ["spear", "phish"]},
    {"text": "A bread, a roll and a bun for the guests, every day.", "labels": ["bake", "cook"]},
    {"text": "Backend engineer for our shop's servers", "labels": ["node", "sql"]},
    {"text": TEXTS[0], "labels": ["hygiene"]},
]
JOBS = [
    "We need a baker of rye bread who also tastes wines and keeps the till.",
    "Repair of rings and watches; you draw the pieces first, and inform clients on taxes.",
    f"{_DULL * 12}You supervise the disposal of waste. {_DULL * 14}Later you plan how trout are fed, "
    f"and operate the corrugator. {_DULL * 10}You are at ease in interviews. {_DULL * 5}",
]
ILLNESSES = [
    "A child of four has coughed for weeks, in fits that end with a whoop; no pneumonia on the X-ray.",
    "White patches in the mouth, scraped off easily: thrush, after antibiotics.",
    f"{_DULL * 12}He came back from the tropics with fever after mosquito bites. {_DULL * 14}"
    f"Tuberculosis of the bowel was diagnosed years ago. {_DULL * 10}Early syphilis was treated. {_DULL * 5}",
]
PACKAGES = [
    "A parser for JSON and TOML files, tested on Linux and Windows, with a command line.",
    "Plots maps of the night sky for astronomers. Needs Python 3.",
    "A chat client that runs in a terminal, in French and German.",
    "Trains neural networks on GPU clusters; for scientists.",
    "A Django app that sells tickets for concerts. Stable, MIT licence.",
]


@dataclass(frozen=True)
class Case:
    """A program, its texts, and what both are made of.

    Attributes:
        made_of: Labels, texts and all else that is given.
        answers: Computes the labels and scores of each text.
    """

    made_of: Any
    answers: Callable[[], Answers]

    @property
    def input(self) -> str:
        """A hash of what the case is made of."""
        return hashlib.sha256(json.dumps(self.made_of, ensure_ascii=False).encode()).hexdigest()[:16]


def data_folder() -> Path | None:
    """The folder of the data sets: IRR_DATA, or shared/data beside the checkout; None if there is none."""
    folder = Path(os.environ.get("IRR_DATA") or Path(__file__).parents[3] / "shared" / "data")
    return folder if (folder / "esco" / "labels.jsonl").exists() else None


def written_cases(encoder: Encoder, folder: Path) -> Iterator[tuple[str, Case]]:
    """The cases whose labels and texts are all in this repository."""

    def case(texts: Sequence[str], labels: Sequence[Any], top_k: int = 10, **options: Any) -> Case:
        settings = options.pop("settings", {})

        def answers() -> Answers:
            made = {**options, "settings": Settings().replace(settings), "index_folder": folder}
            return _answers(build(labels, encoder=encoder, **made), texts, top_k)

        shown = {key: value for key, value in options.items() if not key.endswith("_lm")}
        return Case([labels, texts, top_k, settings, shown], answers)

    yield "written", case(TEXTS, LABELS)
    yield "alone", case(TEXTS[:1], LABELS)
    yield "names", case(TEXTS, [label["name"] for label in LABELS])
    yield "examples", case(TEXTS, LABELS, examples=EXAMPLES)
    yield "proposed", case(TEXTS, LABELS, examples=EXAMPLES, settings={"retrieve.exact_entries": 0})
    yield "closed", case(TEXTS, LABELS, settings={"hierarchy": "closed"})
    yield "leaves", case(TEXTS, LABELS, settings={"hierarchy": "leaves"})
    other = {
        "infer.span_content_words": 2,
        "retrieve.alias_margin": 0.0,
        "retrieve.parent_share": 0.8,
        "retrieve.redundancy_penalty": 0.15,
        "retrieve.prior_weight": 3.0,
        "retrieve.fields": ["alias"],
        "retrieve.candidates": 5,
    }
    yield "settings", case(TEXTS, LABELS, top_k=5, settings=other)

    def asked(settings: dict[str, Any], **options: Any) -> Case:
        model = ScriptedModel(_reply)
        return case(TEXTS, LABELS, infer_lm=model, rank_lm=model, settings=settings, **options)

    yield "terms", case(TEXTS, LABELS, infer_lm=ScriptedModel(_reply))
    for method in ("listwise", "pointwise"):
        yield method, asked({"rank.method": method}, examples=EXAMPLES)
    near = {"rank.method": "listwise", "infer.near_demos": 2, "rank.near_demos": 2}
    yield "near", asked(near, examples=EXAMPLES)
    windows = {"rank.window": 8, "retrieve.candidates": 15}
    yield "windows", case(TEXTS, LABELS, rank_lm=ScriptedModel(_reply), settings=windows)
    trove = (DATA / "trove" / "labels.txt").read_text("utf-8").splitlines()
    yield "trove", case(PACKAGES, trove)
    yield "trove by proposal", case(PACKAGES, trove, 5, settings={"retrieve.exact_entries": 0})
    yield "esco labels", case(JOBS, _read(DATA / "esco" / "labels.jsonl"))
    yield "icd10 labels", case(ILLNESSES, _read(DATA / "icd10" / "labels.jsonl"))


# Data sets of which texts and labels are in this repository.
COPIED = ("attack", "clinc150")
# Texts and labels of the others, fewer where they are long.
PACKS = {"esco": (12, 90), "icd10": (2, 200), "eurovoc": (1, 150), "gnd": (6, 200)}


def pack_case(name: str, data: Path, encoder: Encoder, folder: Path) -> Case:
    """Dev texts and a part of the labels of a data set, which `data` holds if they are not copied."""
    if name in COPIED:
        return _pack(_read(DATA / name / "labels.jsonl"), _read(DATA / name / "texts.jsonl"), encoder, folder)
    texts, labels = PACKS[name]
    space = {row["id"]: row for row in _read(data / name / "labels.jsonl")}
    rows = _evenly(_read(data / name / "dev.jsonl"), texts)
    kept = dict.fromkeys(label for row in rows for label in row["labels"] if label in space)
    kept |= dict.fromkeys(parent for label in list(kept) for parent in space[label].get("parents", ()))
    kept |= dict.fromkeys(_evenly(list(space), max(0, labels - len(kept))))
    return _pack([space[label] for label in space if label in kept], rows, encoder, folder)


def _pack(
    labels: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], encoder: Encoder, folder: Path
) -> Case:
    def answers() -> Answers:
        program = build(labels, encoder=encoder, index_folder=folder)
        return _answers(program, [row["text"] for row in rows], 10)

    return Case([labels, rows], answers)


def _answers(program: Any, texts: Iterable[str], top_k: int) -> Answers:
    return [
        [(label.id, round(label.score, 6)) for label in prediction.labels]
        for prediction in program.batch(texts, top_k)
    ]


def _reply(request: ChatRequest) -> str:
    """Terms made of a text's own words, and every third candidate from the last to the first."""
    asked = request.messages[-1][1]
    if "ranking" in (request.schema or {}).get("properties", {}):
        numbers = [int(number) for number in re.findall(r"^(\d+) ", asked, re.M)]
        return json.dumps({"ranking": numbers[::-3][:10]})
    text = next((text for text in TEXTS if text[:30] in asked), TEXTS[0])
    return json.dumps({"terms": sorted(re.findall(r"\w{5,}", text), key=len)[-4:]})


def _evenly(items: Sequence[Any], count: int) -> list[Any]:
    step = max(1.0, len(items) / max(1, count))
    return [items[int(i * step)] for i in range(min(count, len(items)))]


def _read(path: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
