"""Numbers with what they count: 1 text, 2,000 texts."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """A number with a noun, or with more of a sentence whose words depend on the number.

    Args:
        number: How many.
        one: What follows 1.
        many: What follows any other number; `one` and an s if "".
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
