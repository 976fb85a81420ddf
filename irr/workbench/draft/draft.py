"""Drafts a label space from a corpus: clusters, names, descriptions, examples, and broader labels above."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irr.config import Settings
from irr.encoders.base import Encoder, encode_whole, unit_mean
from irr.errors import UsageError
from irr.text.strings import counted, short
from irr.types import Label
from irr.workbench.draft.clusters import Clusters, cluster, merged
from irr.workbench.draft.corpus import Corpus, Floats
from irr.workbench.draft.naming import Names, name_clusters

Ints = NDArray[np.int64]

# Example texts of a label, at most, and those that its description quotes.
EXAMPLES = 10
_QUOTED = 3
_QUOTED_CHARACTERS = 160
# A cluster has this share of the mean number of texts, or it is none.
_SHARE = 0.2
_FEWEST = 2
# A cluster whose texts are so near to a seed label is what that label means.
_SEEDED = 0.55

# Of a program whose labels were drafted: their examples say more than their names.
SETTINGS = Settings().replace({"retrieve.example_weight": 1.6, "retrieve.span_weight": 0.3})


@dataclass(frozen=True)
class DraftOptions:
    """What is wanted.

    Attributes:
        size: Labels without narrower ones.
        levels: Levels of labels, from 1 to 3.
        seed: Of the gathering of many texts; for the rest nothing is drawn at random.
        seeds: Labels to keep; what is missing is added to them.
    """

    size: int
    levels: int = 1
    seed: int = 0
    seeds: tuple[Label, ...] = ()


@dataclass(frozen=True)
class Draft:
    """A drafted label space.

    Attributes:
        labels: Seed labels first, then the others, largest first, then the broader ones.
        label_of: The number of each text's label, shape (texts,); -1 for what was left over.
        nearest: The number of the label whose texts are nearest to each text, shape (texts,).
        corpus: The texts.
    """

    labels: tuple[Label, ...]
    label_of: Ints
    nearest: Ints
    corpus: Corpus


def draft(corpus: Corpus, encoder: Encoder, options: DraftOptions) -> Draft:
    """Drafts a label space; the same corpus and options give the same one.

    Raises:
        UsageError: If there are fewer texts than labels wanted, or as many seed labels.
    """
    if len(corpus) < options.size:
        problem = f"{counted(len(corpus), 'distinct text')}, too few for {options.size:,} labels"
        raise UsageError(problem, "ask for fewer")
    check_seeds(options.seeds, options.size)
    clusters = clusters_of(corpus, options.size, options.seed)
    seed_of = _seeded(corpus, clusters, encoder, options.seeds)
    seeds = len(options.seeds)
    free = [number for number in range(len(clusters)) if seed_of[number] < 0][: options.size - seeds]
    number_of = np.where(seed_of >= 0, seed_of, -1)
    number_of[free] = seeds + np.arange(len(free))
    label_of = np.where(clusters.of >= 0, number_of[clusters.of], -1)
    nearest = number_of[clusters.nearest]
    members = [_members(clusters, label_of, number) for number in range(seeds + len(free))]
    labels = _leaves(corpus, members, nearest, encoder, options.seeds)
    if options.levels > 1:
        labels = _with_broader(corpus, members, labels, encoder, options.levels)
    return Draft(tuple(labels), label_of, nearest, corpus)


def check_seeds(seeds: Sequence[Label], size: int) -> None:
    """Checks that seed labels leave labels to draft.

    Raises:
        UsageError: If there are as many as labels wanted.
    """
    if seeds and len(seeds) >= size:
        given = counted(len(seeds), "seed label leaves", "seed labels leave")
        raise UsageError(f"{given} nothing to add to {size:,} labels", "ask for more labels")


def clusters_of(corpus: Corpus, size: int, seed: int = 0) -> Clusters:
    """The clusters of a corpus, each with enough texts to be a label."""
    least = max(_FEWEST, round(_SHARE * len(corpus) / size))
    return cluster(corpus.points, size, least, seed)


def new_label(label: str, names: Names, texts: Sequence[str], share: float | None = None) -> Label:
    """A label for texts, the most central of which come first.

    Args:
        label: Its id.
        names: Its name and aliases.
        texts: The texts.
        share: Their share of all texts; not known if None.
    """
    return Label(
        id=label,
        name=names.name,
        aliases=names.aliases,
        description=" ".join(f"“{short(text, _QUOTED_CHARACTERS)}”" for text in texts[:_QUOTED]),
        prior=None if share is None else round(share, 6),
        examples=tuple(texts[:EXAMPLES]),
    )


def with_texts(label: Label, texts: Sequence[str], share: float) -> Label:
    """A label with examples of its texts, and their share as its prior where it has none."""
    return label.model_copy(
        update={
            "examples": tuple(dict.fromkeys((*label.examples, *texts)))[:EXAMPLES],
            "prior": round(share, 6) if label.prior is None else label.prior,
        }
    )


def new_ids(taken: Iterable[str], count: int) -> list[str]:
    """Ids that no label has yet: d001, d002, and so on."""
    known = set(taken)
    ids: list[str] = []
    number = 0
    while len(ids) < count:
        number += 1
        if (label := f"d{number:03}") not in known:
            ids.append(label)
    return ids


def _leaves(
    corpus: Corpus, members: Sequence[Ints], nearest: Ints, encoder: Encoder, seeds: Sequence[Label]
) -> list[Label]:
    """The labels of the clusters: seed labels with examples and prior, the others with all."""
    texts = [[corpus.texts[row] for row in rows] for rows in members]
    held = nearest >= 0
    shares = np.bincount(nearest[held], corpus.counts[held], len(members)) / corpus.counts.sum()
    kept = [with_texts(seed, texts[number], float(shares[number])) for number, seed in enumerate(seeds)]
    own = range(len(seeds), len(members))
    vectors = [corpus.vectors[members[number]] for number in own]
    names = name_clusters([texts[n] for n in own], vectors, encoder, [seed.name for seed in seeds])
    ids = new_ids((seed.id for seed in seeds), len(own))
    return kept + [
        new_label(label, named, texts[number], float(shares[number]))
        for label, named, number in zip(ids, names, own, strict=True)
    ]


def _with_broader(
    corpus: Corpus, members: Sequence[Ints], labels: list[Label], encoder: Encoder, levels: int
) -> list[Label]:
    """The labels with parents, and those behind them; a level has a root of the size's labels."""
    below, texts_of = list(range(len(labels))), list(members)
    labels = list(labels)
    for level in range(1, levels):
        count = round(len(members) ** ((levels - level) / levels))
        if not 1 < count < len(below):
            break
        centers = np.array([_center(corpus.points, rows) for rows in texts_of])
        group = merged(centers, count)
        rows_of = [np.concatenate([texts_of[i] for i in np.flatnonzero(group == g)]) for g in range(count)]
        texts = [[corpus.texts[row] for row in _spread(rows)] for rows in rows_of]
        vectors = [corpus.vectors[rows] for rows in rows_of]
        names = name_clusters(texts, vectors, encoder, [label.name for label in labels])
        above = []
        for label, named, number in zip(
            new_ids((label.id for label in labels), count), names, range(count), strict=True
        ):
            narrower = [below[i] for i in np.flatnonzero(group == number)]
            for at in narrower:
                labels[at] = labels[at].model_copy(update={"parents": (*labels[at].parents, label)})
            covers = "; ".join(labels[at].name for at in narrower)
            prior = min(1.0, sum(labels[at].prior or 0.0 for at in narrower))
            above.append(len(labels))
            labels.append(Label(id=label, name=named.name, description=covers, prior=round(prior, 6)))
        below, texts_of = above, rows_of
    return labels


