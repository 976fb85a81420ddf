"""A survey of a label space: its contents, its hierarchy, and what hurts retrieval."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel

from irr.encoders.sentence_transformers import TokenWindow
from irr.labels.hierarchy import cycles, depths, known_parents
from irr.labels.skos import SkosCounts
from irr.labels.space import LabelSpace
from irr.text.strings import counted
from irr.text.words import words

_EXAMPLES = 5
# The share of a label space above which something is worth a warning.
_SOME = 0.01

T = TypeVar("T")


class Examples(BaseModel, Generic[T], frozen=True):
    """The number of labels with some property, and the first few of them."""

    count: int
    examples: tuple[T, ...]


class SharedText(BaseModel, frozen=True):
    """A text that several labels carry, and their ids."""

    text: str
    ids: tuple[str, ...]


class SharedTexts(BaseModel, frozen=True):
    """Texts that several labels carry: their number, that of the labels, and the most frequent texts."""

    texts: int
    labels: int
    examples: tuple[SharedText, ...]


class Lengths(BaseModel, frozen=True):
    """Lengths of the texts of one kind, in tokens of the encoder or in words."""

    median: int
    longest: tuple[tuple[int, str], ...]  # with their texts, longest first
    cut: int | None  # texts longer than the encoder's window; None if that is unknown


class HierarchyCounts(BaseModel, frozen=True):
    """Counts of labels by their place in the hierarchy; parents that are not labels are ignored."""

    with_parents: int
    several_parents: int
    roots: int  # with children and without a parent
    alone: int  # with neither
    leaves: int  # with a parent and without children
    depths: dict[int, int]  # labels by their steps from the nearest root; 0 counts `roots` and `alone`
    unreachable: int  # below no root: in and under cycles
    unknown_parents: Examples[tuple[str, str]]  # a label, and a parent of it that is not a label
    in_cycles: Examples[tuple[str, ...]]  # cycles, each id the parent of the one before


class LabelDiagnostics(BaseModel, frozen=True):
    """The diagnostics of a label space."""

    labels: int
    with_aliases: int
    aliases: int
    with_description: int
    without_description: Examples[str]
    with_prior: int
    shared_names: SharedTexts  # case ignored
    indistinct: Examples[str]  # labels that share a name, and have neither parents nor a description
    shared_aliases: SharedTexts  # aliases of several labels, or that are another label's name
    codes: Examples[str]  # names that look like codes
    unit: str  # of lengths: `tokens` or `words`
    window: int | None  # tokens that the encoder reads; None if that is unknown
    names: Lengths
    descriptions: Lengths
    tree: HierarchyCounts
    read: SkosCounts | None  # None for a file that is not SKOS
    warnings: tuple[str, ...] = ()  # findings that hurt retrieval, each with what to do


def survey(
    space: LabelSpace, window: TokenWindow | None = None, only_english: bool = False
) -> LabelDiagnostics:
    """Surveys a label space; without a window, which counts the encoder's tokens, words are counted."""
    names: defaultdict[str, list[int]] = defaultdict(list)
    aliases: defaultdict[str, list[int]] = defaultdict(list)
    for number, label in enumerate(space):
        name = _folded(label.name)
        names[name].append(number)
        for alias in {_folded(alias) for alias in label.aliases} - {name}:
            aliases[alias].append(number)
    namesakes = sorted(number for numbers in names.values() if len(numbers) > 1 for number in numbers)
    descriptions = [label.description for label in space if label.description]
    result = LabelDiagnostics(
        labels=len(space),
        with_aliases=sum(bool(label.aliases) for label in space),
        aliases=sum(len(label.aliases) for label in space),
        with_description=len(descriptions),
        without_description=_examples(label.id for label in space if not label.description),
        with_prior=sum(label.prior is not None for label in space),
        shared_names=_shared(space, names),
        indistinct=_examples(
            space[n].id for n in namesakes if not space[n].parents and not space[n].description
        ),
        shared_aliases=_shared(
            space, {alias: [*names.get(alias, ()), *numbers] for alias, numbers in aliases.items()}
        ),
        codes=_examples(label.name for label in space if _is_code(label.name)),
        unit="tokens" if window else "words",
        window=window.limit if window else None,
        names=_lengths([label.name for label in space], window),
        descriptions=_lengths(descriptions, window),
        tree=survey_hierarchy(space),
        read=space.counts,
    )
    warnings = list(_warnings(result))
    if window and only_english and not (space.counts and space.counts.language_hint):
        warnings += filter(None, [window.language_note("labels", names_sample(space))])
    return result.model_copy(update={"warnings": tuple(warnings)})


