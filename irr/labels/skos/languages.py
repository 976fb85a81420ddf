"""Texts with their languages, and the languages that a user prefers, in order."""

from __future__ import annotations

import re

from irr.errors import UsageError

# The default encoder reads English.
DEFAULT_LANGUAGE = "en"
# The name of texts without a language in counts.
UNTAGGED = "untagged"

_TAG = re.compile(r"[a-z]{1,8}(-[a-z0-9]{1,8})*")


class Text(str):
    """A text with its language; "" if the file does not give it."""

    __slots__ = ("language",)
    language: str

    def __new__(cls, text: str, language: str) -> Text:
        """Takes the text and its language tag, in lower case."""
        self = super().__new__(cls, text)
        self.language = language
        return self


class Languages:
    """Language tags in order of preference; `en` takes `en-GB`, too.

    Attributes:
        tags: The tags, in lower case, without repetition.
        untagged: The rank of a text without a language, after all tags.

    Raises:
        UsageError: If a tag is malformed.
    """

    def __init__(self, wanted: str) -> None:
        self.tags = tuple(dict.fromkeys(tag.strip().lower() for tag in wanted.split(",")))
        for tag in self.tags:
            if not _TAG.fullmatch(tag):
                raise UsageError(f'"{tag}" is not a language tag', "give tags such as en or fi,en")
        self.untagged = len(self.tags)
        self._ranks: dict[str, int | None] = {"": self.untagged}

    def rank(self, language: str) -> int | None:
        """The rank of a language among the tags; None if it is not among them."""
        if language not in self._ranks:
            self._ranks[language] = next(
                (
                    rank
                    for rank, tag in enumerate(self.tags)
                    if language == tag or language.startswith(tag + "-")
                ),
                None,
            )
        return self._ranks[language]
