"""Read-outs are tried on programs that they never saw, and say nothing where there is nothing to say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from oracle.attributes import RARE, attributes_of, table_of
from oracle.read_outs import FOLDS, auroc, auroc_interval, folds_of, mean_auroc, out_of_fold
from tracr_tasks import Program, rasp, sample_program


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_auroc_is_scikit_learns(pairs: list[tuple[int, bool]]) -> None:
    scores, holds = np.array([float(s) for s, _ in pairs]), np.array([h for _, h in pairs])
    if holds.all() or not holds.any():
        assert np.isnan(auroc(scores, holds))
    else:
        assert auroc(scores, holds) == pytest.approx(roc_auc_score(holds, scores))


def made(seed: int, copies: int = 3, n_programs: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features that tell a fact of each program, those programs, and the fact."""
    rng = np.random.default_rng(seed)
    program = np.tile(np.arange(n_programs), copies)
    fact = rng.random(n_programs) < 0.5
    seen = rng.standard_normal((len(program), 12))
    seen[:, 3] += 4.0 * fact[program]
    return seen, program, fact


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_fact_in_the_features_is_found_and_one_of_the_program_alone_is_not(seed: int) -> None:
    """Copies of one program share its own mark; a read-out that had seen them in training would know any fact."""
    seen, program, fact = made(seed)
    marks = np.random.default_rng(seed + 10).standard_normal((len(fact), 6))[program] * 5
    other = np.random.default_rng(seed + 20).random(len(fact)) < 0.5
    wanted = np.stack([fact, other], 1)[program] * 2.0 - 1
    everything = np.ones(len(program), dtype=bool)
    folds = folds_of(len(fact), seed)
    assert sorted(np.bincount(folds)) == [len(fact) // FOLDS] * FOLDS
    scores = out_of_fold(np.concatenate([seen, marks], 1), wanted, program, everything, folds)
    assert auroc(scores[:, 0], fact[program]) > 0.9
    assert abs(auroc(scores[:, 1], other[program]) - 0.5) < 0.3
    mean, low, high = auroc_interval(scores[:40], (wanted > 0)[:40])
    assert low <= mean <= high and mean == mean_auroc(scores[:40], (wanted > 0)[:40])


def test_only_the_targets_that_are_fitted_on_matter() -> None:
    seen, program, fact = made(5)
    fitted = np.arange(len(program)) < len(fact)
    wanted = fact[program][:, None] * 2.0 - 1
    folds = folds_of(len(fact), 0)
    before = out_of_fold(seen, wanted, program, fitted, folds)
    wanted[~fitted] *= -1
    assert np.array_equal(before, out_of_fold(seen, wanted, program, fitted, folds))


def test_attributes_are_those_of_the_text() -> None:
    hist = rasp.SelectorWidth(rasp.select(rasp.TOKENS, rasp.TOKENS, "=="))
    held = attributes_of(Program(rasp.SelectorWidth(rasp.select(hist, hist, "<")), ("a", "b"), 4))
    yes = {name for name, value in held.items() if value}
    assert yes == {
        *("uses selector_width", "compares by ==", "compares by <", "selects by token"),
        *("two selectors", "selects by a computed value"),
    }


def test_attributes_that_say_nothing_are_left_out() -> None:
    programs = [sample_program(seed) for seed in range(40)]
    names, holds = table_of(programs)
    assert holds.shape == (40, len(names)) and len(names) >= 4
    assert ((holds.mean(0) >= RARE) & (holds.mean(0) <= 1 - RARE)).all()
    for i, column in enumerate(holds.T):
        for other in holds.T[:i]:
            assert (column == other).any() and (column != other).any()
    assert table_of(programs[:1])[0] == ()


def test_noise_is_at_chance_also_with_few_programs() -> None:
    """Pooled over folds, scores that hold the mean of what was fitted would be under chance."""
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        fact = rng.permutation(15) < 6
        seen, program = rng.standard_normal((15, 8)), np.arange(15)
        scores = out_of_fold(seen, fact[:, None] * 2.0 - 1, program, np.ones(15, dtype=bool), folds_of(15, seed))
        found.append(auroc(scores[:, 0], fact))
    assert abs(np.mean(found) - 0.5) < 0.08


def test_an_interval_less_that_of_a_control_is_paired() -> None:
    """Against itself a reader is ahead by nothing, whatever rows are drawn."""
    seen, _, fact = made(3, copies=1)
    assert auroc_interval(seen, fact[:, None] & np.ones(12, dtype=bool), seen) == (0.0, 0.0, 0.0)
    mean, low, high = auroc_interval(seen[:, 3:4], fact[:, None], seen[:, 4:5])
    assert low > 0.1 and low < mean < high
