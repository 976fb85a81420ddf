"""Vectors of places in context: which tokens they are of, and that both engines agree."""

from __future__ import annotations

import numpy as np
import pytest

from irr.encoders.base import DEFAULT_ENCODER, LockedEncoder, encode_places, place_vectors
from irr.encoders.engines import TorchEngine
from irr.encoders.sentence_transformers import SentenceEncoder, model_folder
from irr.optimize.tuning import CachingEncoder
from tests.doubles.hash_encoder import HashEncoder

STATES = np.array([[9, 9], [1, 0], [0, 2], [3, 0], [-1, 1]], np.float32)
# [CLS] ab cd ef [SEP] of "ab cd-ef".
OFFSETS = np.array([[0, 0], [0, 2], [3, 5], [6, 8], [0, 0]], np.int64)
TEXTS = ["You will bake bread and plan the menus.", "Überprüfung der Röntgengeräte", "wash dishes"]
PLACES = [[(9, 19), (28, 38), (9, 13)], [(0, 11), (16, 29)], []]


@pytest.mark.parametrize(
    ("place", "tokens"), [((0, 2), [1]), ((3, 8), [2, 3]), ((0, 8), [1, 2, 3]), ((4, 5), [2])]
)
def test_a_place_has_the_mean_of_its_tokens_less_half_of_the_mean_of_all(
    place: tuple[int, int], tokens: list[int]
) -> None:
    expected = STATES[tokens].mean(axis=0) - STATES.mean(axis=0) / 2
    found = place_vectors(STATES, OFFSETS, [place])
    assert found == pytest.approx(expected[None] / np.linalg.norm(expected), abs=1e-6)


def test_a_place_that_is_not_read_has_no_direction() -> None:
    assert not place_vectors(STATES, OFFSETS, [(8, 12), (2, 3)]).any()
    assert place_vectors(STATES, OFFSETS, []).shape == (0, 2)


def test_both_engines_give_the_same_vectors(encoder: SentenceEncoder) -> None:
    fast = encoder.encode_places(TEXTS, PLACES)
    slow = TorchEngine(DEFAULT_ENCODER, model_folder(DEFAULT_ENCODER), "cpu").encode_places(TEXTS, PLACES)
    assert fast is not None and slow is not None
    assert np.array_equal(fast.vectors, encoder.encode(TEXTS))
    assert slow.vectors == pytest.approx(fast.vectors, abs=1e-5)
    for one, other in zip(fast.places, slow.places, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_a_span_in_context_is_nearest_to_itself_alone(encoder: SentenceEncoder) -> None:
    found = encoder.encode_places(TEXTS[:1], [[(9, 19), (28, 38)]])
    assert found is not None
    alone = encoder.encode(["bake bread", "the menus"])
    assert (found.places[0] @ alone.T).argmax(axis=1).tolist() == [0, 1]


def test_encoders_around_an_encoder_pass_places_on(encoder: SentenceEncoder) -> None:
    plain = encoder.encode_places(TEXTS, PLACES)
    assert plain is not None
    caching = CachingEncoder(encoder)
    for around in (LockedEncoder(encoder), caching, caching):
        found = encode_places(around, TEXTS, PLACES)
        assert found is not None and np.array_equal(found.vectors, plain.vectors)
        for one, other in zip(found.places, plain.places, strict=True):
            assert np.array_equal(one, other)
    for around in (LockedEncoder(HashEncoder()), CachingEncoder(HashEncoder())):
        assert encode_places(around, TEXTS, PLACES) is None
