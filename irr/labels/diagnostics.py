"""A survey of a label space: its contents, its hierarchy, and what hurts retrieval."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from irr.encoders.window import Window
from irr.labels.skos.counts import SkosCounts
from irr.labels.space import LabelSpace
from irr.labels.tree import Tree, survey_tree
from irr.text.languages import language_note
from irr.text.strings import counted
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
    """The number of labels with some property, and the first few of them."""

    count: int
    examples: tuple[str, ...]


class SharedTexts(_Frozen):
    """Texts that several labels carry.

    Attributes:
        texts: Such texts, counted.
        labels: Labels that carry one, counted.
        examples: The texts that most labels carry.
    """

    texts: int
    labels: int
    examples: tuple[Shared, ...]


class Lengths(_Frozen):
    """Lengths of the texts of one kind, in tokens of the encoder or in words.

    Attributes:
        median: The median length.
        longest: Lengths and texts of the longest, longest first.
        cut: Texts that are longer than the encoder's window; None if that is unknown.
    """

    median: int
    longest: tuple[tuple[int, str], ...]
    cut: int | None


class LabelDiagnostics(_Frozen):
    """The diagnostics of a label space.

    Attributes:
        labels: Labels, counted.
        with_aliases: Labels with an alias.
        aliases: Aliases, counted.
        with_description: Labels with a description.
        without_description: Labels without one.
        with_prior: Labels with a prior.
        shared_names: Names of several labels, case ignored.
        indistinct: Labels that share a name, and have neither parents nor a description.
        shared_aliases: Aliases of several labels, or that are another label's name.
        codes: Labels whose name looks like a code.
        unit: The unit of lengths, `tokens` or `words`.
        window: Tokens that the encoder reads; None if that is unknown.
        names: Lengths of names.
        descriptions: Lengths of descriptions.
        tree: The hierarchy.
        read: Counts of what was read of a SKOS file; None for other files.
        warnings: Findings that hurt retrieval, each with what to do.
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
    """Names and aliases from all over the label space, enough to tell their language."""
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
    """Whether a name has more digits and signs than letters, as `A01.1` and `T1059.003` have."""
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
            f"{counted(found.indistinct.count, 'label shares', 'labels share')} a name, without description "
            "or parents: nothing tells them apart; add a description, or make them one label"
        )
    elif found.shared_names.labels > _SOME * found.labels:
        yield (
            f"{found.shared_names.labels:,} labels share a name: only descriptions tell them apart; "
            "put what differs into the name"
        )
    if found.codes.count > _SOME * found.labels:
        yield (
            f"{counted(found.codes.count, 'name looks like a code', 'names look like codes')}, which no text "
            "resembles: put words into the name, and the code into the id or an alias"
        )
    if found.names.cut:
        yield f"{counted(found.names.cut, 'name is', 'names are')} longer than the encoder reads: shorten it"
    if found.descriptions.cut:
        yield (
            f"{counted(found.descriptions.cut, 'description is', 'descriptions are')} longer than the "
            f"encoder reads, which is {found.window} tokens: put what matters first"
        )
    if found.shared_aliases.labels > _SOME * found.labels:
        yield (
            f"{counted(found.shared_aliases.texts, 'alias stands', 'aliases stand')} for several labels: "
            "a text that has one cannot choose between them"
        )
    if not found.with_aliases and not found.with_description:
        yield "no label has aliases or a description: add some, because both help retrieval"
    if found.tree.unknown_parents.count:
        count = found.tree.unknown_parents.count
        yield f"{counted(count, 'label has', 'labels have')} an unknown parent, ignored: correct its id"
    if found.tree.in_cycles.count:
        yield (
            f"{counted(found.tree.in_cycles.count, 'label')} in cycles of parents: "
            "remove one parent from each cycle"
        )
    if found.read and (hint := found.read.language_hint):
        yield hint
