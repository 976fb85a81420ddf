"""A survey of a label space: what is in it, how it hangs together, and what of it hurts retrieval."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from irr.encoders.window import Window
from irr.labels.skos.counts import SkosCounts
from irr.labels.space import LabelSpace
from irr.labels.tree import Tree, survey_tree
from irr.text.languages import language_note
from irr.text.words import words

_EXAMPLES = 5
# The share of a label space above which something is worth a warning.
_SOME = 0.01


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Shared(_Frozen):
    """A text that several labels carry, and their ids."""

    text: str
    ids: tuple[str, ...]


class Found(_Frozen):
    """How many labels have some property, and the first few of them."""

    count: int
    examples: tuple[str, ...]


class SharedTexts(_Frozen):
    """Texts that several labels carry.

    Attributes:
        texts: How many such texts there are.
        labels: How many labels carry one.
        examples: Those that most labels carry.
    """

    texts: int
    labels: int
    examples: tuple[Shared, ...]


class Lengths(_Frozen):
    """How long texts of one kind are, in tokens of the encoder, or else in words.

    Attributes:
        median: Half of them are no longer.
        longest: The longest ones' lengths and texts, longest first.
        cut: How many are longer than the encoder reads; None where its window is not known.
    """

    median: int
    longest: tuple[tuple[int, str], ...]
    cut: int | None


class LabelDiagnostics(_Frozen):
    """What a label space holds.

    Attributes:
        labels: How many labels there are.
        with_aliases: How many have an alias.
        aliases: How many aliases there are.
        with_description: How many have a description.
        without_description: Those that have none.
        with_prior: How many have a prior.
        shared_names: Names that several labels have, whatever their case.
        indistinct: Labels that share a name, and have neither parents nor a description to tell them apart.
        shared_aliases: Aliases that several labels have, or that are another label's name.
        codes: Labels whose name looks like a code.
        unit: What lengths are counted in, `tokens` or `words`.
        window: How many tokens the encoder reads; None where that is not known.
        names: Lengths of names.
        descriptions: Lengths of descriptions.
        tree: How labels hang together.
        read: What was read of a SKOS file; None for other files.
        warnings: What hurts retrieval, and what to do about it.
    """

    labels: int
    with_aliases: int
    aliases: int
    with_description: int
    without_description: Found
    with_prior: int
    shared_names: SharedTexts
    indistinct: Found
    shared_aliases: SharedTexts
    codes: Found
    unit: str
    window: int | None
    names: Lengths
    descriptions: Lengths
    tree: Tree
    read: SkosCounts | None
    warnings: tuple[str, ...] = ()


def survey(space: LabelSpace, window: Window | None = None, only_english: bool = False) -> LabelDiagnostics:
    """Surveys a label space.

    Args:
        space: The labels.
        window: Counts tokens; words are counted if None.
        only_english: Whether the encoder reads English only, as the default does.
    """
    names: dict[str, list[int]] = {}
    aliases: dict[str, list[int]] = {}
    for number, label in enumerate(space):
        names.setdefault(_folded(label.name), []).append(number)
        for alias in {_folded(alias) for alias in label.aliases} - {_folded(label.name)}:
            aliases.setdefault(alias, []).append(number)
    same_name = {name: numbers for name, numbers in names.items() if len(numbers) > 1}
    same_alias = {
        alias: carriers
        for alias, numbers in aliases.items()
        if len(carriers := list(dict.fromkeys([*names.get(alias, ()), *numbers]))) > 1
    }
    plain = (number for numbers in same_name.values() for number in numbers)
    result = LabelDiagnostics(
        labels=len(space),
        with_aliases=sum(bool(label.aliases) for label in space),
        aliases=sum(len(label.aliases) for label in space),
        with_description=sum(bool(label.description) for label in space),
        without_description=_found(label.id for label in space if not label.description),
        with_prior=sum(label.prior is not None for label in space),
        shared_names=_shared(space, same_name),
        indistinct=_found(
            space[n].id for n in sorted(plain) if not space[n].parents and not space[n].description
        ),
        shared_aliases=_shared(space, same_alias),
        codes=_found(label.name for label in space if _is_code(label.name)),
        unit="tokens" if window else "words",
        window=window.limit if window else None,
        names=_lengths([label.name for label in space], window),
        descriptions=_lengths([label.description for label in space if label.description], window),
        tree=survey_tree(space),
        read=space.counts,
    )
    warnings = [*_warnings(result), *([note] if (note := _language(space, window, only_english)) else [])]
    return result.model_copy(update={"warnings": tuple(warnings)})


def names_sample(space: LabelSpace) -> list[str]:
    """Names and aliases from everywhere in the label space, enough to tell their language."""
    return [
        "; ".join((label.name, *label.aliases[:3])) for label in space.labels[:: max(1, len(space) // 400)]
    ]


def _language(space: LabelSpace, window: Window | None, only_english: bool) -> str:
    if window is None or not only_english or (space.counts and space.counts.language_hint):
        return ""
    return language_note("labels", names_sample(space), window.pieces)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _is_code(name: str) -> bool:
    """Whether a name is more digits and signs than letters: `A01.1`, `T1059.003`, but not `C++` or `MP3`."""
    letters = sum(c.isalpha() for c in name)
    others = sum(not c.isalpha() and not c.isspace() for c in name)
    return letters < others and any(c.isdigit() for c in name)


def _found(texts: Iterable[str]) -> Found:
    every = list(texts)
    return Found(count=len(every), examples=tuple(every[:_EXAMPLES]))


def _shared(space: LabelSpace, carriers: dict[str, list[int]]) -> SharedTexts:
    most = sorted(carriers.items(), key=lambda item: (-len(item[1]), item[0]))[:_EXAMPLES]
    return SharedTexts(
        texts=len(carriers),
        labels=len({number for numbers in carriers.values() for number in numbers}),
        examples=tuple(Shared(text=text, ids=tuple(space[n].id for n in numbers)) for text, numbers in most),
    )


def _lengths(texts: Sequence[str], window: Window | None) -> Lengths:
    lengths = window.tokens(texts) if window else [sum(1 for _ in words(text)) for text in texts]
    order = sorted(range(len(texts)), key=lambda i: (-lengths[i], i))
    return Lengths(
        median=sorted(lengths)[(len(lengths) - 1) // 2] if lengths else 0,
        longest=tuple((lengths[i], texts[i]) for i in order[:_EXAMPLES]),
        cut=sum(length > window.limit for length in lengths) if window else None,
    )


def _warnings(found: LabelDiagnostics) -> Iterator[str]:
    if found.indistinct.count:
        yield (
            f"{found.indistinct.count:,} labels share a name and have neither description nor parents: "
            "nothing tells them apart; add a description, or make them one label"
        )
    elif found.shared_names.labels > _SOME * found.labels:
        yield (
            f"{found.shared_names.labels:,} labels share a name: only descriptions tell them apart; "
            "put what differs into the name"
        )
    if found.codes.count > _SOME * found.labels:
        yield (
            f"{found.codes.count:,} names look like codes, which no text resembles: "
            "put words into the name, and the code into the id or an alias"
        )
    if found.names.cut:
        yield f"{found.names.cut:,} names are longer than the encoder reads: shorten them"
    if found.descriptions.cut:
        yield (
            f"{found.descriptions.cut:,} descriptions are longer than the encoder reads, which is "
            f"{found.window} tokens: what they say first counts"
        )
    if found.shared_aliases.labels > _SOME * found.labels:
        yield (
            f"{found.shared_aliases.texts:,} aliases stand for several labels: "
            "a text that has one cannot choose between them"
        )
    if not found.with_aliases and not found.with_description:
        yield "no label has aliases or a description: both help to find it, if they can be had"
    if found.tree.unknown_parents.count:
        count = found.tree.unknown_parents.count
        yield f"{count:,} labels have a parent that is no label here: such parents are ignored"
    if found.tree.in_cycles.count:
        yield (
            f"{found.tree.in_cycles.count:,} labels are above themselves: "
            "they count as equals; take one parent out of each cycle"
        )
    if found.read and (hint := found.read.language_hint):
        yield hint