def _center(points: Floats, rows: Ints) -> Floats:
    return unit_mean(points[rows]) if len(rows) else points[0] * 0 + 1e-6


def _spread(rows: Ints) -> Ints:
    """The rows in an order in which the first ones come from all parts."""
    return rows[np.random.default_rng(0).permutation(len(rows))]


def _members(clusters: Clusters, label_of: Ints, number: int) -> Ints:
    """The texts of a label, the most central first."""
    rows = np.flatnonzero(label_of == number)
    return rows[np.argsort(-clusters.similarity[rows], kind="stable")]


def _seeded(corpus: Corpus, clusters: Clusters, encoder: Encoder, seeds: Sequence[Label]) -> Ints:
    """The seed label that each cluster belongs to, shape (clusters,); -1 for none."""
    if not seeds:
        return np.full(len(clusters), -1)
    said = [[seed.name, *seed.aliases, *filter(None, (seed.description,)), *seed.examples] for seed in seeds]
    vectors = encode_whole(encoder, said)
    centers = np.array([unit_mean(corpus.vectors[clusters.of == n]) for n in range(len(clusters))])
    similarity = centers @ vectors.T
    nearest = similarity.argmax(axis=1)
    return np.where(similarity.max(axis=1) >= _SEEDED, nearest, -1)
