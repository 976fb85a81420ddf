"""Finds model files here or on the model hub, identifies their weights, and names cache folders."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from irr.errors import IrrError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
_WEIGHTS = "model.safetensors"

logger = logging.getLogger(__name__)


def load_pretrained(
    name: str, read: Callable[[str, bool], T], kind: str, error: type[IrrError], folder: Path | None = None
) -> T:
    """Loads a model from its folder, else from this machine's hub cache, else from the model hub.

    `read` takes a name or folder, and whether only local files are allowed; `kind` names it in messages.
    """
    prepare_environment()
    if folder := folder or local_folder(name, kind, error):
        try:
            return read(str(folder), True)
        except Exception as e:  # the libraries raise all kinds of errors for a broken folder
            problem = (str(e) or type(e).__name__).splitlines()[0]
            hint = "name another folder, or delete this one if irr made it"
            raise error(f"{folder} holds no {kind} that loads ({problem})", hint) from e
    try:
        return read(name, True)
    except (OSError, ValueError):
        logger.warning("%s %s is not on this machine: asking the model hub for it", kind, name)
    try:
        _ask_hub()
        return read(name, False)
    except (OSError, ValueError) as e:
        hint = "check the name, or give the folder of a model"
        raise error(f'no {kind} "{name}" here, and the model hub gave none', hint) from e


def prepare_environment() -> None:
    """Sets the environment variables that torch and its libraries read at import."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that spin while they wait halve the speed of a shared machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def local_folder(name: str, kind: str, error: type[IrrError]) -> Path | None:
    """The folder of that name; None for a name on the hub. Raises `error` for a path to no folder."""
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return path.resolve()
    except OSError as e:
        raise error(f"{name} cannot be read ({e.strerror})", "name another folder") from e
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise error(f"no {kind} folder {name}", "check the path")
    return None


def _ask_hub() -> None:
    """Raises an OSError within seconds if the model hub does not answer; its own client takes minutes."""
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname or ""
    if os.environ.get("HF_HUB_OFFLINE", "0") in ("", "0"):
        socket.create_connection((host, 443), timeout=5).close()


def hub_folder(name: str) -> Path | None:
    """The folder of a model in this machine's hub cache; None if it is not there."""
    from huggingface_hub import snapshot_download

    # sentence-transformers opens its own models by their bare names.
    for full in [name] if "/" in name else [name, f"sentence-transformers/{name}"]:
        try:
            return Path(snapshot_download(full, local_files_only=True))
        except (OSError, ValueError):  # the cache lacks it, or the hub allows no such name
            continue
    return None


def cache_folder(name: str) -> Path:
    """A folder of irr in the user's cache; that of language models may be named in IRR_MODEL_FOLDER."""
    if name == "models" and (folder := os.environ.get("IRR_MODEL_FOLDER")):
        return Path(folder).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("irr", appauthor=False) / name


def weights_revision(module: torch.nn.Module) -> str:
    """A hash of a model's weights, independent of their names and their source."""
    import torch

    tensors = (tensor.detach().cpu().contiguous() for tensor in module.state_dict().values())
    return _revision(
        tensor.reshape(-1).view(torch.uint8).numpy() for tensor in tensors if tensor.is_floating_point()
    )


def file_revision(folder: Path) -> str | None:
    """The same hash from the files of a sentence-transformers model; None without safetensors."""
    try:
        modules = json.loads((folder / "modules.json").read_text("utf-8"))
        files = {folder / module["path"] / _WEIGHTS for module in modules}
        found = sorted(file for file in files if file.exists())
        if not found or any(any(file.parent.glob("*.bin")) for file in files.difference(found)):
            return None
        return _files_revision(tuple((file, file_stamp(file)) for file in found))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def file_stamp(path: Path) -> tuple[int, int, int]:
    """The file's inode, size and time of change, which differ where its content does."""
    about = path.stat()
    return about.st_ino, about.st_size, about.st_mtime_ns


@lru_cache
def _files_revision(files: tuple[tuple[Path, tuple[int, int, int]], ...]) -> str:
    """The hash of the weights in files; a process reads unchanged files once."""
    return _revision(tensor for file, _ in files for tensor in _floats(file))


def _floats(path: Path) -> Iterator[memoryview]:
    """The bytes of each float tensor of a safetensors file: a header size, a JSON header, the data."""
    content = memoryview(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    for name, tensor in json.loads(bytes(content[8:start])).items():
        if name != "__metadata__" and tensor["dtype"].startswith(("F", "BF")):
            first, last = tensor["data_offsets"]
            yield content[start + first : start + last]


def _revision(tensors: Iterable[Any]) -> str:
    digests = sorted(hashlib.sha256(tensor).digest() for tensor in tensors)
    return f"sha256:{hashlib.sha256(b''.join(digests)).hexdigest()[:32]}"
