"""New names for the labels of a target and for its flowchart: no gauge, but the exact equivariance beside them.

A target whose labels are called otherwise computes the flowchart in which they are called so (symmetries.md). Those who
learn from flowcharts are shown other names in every batch; those who read them can ask under several.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from oracle.batch import N_SPECIALS, LabelIds
from zoo.canonical import canonical
from zoo.flowchart import Flowchart

Order = tuple[int, ...]
"""A permutation: label i is called what label order[i] was called."""


@dataclass(frozen=True)
class Naming:
    """The names of a target's labels, each kind in another order."""

    tokens: Order
    """Of those after BOS and PAD."""
    answers: Order
    places: Order
    """Of positions, counted from 0 after BOS."""

    @classmethod
    def drawn(cls, like: Flowchart, rng: random.Random, moves: bool) -> Naming:
        """Any of a flowchart's, as likely as any other; positions stay where they are if they do not `moves`."""
        tokens, answers, places = (range(n) for n in (len(like.vocab), len(like.answers), like.max_seq_len))
        named = tuple(rng.sample(tokens, len(tokens))), tuple(rng.sample(answers, len(answers)))
        return cls(*named, tuple(rng.sample(places, len(places)) if moves else places))

    def labels(self, ids: LabelIds) -> LabelIds:
        """The new names of a target's labels, as ids."""
        return LabelIds(
            _rows(ids.tokens, N_SPECIALS, self.tokens),
            _rows(ids.positions, 1, self.places),
            _rows(ids.outputs, 0, self.answers),
        )

    def flowchart(self, chart: Flowchart) -> Flowchart:
        """The flowchart under the new names, canonical.

        Raises:
            ProgramError: positions move, and a condition speaks of their order; or it is too entangled to be canonical.
        """
        token = {old: chart.vocab[new] for old, new in zip(chart.vocab, self.tokens, strict=True)}
        answer = {old: chart.answers[new] for old, new in zip(chart.answers, self.answers, strict=True)}
        place = {old: new + 1 for old, new in enumerate(self.places, 1)}
        return canonical(chart.relabel(token, answer, place))

    def row(self, chart: Flowchart, row: Sequence[str]) -> tuple[str, ...]:
        """An input of full length under the new names: the token of position i stands at position places[i]."""
        token, out = dict(zip(chart.vocab, self.tokens, strict=True)), [""] * len(row)
        for name, place in zip(row, self.places, strict=True):
            out[place] = chart.vocab[token[name]]
        return tuple(out)

    def answer(self, chart: Flowchart, name: str) -> str:
        """An answer's new name."""
        return chart.answers[self.answers[chart.answers.index(name)]]


def _rows(ids: Int[Tensor, "label name"], fixed: int, order: Order) -> Int[Tensor, "label name"]:
    """Label ids with the rows after the first `fixed` in another order."""
    return ids[[*range(fixed), *(fixed + i for i in order)]]
