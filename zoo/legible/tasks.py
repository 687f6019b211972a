"""Tasks: a program as tables over its inputs, with the value of each of its variables at each position.

A RASP program is asked at every position after BOS, a flowchart at BOS alone; elsewhere the answer is `UNASKED`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from tracr_tasks import Program, format_value
from tracr_tasks.batch import Column, in_order, run_nodes
from tracr_tasks.errors import InputError
from zoo.conditions import TokenIds
from zoo.flowchart import Flowchart, input_ids
from zoo.stack import N_SPECIAL
from zoo.target import Vocab

MAX_INPUTS = 8_192
"""A task with more inputs than this is a random sample of so many."""
UNASKED = -1
"""In place of an answer, or of a concept's value, where there is none."""
Codes = Int[np.ndarray, "input pos"]


@dataclass(frozen=True, eq=False)
class Concept:
    """A variable on all inputs of a task."""

    name: str
    """`tokens`, `indices`, a line's name (v1, out), or the text of a condition."""
    values: tuple[str, ...]
    """Names of its values; "no" and "yes" for a condition."""
    codes: Codes
    """Places in `values`, or `UNASKED`; a condition has its value at BOS, the others after it."""
    computed: bool
    """Whether a network must compute it; the token and the position are there from the start."""


@dataclass(frozen=True, eq=False)
class Task:
    """A program's inputs and right answers."""

    program: Program | Flowchart
    vocab: Vocab
    """Names of inputs (BOS and PAD first) and of answers."""
    ids: Codes
    """Token ids of every input, BOS first; all have full length."""
    answers: Codes
    """Places in `vocab.output`, or `UNASKED`."""
    concepts: tuple[Concept, ...]
    """Inputs first, then the program's variables in its order; the last is the output of a RASP program."""

    def concept(self, name: str) -> Concept:
        """The concept of a name.

        Raises:
            InputError: there is none.
        """
        for concept in self.concepts:
            if concept.name == name:
                return concept
        raise InputError(f"concept '{name}': expected one of {', '.join(c.name for c in self.concepts)}")


def task_of(program: Program | Flowchart, seed: int = 0) -> Task:
    """A program's task: over all inputs of full length, or `MAX_INPUTS` drawn under the seed where there are more."""
    ids = _inputs(len(program.vocab), program.max_seq_len, seed)
    return _of_flowchart(program, ids) if isinstance(program, Flowchart) else _of_rasp(program, ids)


def counterfactual(task: Task, given: Mapping[str, Codes]) -> Codes:
    """The answers of a RASP task where some of its variables have other values than they would.

    Args:
        given: by a concept's name, places in its `values` for every input, BOS included (where they are ignored).

    Returns:
        Places in the task's outputs; `UNASKED` at BOS, and where the answer is not one of them.
    """
    program = task.program
    assert isinstance(program, Program)
    places = {node.name: i for i, node in enumerate(program.nodes)}
    _, results = _evaluated(program, task.ids[:, 1:] - N_SPECIAL)
    columns = {
        places[name]: _replaced(task.concept(name), results[places[name]], codes) for name, codes in given.items()
    }
    valid, results = _evaluated(program, task.ids[:, 1:] - N_SPECIAL, columns)
    codes, values = in_order(results[-1], valid)
    index = {name: i for i, name in enumerate(task.vocab.output)}
    table = np.array([index.get(format_value(value), UNASKED) for value in values])
    return _after_bos(table[codes.T])


def _replaced(concept: Concept, column: Column, codes: Codes) -> Column:
    """A variable's column with the values of a concept's codes."""
    by_name = {format_value(column.values[code]): column.values[code] for code in column.used.tolist()}
    values = tuple(by_name[name] for name in concept.values)
    return Column(np.ascontiguousarray(codes[:, 1:].T), values, np.arange(len(values)))


def _inputs(vocab_size: int, length: int, seed: int) -> TokenIds:
    if vocab_size**length <= MAX_INPUTS:
        return input_ids(vocab_size, length)
    rng = np.random.Generator(np.random.PCG64([seed, vocab_size, length]))
    return rng.integers(0, vocab_size, (MAX_INPUTS, length), dtype=np.int64)


def _with_bos(ids: TokenIds) -> Int[np.ndarray, "input place"]:
    return np.pad(ids + N_SPECIAL, ((0, 0), (1, 0)))


def _after_bos(codes: Int[np.ndarray, "input pos"]) -> Int[np.ndarray, "input place"]:
    """Codes of the named positions, with `UNASKED` at BOS."""
    return np.pad(codes, ((0, 0), (1, 0)), constant_values=UNASKED)


def _evaluated(
    program: Program, ids: TokenIds, given: Mapping[int, Column] | None = None
) -> tuple[np.ndarray, list[Any]]:
    return run_nodes(program, ids, np.full(len(ids), program.max_seq_len), given)


def _input_concepts(names: Sequence[str], ids: TokenIds) -> tuple[Concept, Concept]:
    places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    where = tuple(str(i) for i in range(ids.shape[1]))
    return (
        Concept("tokens", tuple(names), _after_bos(ids), computed=False),
        Concept("indices", where, _after_bos(places), computed=False),
    )


def _of_rasp(program: Program, ids: TokenIds) -> Task:
    """Every S-op that is not an input is a concept; a constant one is left out."""
    names = [format_value(value) for value in program.vocab]
    valid, results = _evaluated(program, ids)
    concepts = list(_input_concepts(names, ids))
    for node, result in zip(program.nodes, results, strict=True):
        if node.is_selector or node.op in ("tokens", "indices", "length", "constant"):
            continue
        codes, values = in_order(result, valid)
        if len(values) > 1:
            concepts.append(Concept(node.name, tuple(map(format_value, values)), _after_bos(codes.T), computed=True))
    out, values = in_order(results[-1], valid)
    vocab = Vocab(("BOS", "PAD", *names), tuple(map(format_value, values)))
    return Task(program, vocab, _with_bos(ids), _after_bos(out.T), tuple(concepts))


def _of_flowchart(chart: Flowchart, ids: TokenIds) -> Task:
    index = {token: i for i, token in enumerate(chart.vocab)}
    nowhere = np.full((len(ids), ids.shape[1] + 1), UNASKED)
    concepts = list(_input_concepts(chart.vocab, ids))
    for condition in dict.fromkeys(chart.conditions()):
        codes = nowhere.copy()
        codes[:, 0] = condition.holds_batch(ids, index)
        concepts.append(Concept(condition.text(), ("no", "yes"), codes, computed=True))
    answers = nowhere.copy()
    answers[:, 0] = chart.run_batch(ids)
    return Task(chart, Vocab(("BOS", "PAD", *chart.vocab), chart.answers), _with_bos(ids), answers, tuple(concepts))
