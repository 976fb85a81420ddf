"""Options that name language models and limit what is asked of their servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from typer import Option

from irr.errors import UsageError

if TYPE_CHECKING:
    from irr.lm.protocol import Capabilities, LanguageModel
    from irr.lm.server_limits import Limits
    from irr.program.spec import ProgramSpec

    # The models of infer and of rank.
    Models = tuple[LanguageModel | None, LanguageModel | None]

# The names of `irr.config.RankMethod`, whose import would slow `irr --help`; a test compares them.
RankMethodName = Literal["auto", "listwise", "pointwise"]
# The most requests at a time that `--concurrency auto` tries.
_MOST_REQUESTS = 256

APIBase = Annotated[
    str | None,
    Option(
        help="URL of the server of openai/MODEL, up to /v1. Default: OpenAI's. Its key: OPENAI_API_KEY.",
        metavar="URL",
    ),
]
PricePerMillion = Annotated[
    str | None, Option(help="What a million tokens cost, sent and generated: 0.15,0.60.", metavar="IN,OUT")
]


@dataclass(frozen=True, kw_only=True)
class LMOptions:
    """The language models and their task pack; None leaves them to the program."""

    panel: ClassVar[str] = "Language models"

    lm: Annotated[
        str | None,
        Option(
            help="Language model for both stages: none, embedded, openai/MODEL, or recorded/FILE. "
            "Default: none, or those of the frozen program.",
            metavar="NAME",
        ),
    ] = None
    api_base: APIBase = None
    infer_lm: Annotated[str | None, Option(help="Another one for infer.", metavar="NAME")] = None
    rank_lm: Annotated[str | None, Option(help="Another one for rank.", metavar="NAME")] = None
    rank_method: Annotated[RankMethodName, Option(help="How the language model ranks.")] = "auto"
    task: Annotated[
        str | None,
        Option(
            help="The prompts of the language models: a task pack (attack, biodex, default, esco, icd10, "
            "subjects) or a folder with a task.toml. Default: default.",
            metavar="NAME",
        ),
    ] = None

    @property
    def names(self) -> tuple[str | None, str | None]:
        """The models named for infer and for rank."""
        return self.infer_lm or self.lm, self.rank_lm or self.lm

    @property
    def capabilities(self) -> tuple[Capabilities | None, Capabilities | None]:
        """The capabilities of the two models; None for no model."""
        from irr.lm.registry import NO_MODEL, capabilities_of

        infer, rank = (capabilities_of(name) if name and name != NO_MODEL else None for name in self.names)
        return infer, rank

    def check(self, frozen: ProgramSpec | None = None) -> None:
        """Checks the options before any slow work.

        Args:
            frozen: The recipe of the frozen program to run, if there is one.

        Raises:
            UsageError: If a model is unknown, or options contradict each other.
            InputError: If the task is unknown.
        """
        from irr.lm.registry import NO_MODEL, capabilities_of, check_name, name_of
        from irr.prompts.pack import load_task

        if self.task is not None:
            load_task(self.task)
        own = (frozen.infer, frozen.rank) if frozen else (None, None)
        names = [
            given or (name_of(model.name) if model else NO_MODEL)
            for given, model in zip(self.names, own, strict=True)
        ]
        if self.api_base and all(capabilities_of(name).local for name in names):
            raise UsageError("--api-base is given, but no model of that server", "add --lm openai/MODEL")
        for name in names:
            check_name(name, self.api_base)

    def open(self, limits: Limits | None = None) -> Models:
        """Opens the models of infer and rank; one name gives one model."""
        from irr.lm.registry import NO_MODEL, open_models

        infer, rank = open_models([name or NO_MODEL for name in self.names], self.api_base, limits)
        return infer, rank


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """Concurrency and rate limits of a model server."""

    panel: ClassVar[str] = "Model servers"

    concurrency: Annotated[
        str,
        Option(
            help="Requests to a model server at a time; auto finds the best number, up to 256.",
            metavar="N|auto",
        ),
    ] = "auto"
    requests_per_minute: Annotated[
        float | None, Option(help="Requests to each model, at most.", min=0.001, metavar="N")
    ] = None
    tokens_per_minute: Annotated[
        float | None, Option(help="Tokens sent to and from each model, at most.", min=1, metavar="N")
    ] = None
    patience: Annotated[
        float,
        Option(
            help="Minutes to wait for a model server that is down or asks for a pause; then the run stops. "
            "With 0, rows are answered without the model.",
            min=0,
            metavar="MINUTES",
        ),
    ] = 60

    def read(self) -> Limits:
        """The limits.

        Raises:
            UsageError: If `concurrency` is neither a number nor `auto`.
        """
        from irr.lm.server_limits import Limits

        auto = self.concurrency == "auto"
        if not auto and not (self.concurrency.isdecimal() and int(self.concurrency) > 0):
            problem = f'--concurrency: "{self.concurrency}" is not a number of requests'
            raise UsageError(problem, "give auto, or 1 or more")
        return Limits(
            concurrency=_MOST_REQUESTS if auto else int(self.concurrency),
            auto=auto,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            patience=60 * self.patience,
        )
