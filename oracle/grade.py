"""Grading by running something: programs are compared by what they do, proposed inputs are given to the target.

`correct` means: program, functionally equivalent on the grader's inputs; trigger and rare, the target does answer so
on the proposed input; everything else, the same words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int

from oracle.phrasings import NO_PROGRAM
from oracle.questions import Question, Subject
from tracr_tasks.errors import WeightOracleError
from tracr_tasks.rasp import Program
from tracr_tasks.text import parse_program
from zoo.conditions import TokenIds
from zoo.flowchart import Flowchart
from zoo.flowchart_parser import parse_flowchart
from zoo.target import Target

MAX_INPUTS = 100_000
"""Two flowcharts are compared on all inputs where there are no more than this ..."""
N_INPUTS = 10_000
"""... and on so many seeded ones where there are."""
VERSION = 4
"""Of the questions and the rules of grading: reports of two versions are not compared."""


@dataclass(frozen=True)
class Grade:
    """One graded answer."""

    parsed: bool
    """The answer has the form that was asked for."""
    exact: bool
    """It is the true answer word for word."""
    correct: bool
    """It is right, as the module's docstring says."""
    agreement: float
    """Share of inputs on which a proposed program agrees with the true one; 1 or 0 for other families."""


def grade(question: Question, answer: str, subject: Subject, target: Target | None = None, seed: int = 0) -> Grade:
    """Grade an answer. `target` is run for `trigger` and `rare` (the subject's program where it is not given).

    Raises nothing for a wrong or unreadable answer: that is a grade.
    """
    answer, exact = answer.strip(), answer.strip() == question.truth
    if question.family == "program" and subject.program is not None:
        return _grade_program(answer, exact, subject, seed)
    if question.family in ("trigger", "rare"):
        return _grade_trigger(question, answer, exact, subject, target)
    return Grade(parsed=bool(answer), exact=exact, correct=exact, agreement=float(exact))


def _grade_program(answer: str, exact: bool, subject: Subject, seed: int) -> Grade:
    """Functional equivalence and agreement per input (per position, for RASP)."""
    if answer == NO_PROGRAM:
        return Grade(parsed=True, exact=False, correct=False, agreement=0.0)
    try:
        proposed = parse_like(answer, subject.program)
        ids, lengths = grading_inputs(subject, seed)
        same = _same(subject.program, proposed, ids, lengths)
    except WeightOracleError:
        return Grade(parsed=False, exact=False, correct=False, agreement=0.0)
    return Grade(parsed=True, exact=exact, correct=bool(same.all()), agreement=float(same.mean()))


def _same(truth: object, proposed: object, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Whether two programs agree: one value an input (flowchart), or one a position within the length (RASP)."""
    if isinstance(truth, Flowchart):
        return np.asarray(truth.run_batch(ids) == proposed.run_batch(ids))  # type: ignore[attr-defined]
    real = np.arange(ids.shape[1]) < lengths[:, None]
    return values_equal(truth.run_batch(ids, lengths)[real], proposed.run_batch(ids, lengths)[real])  # type: ignore[attr-defined]


def values_equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Elementwise equality of values; numbers to 1e-6, so that 1/3 + 1/3 is 2/3."""

    def equal(x: object, y: object) -> bool:
        if isinstance(x, int | float) and isinstance(y, int | float):
            return abs(x - y) <= 1e-6 * max(1.0, abs(x), abs(y))
        return x is y or bool(x == y)

    return np.fromiter((equal(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)), dtype=bool, count=len(a))


def _grade_trigger(question: Question, answer: str, exact: bool, subject: Subject, target: Target | None) -> Grade:
    """Does the target answer so on the proposed input?"""
    names = answer.split()
    program = subject.program
    if len(names) != program.max_seq_len or not set(names) <= set(program.vocab):
        return Grade(parsed=False, exact=False, correct=False, agreement=0.0)
    said = program.run(names) if target is None else target.answers(target.encode([names]))[0]
    hit = list(said) == [question.detail]
    return Grade(parsed=True, exact=exact, correct=hit, agreement=float(hit))


def parse_like(text: str, like: Program | Flowchart) -> Program | Flowchart:
    """A proposed program, read with the vocabulary and length of another one of its kind.

    Raises:
        ProgramError: it cannot be parsed.
    """
    if isinstance(like, Flowchart):
        return parse_flowchart(text, like.vocab, like.answers, like.max_seq_len)
    return parse_program(text, vocab=like.vocab, max_seq_len=like.max_seq_len, causal=like.causal)


def grading_inputs(subject: Subject, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids [batch, max_seq_len] and lengths [batch] on which programs are compared.

    RASP: of all lengths. Flowcharts: of the full one (`inputs_of`).
    """
    program = subject.program
    shortest = program.max_seq_len if isinstance(program, Flowchart) else 1
    return inputs_of(len(program.vocab), shortest, program.max_seq_len, seed)


@lru_cache(maxsize=16)
def inputs_of(n_tokens: int, shortest: int, longest: int, seed: int) -> tuple[TokenIds, Int[np.ndarray, " batch"]]:
    """All inputs of these lengths, the shortest first, where there are at most `MAX_INPUTS`; else `N_INPUTS` of lengths
    and tokens drawn evenly under a seed."""
    counts = {length: n_tokens**length for length in range(shortest, longest + 1)}
    if sum(counts.values()) <= MAX_INPUTS:
        lengths = np.repeat(list(counts), list(counts.values()))
        places = np.concatenate([np.arange(n, dtype=np.int64) for n in counts.values()])[:, None]
        powers = n_tokens ** np.arange(longest, dtype=np.int64)
        ids = places // powers % n_tokens
    else:
        rng = np.random.Generator(np.random.PCG64(seed))
        lengths = rng.integers(shortest, longest + 1, N_INPUTS)
        ids = rng.integers(0, n_tokens, (N_INPUTS, longest), dtype=np.int64)
    ids = np.where(np.arange(longest) < lengths[:, None], ids, 0)
    ids.setflags(write=False)
    return ids, lengths
