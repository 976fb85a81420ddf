"""Names for clusters of texts: of the spans with the highest class-based TF-IDF, the most central one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from irr import Encoder, Settings, SpanInferer
from irr.text.strings import short
from irr.text.words import stems
from irr.types import QueryKind
from irr.workbench.draft.corpus import Floats, unit

# The most central texts of a cluster, which are read for names.
_TEXTS = 200
# Spans of a cluster that are compared by their vectors.
_SPANS = 20
_ALIASES = 3
_TFIDF_WEIGHT = 0.05
# No span begins or ends in a word that a larger share of the clusters has, where there are enough clusters.
_COMMON = 0.5
_FEWEST_CLUSTERS = 8
# Characters of a text that serves as a name.
_NAME_CHARACTERS = 60


class ClusterName(NamedTuple):
    """A name and aliases."""

    name: str
    aliases: tuple[str, ...]


def name_clusters(
    texts: Sequence[Sequence[str]], vectors: Sequence[Floats], encoder: Encoder, taken: Iterable[str] = ()
) -> list[ClusterName]:
    """Names each cluster; no two of the names are alike.

    Class-based TF-IDF as in BERTopic (Grootendorst 2022, arXiv 2203.05794), with spans for words: the share
    of a cluster's texts that hold the span, times ln(1 + A / f), where f is the sum of these shares over all
    clusters, and A the mean over the clusters of the sum over all spans. The texts of a cluster come with the
    most central first, their vectors have the shape (texts, dimensions), and names in `taken` are not used.
    """
    proposed = _proposed([own[:_TEXTS] for own in texts])
    distinct = list(dict.fromkeys(span for scores in proposed for span in scores))
    vector_of = dict(zip(distinct, encoder.encode(distinct), strict=True)) if distinct else {}
    used = {name.casefold() for name in taken}
    names = []
    for own, own_vectors, scores in zip(texts, vectors, proposed, strict=True):
        center = unit(own_vectors.mean(axis=0))
        weights = {
            span: float(vector_of[span] @ center) + _TFIDF_WEIGHT * float(np.log(max(score, 1e-9)))
            for span, score in scores.items()
        }
        free = [span for span in sorted(weights, key=lambda s: -weights[s]) if span.casefold() not in used]
        name = free[0] if free else _free_name(short(own[0], _NAME_CHARACTERS), used)
        used.add(name.casefold())
        names.append(ClusterName(name, tuple(_with_more_words(free)[1 : 1 + _ALIASES])))
    return names


def _free_name(text: str, used: set[str]) -> str:
    numbered = (text if number == 1 else f"{text} {number}" for number in count(1))
    return next(name for name in numbered if name.casefold() not in used)


def _with_more_words(spans: Sequence[str]) -> list[str]:
    """The spans without those whose words all occur in one span before them."""
    words_of: dict[str, set[str]] = {}
    for span in spans:
        words = stems([span])
        if not any(words <= known for known in words_of.values()):
            words_of[span] = words
    return list(words_of)


def _proposed(texts: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    """The spans of each cluster with the highest class-based TF-IDF, and that."""
    inferer = SpanInferer(Settings().infer)
    shares: list[dict[str, float]] = []
    sums: defaultdict[str, float] = defaultdict(float)
    clusters_with: Counter[str] = Counter()
    for own in texts:
        counts = Counter(
            span
            for inference in inferer.infer(own)
            for span in {query.text.lower() for query in inference.queries if query.kind is QueryKind.SPAN}
        )
        shares.append({span: number / len(own) for span, number in counts.items()})
        for span, share in shares[-1].items():
            sums[span] += share
        clusters_with.update(span for span in counts if " " not in span)
    mean = sum(sums.values()) / max(1, len(texts))
    most = _COMMON * len(texts) if len(texts) >= _FEWEST_CLUSTERS else len(texts)
    common = {word for word, number in clusters_with.items() if number > most}
    proposed = []
    for own_shares in shares:
        scores = {
            span: share * float(np.log1p(mean / sums[span]))
            for span, share in own_shares.items()
            if common.isdisjoint((span.split()[0], span.split()[-1]))
        }
        best = sorted(scores, key=lambda span: (-scores[span], span))[:_SPANS]
        proposed.append({span: scores[span] for span in best})
    return proposed
