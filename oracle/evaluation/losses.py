"""The loss on the right program from the target's own weights, another's and none: what a reader knows beyond what it
can say."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from oracle.evaluation.conditions import NOTHING, OWN, SWAPPED
from oracle.oracle import WeightOracle
from oracle.questions import ask
from oracle.statistics import Interval, clustered_mean
from oracle.steps import Step, step_losses
from oracle.subjects import Example

GAP = "gap"


@torch.no_grad()
def program_losses(
    oracle: WeightOracle, examples: Sequence[Example], donors: Sequence[int], seed: int
) -> dict[str, dict[str, Interval]]:
    """Loss on the right program (nats a token, mean over targets) by kind and condition, and the gap to another's."""
    rng, conditions = random.Random(seed), (OWN, SWAPPED, NOTHING)
    by_condition: dict[str, list[float]] = {condition: [] for condition in conditions}
    questions = [ask(e.subject, "program", rng, test=True) for e in examples]
    for start in range(0, len(examples), 32):
        part = range(start, min(start + 32, len(examples)))
        for condition in conditions:
            shown = tuple(examples[donors[i] if condition == SWAPPED else i] for i in part)
            has_weights = (condition != NOTHING,) * len(part)
            step = Step(shown, tuple(range(len(part))), tuple(questions[i] for i in part), has_weights)
            by_condition[condition] += step_losses(oracle, step).tolist()
    by_condition[GAP] = [s - o for s, o in zip(by_condition[SWAPPED], by_condition[OWN], strict=True)]
    kinds = [e.subject.kind for e in examples]
    return {
        kind: {
            name: clustered_mean([v for v, k in zip(values, kinds, strict=True) if k == kind], _ids(examples, kind))
            for name, values in by_condition.items()
        }
        for kind in dict.fromkeys(kinds)
    }


def _ids(examples: Sequence[Example], kind: str) -> list[str]:
    return [e.id for e in examples if e.subject.kind == kind]
