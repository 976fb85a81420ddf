"""The fast engines of encoders: each made at first use, checked, and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from irr.encoders.model import Model
from irr.encoders.onnx import OnnxModel
from irr.hub import cache_folder

# Raised whenever what is exported changes, so that an older engine is never read as a newer one.
_FORMAT = 1
# Stands in place of an engine, and says why there is none.
_REFUSED = "refused.txt"

logger = logging.getLogger(__name__)


def open_fast(name: str, folder: Path, revision: str, model: Callable[[], Model]) -> OnnxModel | None:
    """The fast engine of a model; made if need be. None where the model has to encode by itself.

    Args:
        name: What users call the model.
        folder: Holds it.
        revision: What its weights hash to.
        model: Loads it.
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
    """Exports and checks beside `path`, then puts the engine, or why there is none, in place at once."""
    from irr.encoders.export import TOLERANCE, difference, export

    if model.module.device.type != "cpu":
        return None
    logger.warning("encoder %s: making its fast engine, once (some 20 seconds)", name)
    # The lock is ours, so whatever stands here is what an interrupted run left.
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
    except Exception as e:  # whatever torch makes of a model that it cannot export
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
        return OnnxModel(path)
    except Exception:  # whatever the libraries make of a damaged file
        logger.warning("the fast engine in %s is damaged: making it again", path)
        return None


def _key(folder: Path, revision: str) -> str:
    """Names what the engine is made of: the weights, and all that says how to run them."""
    digest = hashlib.sha256(f"{_FORMAT} {revision}".encode())
    for file in sorted([*folder.glob("*.json"), *folder.glob("*/*.json")]):
        digest.update(f"\n{file.relative_to(folder).as_posix()}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]
