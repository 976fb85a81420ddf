"""Writes a large array to a file block by block."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def save_rows(path: Path, blocks: Iterable[NDArray[np.float32]], shape: tuple[int, int]) -> None:
    """Writes blocks of rows as one `.npy` file of float32, which `numpy.load` can map into memory.

    It is a stream, because writing to a memory map ends the process if the disk is full.

    Args:
        path: The file.
        blocks: Rows, each block of shape (rows, shape[1]).
        shape: The shape of all blocks together.

    Raises:
        OSError: If the file cannot be written.
    """
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for block in blocks:
            file.write(block.astype("<f4", copy=False).tobytes())
