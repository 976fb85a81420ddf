"""Makes a command of a function of one options object, whose fields are the options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from typer import Typer
from typer.models import OptionInfo

T = TypeVar("T")


@dataclass(frozen=True)
class Command:
    """A command of the command line.

    Attributes:
        run: The function that Typer calls with each option by its name.
        example: An example call, typed after `irr`; its first word is the command's name.
        passes_on: Whether unknown arguments are left in its `context`.
    """

    run: Callable[..., None]
    example: str
    passes_on: bool

    def register(self, app: Typer) -> None:
        """Adds the command to an application."""
        settings = {"allow_extra_args": self.passes_on, "ignore_unknown_options": self.passes_on}
        name, epilog = self.example.split()[0], f"Example:  irr {self.example}"
        app.command(name, epilog=epilog, context_settings=settings)(self.run)


def command(example: str, passes_on: bool = False) -> Callable[[Callable[[Any], None]], Command]:
    """Makes a command of a function that takes a dataclass, whose fields become options.

    The fields of a nested dataclass are options too, shown in its `panel`. A bool is a flag without a `--no-`
    form. The names of all fields differ.
    """

    def decorated(function: Callable[[Any], None]) -> Command:
        (kind,) = (hint for name, hint in get_type_hints(function).items() if name != "return")
        parameters = list(_parameters(kind, None))

        def run(**values: Any) -> None:
            function(_gathered(kind, values))

        run.__name__, run.__doc__ = function.__name__, function.__doc__
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return Command(run, example, passes_on)

    return decorated


def _parameters(kind: type[Any], panel: str | None) -> Iterator[inspect.Parameter]:
    panel = getattr(kind, "panel", panel)
    for field, hint in _fields(kind):
        if is_dataclass(hint):
            yield from _parameters(hint, panel)  # type: ignore[arg-type]
            continue
        default = field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is MISSING else default,
            annotation=_in_panel(field.name, hint, panel),
        )


def _in_panel(name: str, hint: Any, panel: str | None) -> Any:
    if get_origin(hint) is not Annotated:
        return hint
    of, info = get_args(hint)
    info = copy(info)
    info.rich_help_panel = info.rich_help_panel or panel
    if of is bool and isinstance(info, OptionInfo) and not info.param_decls and info.default is ...:
        info.param_decls = (f"--{name.replace('_', '-')}",)
    return Annotated[of, info]


def _gathered(kind: type[T], values: dict[str, Any]) -> T:
    return kind(
        **{
            field.name: _gathered(hint, values) if is_dataclass(hint) else values[field.name]  # type: ignore[arg-type]
            for field, hint in _fields(kind)
        }
    )


def _fields(kind: type[Any]) -> Iterator[tuple[Field[Any], Any]]:
    hints = get_type_hints(kind, include_extras=True)
    return ((field, hints[field.name]) for field in fields(kind))
