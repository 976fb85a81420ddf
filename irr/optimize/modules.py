"""The stages' prompts as DSPy modules that optimizers work on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from irr.lm.protocol import StageInput
from irr.optimize.dspy_adapter import asking_about, prepare_dspy, schema_config
from irr.prompts.chat import Prompt
from irr.prompts.pack import demo_text
from irr.prompts.templates import RANKING_TOKENS, TERMS_TOKENS, RankingPrompt, TermPrompt, numbered

if TYPE_CHECKING:
    import dspy
else:
    dspy = prepare_dspy()


class _PromptModule(dspy.Module):  # type: ignore[misc]
    """A prompt as a DSPy predictor.

    Attributes:
        prompt: The prompt.
        model: The model; each call names it, because optimizers drop the model of a predictor.
    """

    def __init__(self, prompt: Prompt, model: dspy.LM) -> None:
        super().__init__()
        self.prompt = prompt
        self.model = model
        fields: dict[str, Any] = {
            **{name: (str, dspy.InputField(desc=described)) for name, described in prompt.inputs.items()},
            prompt.output: (list[prompt.item], dspy.OutputField(desc=prompt.described)),  # type: ignore[name-defined]
        }
        self.predict = dspy.Predict(dspy.Signature(fields, prompt.instructions))
        self.predict.demos = [dspy.Example(**demo).with_inputs(*prompt.inputs) for demo in prompt.demos]

    def _list(
        self, about: StageInput, items: dict[str, Any], most: int, tokens: int, **inputs: str
    ) -> list[Any]:
        # Optimizers make demos of whole texts, a task pack of their beginning.
        demos = [{**demo, "text": demo_text(demo["text"])} for demo in self.predict.demos]
        config = schema_config(self.prompt.schema(items, most)) | {"max_tokens": tokens}
        with asking_about(about):
            answer = self.predict(config=config, lm=self.model, demos=demos, **inputs)
        found: list[Any] = answer[self.prompt.output]
        return found


class ProposeTerms(_PromptModule):
    """Text → terms, by the prompt of `TermPrompt`."""

    def __init__(self, prompt: TermPrompt, model: dspy.LM) -> None:
        super().__init__(prompt.prompt, model)

    def forward(self, text: str) -> list[str]:
        """Returns the terms, without duplicates."""
        terms = self._list(
            StageInput("infer", text), TermPrompt.items, TermPrompt.most, TERMS_TOKENS, text=text
        )
        return TermPrompt.kept(terms)


class OrderCandidates(_PromptModule):
    """Text and numbered candidates → positions, by the prompt of `RankingPrompt`."""

    def __init__(self, prompt: RankingPrompt, model: dspy.LM) -> None:
        super().__init__(prompt.prompt, model)

    def forward(self, text: str, candidates: Sequence[str], count: int) -> list[int]:
        """Returns positions in `candidates`, best first."""
        items, most = RankingPrompt.items(len(candidates)), min(count, len(candidates))
        inputs = {"text": text, "candidates": numbered(candidates)}
        about = StageInput("rank", text, tuple(candidates))
        return RankingPrompt.kept(self._list(about, items, most, RANKING_TOKENS, **inputs), len(candidates))
