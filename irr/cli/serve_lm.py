"""The command `irr serve-lm`: a language model served with vLLM until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Context, echo

from irr.cli import display
from irr.cli.options import value

if TYPE_CHECKING:
    from irr.lm.vllm_server import Server


def serve_lm(
    context: Context,
    model: Annotated[str, Argument(help="A model's name on the hub, its folder, or embedded.")],
    host: Annotated[str, value("The address to listen on.", "HOST")] = "127.0.0.1",
    port: Annotated[int, value("The port; 0 for any that is free.", "PORT")] = 8000,
    python: Annotated[Path | None, value("The Python that has vLLM, if not this one.", "PATH")] = None,
) -> None:
    """Serve a language model with vLLM, with the flags that suit irr, until Ctrl-C.

    Prints the options that use it, once it answers. What follows "--" goes to vLLM.
    """
    from irr.lm.vllm_server import ServerOptions, serve

    def ready(server: Server) -> None:
        display.note(f"ready after {server.seconds:.0f} s; use it with")
        echo(f"--lm openai/{server.name} --api-base {server.api_base}")

    display.note(f"starting vLLM with {model}: this can take minutes")
    serve(model, ready, ServerOptions(host, port, python, context.args))
