"""Tells one model's weights from another's."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def weights_revision(module: torch.nn.Module) -> str:
    """What a model's weights hash to, whatever they are called and wherever they were read from."""
    import torch

    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"sha256:{digest.hexdigest()[:32]}"
