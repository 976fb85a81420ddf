"""Drafts a label space from texts: labels with names, descriptions, examples and priors, and broader ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from irr import Encoder, Label, LanguageModel, Settings
from irr.errors import LMError, UsageError
from irr.text.strings import counted, short
from irr.workbench.draft.clusters import (
    Clusters,
    Corpus,
    Floats,
    Ints,
    centers_of,
    cluster,
    grouped,
    name_clusters,
    unit,
)
from irr.workbench.draft.taxonomy import Taxonomy, propose_taxonomy

# Example texts of a label, at most, and those that its description quotes.
_EXAMPLES = 10
_QUOTED = 3
_QUOTED_CHARACTERS = 160
# The fewest texts of a cluster: this share of the mean number, and at least two.
_LEAST_SHARE = 0.2
_FEWEST = 2
# The least similarity of a cluster to its seed label, and of a text to a label that a model proposed.
_SEED_SIMILARITY = 0.55
_TEXT_SIMILARITY = 0.2

# The settings of a program with drafted labels: their examples say more than their names.
SETTINGS = Settings().replace({"retrieve.example_weight": 1.6, "retrieve.span_weight": 0.3})


@dataclass(frozen=True)
class DraftPlan:
    """The label space to draft.

    Attributes:
        size: The number of labels without narrower ones.
        levels: Levels of labels, from 1 to 3; one with a language model.
        seed: Random seed of mini-batch k-means for many texts, and of the texts that a model reads.
        seed_labels: Labels to keep, and to add others to.
        model_texts: Texts that a language model reads, at most.
        calls: Requests to the language model, those of earlier calls included; any number if None.
        language: The language of the names that a model writes; that of the texts if None.
    """

    size: int = 50
    levels: int = 1
    seed: int = 0
    seed_labels: tuple[Label, ...] = ()
    model_texts: int = 1_000
    calls: int | None = None
    language: str | None = None


@dataclass(frozen=True)
class LabelDraft:
    """A drafted label space.

    Attributes:
        labels: Seed labels first, then the others, largest first, then the broader ones.
        label_of: The number of each text's label, shape (texts,); -1 for a text without a label.
        corpus: The texts.
        taxonomy: The answers of the language model, if one was asked.
    """

    labels: tuple[Label, ...]
    label_of: Ints
    corpus: Corpus
    taxonomy: Taxonomy = field(default_factory=Taxonomy)


def draft(
    texts: Iterable[str],
    encoder: Encoder,
    plan: DraftPlan,
    *,
    lm: LanguageModel | None = None,
    answers: Path | None = None,
    on_texts: Callable[[int, int], None] | None = None,
    on_call: Callable[[], None] = lambda: None,
) -> LabelDraft:
    """Drafts a label space: by clusters, or by the labels that a language model proposes.

    The same texts, encoder and plan give the same labels, without a model.

    Args:
        texts: The texts; each counts once.
        encoder: Encodes texts and names.
        plan: The label space to draft.
        lm: The language model that proposes labels; None for clusters.
        answers: The file of the model's answers, from which a repeated call goes on; needed with `lm`.
        on_texts: Called with (texts encoded, texts in all).
        on_call: Called after each request to the model.

    Raises:
        UsageError: If there are fewer texts than labels to draft, or as many seed labels, or no text.
        LMError: If the model proposes no label, or is unavailable.
    """
    check_seed_labels(plan.seed_labels, plan.size)
    corpus = Corpus.read(texts, encoder, on_texts)
    if lm is None:
        return _by_clusters(corpus, encoder, plan)
    if answers is None:
        raise UsageError("a language model is given, but no file for its answers", "give answers")
    rows = np.random.default_rng(plan.seed).permutation(len(corpus))[: plan.model_texts]
    sample = [corpus.texts[row] for row in rows]
    size = plan.size - len(plan.seed_labels)
    taxonomy = propose_taxonomy(sample, lm, answers, size, plan.calls, plan.language, on_call)
    if not taxonomy.labels:
        problem = taxonomy.stopped or f"{lm.name} proposed no label"
        raise LMError("empty", problem, "allow more calls, or ask a stronger model")
    return _by_names(corpus, taxonomy, encoder, plan.seed_labels)


def check_seed_labels(seed_labels: Sequence[Label], size: int) -> None:
    """Checks that seed labels leave labels to draft; raises `UsageError`."""
    if seed_labels and len(seed_labels) >= size:
        given = counted(len(seed_labels), "seed label leaves", "seed labels leave")
        raise UsageError(f"{given} nothing to add to {size:,} labels", "ask for more labels")


def _by_clusters(corpus: Corpus, encoder: Encoder, plan: DraftPlan) -> LabelDraft:
    """A draft whose labels stand for clusters of the texts."""
    if len(corpus) < plan.size:
        problem = f"{counted(len(corpus), 'distinct text')}, too few for {plan.size:,} labels"
        raise UsageError(problem, "ask for fewer")
    seeds = len(plan.seed_labels)
    least = max(_FEWEST, round(_LEAST_SHARE * len(corpus) / plan.size))
    clusters = cluster(corpus.points, plan.size, least, plan.seed)
    number_of = _seed_labels_of(corpus, clusters, encoder, plan.seed_labels)
    free = np.flatnonzero(number_of < 0)[: plan.size - seeds]
    number_of[free] = seeds + np.arange(len(free))
    label_of = np.where(clusters.cluster_of >= 0, number_of[clusters.cluster_of], -1)
    nearest = number_of[clusters.nearest]
    members = _members(label_of, clusters.similarity, seeds + len(free))
    texts = [[corpus.texts[row] for row in rows] for rows in members[seeds:]]
    vectors = [corpus.vectors[rows] for rows in members[seeds:]]
    names = name_clusters(texts, vectors, encoder, [label.name for label in plan.seed_labels])
    drafted = [
        Label(id=label_id, name=name, aliases=aliases, description=_quoted(own))
        for label_id, (name, aliases), own in zip(
            _new_ids(plan.seed_labels, len(free)), names, texts, strict=True
        )
    ]
    labels = _with_texts([*plan.seed_labels, *drafted], corpus, members, nearest)
    if plan.levels > 1:
        labels = _with_broader(corpus, members, labels, encoder, plan.levels)
    return LabelDraft(tuple(labels), label_of, corpus)


def _by_names(
    corpus: Corpus, taxonomy: Taxonomy, encoder: Encoder, seed_labels: Sequence[Label] = ()
) -> LabelDraft:
    """A draft whose labels a model proposed: the examples of a label are the texts nearest to its name."""
    known = {label.name.casefold() for label in seed_labels}
    added = {name: meaning for name, meaning in taxonomy.labels.items() if name.casefold() not in known}
    proposed = [
        Label(id=label_id, name=name, description=meaning or None)
        for label_id, (name, meaning) in zip(_new_ids(seed_labels, len(added)), added.items(), strict=True)
    ]
    labels = [*seed_labels, *proposed]
    meanings = [f"{label.name}: {label.description}" if label.description else label.name for label in labels]
    similarity = corpus.vectors @ encoder.encode(meanings).T
    nearest, best = similarity.argmax(axis=1), similarity.max(axis=1)
    label_of = np.where(best >= _TEXT_SIMILARITY, nearest, -1)
    labels = _with_texts(labels, corpus, _members(label_of, best, len(labels)), nearest)
    return LabelDraft(tuple(labels), label_of, corpus, taxonomy)


def _quoted(texts: Sequence[str]) -> str:
    return " ".join(f"“{short(text, _QUOTED_CHARACTERS)}”" for text in texts[:_QUOTED])


def _new_ids(labels: Iterable[Label], count: int) -> list[str]:
    """Ids that no label has: d001, d002, and so on."""
    taken = {label.id for label in labels}
    numbered = (f"d{number:03}" for number in itertools.count(1))
    return list(itertools.islice((label_id for label_id in numbered if label_id not in taken), count))


def _members(label_of: Ints, similarity: Floats, labels: int) -> list[Ints]:
    """The texts of each label, the most similar first."""
    order = np.argsort(-similarity, kind="stable")
    return [order[label_of[order] == number] for number in range(labels)]


def _with_texts(
    labels: Sequence[Label], corpus: Corpus, members: Sequence[Ints], nearest: Ints
) -> list[Label]:
    """The labels with their texts as examples, and the share of the texts nearest to them as prior."""
    inside = nearest >= 0
    shares = np.bincount(nearest[inside], corpus.counts[inside], len(labels)) / corpus.counts.sum()
    filled = []
    for label, rows, share in zip(labels, members, shares.tolist(), strict=True):
        texts = dict.fromkeys((*label.examples, *(corpus.texts[row] for row in rows)))
        prior = round(share, 6) if label.prior is None else label.prior
        filled.append(label.model_copy(update={"examples": tuple(texts)[:_EXAMPLES], "prior": prior}))
    return filled


def _with_broader(
    corpus: Corpus, members: Sequence[Ints], leaves: Sequence[Label], encoder: Encoder, levels: int
) -> list[Label]:
    """The labels with their parents, followed by these: n^(k/levels) on the k-th level from the top."""
    labels, below, rows_of = list(leaves), list(range(len(leaves))), list(members)
    for level in range(1, levels):
        count = round(len(members) ** ((levels - level) / levels))
        if not 1 < count < len(below):
            break
        nowhere = corpus.points[0] * 0 + 1e-6
        centers = [unit(corpus.points[rows].mean(axis=0)) if len(rows) else nowhere for rows in rows_of]
        group = grouped(np.array(centers), count)
        narrower = [np.flatnonzero(group == number).tolist() for number in range(count)]
        rows_of = [np.concatenate([rows_of[place] for place in places]) for places in narrower]
        # In random order, so that the first texts come from all parts.
        shuffled = [rows[np.random.default_rng(0).permutation(len(rows))] for rows in rows_of]
        texts = [[corpus.texts[row] for row in rows] for rows in shuffled]
        vectors = [corpus.vectors[rows] for rows in rows_of]
        names = name_clusters(texts, vectors, encoder, [label.name for label in labels])
        above = []
        for label_id, (name, _), places in zip(_new_ids(labels, count), names, narrower, strict=True):
            numbers = [below[place] for place in places]
            for number in numbers:
                parents = (*labels[number].parents, label_id)
                labels[number] = labels[number].model_copy(update={"parents": parents})
            covers = "; ".join(labels[number].name for number in numbers)
            prior = min(1.0, sum(labels[number].prior or 0.0 for number in numbers))
            above.append(len(labels))
            labels.append(Label(id=label_id, name=name, description=covers, prior=round(prior, 6)))
        below = above
    return labels


def _seed_labels_of(
    corpus: Corpus, clusters: Clusters, encoder: Encoder, seed_labels: Sequence[Label]
) -> Ints:
    """The number of the seed label that each cluster stands for, shape (clusters,); -1 for none."""
    if not seed_labels:
        return np.full(clusters.count, -1)
    meanings = [
        [label.name, *label.aliases, *filter(None, [label.description]), *label.examples]
        for label in seed_labels
    ]
    vectors = encoder.encode([text for texts in meanings for text in texts])
    label_of = np.repeat(np.arange(len(meanings)), [len(texts) for texts in meanings])
    similarity = centers_of(corpus.vectors, clusters.cluster_of) @ centers_of(vectors, label_of).T
    return np.where(similarity.max(axis=1) >= _SEED_SIMILARITY, similarity.argmax(axis=1), -1)
