"""What a fresh linear probe finds in a network's states: accuracy for each state and each variable of its program."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig
from zoo.legible.network import run
from zoo.legible.tasks import UNASKED, Concept, Task
from zoo.stack import Params

STREAM = 5
"""Of a probe's seed: which inputs it sees."""
N_INPUTS = 512
"""Inputs a probe is fitted and tested on, half and half."""
MAX_POSITIONS = 512
"""Positions a probe is fitted on, and tested on, at most."""
MAX_STEPS = 50
"""Of the fit: quasi-Newton steps, which leave a probe within a point or so of its end."""
ProbeLabels = dict[str, dict[str, dict[str, float]]]
"""`{"L2": {"out": {"accuracy": 0.98, "majority": 0.31}}}`: by state and by concept."""


def probe_labels(
    config: TargetConfig, params: Params, tasks: Sequence[Task], seed: int = 0, n_inputs: int = N_INPUTS
) -> list[ProbeLabels]:
    """For each network: how well a linear probe reads each of its task's concepts in each residual state.

    State 0 ("L0") is after the embedding, state l after block l - 1. A probe is a multinomial logistic regression on
    standardised states, fitted at positions of one half of the inputs and tested at positions of the other half, where
    the concept has values: at BOS for a flowchart's conditions, after it otherwise. "majority" is the accuracy of
    always saying the commonest value of the first half. Which inputs are seen depends on `seed` and the task's size
    alone, so a network and its untrained twin are asked alike. Figures are rounded to 4 digits.

    Raises:
        InputError: fewer than 4 inputs, or not one task a network.
    """
    if n_inputs < 4:
        raise InputError(f"probe: {n_inputs} inputs, expected at least 4")
    if len(tasks) != len(params["embed.W_E"]):
        raise InputError(f"{len(tasks)} tasks for {len(params['embed.W_E'])} networks: expected one a network")
    out = []
    for i, task in enumerate(tasks):
        rng = np.random.Generator(np.random.PCG64([seed, STREAM]))
        rows = rng.permutation(len(task.ids))[:n_inputs]
        one = {name: tensor[i : i + 1].detach() for name, tensor in params.items()}
        with torch.no_grad():
            trace = run(config, one, torch.from_numpy(task.ids[rows])[None])
        samples = {concept.name: _sample(concept, rows, rng) for concept in task.concepts}
        states = [state[0].double().numpy() for state in trace.states]
        out.append(
            {
                f"L{number}": {name: _labels(state, sample) for name, sample in samples.items()}
                for number, state in enumerate(states)
            }
        )
    return out


@dataclass(frozen=True, eq=False)
class _Sample:
    """Places (input, position) with a concept's codes there: to fit on, and to test on."""

    fit: tuple[np.ndarray, np.ndarray]
    fit_codes: Int[np.ndarray, " place"]
    test: tuple[np.ndarray, np.ndarray]
    test_codes: Int[np.ndarray, " other"]


def _sample(concept: Concept, rows: np.ndarray, rng: np.random.Generator) -> _Sample:
    codes, half = concept.codes[rows], len(rows) // 2
    sides = []
    for start, stop in ((0, half), (half, len(rows))):
        inputs, places = np.nonzero(codes[start:stop] != UNASKED)
        chosen = rng.permutation(len(inputs))[:MAX_POSITIONS]
        sides.append((inputs[chosen] + start, places[chosen]))
    return _Sample(sides[0], codes[sides[0]], sides[1], codes[sides[1]])


def _labels(state: Float[np.ndarray, "input pos d_model"], sample: _Sample) -> dict[str, float]:
    values, counts = np.unique(sample.fit_codes, return_counts=True)
    majority = float((sample.test_codes == values[counts.argmax()]).mean())
    accuracy = majority if len(values) == 1 else _accuracy(state, sample)
    return {"accuracy": round(accuracy, 4), "majority": round(majority, 4)}


def _accuracy(state: Float[np.ndarray, "input pos d_model"], sample: _Sample) -> float:
    """On places of the second half, of a probe fitted on the first."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    seen, unseen = state[sample.fit], state[sample.test]
    mean, spread = seen.mean(0), seen.std(0)
    spread[spread < 1e-9] = 1
    probe = LogisticRegression(max_iter=MAX_STEPS, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it may stop at MAX_STEPS
        probe.fit((seen - mean) / spread, sample.fit_codes)
    return float(probe.score((unseen - mean) / spread, sample.test_codes))
