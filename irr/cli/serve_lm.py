"""The command `irr serve-lm`: a language model served with vLLM until Ctrl-C."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from irr.cli import display
from irr.cli.command import command

if TYPE_CHECKING:
    from irr.lm.vllm_server import Server


@dataclass(frozen=True, kw_only=True)
class ServeLMOptions:
    """The model, and the address to serve it at."""

    context: typer.Context
    model: Annotated[str, Argument(help="A model's name on the hub, its folder, or embedded.")]
    host: Annotated[str, Option(help="The address to listen on.", metavar="HOST")] = "127.0.0.1"
    port: Annotated[int, Option(help="The port; 0 for any that is free.", metavar="PORT")] = 8000
    python: Annotated[
        Path | None, Option(help="The Python that has vLLM, if not this one.", metavar="PATH")
    ] = None


@command("serve-lm Qwen/Qwen3-8B --port 8000 -- --max-model-len 8192", passes_on=True)
def serve_lm(options: ServeLMOptions) -> None:
    """Serve a language model with vLLM, with the flags that suit irr, until Ctrl-C.

    Prints the options that use it, once it answers. What follows "--" goes to vLLM.
    """
    from irr.lm.vllm_server import ServerOptions, serve

    def ready(server: Server) -> None:
        display.note(f"ready after {server.seconds[1]:.0f} s; use it with")
        typer.echo(f"--lm openai/{server.name} --api-base {server.api_base}")

    display.note(f"starting vLLM with {options.model}: this can take minutes")
    server = ServerOptions(options.host, options.port, options.python, options.context.args)
    serve(options.model, ready, server)
