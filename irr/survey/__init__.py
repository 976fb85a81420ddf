"""A survey of a label space: what is in it, and what hurts retrieval."""

from irr.survey.survey import Lengths, SharedTexts, Survey, survey

__all__ = ["Lengths", "SharedTexts", "Survey", "survey"]
