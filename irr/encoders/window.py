"""Counts the tokens of texts, and those that an encoder reads, without loading the encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from irr.encoders.base import DEFAULT_ENCODER
from irr.encoders.sentence_transformers import model_folder

# Texts tokenized at a time; the tokens of a whole label space would take hundreds of megabytes.
_BLOCK = 4_096


class Window:
    """Counts tokens as an encoder does.

    Attributes:
        limit: The number of tokens of a text that the encoder reads.
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
        """Tokens of each text, including the special tokens at its ends."""
        return [
            len(encoding.ids)
            for start in range(0, len(texts), _BLOCK)
            for encoding in self._tokenizer.encode_batch_fast(list(texts[start : start + _BLOCK]))
        ]

    def pieces(self, words: Sequence[str]) -> list[int]:
        """Word pieces of each word, without special tokens."""
        encodings = self._tokenizer.encode_batch_fast(list(words), add_special_tokens=False)
        return [len(encoding.ids) for encoding in encodings]


def open_window(encoder: str | None = None) -> Window | None:
    """The window of an encoder in a folder of this machine; None if it is unknown.

    Raises:
        EncoderError: If the encoder's name is a path to no folder.
    """
    folder = model_folder(encoder or DEFAULT_ENCODER)
    if folder is None:
        return None
    try:
        return Window(folder)
    except Exception:  # tokenizers raises a bare Exception for a file that it cannot read
        return None
