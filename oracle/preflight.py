"""What is looked at before training starts, and what ends it early: a reader that cannot learn from weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from oracle.altered import lacking
from oracle.batch import collate
from oracle.neutral import Neutral
from oracle.oracle import WeightOracle
from oracle.places import Place, places_of
from oracle.routes import writing
from oracle.subjects import Example
from tracr_tasks.errors import InputError

COVERED = 64
"""Components of a target, at most, that are taken away one by one."""
ALIKE = 1e-6
LEAST_GAP = 0.01
"""Nats a token between another target's weights and the own ones: under it, weights are not read."""


def preflight(oracle: WeightOracle, examples: Sequence[Example]) -> None:
    """Refuse to start where weight tokens are not finite, the same for every target, or blind to a head or neuron.

    Raises:
        InputError: with the reason, and what to look at.
    """
    tokens = oracle.encode(examples)
    if not bool(tokens.isfinite().all()):
        raise InputError("preflight: weight tokens are not finite; look for extreme weights in the zoo")
    if len(examples) > 1 and float((tokens[1:] - tokens[:1]).abs().max()) < ALIKE:
        raise InputError("preflight: weight tokens are alike for all targets; the encoder sees nothing of them")
    if unseen := uncovered(oracle, examples[0]):
        raise InputError(
            f"preflight: weight tokens of {examples[0].id} are the same without {', '.join(unseen[:5])}; expected "
            "every head and neuron to count; look at the encoder's size and weights"
        )


@torch.no_grad()
def uncovered(oracle: WeightOracle, example: Example) -> list[str]:
    """Heads and neurons of a target that write something, and whose absence changes no weight token."""
    one = collate([example.neutral], [example.labels])
    places = [place for place in places_of(one) if place.layer is not None and writes(example.neutral, place)][:COVERED]
    targets = [example.neutral, *(lacking(example.neutral, [place]) for place in places)]
    tokens = oracle.read(targets, [example.labels] * len(targets))
    moved = (tokens[1:] - tokens[:1]).abs().amax((1, 2))
    return [str(place) for place, by in zip(places, moved.tolist(), strict=True) if by < ALIKE]


def writes(target: Neutral, place: Place) -> bool:
    """Whether a head or neuron writes anything; one that does not is no part of what the target computes."""
    assert place.layer is not None
    heads, neurons = writing(target.layers[place.layer])
    return bool((heads if place.kind == "head" else neurons)[place.index])


def gaps(found: Mapping[str, float]) -> dict[str, float]:
    """By kind of target: loss with another target's weights minus loss with the own ones, of one evaluation."""
    kinds = {name.partition("/")[0] for name in found if name.endswith("/own")}
    return {kind: found[f"{kind}/swapped"] - found[f"{kind}/own"] for kind in sorted(kinds)}


def check_gap(history: Sequence[Mapping[str, float]], patience: int) -> None:
    """End a training whose last `patience` evaluations show no kind of target whose weights are read.

    Raises:
        InputError: with the largest gap, and what to look at.
    """
    recent = [max(gaps(found).values(), default=0.0) for found in history[-patience:]]
    if len(recent) == patience and max(recent) < LEAST_GAP:
        raise InputError(
            f"the loss with another target's weights is at most {max(recent):.3f} nats a token above that with the own "
            f"ones in {patience} evaluations, expected {LEAST_GAP} or more: weights are not read; look at the learning "
            "rates, or start from a trained decoder"
        )
