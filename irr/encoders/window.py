"""The window of an encoder: how many tokens a text has and how many are read, without loading the encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from irr.encoders.base import DEFAULT_ENCODER
from irr.encoders.sentence_transformers import model_folder

# Texts tokenized at a time, so that the tokens of a whole label space never stand in memory at once.
_BLOCK = 4_096


class Window:
    """Counts tokens as an encoder does.

    Attributes:
        limit: How many tokens of a text the encoder reads.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self.limit = int(
            json.loads((folder / "sentence_bert_config.json").read_text("utf-8"))["max_seq_length"]
        )
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, those that mark its ends included."""
        return [
            len(encoding.ids)
            for start in range(0, len(texts), _BLOCK)
            for encoding in self._tokenizer.encode_batch_fast(list(texts[start : start + _BLOCK]))
        ]

    def pieces(self, words: Sequence[str]) -> list[int]:
        """Word pieces of each word, without the marks of its ends."""
        encodings = self._tokenizer.encode_batch_fast(list(words), add_special_tokens=False)
        return [len(encoding.ids) for encoding in encodings]


def open_window(encoder: str | None = None) -> Window | None:
    """The window of an encoder that stands on this machine as a folder; None where it cannot be told.

    Raises:
        EncoderError: If the encoder's name can only mean a folder, and there is none.
    """
    folder = model_folder(encoder or DEFAULT_ENCODER)
    if folder is None:
        return None
    try:
        return Window(folder)
    except Exception:  # whatever a folder of another make lacks: its window is only not told
        return None
