"""The loss on the right program from the target's own weights, another's and none: what a reader knows beyond what it
can say."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from oracle.evaluation.conditions import NOTHING, OWN, SWAPPED
from oracle.oracle import WeightOracle
from oracle.questions import ask
from oracle.statistics import Interval, clustered_mean
from oracle.steps import ALL, Step, step_losses
from oracle.steps import NOTHING as UNSEEN
from oracle.subjects import Example
from oracle.trials import Draft

GAP = "gap"


@dataclass(frozen=True)
class Loss:
    """Nats a token of the right program, mean over targets."""

    kind: str
    condition: str
    """Or `GAP`: another target's weights minus the own ones."""
    nats: Interval


@torch.no_grad()
def program_losses(
    oracle: WeightOracle,
    examples: Sequence[Example],
    donors: Sequence[int],
    seed: int,
    drafts: Sequence[Draft | None] | None = None,
) -> list[Loss]:
    """Loss on the right program by kind and condition, and the gap. `drafts` are those of the targets, if they have
    been written already."""
    written = oracle.drafts(examples) if drafts is None else drafts
    rng, conditions = random.Random(seed), (OWN, SWAPPED, NOTHING)
    by_condition: dict[str, list[float]] = {condition: [] for condition in conditions}
    questions = [ask(e.subject, "program", rng, test=True) for e in examples]
    for start in range(0, len(examples), 32):
        part = range(start, min(start + 32, len(examples)))
        for condition in conditions:
            places = [donors[i] if condition == SWAPPED else i for i in part]
            shown = tuple(examples[i] for i in places)
            seen = (UNSEEN if condition == NOTHING else ALL,) * len(part)
            step = Step(shown, tuple(range(len(part))), tuple(questions[i] for i in part), seen)
            by_condition[condition] += step_losses(oracle, step, written=[written[i] for i in places]).tolist()
    by_condition[GAP] = [s - o for s, o in zip(by_condition[SWAPPED], by_condition[OWN], strict=True)]
    found = list[Loss]()
    for kind in dict.fromkeys(e.subject.kind for e in examples):
        of = [i for i, e in enumerate(examples) if e.subject.kind == kind]
        ids = [examples[i].id for i in of]
        found += [Loss(kind, name, clustered_mean([v[i] for i in of], ids)) for name, v in by_condition.items()]
    return found
