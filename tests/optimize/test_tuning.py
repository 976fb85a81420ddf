"""Fitting weights: towards what separates gold from the rest, and near the start where nothing does."""

from __future__ import annotations

import numpy as np

from irr.optimize.tuning import FEWEST, GoldFeatures, fit, fit_by_cross_validation
from irr.retrieve.features import FEATURES, PLAIN, Features

NAMES = list(FEATURES)
LABELS = 40


def texts(count: int, telling: bool) -> list[GoldFeatures]:
    """Texts in which one feature marks the gold label, or none does; the score is noise."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        values = rng.normal(0, 0.1, (LABELS, len(NAMES))).astype(np.float32)
        right = np.arange(LABELS) == rng.integers(LABELS)
        if telling:
            values[right, NAMES.index("specific_matches")] += 0.5
        features = Features(np.arange(LABELS), values, 1, np.zeros(LABELS, np.float32))
        found.append(GoldFeatures(features, right, 1))
    return found


def test_a_feature_that_tells_gets_weight_and_pays() -> None:
    fitted = fit_by_cross_validation(texts(60, telling=True), PLAIN, seed=0)
    assert fitted is not None
    assert fitted.pays
    gained = {name: weight - PLAIN.short.get(name, 0) for name, weight in fitted.combination.short.items()}
    assert max(gained, key=lambda name: gained[name]) == "specific_matches"
    assert fitted.after.mean() > 0.9 > fitted.before.mean()


def test_noise_does_not_pay() -> None:
    fitted = fit_by_cross_validation(texts(60, telling=False), PLAIN, seed=0)
    assert fitted is None or not fitted.pays


def test_too_few_examples_move_nothing() -> None:
    assert fit_by_cross_validation(texts(FEWEST - 1, telling=True), PLAIN, seed=0) is None


def test_the_stronger_it_is_drawn_the_nearer_it_stays() -> None:
    examples = texts(60, telling=True)
    near, far = (fit(examples, PLAIN, s).short["specific_matches"] for s in (1e6, 10.0))
    assert 0 < near < 0.01 * far