def survey_hierarchy(space: LabelSpace) -> HierarchyCounts:
    """Surveys the hierarchy in time linear in labels and parents, cycles included."""
    parents = known_parents(space)
    above = {parent for known in parents for parent in known}
    top = [number for number, known in enumerate(parents) if not known]
    depth = depths(parents)
    loops, in_cycles = cycles(parents)
    ids = tuple(tuple(space[number].id for number in cycle) for cycle in loops[:_EXAMPLES])
    return HierarchyCounts(
        with_parents=len(parents) - len(top),
        several_parents=sum(len(known) > 1 for known in parents),
        roots=sum(number in above for number in top),
        alone=sum(number not in above for number in top),
        leaves=sum(bool(known) and number not in above for number, known in enumerate(parents)),
        depths=dict(sorted(Counter(steps for steps in depth if steps is not None).items())),
        unreachable=depth.count(None),
        unknown_parents=_examples(
            (label.id, unknown[0])
            for label in space
            if (unknown := [parent for parent in label.parents if parent not in space])
        ),
        in_cycles=Examples(count=in_cycles, examples=ids),
    )


def names_sample(space: LabelSpace) -> list[str]:
    """Names and aliases from all over the label space, enough to tell their language."""
    return [
        "; ".join((label.name, *label.aliases[:3])) for label in space.labels[:: max(1, len(space) // 400)]
    ]


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _is_code(name: str) -> bool:
    """Whether a name has more digits and signs than letters, as `A01.1` and `T1059.003` have."""
    letters = sum(c.isalpha() for c in name)
    others = sum(not c.isalpha() and not c.isspace() for c in name)
    return letters < others and any(c.isdigit() for c in name)


def _examples(found: Iterable[T]) -> Examples[T]:
    every = list(found)
    return Examples(count=len(every), examples=tuple(every[:_EXAMPLES]))


def _shared(space: LabelSpace, carriers: Mapping[str, list[int]]) -> SharedTexts:
    """Counts the texts that several labels carry; `carriers` holds the labels of each text."""
    shared = {text: numbers for text, numbers in carriers.items() if len(numbers) > 1}
    most = sorted(shared.items(), key=lambda item: (-len(item[1]), item[0]))[:_EXAMPLES]
    return SharedTexts(
        texts=len(shared),
        labels=len({number for numbers in shared.values() for number in numbers}),
        examples=tuple(SharedText(text=text, ids=tuple(space[n].id for n in ns)) for text, ns in most),
    )


def _lengths(texts: Sequence[str], window: TokenWindow | None) -> Lengths:
    lengths = window.tokens(texts) if window else [sum(1 for _ in words(text)) for text in texts]
    order = sorted(range(len(texts)), key=lambda i: (-lengths[i], i))
    return Lengths(
        median=sorted(lengths)[(len(lengths) - 1) // 2] if lengths else 0,
        longest=tuple((lengths[i], texts[i]) for i in order[:_EXAMPLES]),
        cut=sum(length > window.limit for length in lengths) if window else None,
    )


def _warnings(found: LabelDiagnostics) -> Iterator[str]:
    some = _SOME * found.labels
    if count := found.indistinct.count:
        shares = counted(count, "label shares", "labels share")
        yield f"{shares} a name, without description or parents: add a description, or make them one label"
    elif found.shared_names.labels > some:
        yield f"{found.shared_names.labels:,} labels share a name: put what differs into the name"
    if (count := found.codes.count) > some:
        looks = counted(count, "name looks like a code", "names look like codes")
        yield f"{looks}, which no text resembles: put words into the name, the code into the id or an alias"
    if cut := found.names.cut:
        yield f"{counted(cut, 'name is', 'names are')} longer than the encoder reads: shorten it"
    if cut := found.descriptions.cut:
        longer = f"{counted(cut, 'description is', 'descriptions are')} longer than the encoder reads"
        yield f"{longer}, which is {found.window} tokens: put what matters first"
    if found.shared_aliases.labels > some:
        stands = counted(found.shared_aliases.texts, "alias stands", "aliases stand")
        yield f"{stands} for several labels: a text that has one cannot choose between them"
    if not found.with_aliases and not found.with_description:
        yield "no label has aliases or a description: add some, because both help retrieval"
    if count := found.tree.unknown_parents.count:
        yield f"{counted(count, 'label has', 'labels have')} an unknown parent, ignored: correct its id"
    if count := found.tree.in_cycles.count:
        yield f"{counted(count, 'label')} in cycles of parents: remove one parent from each cycle"
    if found.read and found.read.language_hint:
        yield found.read.language_hint
