"""The page of a draft: a map of the texts, the labels with their texts, overlaps, and the other texts."""

from __future__ import annotations

from typing import Any, TextIO

import numpy as np

from irr import __version__
from irr.pages.document import FOLDER, script, write_document
from irr.text.strings import cut
from irr.workbench.draft.clusters import centers_of
from irr.workbench.draft.label_draft import LabelDraft

# The most that the page shows: points of the map, texts of a label, texts without a label, pairs of labels.
_POINTS = 4_000
_TEXTS = 12
_WITHOUT_LABEL = 200
_OVERLAPS = 50
_CHARACTERS = 300


def write_page(out: TextIO, drafted: LabelDraft, title: str) -> None:
    """Writes one HTML page that needs no other file."""
    page = (FOLDER / "draft" / "draft.js").read_text("utf-8")
    write_document(out, f"{title} – irr draft", _data(drafted, title), [script("dom.js"), page])


def _data(drafted: LabelDraft, title: str) -> dict[str, Any]:
    corpus, label_of = drafted.corpus, drafted.label_of
    inside, left = np.flatnonzero(label_of >= 0), np.flatnonzero(label_of < 0)
    name_of = {label.id: label.name for label in drafted.labels}
    return {
        "title": title,
        "version": __version__,
        "texts": int(corpus.counts.sum()),
        "distinct": len(corpus),
        "covered": round(float(corpus.counts[inside].sum() / corpus.counts.sum()), 4),
        "labels": [
            {
                "id": label.id,
                "name": label.name,
                "aliases": label.aliases,
                "parents": [name_of.get(parent, parent) for parent in label.parents],
                "description": None if label.examples else label.description,
                "share": label.prior,
                "count": int(corpus.counts[label_of == number].sum()),
                "texts": [cut(text, _CHARACTERS) for text in label.examples[:_TEXTS]],
            }
            for number, label in enumerate(drafted.labels)
        ],
        "map": _map(drafted),
        "overlaps": _overlaps(drafted),
        "left": [cut(corpus.texts[row], _CHARACTERS) for row in left[:_WITHOUT_LABEL]],
        "left_in_all": len(left),
    }


def _map(drafted: LabelDraft) -> list[list[float]]:
    """Two coordinates and the number of the label of each text, by principal components."""
    from sklearn.decomposition import PCA

    points = drafted.corpus.points
    if len(points) < 3:
        return []
    rows = np.sort(np.random.default_rng(0).permutation(len(points))[:_POINTS])
    flat = PCA(2, random_state=0).fit_transform(points)[rows]
    places = np.round(flat.astype(float) / max(float(np.abs(flat).max()), 1e-9), 3).tolist()
    return [[*place, int(label)] for place, label in zip(places, drafted.label_of[rows], strict=True)]


def _overlaps(drafted: LabelDraft) -> list[dict[str, Any]]:
    """The pairs of labels whose texts are most similar."""
    centers = centers_of(drafted.corpus.vectors, drafted.label_of)
    similarity = np.triu(centers @ centers.T, 1)
    rows, columns = np.unravel_index(np.argsort(-similarity, axis=None)[:_OVERLAPS], similarity.shape)
    return [
        {"a": a, "b": b, "similarity": round(float(similarity[a, b]), 3)}
        for a, b in zip(rows.tolist(), columns.tolist(), strict=True)
        if similarity[a, b] > 0
    ]
