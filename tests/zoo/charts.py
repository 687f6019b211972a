"""Random flowcharts of every kind of condition, over a space small enough to be tried out whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np
from hypothesis import strategies as st

from zoo.conditions import At, AtLeast, Before, Condition, Contains, Equals, FirstIn, LastIn
from zoo.flowchart import Flowchart
from zoo.tree import Question, Tree

VOCAB, ANSWERS, LENGTH = ("a", "b", "c", "d"), ("p", "q", "r"), 4
INDEX = {token: i for i, token in enumerate(VOCAB)}

PLACES = range(1, LENGTH + 1)
SETS = [chosen for size in PLACES for chosen in combinations(VOCAB, size)]
MOVABLE: list[Condition] = [
    *(At(place, token) for place in PLACES for token in VOCAB),
    *(Contains(token) for token in VOCAB),
    *(AtLeast(count, token) for count in PLACES[1:] for token in VOCAB),
    *(Equals(*two) for two in combinations(PLACES, 2)),
]
ORDERED: list[Condition] = [
    *(Before(*two) for two in permutations(VOCAB, 2)),
    *(FirstIn(chosen) for chosen in SETS),
    *(LastIn(chosen) for chosen in SETS),
]

# Made here and not by strategies: beartype's checks draw random items, which strategies may not do.
movable, conditions = st.sampled_from(MOVABLE), st.sampled_from(MOVABLE) | st.sampled_from(ORDERED)


def trees_of(asked: st.SearchStrategy[Condition], leaves: int = 5) -> st.SearchStrategy[Tree]:
    """Trees of up to `leaves` answers."""
    return st.recursive(st.sampled_from(ANSWERS), lambda t: st.builds(Question, asked, t, t), max_leaves=leaves)


trees = trees_of(conditions)


def chart_of(tree: Tree) -> Flowchart:
    """A flowchart over the small space."""
    return Flowchart(tree, VOCAB, ANSWERS, LENGTH)


def all_inputs(vocab: Sequence[str] = VOCAB, length: int = LENGTH) -> list[tuple[str, ...]]:
    """Every input, in the order of `input_ids`."""
    shape = (len(vocab),) * length
    return [tuple(vocab[i] for i in row) for row in np.array(np.unravel_index(np.arange(np.prod(shape)), shape)).T]
