"""Anchors: a concept of a task is pulled towards an axis drawn before training, by labels on few inputs.

After "Sparse Concept Anchoring" (Fraser and Wielopolski 2025, arXiv 2512.12469, section 3): gentle penalties on unit
states from the first step. There the states are an autoencoder's bottleneck; here they are residual states of a
transformer, best one whose configuration says `normalize_states`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from tracr_tasks.errors import InputError
from zoo.legible.anchor_options import AnchorOptions
from zoo.legible.network import Trace
from zoo.legible.tasks import UNASKED, Concept, Task
from zoo.legible.trainer import Batch, NetworkTraining, Penalty

AXIS, LABELS = 2, 3
"""Streams of a network's seed that its axis and its labels come from."""
POWER = 100
"""Of the cosine in the repulsion between states (arXiv 2512.12469)."""
CROWD = 64
"""States of a network's batch that are held apart, always at the same places of the batch: all pairs would cost more
than the network itself."""


@dataclass(frozen=True, eq=False)
class Anchor:
    """What one network of a stack is pulled by."""

    concept: str
    value: str
    axis: Float[Tensor, " d_model"]
    """Of length one."""
    labelled: Int[np.ndarray, " label"]
    """Rows of the task with a label."""
    where: Bool[np.ndarray, "label pos"]
    """Positions of each that are pulled."""
    wrong: Bool[np.ndarray, " label"]
    """Labels that noise has put where the concept does not hold; none of a shuffled anchor is marked."""


def draw_anchor(task: Task, concept: str, value: str, d_model: int, seed: int, options: AnchorOptions) -> Anchor:
    """An axis evenly over all directions and the labels of a task, both from the seed.

    The axis does not depend on the options, so arms of one seed share it.

    Raises:
        InputError: the task has no such concept or value; the value never occurs or always does; fewer inputs have it
            than are to be labelled.
    """
    found = task.concept(concept)
    holds = occurrences(found, value)
    axis = np.random.Generator(np.random.PCG64([seed, AXIS])).standard_normal(d_model)
    unit = torch.from_numpy((axis / np.linalg.norm(axis)).astype(np.float32))
    rng = np.random.Generator(np.random.PCG64([seed, LABELS]))
    number = max(1, round(options.label_rate * len(task.ids)))
    n_wrong = round(options.label_noise * number)
    right = _dealt(rng, holds, number - n_wrong, f"anchor: concept '{concept}' is '{value}'")
    where, free = holds[right], (found.codes != UNASKED) & ~holds
    free[right] = False  # an input has one label at most
    wrong_rows = _dealt(rng, free, n_wrong, f"anchor: concept '{concept}' is not '{value}'")
    wrong_where = _one_each(rng, free[wrong_rows])
    rows, where = np.concatenate([right, wrong_rows]), np.concatenate([where, wrong_where])
    if options.shuffled:
        rows = rng.choice(len(task.ids), number, replace=False)
    if options.span == "sequence":
        where = np.ones_like(where)
    wrong = (np.arange(number) >= number - n_wrong) & (not options.shuffled)
    return Anchor(concept, value, unit, rows, where, wrong)


def occurrences(concept: Concept, value: str) -> Bool[np.ndarray, "input pos"]:
    """Where a concept has a value.

    Raises:
        InputError: it has no such value, or has it nowhere, or everywhere.
    """
    if value not in concept.values:
        raise InputError(f"anchor: concept '{concept.name}' has no value '{value}', expected {_listed(concept)}")
    holds = concept.codes == concept.values.index(value)
    if not holds.any():
        raise InputError(f"anchor: concept '{concept.name}' is never '{value}', expected one that varies")
    if holds[concept.codes != UNASKED].all():
        raise InputError(f"anchor: concept '{concept.name}' is always '{value}', expected one that varies")
    return holds


def anchor_penalty(
    anchors: Sequence[Anchor],
    tasks: Sequence[Task],
    training: NetworkTraining,
    options: AnchorOptions | Sequence[AnchorOptions],
) -> Penalty:
    """What to add to each network's loss, for `train_networks(penalties=...)`.

    The pull is the mean of 1 - z.v over the labelled positions of a batch; a batch without a label has none, so at a
    rate of 0.5% and 32 inputs a batch one step in seven pulls. All terms are means over the pulled states.

    Args:
        anchors: one a network.
        options: one for all networks, or one for each.
    """
    each = [options] * len(anchors) if isinstance(options, AnchorOptions) else list(options)
    assert len(anchors) == len(tasks) == len(each), "one anchor, task and set of options a network"
    return _Pull(anchors, tasks, training, each)


