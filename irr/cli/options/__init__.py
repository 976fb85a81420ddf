"""The options that several commands share, in groups by what they are about."""

from irr.cli.options.build import BuildOptions, HierarchyName
from irr.cli.options.decision import DecisionOptions
from irr.cli.options.files import ColumnNames, Encoder, IndexFolder, Labels, Language, note_language
from irr.cli.options.models import APIBase, LimitOptions, LMOptions, PricePerMillion, RankMethodName
from irr.cli.options.program import ProgramOptions

__all__ = [
    "APIBase",
    "BuildOptions",
    "ColumnNames",
    "DecisionOptions",
    "Encoder",
    "HierarchyName",
    "IndexFolder",
    "LMOptions",
    "Labels",
    "Language",
    "LimitOptions",
    "PricePerMillion",
    "ProgramOptions",
    "RankMethodName",
    "note_language",
]
