"""The scan in few dimensions finds what a scan of all finds, and its files survive damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from irr.index.reduced import COMPONENTS, REDUCED, open_reduced

Floats = NDArray[np.float32]


def vectors_of(count: int, seed: int = 0) -> Floats:
    """Unit vectors that lie near a space of fewer dimensions, in clusters, as those of an encoder do."""
    chance = np.random.default_rng(seed)
    axes = np.random.default_rng(7).standard_normal((120, 384)) / np.sqrt(1 + np.arange(120))[:, None]
    centres = np.random.default_rng(8).standard_normal((500, 120))
    latent = centres[chance.integers(len(centres), size=count)] + 0.7 * chance.standard_normal((count, 120))
    vectors = latent @ axes
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_what_is_nearest_is_found_in_its_order(tmp_path: Path) -> None:
    vectors, queries = vectors_of(100_000), vectors_of(40, seed=1)
    scan = open_reduced(tmp_path / "reduced", vectors)
    found = scan.nearest(queries, 100)
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :100]
    assert np.mean([np.isin(a[:20], b).mean() for a, b in zip(exact, found, strict=True)]) > 0.99
    assert np.mean([np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)]) > 0.95
    cosines = np.take_along_axis(queries @ vectors.T, found, axis=1)
    assert (np.diff(cosines, axis=1) <= 1e-6).all()
    assert scan.reduced.shape[1] < vectors.shape[1] / 3


def test_a_query_with_few_near_entries_gets_as_many_as_the_others(tmp_path: Path) -> None:
    """The sample overstates how many entries are near where half of all are alike."""
    vectors = vectors_of(70_000)
    vectors[0::2] = vectors[0]
    queries = np.concatenate([vectors[:1], vectors[1:2]])
    found = open_reduced(tmp_path / "reduced", vectors).nearest(queries, 200)
    assert [len(set(row.tolist())) for row in found] == [200, 200]
    assert (found[0] % 2 == 0).all()
    assert found[1, 0] == 1


def test_all_entries_can_be_asked_for(tmp_path: Path) -> None:
    vectors = vectors_of(50)[:, :16]
    found = open_reduced(tmp_path / "reduced", vectors).nearest(vectors[:3], 50)
    assert [sorted(row.tolist()) for row in found] == [[*range(50)]] * 3


@pytest.mark.parametrize("name", [COMPONENTS, REDUCED])
def test_damaged_files_are_made_again(tmp_path: Path, name: str) -> None:
    vectors = vectors_of(1_000)
    before = open_reduced(tmp_path / "reduced", vectors).nearest(vectors[:5], 10)
    file = tmp_path / "reduced" / name
    file.write_bytes(file.read_bytes()[:200])
    np.testing.assert_array_equal(
        open_reduced(tmp_path / "reduced", vectors).nearest(vectors[:5], 10), before
    )
    assert np.load(file).ndim == 2


def test_vectors_of_other_labels_are_made_again(tmp_path: Path) -> None:
    open_reduced(tmp_path / "reduced", vectors_of(1_000))
    assert open_reduced(tmp_path / "reduced", vectors_of(900)).reduced.shape[0] == 900


def test_where_nothing_can_be_written_it_is_held_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = vectors_of(1_000)
    (tmp_path / "reduced.building").write_text("a file in its place")
    found = open_reduced(tmp_path / "reduced", vectors).nearest(vectors[:5], 10)
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert "holding it in memory" in caplog.text
    assert not (tmp_path / "reduced").exists()
