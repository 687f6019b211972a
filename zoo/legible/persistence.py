"""What is left of a seed at its site: information, code in place, use, selectivity, and how far its weights moved.

The five come apart. A fresh probe asks whether the variable can still be read, the unchanged read-out whether it still
stands where it was put, an interchange whether later layers take it from there, an ablation whether they need it there
more than any other directions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig
from zoo.legible.embedding import Seeding
from zoo.legible.network import run, run_from
from zoo.legible.tasks import UNASKED, Task, counterfactual
from zoo.stack import Params

STREAM = 7
"""Of the seed: inputs, their partners, and random subspaces."""
N_INPUTS = 384
"""Inputs that a network is measured on; a probe is fitted on half of them and tested on the other half."""
SUBSPACES = 3
"""Random subspaces that an ablation is compared with."""
LEAST_GAP = 0.1
"""Persistence is a share of the gap between frozen and random networks, and is not given where that is smaller."""
State = Float[Tensor, "input pos d_model"]


@dataclass(frozen=True)
class Persistence:
    """The measures of one network; NaN where its states are not finite."""

    accuracy: float
    """Of its task, on the inputs of the measurement."""
    probe: float
    """(a) Information: R2 of a fresh ridge probe to the one-hot of the values, on held-out inputs; weighted by each
    value's variance."""
    read_out: float
    """(b) Code in place: share of positions where the unchanged compiled read-out names the right value."""
    interchange: float
    """(c) Use: share of the answers that become what the program says when the seeded directions hold another input's
    state, h + P (h' - h), among those that it says are to change (Geiger et al. 2021)."""
    selectivity: float
    """(d) Accuracy lost when the seeded directions are set to their mean, less that for random directions, as many."""
    drift: float
    """(e) |w - w0| / |w0| over the seeded entries."""


MEASURES = ("probe", "read_out", "interchange", "selectivity", "drift")
"""Fields of `Persistence` that are measures of a seed."""


class Meter:
    """Measures the networks of a stack on inputs drawn once, so that points of a curve can be compared."""

    def __init__(
        self,
        config: TargetConfig,
        tasks: Sequence[Task],
        seedings: Sequence[Seeding],
        concept: str,
        seed: int = 0,
        n_inputs: int = N_INPUTS,
    ):
        """Draw the inputs, and ask the program what is to change.

        Args:
            config: of the networks.
            tasks: one a network.
            seedings: one a network; the weights in them are what drift is measured from.
            concept: of each task, whose values are the seed's output.
            seed: of the draw.
            n_inputs: at most so many of a task's.

        Raises:
            InputError: a task has no such concept, or its answers never depend on it.
        """
        self.config, self.seed = config, seed
        self.drawn: dict[Task, _Drawn] = {}
        self.members = list(zip(tasks, seedings, strict=True))
        for task in tasks:
            if task not in self.drawn:
                self.drawn[task] = _draw(task, concept, seed, n_inputs)

    @torch.no_grad()
    def __call__(self, params: Params) -> list[Persistence]:
        """The measures of every network of a stack."""
        out = []
        for i, (task, seeding) in enumerate(self.members):
            one = {name: tensor[i : i + 1].detach() for name, tensor in params.items()}
            out.append(self._one(one, self.drawn[task], seeding))
        return out

    def _one(self, one: Params, drawn: _Drawn, seeding: Seeding) -> Persistence:
        state, other = (run(self.config, one, ids[None]).states[seeding.site][0] for ids in (drawn.ids, drawn.partners))
        if not (torch.isfinite(state).all() and torch.isfinite(other).all()):
            return Persistence(*[float("nan")] * 6)
        before = self._answers(one, seeding, state)
        return Persistence(
            accuracy=_share(before == drawn.answers, drawn.answers != UNASKED),
            probe=probe_r2(state, drawn.codes),
            read_out=read_out_share(state, seeding, drawn),
            interchange=_share(
                self._answers(one, seeding, _moved(state, seeding.basis, other)) == drawn.wanted, drawn.changes
            ),
            selectivity=self._selectivity(one, drawn, seeding, state),
            drift=drift(one, seeding),
        )

    def _answers(self, one: Params, seeding: Seeding, state: State) -> Int[np.ndarray, "input pos"]:
        return run_from(self.config, one, seeding.site, state[None])[0].argmax(-1).numpy()

    def _selectivity(self, one: Params, drawn: _Drawn, seeding: Seeding, state: State) -> float:
        rng = np.random.Generator(np.random.PCG64([self.seed, STREAM, 1]))
        size = seeding.basis.shape
        frames = [np.linalg.qr(rng.standard_normal(size))[0] for _ in range(SUBSPACES)]
        mean = state[:, 1:].mean((0, 1)).expand_as(state)
        right = [
            _share(self._answers(one, seeding, _moved(state, basis, mean)) == drawn.answers, drawn.answers != UNASKED)
            for basis in (seeding.basis, *(torch.from_numpy(frame).float() for frame in frames))
        ]
        return float(np.mean(right[1:]) - right[0])


