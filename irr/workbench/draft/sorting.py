"""Puts a corpus under labels that have names already: their examples, their priors, and what fits none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irr.encoders.base import Encoder
from irr.prompts.drafting import Proposed
from irr.types import Label
from irr.workbench.draft.corpus import Corpus
from irr.workbench.draft.draft import EXAMPLES, Draft, new_ids, with_texts

# Below this similarity to every label a text is left over.
_LEAST = 0.2


def sort_under(
    corpus: Corpus, proposed: Sequence[Proposed], encoder: Encoder, seeds: Sequence[Label] = ()
) -> Draft:
    """A draft of labels that a model proposed: each gets the texts that are nearest to what it says.

    Args:
        corpus: The texts.
        proposed: Names and descriptions.
        encoder: Encodes them.
        seeds: Labels that are kept, before those proposed.
    """
    known = {seed.name.casefold() for seed in seeds}
    added = [one for one in proposed if one.name.casefold() not in known]
    ids = new_ids((seed.id for seed in seeds), len(added))
    labels = [
        *seeds,
        *(
            Label(id=label, name=one.name, description=one.description or None)
            for label, one in zip(ids, added, strict=True)
        ),
    ]
    said = [f"{label.name}: {label.description}" if label.description else label.name for label in labels]
    similarity = corpus.vectors @ encoder.encode(said).T
    nearest = similarity.argmax(axis=1)
    best = similarity.max(axis=1)
    of = np.where(best >= _LEAST, nearest, -1)
    shares = np.bincount(nearest, corpus.counts, len(labels)) / corpus.counts.sum()
    for number, label in enumerate(labels):
        rows = np.flatnonzero(of == number)
        rows = rows[np.argsort(-best[rows], kind="stable")][:EXAMPLES]
        labels[number] = with_texts(label, [corpus.texts[row] for row in rows], float(shares[number]))
    return Draft(tuple(labels), of, nearest, corpus)
