"""How far an answer is to be trusted: from what the reader says of its own words to the probability that it is right.

A logistic regression on the log-probabilities of an answer's tokens, one for each form of answer (a program, yes or no,
other words), fitted on targets that neither training nor test has seen. The measures of a confidence are the usual
ones: expected calibration error over ten equal bins, Brier score, area under the ROC curve.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from oracle.decoder import Written
from oracle.read_outs import auroc
from tracr_tasks.errors import InputError, OracleError
from zoo.files import read_json, shown, write_atomic

FILE = "calibrator.json"
FORMS = ("program", "yes or no", "words")
SIGNS = ("one", "sum", "mean", "least")
"""Of an answer's log-probabilities, in nats; `one` is 1."""
DRAFT = ("draft", "support")
"""Signs more, where the reader was shown a draft: the log-probability of its text in nats, 0 of a certified one; and,
where likely flowcharts are weighed, the logarithm of the odds that the answer's support gives it (support.py), or, of
drafts that were not weighed, the probability of the draft itself."""
DOUBT = 1e-3
"""Share that may be wrong of what is certain, and right of what is impossible."""
AGREEMENT = "agreement"
"""One sign more, where samples were drawn: the share of them that is the answer word for word."""
FLOOR = -20.0
"""Log-probabilities count as this at least."""
LEAST = 50
"""Answers that a fit needs."""
N_BINS = 10
NO_DRAFT = Written("", FLOOR)
SURE = 0.5
"""Confidence under which an oracle abstains: its answer is then more likely wrong than right."""


def form_of(text: str) -> str:
    """What kind of answer a text is."""
    if text in ("yes", "no"):
        return "yes or no"
    return "program" if " = " in text or " then " in text else "words"


def signs_of(
    text: str,
    log_probs: Sequence[float],
    agreement: float | None = None,
    draft: Written | None = None,
    support: float | None = None,
    supported: bool = False,
) -> Float[np.ndarray, " sign"]:
    """What the confidence in an answer is taken from: zero but for the signs of its form. Beside a draft the support
    counts too, if answers are `supported`."""
    values = np.clip(np.asarray(log_probs if len(log_probs) else [FLOOR], dtype=float), FLOOR, 0.0)
    signs = [1.0, max(FLOOR, values.sum()), values.mean(), values.min()]
    signs += [] if draft is None else _signs_of_draft(draft, support)[: 1 + supported]
    signs += [] if agreement is None else [agreement]
    out = np.zeros((len(FORMS), len(signs)))
    out[FORMS.index(form_of(text))] = signs
    return out.ravel()


def _signs_of_draft(draft: Written, support: float | None) -> list[float]:
    """Those of `DRAFT`."""
    likely = 0.0 if draft.certified else min(0.0, max(FLOOR, draft.log_prob))
    right = math.exp(likely) if support is None else support
    return [likely, math.log((right + DOUBT) / (1 - right + DOUBT))]


def counted(draft: Written | None, drafted: bool) -> Written | None:
    """The draft whose probability counts as a sign: where one is missing, one as unlikely as can be; None for an
    oracle that shows no drafts."""
    return (draft or NO_DRAFT) if drafted else None


@dataclass(frozen=True)
class Reliability:
    """How good confidences are."""

    number: int
    error: float
    """Expected calibration error: mean over answers of |accuracy - mean confidence| of their bin."""
    brier: float
    auroc: float
    """That a right answer has more confidence than a wrong one; NaN where all are right, or none is."""

    def __str__(self) -> str:
        return (
            f"expected error {self.error:.3f}, Brier {self.brier:.3f}, AUROC {self.auroc:.3f} ({self.number} answers)"
        )


def reliability(confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]) -> Reliability:
    """Measure confidences against what was right.

    Raises:
        InputError: no answers.
    """
    if not len(confidence):
        raise InputError("calibration: no answers, expected one at least")
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    counts = np.bincount(bins, minlength=N_BINS)
    gaps = np.abs(np.bincount(bins, confidence - correct, N_BINS))
    return Reliability(
        len(confidence),
        float(gaps.sum() / counts.sum()),
        float(np.square(confidence - correct).mean()),
        auroc(confidence, correct),
    )