def persistence(seeded: float, random: float, frozen: float) -> float | None:
    """(seeded - random) / (frozen - random): 1 for a seed that stayed, 0 for none; None where there is no gap."""
    gap = frozen - random
    if not math.isfinite(seeded + gap) or abs(gap) < LEAST_GAP:
        return None
    return (seeded - random) / gap


def probe_r2(state: State, codes: Int[np.ndarray, "input pos"]) -> float:
    """R2 of a ridge probe from states, at one common scale, to the one-hot of a concept, fitted on half of the inputs.

    Coordinates are not standardised one by one: one that is constant but for rounding would become noise.
    """
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    points, half = state.double().numpy(), len(codes) // 2
    hot = np.eye(int(codes.max()) + 1)
    sides = []
    for at in (slice(half), slice(half, None)):
        asked = codes[at] != UNASKED
        sides.append((points[at][asked], hot[codes[at][asked]]))
    mean = sides[0][0].mean(0)
    scale = np.sqrt((sides[0][0] - mean).var(0).max()) + np.finfo(float).tiny
    probe = Ridge(alpha=1.0).fit((sides[0][0] - mean) / scale, sides[0][1])
    said = probe.predict((sides[1][0] - mean) / scale)
    return float(r2_score(sides[1][1], said, multioutput="variance_weighted"))


def read_out_share(state: State, seeding: Seeding, drawn: _Drawn) -> float:
    """Share of positions after BOS where the unchanged compiled read-out names the concept's value."""
    said = (state @ seeding.read_out + seeding.read_out_bias).argmax(-1).numpy()
    names = np.array([drawn.places.get(name, UNASKED) for name in seeding.values])
    return _share(names[said] == drawn.codes, drawn.codes != UNASKED)


def drift(one: Params, seeding: Seeding) -> float:
    """|w - w0| / |w0| over the seeded entries of a network (a stack of one)."""
    moved = size = 0.0
    for name, mask in seeding.seeded.items():
        start = seeding.params[name][mask]
        moved += float((one[name][0][mask] - start).square().sum())
        size += float(start.square().sum())
    return math.sqrt(moved / size)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Inputs of a task, each with a partner, and what the program says of both; BOS first."""

    ids: Int[Tensor, "input pos"]
    partners: Int[Tensor, "input pos"]
    answers: Int[np.ndarray, "input pos"]
    codes: Int[np.ndarray, "input pos"]
    """Of the concept."""
    places: dict[str, int]
    """The concept's values by name."""
    wanted: Int[np.ndarray, "input pos"]
    """Answers where the concept is that of the partner."""
    changes: np.ndarray
    """Where they differ from the answers."""


def _draw(task: Task, name: str, seed: int, n_inputs: int) -> _Drawn:
    concept = task.concept(name)
    rng = np.random.Generator(np.random.PCG64([seed, STREAM, 0]))
    partner, rows = rng.permutation(len(task.ids)), rng.permutation(len(task.ids))[:n_inputs]
    wanted = counterfactual(task, {name: concept.codes[partner]})[rows]
    answers = task.answers[rows]
    changes = (answers != UNASKED) & (wanted != UNASKED) & (wanted != answers)
    if not changes.any():
        raise InputError(f"concept '{name}': no answer depends on it, expected one that the task uses")
    return _Drawn(
        torch.from_numpy(task.ids[rows]),
        torch.from_numpy(task.ids[partner[rows]]),
        answers,
        concept.codes[rows],
        {value: i for i, value in enumerate(concept.values)},
        wanted,
        changes,
    )


def _moved(state: State, basis: Float[Tensor, "d_model rank"], to: State) -> State:
    """State with its part along the basis that of another, at all positions after BOS."""
    out = state.clone()
    out[:, 1:] += ((to - state) @ basis @ basis.T)[:, 1:]
    return out


def _share(hits: np.ndarray, among: np.ndarray) -> float:
    return float(hits[among].mean())
