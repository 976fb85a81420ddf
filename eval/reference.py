"""The paper's form of a ranking prompt, against which the tokens of irr's own are counted.

It lists the options by name, with commas, in the demos too, and has the model reason before it answers with
names (D'Oosterlinck et al. 2024, arXiv 2401.12178).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from irr.program.program import InferRetrieveRank
from irr.prompts.pack import load_task

OPTIONS = 50
_DEMOS = 2
# The beginning of the reasoning, which the prompt gives, and the rest at its usual length.
_BEGINNING = "Let's think step by step"
_REST = (
    " in order to produce the skills. We look at what the snippet says that the person has to do and to "
    "know, and pick from the options those that are directly expressed in it."
)
_HEAD = (
    "Given a snippet from a job vacancy, pick the 10 most applicable skills from the options that are "
    "directly expressed in the snippet.\n\n---\n\nFollow the following format.\n\nVacancy: ${vacancy}\n"
    "Options: List of comma-separated options to choose from\n"
    "Reasoning: Let's think step by step in order to ${produce the skills}. We ...\n"
    "Skills: list of comma-separated ESCO skills\n\n---\n\n"
)


def prompt_of(retrieve: InferRetrieveRank, task: str) -> Callable[[str, Sequence[str]], str]:
    """The prompt for a text and its options, with two demos of a task, whose options `retrieve` finds."""
    head = _HEAD
    for demo in load_task(task).demos[:_DEMOS]:
        shown = [*demo.terms, *options(retrieve, [demo.text])[0]][:OPTIONS]
        head += f"Vacancy: {demo.text}\nOptions: {', '.join(shown)}\nReasoning: {_BEGINNING}"
        head += f"{answer_of(demo.terms)}\n\n---\n\n"
    return lambda text, names: f"{head}Vacancy: {text}\nOptions: {', '.join(names)}\nReasoning: {_BEGINNING}"


def answer_of(names: Sequence[str]) -> str:
    """What a model answers that names these skills."""
    return f"{_REST}\nSkills: {', '.join(names)}"


def options(retrieve: InferRetrieveRank, texts: Sequence[str]) -> list[list[str]]:
    """The names that each text's candidates have."""
    traces = [prediction.trace for prediction in retrieve.batch(texts, trace=True)]
    return [
        [candidate.label.name for candidate in trace.candidates[:OPTIONS]] if trace else []
        for trace in traces
    ]
