"""Is a concept where it was anchored? A network's states against its axis; a control is measured with the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig
from zoo.legible.anchoring import Anchor, occurrences
from zoo.legible.network import run
from zoo.legible.removal import Removal, accuracy_lost
from zoo.legible.tasks import UNASKED, Concept, Task
from zoo.stack import Params

STREAM = 6
"""Of an anchor measurement's seed: random axes, and the positions of the probe."""
N_RANDOM = 3
"""Random axes whose removal is averaged."""
N_PROBE = 2_000
"""Positions that the probe is fitted and tested on, half and half."""


@dataclass(frozen=True)
class AnchorMeasures:
    """Of one network at one state; z is the state at unit length, v the axis."""

    alignment: float
    """Mean z.v where the concept holds."""
    margin: float
    """That minus the mean where the concept has another value."""
    auroc: float
    """Of z.v as a detector of the concept: 0.5 is chance."""
    cosine: float
    """Between v and the difference in means: mean z where the concept holds minus mean z where it has another value."""
    grading: float
    """Squared correlation of z.v with `similarity` over positions."""
    probe: float
    """Balanced accuracy of a fresh logistic regression on z, held out: 0.5 is chance."""
    lost: dict[str, Removal]
    """By direction removed: `axis`; `difference`, in means; `labels`, the same from the anchor's labelled positions
    against all others; `random`, the mean of some axes."""


def measure_anchor(
    config: TargetConfig, params: Params, task: Task, anchor: Anchor, number: int, seed: int = 0
) -> AnchorMeasures:
    """Measure a network on all inputs of its task, where the anchor's concept has a value.

    Args:
        params: a stack of one network.
        number: of the state.

    Raises:
        InputError: no such state; a concept that never or always has the anchor's value.
    """
    if not 0 <= number <= config.n_layers:
        raise InputError(f"state {number}: expected 0 to {config.n_layers} in a network of {config.n_layers} layers")
    concept = task.concept(anchor.concept)
    holds, valued = occurrences(concept, anchor.value), concept.codes != UNASKED
    with torch.no_grad():
        state = run(config, params, torch.from_numpy(task.ids)[None]).states[number][0]
    units = torch.nn.functional.normalize(state, dim=-1).double().numpy()
    axis, rng = anchor.axis.double().numpy(), np.random.Generator(np.random.PCG64([seed, STREAM]))
    z, on = units[valued], holds[valued]
    along, difference = z @ axis, difference_in_means(z, on)
    axes = {"axis": axis, "difference": difference, "labels": _of_labels(units, valued, anchor)}
    axes |= {f"random {i}": _random(rng, axis) for i in range(N_RANDOM)}
    lost = accuracy_lost(config, params, task, holds, number, state, axes)
    random = [lost.pop(f"random {i}") for i in range(N_RANDOM)]
    lost["random"] = Removal(float(np.mean([r.on for r in random])), float(np.mean([r.elsewhere for r in random])))
    return AnchorMeasures(
        alignment=float(along[on].mean()),
        margin=float(along[on].mean() - along[~on].mean()),
        auroc=_auroc(along, on),
        cosine=float(axis @ difference),
        grading=_squared_correlation(along, similarity(concept, anchor.value)[concept.codes[valued]]),
        probe=_probe(z, on, rng),
        lost=lost,
    )


def difference_in_means(
    z: Float[np.ndarray, "place d_model"], on: Bool[np.ndarray, " place"]
) -> Float[np.ndarray, " d_model"]:
    """Unit vector from the mean of the other places to the mean of the marked ones; zero where there is none."""
    if on.all() or not on.any():
        return np.zeros(z.shape[1])
    difference = z[on].mean(0) - z[~on].mean(0)
    return np.asarray(difference / max(float(np.linalg.norm(difference)), 1e-12))


def similarity(concept: Concept, value: str) -> Float[np.ndarray, " value"]:
    """How like an anchored value each value of a concept is, from 0 to 1.

    Where all values are numbers: 1 - |u - a| over the largest such distance. Otherwise 1 for the value itself and 0
    for every other, so that `grading` is the share of the variance of z.v that lies between the two classes.
    """
    try:
        numbers = np.array([float(each) for each in concept.values])
    except ValueError:
        return np.array([float(each == value) for each in concept.values])
    distance = np.abs(numbers - float(value))
    return np.asarray(1 - distance / max(distance.max(), 1e-12))


def _of_labels(
    units: Float[np.ndarray, "input pos d_model"], valued: Bool[np.ndarray, "input pos"], anchor: Anchor
) -> Float[np.ndarray, " d_model"]:
    """The difference in means that the anchor's own few labels give."""
    labelled = np.zeros(valued.shape, dtype=bool)
    labelled[anchor.labelled] = anchor.where
    return difference_in_means(units[valued], labelled[valued])


def _random(rng: np.random.Generator, like: Float[np.ndarray, " d_model"]) -> Float[np.ndarray, " d_model"]:
    axis = rng.standard_normal(len(like))
    return np.asarray(axis / np.linalg.norm(axis))


def _auroc(along: Float[np.ndarray, " place"], on: Bool[np.ndarray, " place"]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(on, along))


def _squared_correlation(x: Float[np.ndarray, " place"], y: Float[np.ndarray, " place"]) -> float:
    """Share of the variance of x that a line in y explains; 0 where x does not vary."""
    if x.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def _probe(z: Float[np.ndarray, "place d_model"], on: Bool[np.ndarray, " place"], rng: np.random.Generator) -> float:
    """Fitted and tested on places that hold in the same share, each kind half and half."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    sides = [_halves(rng.permutation(np.flatnonzero(on == kind)), len(on)) for kind in (True, False)]
    fit, test = (np.concatenate(side) for side in zip(*sides, strict=True))
    scale = np.sqrt(z.shape[1])  # states have root mean square one, as features of a probe are best
    probe = LogisticRegression(class_weight="balanced", max_iter=1_000).fit(z[fit] * scale, on[fit])
    return float(balanced_accuracy_score(on[test], probe.predict(z[test] * scale)))


def _halves(places: Int[np.ndarray, " kind"], total: int) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of as many places of one kind as `N_PROBE` allows it; one place alone is in both."""
    kept = places[: max(2, round(N_PROBE * min(1.0, len(places) / total)))]
    half = max(1, len(kept) // 2)
    return kept[:half], kept[half:] if len(kept) > 1 else kept
