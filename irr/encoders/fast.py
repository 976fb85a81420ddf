"""Makes the fast engine of an encoder at first use, checks it, and keeps it in the user's cache folder."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

from irr.encoders.model import Model
from irr.encoders.onnx import GRAPH, OnnxModel
from irr.hub import cache_folder, file_stamp

# The version of the exported files; a change of the export raises it.
_FORMAT = 3
# The file of a model that has no fast engine, with the reason.
_REFUSED = "refused.txt"
# The engines in use, by folder and state of the graph: the programs of a process share them.
_OPEN: WeakValueDictionary[tuple[Path, tuple[int, int, int]], OnnxModel] = WeakValueDictionary()

logger = logging.getLogger(__name__)


def open_fast(name: str, folder: Path, revision: str, model: Callable[[], Model]) -> OnnxModel | None:
    """The fast engine of a model, made at first use; None if the model has none.

    Args:
        name: The model's name in messages.
        folder: The model's folder.
        revision: The hash of its weights.
        model: Loads the model.
    """
    from filelock import FileLock

    path = cache_folder("encoders") / _key(folder, revision)
    if engine := _read(path):
        return engine
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not (engine := _read(path)) and not (path / _REFUSED).exists():
                engine = _make(path, name, model())
            return engine
    except (OSError, ImportError) as e:
        logger.warning("encoder %s runs slowly: its fast engine cannot be made (%s)", name, e)
        return None


def _make(path: Path, name: str, model: Model) -> OnnxModel | None:
    """Exports and checks beside `path`, then moves the engine, or the reason for none, there."""
    from irr.encoders.export import TOLERANCE, difference, export

    if model.module.device.type != "cpu":
        return None
    logger.warning("encoder %s: making its fast engine, once (some 20 seconds)", name)
    # This process holds the lock, so that an interrupted run left what stands here.
    beside = path.with_suffix(".building")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        export(model, beside)
        found = difference(model, OnnxModel(beside))
        problem = "" if found <= TOLERANCE else f"its vectors differ by {found:.1g}"
    except (OSError, ImportError):
        shutil.rmtree(beside, ignore_errors=True)
        raise
    except Exception as e:  # torch raises all kinds of errors for a model that it cannot export
        problem = f"it cannot be exported: {(str(e) or type(e).__name__).splitlines()[0]}"
    if problem:
        logger.warning("encoder %s has no fast engine (%s)", name, problem)
        shutil.rmtree(beside)
        beside.mkdir()
        (beside / _REFUSED).write_text(problem + "\n", "utf-8")
    shutil.rmtree(path, ignore_errors=True)
    beside.rename(path)
    return _read(path)


def _read(path: Path) -> OnnxModel | None:
    if not path.is_dir() or (path / _REFUSED).exists():
        return None
    try:
        key = (path, file_stamp(path / GRAPH))
        engine = _OPEN.get(key) or OnnxModel(path)
        return _OPEN.setdefault(key, engine)
    except Exception:  # the libraries raise all kinds of errors for a damaged file
        logger.warning("the fast engine in %s is damaged: making it again", path)
        return None


def _key(folder: Path, revision: str) -> str:
    """The key of an engine: a hash of the model's weights and its configuration."""
    digest = hashlib.sha256(f"{_FORMAT} {revision}".encode())
    for file in sorted([*folder.glob("*.json"), *folder.glob("*/*.json")]):
        digest.update(f"\n{file.relative_to(folder).as_posix()}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]
