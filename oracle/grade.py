"""Grading by running something: programs are compared by what they do, proposed inputs are given to the target.

`correct` means: program, functionally equivalent on the grader's inputs; trigger and rare, the target does answer so
on the proposed input; everything else, the same words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oracle.phrasings import NO_PROGRAM
from oracle.questions import Question, Subject
from tracr_tasks.batch import hash_inputs
from tracr_tasks.errors import WeightOracleError
from tracr_tasks.text import parse_program
from zoo.flowchart import Flowchart, input_ids
from zoo.flowchart_parser import parse_flowchart
from zoo.target import Target

N_INPUTS = 4096
"""Inputs on which two flowcharts are compared; all of them where there are no more."""


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
        proposed = parse_like(answer, subject)
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


def parse_like(text: str, subject: Subject) -> object:
    """A proposed program, read with the vocabulary and length of the subject's own.

    Raises:
        ProgramError: it cannot be parsed.
    """
    truth = subject.program
    if isinstance(truth, Flowchart):
        return parse_flowchart(text, truth.vocab, truth.answers, truth.max_seq_len)
    return parse_program(text, vocab=truth.vocab, max_seq_len=truth.max_seq_len, causal=truth.causal)


def grading_inputs(subject: Subject, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids [batch, max_seq_len] and lengths [batch] on which programs are compared.

    RASP: those of the function hash, of all lengths. Flowcharts: those of the function hash, or a seeded part of them.
    """
    program = subject.program
    if not isinstance(program, Flowchart):
        return hash_inputs(len(program.vocab), program.max_seq_len)
    ids = input_ids(len(program.vocab), program.max_seq_len)
    if len(ids) > N_INPUTS:
        ids = ids[np.random.default_rng(seed).permutation(len(ids))[:N_INPUTS]]
    return ids, np.full(len(ids), program.max_seq_len)
