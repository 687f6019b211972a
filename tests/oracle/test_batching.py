"""Batches hold every target once a round, and no more work than asked for."""

from __future__ import annotations

import random
from itertools import islice
from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from oracle.batching import MOST, Load, even_batches, load_of
from oracle.neutral import fold
from tests.oracle.targets import random_weights
from tracr_tasks.transformer import TargetConfig

LOADS = st.lists(st.builds(Load, st.integers(1, 200), st.integers(0, 6), st.integers(1, 150)), min_size=1, max_size=80)


@given(loads=LOADS, size=st.integers(1, 20), seed=st.integers(0, 100))
def test_every_round_holds_every_target_once_and_no_batch_is_too_much(loads: list[Load], size: int, seed: int) -> None:
    batches, budget = even_batches(loads, size, random.Random(seed)), size * median(load.work for load in loads)
    for _ in range(2):
        left = set(range(len(loads)))
        while left:
            batch = next(batches)
            assert batch and left.issuperset(batch) and len(set(batch)) == len(batch) <= MOST * size
            left -= set(batch)
            padded = Load(0, 0, 0)
            for i in batch:
                padded = padded.joined(loads[i])
            assert len(batch) == 1 or len(batch) * padded.work <= budget


def test_the_same_seed_gives_the_same_batches_and_rounds_differ() -> None:
    loads = [Load(10 + i % 7, i % 3, 20 + i % 11) for i in range(60)]
    first, again = (list(islice(even_batches(loads, 8, random.Random(3)), 40)) for _ in range(2))
    assert first == again
    assert len({tuple(batch) for batch in first}) > 30


def test_the_load_of_a_target_counts_what_writes() -> None:
    config = TargetConfig(6, 2, 2, 2, 5, 4, 6, 2)
    weights = random_weights(config, 0)
    weights["blocks.1.mlp.W_out"][0] = 0
    assert load_of(fold(config, weights), 9) == Load(6 + 4 + 1 + 2 + 4 + 9, 4, 9)
