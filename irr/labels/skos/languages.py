"""Texts with their languages, and the languages a user wants labels in, most wanted first."""

from __future__ import annotations

import re

from irr.errors import UsageError

# The default encoder reads English.
DEFAULT_LANGUAGE = "en"
# How counts call texts that do not say their language.
UNTAGGED = "untagged"

_TAG = re.compile(r"[a-z]{1,8}(-[a-z0-9]{1,8})*")


class Text(str):
    """A text with its language, "" if the file does not say."""

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
        untagged: The rank of a text that does not say its language: after all that were asked for.

    Raises:
        UsageError: If one of them is no language tag.
    """

    def __init__(self, wanted: str) -> None:
        self.tags = tuple(dict.fromkeys(tag.strip().lower() for tag in wanted.split(",")))
        for tag in self.tags:
            if not _TAG.fullmatch(tag):
                raise UsageError(f'"{tag}" is no language', "give tags such as en or fi,en")
        self.untagged = len(self.tags)
        self._ranks: dict[str, int | None] = {"": self.untagged}

    def rank(self, language: str) -> int | None:
        """The place of a text's language, "" for none, among those wanted; None if it is not wanted."""
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
