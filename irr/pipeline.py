"""Joins the stages: texts → infer → retrieve → rank → labels. The only file that knows all three."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from irr.encoder import Encoder, SentenceEncoder
from irr.errors import UsageError
from irr.index import Progress, open_index
from irr.infer import Inferer, SpanInferer, clean
from irr.labels import LabelSpace
from irr.rank import Ranker, RetrievalRanker
from irr.retrieve import LabelRetriever, Retriever
from irr.settings import Settings
from irr.types import Label, Prediction, RowError, Trace

# Texts go through the stages in groups: enough to fill the encoder's batches, few enough to stream.
_GROUP_TEXTS = 64
_GROUP_CHARACTERS = 30_000


class InferRetrieveRank:
    """A program: call it with one text, or stream many through `batch`.

    Attributes:
        space: The label space.
        encoder: What queries and labels are encoded with.
        settings: The numbers it runs with.
    """

    def __init__(
        self,
        space: LabelSpace,
        encoder: Encoder,
        inferer: Inferer,
        retriever: Retriever,
        ranker: Ranker,
        settings: Settings,
    ) -> None:
        self.space = space
        self.encoder = encoder
        self.settings = settings
        self._inferer = inferer
        self._retriever = retriever
        self._ranker = ranker

    def __call__(self, text: str, top_k: int = 10, trace: bool = False) -> Prediction:
        """Puts one text into the label space.

        Args:
            text: Any text.
            top_k: How many labels to return.
            trace: Whether the prediction carries every stage's output.

        Returns:
            The prediction; a text that cannot be answered has its `error` set.
        """
        return next(self.batch([text], top_k, trace))

    def batch(self, texts: Iterable[str], top_k: int = 10, trace: bool = False) -> Iterator[Prediction]:
        """Yields one prediction for each text, in order, while the texts are still being read."""
        if top_k < 1:
            raise UsageError(f"top_k is {top_k}", "ask for at least one label")
        for group in _groups(texts):
            yield from self._group(group, top_k, trace)

    def _group(self, texts: Sequence[str], top_k: int, trace: bool) -> list[Prediction]:
        cleaned = [clean(text) for text in texts]
        problems = [self._problem(text) for text in cleaned]
        usable = [text for text, problem in zip(cleaned, problems, strict=True) if problem is None]
        queries = self._inferer.infer(usable)
        depth = max(top_k, self.settings.candidates)
        candidates = self._retriever.retrieve(queries, depth, explain=trace)
        rankings = self._ranker.rank(usable, candidates)
        answers = iter(
            Prediction(
                labels=tuple(ranking[:top_k]),
                trace=Trace(queries=tuple(asked), candidates=tuple(found), ranking=tuple(ranking))
                if trace
                else None,
            )
            for asked, found, ranking in zip(queries, candidates, rankings, strict=True)
        )
        return [Prediction(error=problem) if problem else next(answers) for problem in problems]

    def _problem(self, text: str) -> RowError | None:
        if not text:
            return RowError(code="empty_text", message="the text holds nothing to read")
        limit = self.settings.max_characters
        if len(text) > limit:
            message = f"{len(text):,} characters, at most {limit:,} are read: split the text"
            return RowError(code="text_too_long", message=message)
        return None


def build(
    labels: LabelSpace | str | Path | Iterable[Label | Mapping[str, Any] | str],
    *,
    encoder: Encoder | str | None = None,
    settings: Settings | None = None,
    ranker: Ranker | None = None,
    index_folder: str | Path | None = None,
    progress: Progress | None = None,
) -> InferRetrieveRank:
    """Builds a program for a label space; its index is made on the first call and reused afterwards.

    Args:
        labels: A label file, a label space, or the labels themselves.
        encoder: An encoder, or the name or folder of a sentence-transformers model.
        settings: The numbers to run with.
        ranker: Orders the candidates; by retrieval score if None.
        index_folder: Where indexes are kept; the user's cache folder if None.
        progress: Called with (entries done, entries in all) while an index is built.

    Raises:
        LabelSpaceError: If the labels are not a label space.
        EncoderError: If the encoder is not there.
        LabelIndexError: If the index cannot be written.
    """
    settings = settings or Settings()
    if isinstance(labels, str | Path):
        labels = LabelSpace.read(labels)
    space = labels if isinstance(labels, LabelSpace) else LabelSpace(labels)
    if encoder is None or isinstance(encoder, str):
        encoder = SentenceEncoder(encoder) if encoder else SentenceEncoder()
    root = Path(index_folder) if index_folder else default_index_folder()
    index = open_index(space, encoder, settings.fields, root, progress)
    retriever = LabelRetriever(index, encoder, settings)
    inferer = SpanInferer(settings.span_words, settings.span_content_words)
    return InferRetrieveRank(space, encoder, inferer, retriever, ranker or RetrievalRanker(), settings)


def default_index_folder() -> Path:
    """Where indexes are kept unless another folder is named."""
    from platformdirs import user_cache_path

    return user_cache_path("irr", appauthor=False) / "indexes"


def _groups(texts: Iterable[str]) -> Iterator[list[str]]:
    group: list[str] = []
    characters = 0
    for text in texts:
        group.append(text)
        characters += len(text)
        if len(group) >= _GROUP_TEXTS or characters >= _GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group
