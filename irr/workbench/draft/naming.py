"""Names for clusters of texts: spans by class-based TF-IDF, the most central one as name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from irr.config import InferSettings
from irr.encoders.base import Encoder, unit_mean
from irr.infer.spans import SpanInferer
from irr.text.strings import short
from irr.text.words import stems
from irr.types import QueryKind
from irr.workbench.draft.corpus import Floats

# Texts of a cluster that are read for names, the most central ones.
_READ = 200
# Spans of a cluster that are weighed by their vectors.
_PROPOSED = 20
_ALIASES = 3
# A word that so large a share of the clusters has says nothing of one of them.
_EVERYWHERE = 0.5
_FEWEST_CLUSTERS = 8
# Characters of a text that stands for a name.
_SHOWN = 60


class Names(NamedTuple):
    """A name and further ones."""

    name: str
    aliases: tuple[str, ...]


class _Span(NamedTuple):
    words: frozenset[str]
    score: float


def name_clusters(
    texts: Sequence[Sequence[str]], vectors: Sequence[Floats], encoder: Encoder, taken: Sequence[str] = ()
) -> list[Names]:
    """Names each cluster; no two of the names are alike.

    Class-based TF-IDF as in BERTopic (Grootendorst 2022, arXiv 2203.05794), with spans for words: the share
    of a cluster's texts that hold the span, times ln(1 + A / f), where f is the sum of these shares over all
    clusters, and A the mean over the clusters of the sum over all spans.

    Args:
        texts: Of each cluster, the most central first.
        vectors: Of these texts, each of shape (texts, dimensions).
        encoder: Encodes the spans.
        taken: Names that are not free any more.
    """
    counted = [_spans(of[:_READ]) for of in texts]
    proposed = _proposed(counted, [min(len(of), _READ) for of in texts])
    distinct = list(dict.fromkeys(span for of in proposed for span in of))
    rows = dict(zip(distinct, encoder.encode(distinct), strict=True)) if distinct else {}
    used = {name.casefold() for name in taken}
    names = []
    for of, own, spans in zip(texts, vectors, proposed, strict=True):
        center = unit_mean(own)
        central = {span: float(rows[span] @ center) for span in spans}
        order = sorted(spans, key=lambda span: -_weight(central[span], spans[span].score))
        names.append(_chosen(order, spans, of, used))
    return names


def _weight(central: float, score: float) -> float:
    return central + 0.05 * float(np.log(max(score, 1e-9)))


def _chosen(order: Sequence[str], spans: dict[str, _Span], texts: Sequence[str], used: set[str]) -> Names:
    """The first name that is free, and aliases that add words to what is chosen."""
    free = [span for span in order if span.casefold() not in used]
    if not free:
        name = next(
            n
            for i in range(len(used) + 1)
            if (n := f"{short(texts[0], _SHOWN)}{f' {i + 1}' if i else ''}").casefold() not in used
        )
        used.add(name.casefold())
        return Names(name, ())
    name, *others = free
    aliases: list[str] = []
    for span in others:
        known = [spans[one].words for one in (name, *aliases)]
        if len(aliases) < _ALIASES and not any(spans[span].words <= k for k in known):
            aliases.append(span)
    used.add(name.casefold())
    return Names(name, tuple(aliases))


def _spans(texts: Sequence[str]) -> Counter[str]:
    """In how many texts each span stands, by its usual spelling."""
    counts: Counter[str] = Counter()
    for inference in SpanInferer(InferSettings()).infer(texts):
        counts.update({query.text.lower() for query in inference.queries if query.kind is QueryKind.SPAN})
    return counts


def _proposed(counted: Sequence[Counter[str]], sizes: Sequence[int]) -> list[dict[str, _Span]]:
    """The spans of each cluster with the highest class-based TF-IDF."""
    total: dict[str, float] = {}
    clusters_of: Counter[str] = Counter()
    for counts, size in zip(counted, sizes, strict=True):
        for span, count in counts.items():
            total[span] = total.get(span, 0.0) + count / size
            if " " not in span:
                clusters_of[span] += 1
    mean = sum(total.values()) / max(1, len(counted))
    everywhere = {
        word
        for word, count in clusters_of.items()
        if len(counted) >= _FEWEST_CLUSTERS and count > _EVERYWHERE * len(counted)
    }
    found = []
    for counts, size in zip(counted, sizes, strict=True):
        scored = {}
        for span, count in counts.items():
            words = span.split()
            if words[0] in everywhere or words[-1] in everywhere:
                continue
            scored[span] = count / size * float(np.log1p(mean / total[span]))
        best = sorted(scored, key=lambda span: (-scored[span], span))[:_PROPOSED]
        found.append({span: _Span(frozenset(stems([span])), scored[span]) for span in best})
    return found
