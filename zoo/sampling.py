"""Random flowcharts under a seed."""

from __future__ import annotations

import numpy as np

from tracr_tasks.errors import InputError
from zoo.canonical import canonical
from zoo.conditions import At, AtLeast, Before, Condition, Contains, Equals, FirstIn, LastIn
from zoo.flowchart import Flowchart
from zoo.flowchart_config import FlowchartConfig
from zoo.tree import Question, Tree, is_chain

MAX_TRIES = 1_000
"""Draws before a configuration is called impossible; the default keeps about one draw in two."""


def sample_flowchart(seed: int, config: FlowchartConfig | None = None) -> Flowchart:
    """A canonical flowchart, drawn under `seed`.

    Larger flowcharts are likelier (`growth` to 1 for each further question), since there are more of them to tell
    apart. It is not nearly constant, and each branch is rare or reached by at least `min_branch` of the inputs.

    Raises:
        InputError: no such flowchart in 1,000 draws (the configuration asks for the impossible).
    """
    config = config or FlowchartConfig()
    rng = np.random.Generator(np.random.PCG64(seed))
    rare, chain = _with_chance(rng, config.rare), _with_chance(rng, config.chains)
    sizes = np.arange(max(2, config.min_conditions) if rare else config.min_conditions, config.max_conditions + 1)
    wanted = int(rng.choice(sizes, p=config.growth**sizes / (config.growth**sizes).sum()))
    for _ in range(MAX_TRIES):
        chart = Flowchart(_tree(rng, wanted, config, chain), config.vocab(), config.answers(), config.max_seq_len)
        chart = canonical(chart)
        shaped = len(chart.conditions()) == wanted and (not chain or is_chain(chart.root))
        if shaped and _balanced(chart, config, rare):
            return chart
    kind = f"{'chain' if chain else 'flowchart'} of {wanted} questions{' with a rare branch' if rare else ''}"
    raise InputError(f"flowcharts: no {kind} in {MAX_TRIES} draws fits {config}")


def _with_chance(rng: np.random.Generator, share: float) -> bool:
    """True in a share of all cases. Nothing is drawn for a share of 0, so a dial that is off changes no other draw."""
    return share > 0 and bool(rng.random() < share)


def _tree(rng: np.random.Generator, questions: int, config: FlowchartConfig, chain: bool) -> Tree:
    if questions == 0:
        return config.answers()[rng.integers(config.n_answers)]
    left = int(rng.integers(2)) * (questions - 1) if chain else int(rng.integers(questions))
    condition = _condition(rng, config)
    yes = _tree(rng, left, config, chain)
    return Question(condition, yes, _tree(rng, questions - 1 - left, config, chain))


def _condition(rng: np.random.Generator, config: FlowchartConfig) -> Condition:
    """A random condition of a random kind; a count that no input reaches becomes a question for presence."""
    kinds, vocab = config.kinds.table(), config.vocab()
    kind = kinds[rng.integers(len(kinds))]
    position = int(rng.integers(1, config.max_seq_len + 1))
    token = int(rng.integers(config.vocab_size))
    match kind:
        case "pos":
            return At(position, vocab[token])
        case "of" if config.max_seq_len >= config.count:
            most = max(config.count, config.max_count)
            count = config.count if most == config.count else int(rng.integers(config.count, most + 1))
            return AtLeast(count, vocab[token])
        case "before":
            return Before(vocab[token], vocab[_other(rng, token, config.vocab_size)])
        case "equals":
            return Equals(position, 1 + _other(rng, position - 1, config.max_seq_len))
        case "first" | "last":
            size = int(rng.integers(2, config.vocab_size // 2 + 1))
            tokens = tuple(vocab[i] for i in rng.choice(config.vocab_size, size, replace=False))
            return FirstIn(tokens) if kind == "first" else LastIn(tokens)
    return Contains(vocab[token])


def _other(rng: np.random.Generator, number: int, below: int) -> int:
    """A number below `below` that is not `number`."""
    return (number + int(rng.integers(1, below))) % below


def _balanced(chart: Flowchart, config: FlowchartConfig, rare: bool) -> bool:
    """Whether its branches and answers have the shares that were asked for; `rare` asks for a rare branch."""
    shares, leaves = chart.branch_shares(), chart.leaves()
    seldom = [config.rare_min <= share <= config.rare_max for share in shares]
    if rare and not any(seldom):
        return False
    by_answer = [sum(s for s, leaf in zip(shares, leaves, strict=True) if leaf == answer) for answer in set(leaves)]
    often = [share >= config.min_branch for share in shares]
    allowed = [a or (rare and b) for a, b in zip(often, seldom, strict=True)]
    return all(allowed) and max(by_answer) < config.max_answer
