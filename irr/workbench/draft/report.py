"""The report of a draft: a map of the texts, the labels with their texts, overlaps, what was left over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

import numpy as np

from irr import __version__
from irr.pages.document import FOLDER, script, write_document
from irr.text.strings import cut
from irr.workbench.draft.clusters import centers_of
from irr.workbench.draft.draft import Draft

# Of more the page shows a sample.
_POINTS = 4_000
_TEXTS = 12
_LEFT_OVER = 200
_OVERLAPS = 50
_CHARACTERS = 300


def write_report(out: TextIO, drafted: Draft, title: str) -> None:
    """Writes one HTML page that needs nothing else.

    Args:
        out: Where to.
        drafted: The draft.
        title: What it is called on the page.
    """
    page = (FOLDER / "draft" / "draft.js").read_text("utf-8")
    write_document(out, f"{title} – irr draft", _data(drafted, title), [script("dom.js"), page])


def _data(drafted: Draft, title: str) -> dict[str, Any]:
    corpus, of = drafted.corpus, drafted.label_of
    held = np.flatnonzero(of >= 0)
    left = np.flatnonzero(of < 0)
    name_of = {label.id: label.name for label in drafted.labels}
    return {
        "title": title,
        "version": __version__,
        "texts": int(corpus.counts.sum()),
        "distinct": len(corpus),
        "covered": round(float(corpus.counts[held].sum() / corpus.counts.sum()), 4),
        "labels": [
            {
                "id": label.id,
                "name": label.name,
                "aliases": label.aliases,
                "parents": [name_of.get(parent, parent) for parent in label.parents],
                "description": None if label.examples else label.description,
                "share": label.prior,
                "count": int(corpus.counts[of == number].sum()),
                "texts": [cut(text, _CHARACTERS) for text in label.examples[:_TEXTS]],
            }
            for number, label in enumerate(drafted.labels)
        ],
        "map": _map(drafted),
        "overlaps": _overlaps(drafted),
        "left": [cut(corpus.texts[row], _CHARACTERS) for row in left[:_LEFT_OVER]],
        "left_in_all": len(left),
    }


def _map(drafted: Draft) -> list[list[float]]:
    """Two coordinates and the number of the label of each text, by principal components."""
    from sklearn.decomposition import PCA

    points = drafted.corpus.points
    rows = np.sort(np.random.default_rng(0).permutation(len(points))[:_POINTS])
    if len(points) < 3:
        return []
    flat = PCA(2, random_state=0).fit_transform(points)[rows]
    flat = flat / max(float(np.abs(flat).max()), 1e-9)
    return [
        [round(float(x), 3), round(float(y), 3), int(of)]
        for (x, y), of in zip(flat, drafted.label_of[rows], strict=True)
    ]


def _overlaps(drafted: Draft) -> Sequence[dict[str, Any]]:
    """The pairs of labels whose texts are nearest to each other."""
    count = int(drafted.label_of.max()) + 1
    centers = centers_of(drafted.corpus.vectors, drafted.label_of)
    similarity = np.triu(centers @ centers.T, 1)
    order = np.argsort(-similarity, axis=None)[:_OVERLAPS]
    pairs = [divmod(int(at), count) for at in order]
    return [
        {"a": a, "b": b, "similarity": round(float(similarity[a, b]), 3)}
        for a, b in pairs
        if similarity[a, b] > 0
    ]