class _Pull:
    """The penalty of a stack; `weights[name]` has one entry a network."""

    def __init__(
        self,
        anchors: Sequence[Anchor],
        tasks: Sequence[Task],
        training: NetworkTraining,
        options: Sequence[AnchorOptions],
    ):
        self.steps, self.options = training.steps, options
        self.axes = torch.stack([anchor.axis for anchor in anchors])
        self.labels = [_table(anchor, task) for anchor, task in zip(anchors, tasks, strict=True)]
        pairs = zip(anchors, tasks, strict=True)
        self.crowd = torch.from_numpy(np.stack([_crowd(anchor, task, training.batch) for anchor, task in pairs]))
        names = ("strength", "anti_subspace", "anti_anchor", "separate")
        self.weights = {name: torch.tensor([getattr(each, name) for each in options]) for name in names}
        self.begin = torch.tensor([each.begin for each in options])
        self.until = torch.tensor([each.until for each in options])

    def __call__(self, trace: Trace, batch: Batch) -> Float[Tensor, " model"]:
        rows = zip(self.labels, batch.rows, strict=True)
        labelled = torch.from_numpy(np.stack([table[places] for table, places in rows]))
        total = torch.zeros(len(self.options))
        for number, share in self._shares(len(trace.states) - 1).items():
            total = total + share * self._at(functional.normalize(trace.states[number], dim=-1), labelled, batch.step)
        return total * (batch.step - 1 >= self.begin * self.steps)

    def _shares(self, last: int) -> dict[int, Float[Tensor, " model"]]:
        """By the number of a state that any network is pulled at: the weight it has in each."""
        shares: dict[int, Tensor] = {}
        for i, each in enumerate(self.options):
            for number in each.states or (last,):
                if number > last:
                    raise InputError(f"anchor: state {number}, expected 0 to {last} in a network of {last} layers")
                share = shares.setdefault(number, torch.zeros(len(self.options)))
                share[i] = 1 / len(each.states or (last,))
        return shares

    def _at(
        self, z: Float[Tensor, "model batch pos d_model"], labelled: Bool[Tensor, "model batch pos"], step: int
    ) -> Float[Tensor, " model"]:
        """The terms at one state."""
        along = torch.einsum("mbpd,md->mbp", z, self.axes)
        left = (1 - (step - 1) / (self.until * self.steps)).clamp(min=0)
        schedule = torch.where(self.until < 1, left, torch.ones_like(left))
        terms = {
            "strength": schedule * _mean(1 - along, labelled),
            "anti_subspace": _mean(along.square(), ~labelled),
            "anti_anchor": _mean(along.relu(), ~labelled),
        }
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum(0)
        apart = self.weights["separate"].nonzero()[:, 0]
        if len(apart) == 0:
            return total
        return total.index_add(0, apart, self.weights["separate"][apart] * _crowding(z[apart], self.crowd[apart]))


def _crowd(anchor: Anchor, task: Task, batch: int) -> Int[np.ndarray, " crowd"]:
    """Places in a flattened batch (input, position) whose states are held apart: where the concept has any value."""
    valued = np.any(task.concept(anchor.concept).codes != UNASKED, axis=0)
    places = np.flatnonzero(np.tile(valued, batch))
    return np.resize(np.random.Generator(np.random.PCG64(0)).permutation(places), CROWD)


def _crowding(z: Float[Tensor, "some batch pos d_model"], crowd: Int[Tensor, "some crowd"]) -> Float[Tensor, " some"]:
    """Mean of (z_i.z_j)^100 over pairs of different places of a crowd."""
    chosen = z.flatten(1, 2).gather(1, crowd[..., None].expand(-1, -1, z.shape[-1]))
    pairs = (crowd[:, :, None] != crowd[:, None, :]).float()
    cosines = chosen @ chosen.transpose(1, 2)
    return (cosines.pow(POWER) * pairs).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)


def _mean(x: Float[Tensor, "model batch pos"], mask: Bool[Tensor, "model batch pos"]) -> Float[Tensor, " model"]:
    """Over the positions of a mask; 0 where it has none."""
    return (x * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)


def _table(anchor: Anchor, task: Task) -> Bool[np.ndarray, "input pos"]:
    """Pulled positions of every input."""
    table = np.zeros(task.ids.shape, dtype=bool)
    table[anchor.labelled] = anchor.where
    return table


def _dealt(
    rng: np.random.Generator, holds: Bool[np.ndarray, "input pos"], number: int, what: str
) -> Int[np.ndarray, " label"]:
    """Rows that get a label."""
    rows = np.flatnonzero(holds.any(1))
    if len(rows) < number:
        raise InputError(f"{what} in {len(rows)} inputs, expected at least {number} to label: lower label_rate")
    return rng.choice(rows, number, replace=False)


def _one_each(rng: np.random.Generator, free: Bool[np.ndarray, "wrong pos"]) -> Bool[np.ndarray, "wrong pos"]:
    """One of the marked positions of each row."""
    where = np.zeros_like(free)
    for label, row in enumerate(free):
        where[label, rng.choice(np.flatnonzero(row))] = True
    return where


def _listed(concept: Concept) -> str:
    return "one of " + ", ".join(concept.values)
