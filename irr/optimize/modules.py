"""The stages' questions as DSPy modules, for optimizers to work on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from irr.optimize.dspy_adapter import prepare_dspy, schema_config
from irr.prompts.chat import Prompt, list_schema
from irr.prompts.pack import demo_text
from irr.prompts.templates import RANKING_TOKENS, TERMS_TOKENS, RankingPrompt, TermPrompt, numbered

if TYPE_CHECKING:
    import dspy
else:
    dspy = prepare_dspy()


class ProposeTerms(dspy.Module):  # type: ignore[misc]
    """Text → terms, as `TermPrompt` asks for them.

    Attributes:
        model: Answers. Kept here and named at each call, because optimizers drop what a predictor holds.
    """

    def __init__(self, ask: TermPrompt, model: dspy.LM) -> None:
        super().__init__()
        self.model = model
        self.predict = _predict(ask.prompt)

    def forward(self, text: str) -> list[str]:
        """Returns the terms, without duplicates."""
        config = _config("terms", TermPrompt.items, TermPrompt.most, TERMS_TOKENS)
        answer = self.predict(text=text, config=config, lm=self.model, demos=_shown(self.predict))
        return TermPrompt.kept(answer.terms)


class OrderCandidates(dspy.Module):  # type: ignore[misc]
    """Text and numbered candidates → positions, as `RankingPrompt` asks for them.

    Attributes:
        model: As in `ProposeTerms`.
    """

    def __init__(self, ask: RankingPrompt, model: dspy.LM) -> None:
        super().__init__()
        self.model = model
        self.predict = _predict(ask.prompt)

    def forward(self, text: str, candidates: Sequence[str], count: int) -> list[int]:
        """Returns positions in `candidates`, best first."""
        items, most = RankingPrompt.items(len(candidates)), min(count, len(candidates))
        config = _config("ranking", items, most, RANKING_TOKENS)
        answer = self.predict(
            text=text,
            candidates=numbered(candidates),
            config=config,
            lm=self.model,
            demos=_shown(self.predict),
        )
        return RankingPrompt.kept(answer.ranking, len(candidates))


def _predict(prompt: Prompt) -> dspy.Predict:
    fields: dict[str, Any] = {
        **{name: (str, dspy.InputField(desc=described)) for name, described in prompt.inputs.items()},
        prompt.output: (list[prompt.item], dspy.OutputField(desc=prompt.described)),  # type: ignore[name-defined]
    }
    predict = dspy.Predict(dspy.Signature(fields, prompt.instructions))
    predict.demos = [dspy.Example(**demo).with_inputs(*prompt.inputs) for demo in prompt.demos]
    return predict


def _shown(predict: dspy.Predict) -> list[Any]:
    """The demos, of which optimizers make whole texts, as a task pack holds them."""
    return [{**demo, "text": demo_text(demo["text"])} for demo in predict.demos]


def _config(output: str, items: dict[str, Any], most: int, max_tokens: int) -> dict[str, Any]:
    return schema_config(list_schema(output, items, most)) | {"max_tokens": max_tokens}
