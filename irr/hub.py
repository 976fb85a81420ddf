"""Model files: found on this machine or on the model hub, and told apart by their weights."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from irr.errors import IrrError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

logger = logging.getLogger(__name__)


def load_pretrained(
    name: str, read: Callable[[str, bool], T], kind: str, error: type[IrrError], folder: Path | None = None
) -> T:
    """Loads a model from its folder, else from this machine's hub cache, else from the model hub.

    Args:
        name: A model's name on the hub, or its folder.
        read: Loads it, given its place and whether only files of this machine may be read.
        kind: What it is called in messages: "encoder" or "language model".
        error: The error to raise.
        folder: Where it stands, if `name` alone does not say so.

    Raises:
        IrrError: As `error`, if there is no such model, or it does not load.
    """
    prepare_environment()
    folder = folder or local_folder(name, kind, error)
    if folder is not None:
        try:
            return read(str(folder), True)
        except Exception as e:  # whatever the libraries make of a broken folder
            problem = (str(e) or type(e).__name__).splitlines()[0]
            raise error(f"{folder} holds no {kind} that loads ({problem})", "name another") from e
    try:
        return read(name, True)
    except Exception:
        logger.warning("%s %s is not on this machine: asking the model hub for it", kind, name)
    try:
        ask_hub()
        return read(name, False)
    except Exception as e:
        hint = "check the name, or give the folder of a model"
        raise error(f'no {kind} "{name}" here, and the model hub gave none', hint) from e


def prepare_environment() -> None:
    """Sets what torch and its libraries read when they are imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that spin while they wait halve the speed of a machine that others use too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def local_folder(name: str, kind: str, error: type[IrrError]) -> Path | None:
    """The folder of that name; None when only the hub can know the model.

    Raises:
        IrrError: As `error`, if the name can only mean a folder, and there is none.
    """
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return path.resolve()
    except OSError as e:
        raise error(f"{name} cannot be read ({e.strerror})", "name another folder") from e
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise error(f"no {kind} folder {name}", "check the path")
    return None


def ask_hub() -> None:
    """Finds out in seconds whether the model hub answers; its own client takes minutes.

    Raises:
        OSError: If it does not.
    """
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname or ""
    if os.environ.get("HF_HUB_OFFLINE", "0") in ("", "0"):
        socket.create_connection((host, 443), timeout=5).close()


def weights_revision(module: torch.nn.Module) -> str:
    """A hash of a model's weights, whatever they are called and wherever they were read from."""
    import torch

    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"sha256:{digest.hexdigest()[:32]}"
