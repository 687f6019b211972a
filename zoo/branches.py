"""How often each branch of a flowchart is reached, and inputs that reach it, be it ever so rare."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from tracr_tasks.errors import ProgramError, Reason
from zoo.automaton import Automaton, automaton
from zoo.conditions import TokenIds
from zoo.flowchart import Flowchart
from zoo.tree import leaf_numbers


def branch_shares(chart: Flowchart) -> tuple[float, ...]:
    """Share of all inputs that reaches each leaf, in the order of the text; exact to the rounding of the quotient where
    there are at most 2^53 inputs, to some 14 digits where there are more.

    Raises:
        ProgramError: the conditions are too entangled to be counted (see `automaton`); `estimated_shares` always works.
    """
    machine, leaf = _machine(chart)
    counts = np.bincount(leaf, weights=machine.counts(), minlength=len(chart.leaves()))
    return tuple((counts / float(len(chart.vocab)) ** chart.max_seq_len).tolist())


def estimated_shares(chart: Flowchart, inputs: int, seed: int) -> tuple[float, ...]:
    """The same, measured on `inputs` random inputs drawn under a seed."""
    rng = np.random.Generator(np.random.PCG64(seed))
    ids = rng.integers(0, len(chart.vocab), (inputs, chart.max_seq_len), dtype=np.int64)
    counts = np.bincount(chart.branch_batch(ids), minlength=len(chart.leaves()))
    return tuple((counts / inputs).tolist())


def draw_inputs(chart: Flowchart, branch: int, inputs: int, rng: np.random.Generator) -> TokenIds:
    """`inputs` sequences that reach a branch (counted from 0 in the order of the text), each such sequence as likely.

    They are built token by token, so a branch that one input in a million reaches costs no more than another.

    Raises:
        ProgramError: no such branch, no input that reaches it, or conditions too entangled (see `automaton`).
    """
    machine, leaf = _machine(chart)
    if not (leaf == branch).any():
        raise ProgramError([Reason(None, f"no input reaches branch {branch} of {chart.text()}")])
    return machine.draw(leaf == branch, chart.vocab, inputs, rng)


def draw_each(chart: Flowchart, inputs: int, rng: np.random.Generator) -> TokenIds:
    """`inputs` sequences to each branch that any input reaches, in the order of the branches.

    Raises:
        ProgramError: conditions too entangled (see `automaton`).
    """
    reached = [branch for branch, share in enumerate(chart.branch_shares()) if share > 0]
    return np.concatenate([draw_inputs(chart, branch, inputs, rng) for branch in reached])


def least_inputs(chart: Flowchart) -> dict[str, tuple[str, ...]]:
    """Of each answer to which some input leads, the first such input in the order of names (`a a b` before `a b a`).

    Raises:
        ProgramError: conditions too entangled (see `automaton`).
    """
    machine, leaf = _machine(chart)
    leaves, found = np.array(chart.leaves()), dict[str, tuple[str, ...]]()
    for answer in dict.fromkeys(chart.leaves()):
        if (wanted := leaves[leaf] == answer).any():
            found[answer] = tuple(chart.vocab[i] for i in machine.least(wanted, chart.vocab))
    return found


def _machine(chart: Flowchart) -> tuple[Automaton, Int[np.ndarray, " state"]]:
    """The automaton of the chart's conditions, and the leaf that each of its last states leads to."""
    conditions = tuple(dict.fromkeys(chart.conditions()))
    machine = automaton(conditions, chart.vocab, chart.max_seq_len)
    column = dict(zip(conditions, machine.truth.T, strict=True))
    return machine, leaf_numbers(chart.root, column.__getitem__, len(machine.truth))
