"""Options that choose which labels a text gets from a calibrated program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from typer import Option

from irr.errors import UsageError

if TYPE_CHECKING:
    from irr.calibrate.decision import Decision


@dataclass(frozen=True, kw_only=True)
class DecisionOptions:
    """The choice of labels by a calibrated program."""

    panel: ClassVar[str] = "Labels returned, by a calibrated program"

    min_probability: Annotated[
        float | None, Option(help="Only labels with at least this probability.", metavar="SHARE")
    ] = None
    precision: Annotated[
        float | None,
        Option(help="Labels of which this share is right, with 99 % confidence.", metavar="SHARE"),
    ] = None
    recall: Annotated[
        float | None,
        Option(help="Sets that hold this share of a text's right labels, in the mean.", metavar="SHARE"),
    ] = None
    best_f1: Annotated[bool, Option(help="The set of the highest expected F1.")] = False
    scope: Annotated[
        float | None,
        Option(
            help="No labels for texts as unusual as this share of the calibration texts. Default: 0.05 "
            "with --min-probability and --best-f1, else 0; a promise has its own.",
            metavar="SHARE",
        ),
    ] = None

    def read(self) -> Decision:
        """The decision.

        Raises:
            UsageError: If options contradict each other, or a value is out of range.
        """
        from pydantic import ValidationError

        from irr.calibrate.decision import Decision

        try:
            return Decision(
                min_probability=self.min_probability,
                precision=self.precision,
                recall=self.recall,
                best_f1=self.best_f1,
                scope=self.scope,
            )
        except ValidationError as e:
            first = e.errors(include_url=False)[0]
            option = "".join(f"--{part}: ".replace("_", "-") for part in first["loc"])
            reason = str(first.get("ctx", {}).get("error", "")) or first["msg"]
            raise UsageError(f"{option}{reason[:1].lower()}{reason[1:]}", "see irr classify --help") from e