@dataclass(frozen=True)
class Fit:
    """A logistic regression from signs to the probability that an answer is right."""

    weights: tuple[float, ...]
    """One a form and sign."""
    measured: Reliability
    """On targets left out of the fit, in turn."""

    def __call__(self, signs: Float[np.ndarray, " sign"]) -> float:
        """The probability, from 0 to 1."""
        return 1 / (1 + math.exp(-max(-500.0, float(signs @ np.asarray(self.weights)))))

    @classmethod
    def of_json(cls, told: Any, n_signs: int) -> Fit:
        """A fit that was saved.

        Raises:
            ValueError: with what it is not.
        """
        if not isinstance(told, dict) or set(told) != {field.name for field in fields(cls)}:
            raise ValueError("not what `weight-oracle calibrate` writes")
        weights, measured = told["weights"], told["measured"]
        if not isinstance(weights, list) or len(weights) != len(FORMS) * n_signs:
            raise ValueError(f"expected {len(FORMS) * n_signs} weights")
        if not all(isinstance(w, float | int) and math.isfinite(w) for w in weights):
            raise ValueError("weights are not finite numbers")
        if not isinstance(measured, dict) or set(measured) != {field.name for field in fields(Reliability)}:
            raise ValueError("measured is not what `weight-oracle calibrate` writes")
        return cls(tuple(weights), Reliability(**measured))


@dataclass(frozen=True)
class Calibrator:
    """Turns an answer's log-probabilities into the probability that it is right; and its share of samples, if any."""

    plain: Fit
    """From log-probabilities alone."""
    sampled: Fit | None
    """From them and from the agreement of samples; None where none were drawn."""
    samples: int
    """Drawn of each answer."""
    number: int
    """Answers that it was fitted to."""
    zoo: str
    """Hashes of the zoos whose targets they were about, one behind another."""
    drafted: bool = False
    """Whether it takes the log-probability of the draft into account."""
    supported: bool = False
    """Whether it takes the support of the answer into account as well."""

    def __call__(
        self,
        text: str,
        log_probs: Sequence[float],
        agreement: float | None = None,
        draft: Written | None = None,
        support: float | None = None,
    ) -> float:
        """The confidence in an answer, between 0 and 1. Where a draft is missing that counts, it is as unlikely as can
        be."""
        told = counted(draft, self.drafted)
        if agreement is None or self.sampled is None:
            return self.plain(signs_of(text, log_probs, None, told, support, self.supported))
        return self.sampled(signs_of(text, log_probs, agreement, told, support, self.supported))

    def save(self, folder: Path) -> None:
        """Write calibrator.json into an oracle's folder."""
        write_atomic(folder / FILE, [(json.dumps(asdict(self), indent=1) + "\n").encode()])

    @classmethod
    def load(cls, folder: Path) -> Calibrator | None:
        """The calibrator of an oracle's folder; None if it has none.

        Raises:
            OracleError: the file is damaged.
        """
        if not (folder / FILE).is_file():
            return None
        told: Any = read_json(folder / FILE, 1 << 16, OracleError)
        try:
            if not isinstance(told, dict) or set(told) | {"drafted", "supported"} != {
                field.name for field in fields(cls)
            }:
                raise ValueError("not what `weight-oracle calibrate` writes")
            n_signs = len(SIGNS) + bool(told.get("drafted")) + bool(told.get("supported"))
            plain = Fit.of_json(told["plain"], n_signs)
            sampled = told["sampled"] if told["sampled"] is None else Fit.of_json(told["sampled"], n_signs + 1)
        except (ValueError, OverflowError) as problem:
            raise OracleError(f"{shown(folder / FILE, 300)}: {shown(problem)}") from None
        return cls(**told | {"plain": plain, "sampled": sampled})


def fitted(signs: Float[np.ndarray, "n sign"], correct: Bool[np.ndarray, " n"], clusters: Sequence[str]) -> Fit:
    """A fit to answers, measured by five folds of whole clusters (targets).

    Raises:
        InputError: too few answers, of too few targets, or all of them right, or none.
    """
    from sklearn.model_selection import GroupKFold

    targets = np.unique(np.asarray(clusters), return_inverse=True)[1]
    if len(correct) < LEAST or targets.max() < 4 or correct.all() or not correct.any():
        raise InputError(
            f"calibration: {len(correct)} answers about {targets.max() + 1} targets, {int(correct.sum())} right; "
            f"expected {LEAST} answers about 5 targets or more, some right and some wrong"
        )
    out_of_fold = np.zeros(len(correct))
    for seen, unseen in GroupKFold(5).split(signs, correct, targets):
        out_of_fold[unseen] = 1 / (1 + np.exp(-(signs[unseen] @ _regression(signs[seen], correct[seen]))))
    return Fit(tuple(_regression(signs, correct).tolist()), reliability(out_of_fold, correct))


def _regression(signs: Float[np.ndarray, "n sign"], correct: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " sign"]:
    """Weights of a ridge logistic regression; zero, which says one half, where there is nothing to tell apart."""
    from sklearn.linear_model import LogisticRegression

    if correct.all() or not correct.any():
        return np.zeros(signs.shape[1])
    return np.asarray(LogisticRegression(C=1.0, fit_intercept=False, max_iter=2_000).fit(signs, correct).coef_[0])
