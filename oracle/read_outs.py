"""Linear read-outs of what a reader sees, fitted on some targets and tried on targets of other programs.

Programs are dealt to folds; a target is scored by a read-out that saw no target of its program, whatever its regime.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

FOLDS = 5
"""Parts that programs are dealt to."""
LARGEST = 5.0
"""Standard deviations at which a feature is cut: other regimes may lie far outside what a read-out was fitted on."""
ALPHAS = np.logspace(0, 6, 13)
"""Ridge penalties that are tried, by leave-one-out on what is fitted."""


def folds_of(n_programs: int, seed: int) -> Int[np.ndarray, " program"]:
    """The fold of each program."""
    return np.random.Generator(np.random.PCG64([seed, n_programs])).permutation(n_programs) % FOLDS


def out_of_fold(
    seen: Float[np.ndarray, "target feature"],
    wanted: Float[np.ndarray, "target fact"],
    program: Int[np.ndarray, " target"],
    fitted_on: Bool[np.ndarray, " target"],
    folds: Int[np.ndarray, " program"],
) -> Float[np.ndarray, "target fact"]:
    """Scores of every target by ridge regression on the targets of `fitted_on` whose programs are in other folds.

    The mean of what is fitted is left out of them: where a fold has more of a fact than its share the others have less,
    and scores with that mean would rank folds the wrong way round.
    """
    from sklearn.linear_model import RidgeCV

    scores = np.zeros(wanted.shape)
    for fold in range(FOLDS):
        held = folds[program] == fold
        chosen = fitted_on & ~held
        mean, spread = seen[chosen].mean(0), seen[chosen].std(0)
        scaled = np.clip((seen - mean) / np.where(spread > 1e-9, spread, 1.0), -LARGEST, LARGEST)
        scaled[:, spread <= 1e-9] = 0
        centred = wanted[chosen] - wanted[chosen].mean(0)
        ridge = RidgeCV(ALPHAS, alpha_per_target=True, fit_intercept=False).fit(scaled[chosen], centred)
        scores[held] = ridge.predict(scaled[held]).reshape(int(held.sum()), -1)
    return scores


def auroc(scores: Float[np.ndarray, " n"], holds: Bool[np.ndarray, " n"]) -> float:
    """Chance that a target of which a fact holds is scored above one of which it does not (ties half); NaN if all are
    of one kind."""
    from scipy.stats import rankdata  # half a second, and whoever asks an oracle never needs it

    positive = int(holds.sum())
    if positive in (0, len(holds)):
        return float("nan")
    ranks = rankdata(scores)[holds].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * (len(holds) - positive)))


def mean_auroc(scores: Float[np.ndarray, "n fact"], holds: Bool[np.ndarray, "n fact"]) -> float:
    """Mean over facts of their AUROC; facts that all or none have are left out."""
    from scipy.stats import rankdata

    positive = holds.sum(0)
    known = (positive > 0) & (positive < len(holds))
    if not known.any():
        return float("nan")
    ranks = (rankdata(scores, axis=0) * holds).sum(0)[known]
    positive = positive[known]
    return float(((ranks - positive * (positive + 1) / 2) / (positive * (len(holds) - positive))).mean())


def auroc_interval(
    scores: Float[np.ndarray, "n fact"],
    holds: Bool[np.ndarray, "n fact"],
    less: Float[np.ndarray, "n fact"] | None = None,
    seed: int = 0,
    resamples: int = 200,
) -> tuple[float, float, float]:
    """`mean_auroc` with a 95% percentile bootstrap over the rows, which are programs.

    Args:
        less: scores of the same programs' controls, whose AUROC is taken away, row by row the same programs.
    """
    rng = np.random.Generator(np.random.PCG64(seed))

    def value(rows: Int[np.ndarray, " n"]) -> float:
        here = mean_auroc(scores[rows], holds[rows])
        return here if less is None else here - mean_auroc(less[rows], holds[rows])

    values = [value(rng.integers(0, len(scores), len(scores))) for _ in range(resamples)]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return value(np.arange(len(scores))), float(low), float(high)
