"""Random flowcharts under a seed."""

from __future__ import annotations

import numpy as np

from tracr_tasks.errors import InputError
from zoo.canonical import canonical
from zoo.conditions import At, AtLeast, Condition, Contains
from zoo.flowchart import Flowchart, input_ids
from zoo.flowchart_config import FlowchartConfig
from zoo.tree import Question, Tree

MAX_TRIES = 1_000
"""Draws before a configuration is called impossible; the default keeps about one draw in two."""


def sample_flowchart(seed: int, config: FlowchartConfig | None = None) -> Flowchart:
    """A canonical flowchart, drawn under `seed`.

    Larger flowcharts are likelier (8 to 1 for each further question), since there are more of them to tell apart. It is
    not nearly constant, and every branch is reached by at least `min_branch` of the inputs.

    Raises:
        InputError: no such flowchart in 1,000 draws (the configuration asks for the impossible).
    """
    config = config or FlowchartConfig()
    rng = np.random.Generator(np.random.PCG64(seed))
    sizes = np.arange(config.min_conditions, config.max_conditions + 1)
    wanted = int(rng.choice(sizes, p=8.0**sizes / (8.0**sizes).sum()))
    for _ in range(MAX_TRIES):
        chart = Flowchart(_tree(rng, wanted, config), config.vocab(), config.answers(), config.max_seq_len)
        chart = canonical(chart)
        if len(chart.conditions()) == wanted and _balanced(chart, config):
            return chart
    raise InputError(f"flowcharts: no flowchart of {wanted} questions in {MAX_TRIES} draws fits {config}")


def _tree(rng: np.random.Generator, questions: int, config: FlowchartConfig) -> Tree:
    if questions == 0:
        return config.answers()[rng.integers(config.n_answers)]
    left = int(rng.integers(questions))
    condition = _condition(rng, config)
    yes = _tree(rng, left, config)
    return Question(condition, yes, _tree(rng, questions - 1 - left, config))


def _condition(rng: np.random.Generator, config: FlowchartConfig) -> Condition:
    """Half ask for a position, a quarter each for presence and for a count."""
    kind = int(rng.integers(4))
    position = int(rng.integers(1, config.max_seq_len + 1))
    token = config.vocab()[rng.integers(config.vocab_size)]
    if kind < 2:
        return At(position, token)
    return Contains(token) if kind == 2 or config.max_seq_len < config.count else AtLeast(config.count, token)


def _balanced(chart: Flowchart, config: FlowchartConfig) -> bool:
    ids = input_ids(config.vocab_size, config.max_seq_len)
    leaves = chart.leaves()
    shares = np.bincount(chart.branch_batch(ids), minlength=len(leaves)) / len(ids)
    by_answer = [sum(s for s, leaf in zip(shares, leaves, strict=True) if leaf == answer) for answer in set(leaves)]
    return bool(shares.min() >= config.min_branch and max(by_answer) < config.max_answer)
