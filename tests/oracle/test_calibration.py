"""Confidence: measures whose values are known, a fit that is calibrated where it can be, files that are checked."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.calibration import (
    FILE,
    FORMS,
    SIGNS,
    Calibrator,
    Fit,
    Reliability,
    fitted,
    form_of,
    reliability,
    signs_of,
)
from tracr_tasks.errors import InputError, OracleError

TEXTS = {"program": "if has a then p else q", "yes or no": "yes", "words": "p"}


def test_measures_of_confidence() -> None:
    found = reliability(np.array([0.95, 0.95, 0.15, 0.15]), np.array([True, True, False, False]))
    assert found.error == pytest.approx(0.1) and found.auroc == 1 and found.number == 4
    assert found.brier == pytest.approx((2 * 0.05**2 + 2 * 0.15**2) / 4)
    assert reliability(np.array([1.0, 1.0]), np.array([False, False])).error == 1
    assert math.isnan(reliability(np.array([0.5]), np.array([True])).auroc)
    with pytest.raises(InputError, match="no answers"):
        reliability(np.array([]), np.array([], dtype=bool))


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_confidence_that_is_a_true_probability_has_no_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(size=4000)
    found = reliability(confidence, rng.uniform(size=4000) < confidence)
    assert found.error < 0.05 and 0.8 < found.auroc < 0.87


@settings(max_examples=50)
@given(st.lists(st.floats(-1e6, 0), max_size=8), st.sampled_from(FORMS))
def test_signs_are_those_of_the_form_and_finite(log_probs: list[float], form: str) -> None:
    signs = signs_of(TEXTS[form], log_probs).reshape(len(FORMS), len(SIGNS))
    assert form_of(TEXTS[form]) == form
    assert np.isfinite(signs).all() and (np.delete(signs, FORMS.index(form), 0) == 0).all()


def answers(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Programs are right as often as their words are likely, yes and no whatever their words say."""
    rng, signs, right = np.random.default_rng(seed), [], []
    for i in range(n):
        form = FORMS[i % 3]
        log_probs = rng.uniform(-1.5, 0, 2).tolist()
        signs.append(signs_of(TEXTS[form], log_probs))
        right.append(rng.uniform() < {"program": math.exp(sum(log_probs)), "yes or no": 0.5, "words": 0.9}[form])
    return np.stack(signs), np.array(right), [str(i // 4) for i in range(n)]


def test_a_fit_is_calibrated_on_other_targets_and_keeps_forms_apart() -> None:
    found = fitted(*answers(1500, 0))

    def says(text: str, log_probs: list[float]) -> float:
        return found(signs_of(text, log_probs))

    assert found.measured.error < 0.05 and found.measured.auroc > 0.75
    assert says(TEXTS["program"], [-0.01, -0.01]) > 0.7 > 0.2 > says(TEXTS["program"], [-1.5, -1.4])
    assert abs(says("yes", [-0.01, -0.01]) - 0.5) < 0.15 and says("p", [-0.7, -0.7]) > 0.8
    assert found == fitted(*answers(1500, 0))


def test_the_agreement_of_samples_is_trusted_where_it_tells_right_from_wrong() -> None:
    """Half of the programs are right whatever their words say, and most samples agree with these."""
    rng, signs, right = np.random.default_rng(0), [], []
    for _ in range(400):
        right.append(rng.uniform() < 0.5)
        signs.append(
            signs_of(TEXTS["program"], [-0.5], float(np.clip(rng.normal(0.7 if right[-1] else 0.3, 0.1), 0, 1)))
        )
    sampled = fitted(np.stack(signs), np.array(right), [str(i // 4) for i in range(400)])
    plain = Fit((0.0,) * 12, Reliability(400, 0.0, 0.25, 0.5))
    calibrator = Calibrator(plain, sampled, 8, 400, "hash")
    assert sampled.measured.auroc > 0.95
    assert calibrator(TEXTS["program"], [-0.5]) == 0.5
    assert calibrator(TEXTS["program"], [-0.5], 0.9) > 0.9 > 0.1 > calibrator(TEXTS["program"], [-0.5], 0.1)
    assert Calibrator(plain, None, 0, 400, "hash")(TEXTS["program"], [-0.5], 0.9) == 0.5


def test_too_few_answers_are_refused() -> None:
    signs, right, targets = answers(60, 0)
    with pytest.raises(InputError, match="30 answers about 8 targets"):
        fitted(signs[:30], right[:30], targets[:30])
    with pytest.raises(InputError, match="60 answers about 15 targets, 0 right"):
        fitted(signs, np.zeros(60, dtype=bool), targets)


def test_it_is_saved_and_what_is_damaged_is_refused(tmp_path: Path) -> None:
    assert Calibrator.load(tmp_path) is None
    plain, sampled, more = (Fit(tuple(float(i) for i in range(n)), Reliability(9, 0.1, 0.2, 0.3)) for n in (12, 15, 18))
    supported = Calibrator(more, None, 0, 9, "hash", drafted=True, supported=True)
    for made in (supported, Calibrator(plain, None, 0, 9, "hash"), Calibrator(plain, sampled, 8, 9, "hash")):
        made.save(tmp_path)
        assert Calibrator.load(tmp_path) == made
    told = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps({name: value for name, value in told.items() if name != "supported"}))
    assert Calibrator.load(tmp_path) == made  # as it was saved before answers were supported
    fit = told["plain"]
    damages = ({"weights": [1.0]}, {"weights": ["x"] * 12}, {"measured": 3}, {"more": 1})
    for damage in ({"more": 1}, {"sampled": told["plain"]}, *({"plain": fit | each} for each in damages)):
        (tmp_path / FILE).write_text(json.dumps(told | damage))
        with pytest.raises(OracleError, match=r"calibrator\.json"):
            Calibrator.load(tmp_path)
