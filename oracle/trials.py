"""What a reader may do with the draft that it is shown: try it, before it answers.

A small language model cannot work out in its head what five operations make of an input. It need not: it says what it
wants to be tried, is told what came out, and answers then.

    Question: What comes out for b a c?          Question: Give an input on which the model answers q.
    Answer: run b a c                            Answer: find q
    Draft: p                                     Draft: a a a b
    Answer: =                                    Answer: =

What came out is the answer where the reader says so with one sign: it need not copy a row of numbers.

It is the draft that is run, or compiled to see what stands where, on the interpreter: never the target. A draft that is
wrong gives a wrong answer, and none gives "nothing".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Int

from oracle.batch import N_SPECIALS, LabelIds
from oracle.decoder import CODEC, Written
from oracle.facts import Question, Subject
from oracle.grade import grade, inputs_of
from oracle.neutral import Neutral
from oracle.part_questions import COMPUTED, KINDS, layers_of, parts_of
from oracle.part_questions import NOTHING as NO_OPERATION
from oracle.phrasings import NO_PROGRAM
from oracle.template import escape
from tracr_tasks import format_value
from tracr_tasks.errors import ProgramError, WeightOracleError
from tracr_tasks.rasp import Program
from tracr_tasks.text import parse_program
from zoo.branches import least_inputs
from zoo.compiled import named_value
from zoo.flowchart import Flowchart
from zoo.flowchart_parser import parse_flowchart

SAME = "="
"""What a reader says where its answer is what came out."""
NOTHING = "nothing"
"""What comes out where there is no draft, or none that can be tried so."""


@dataclass(frozen=True)
class Draft(Written):
    """A program written from weights, and what it is to a machine."""

    program: Program | Flowchart | None = field(default=None, compare=False, repr=False)
    """None where the text is no program over the target's labels."""


@dataclass(frozen=True)
class Trial:
    """Something that is tried with a draft."""

    verb: str
    """One of `VERBS`."""
    about: str
    """The input, answer, operation or part that it is tried with."""

    @property
    def text(self) -> str:
        """How the reader says it."""
        return f"{self.verb} {self.about}"


def draft_of(written: Written, target: Neutral, pieces: LabelIds) -> Draft:
    """What a decoder wrote about a target, parsed with the names of its labels (as pieces of `CODEC`)."""
    program = program_of(written.text, target, pieces)
    return Draft(written.text, written.log_prob, written.certified, program)


def program_of(text: str, target: Neutral, pieces: LabelIds) -> Program | Flowchart | None:
    """The program that a text is over the labels of a target; None if it is none."""
    if text == NO_PROGRAM:
        return None
    names, longest = [CODEC.name_of(ids) for ids in pieces.tokens[N_SPECIALS:].tolist()], len(pieces.positions) - 1
    try:
        if " = " in text:
            return parse_program(text, tuple(map(named_value, names)), longest, target.causal)
        return parse_flowchart(text, names, [CODEC.name_of(ids) for ids in pieces.outputs.tolist()], longest)
    except WeightOracleError:
        return None


def requested(text: str) -> Trial | None:
    """The trial that a reader asks for; None where it answers."""
    verb, _, about = text.partition(" ")
    return Trial(verb, about) if verb in VERBS and about else None


def result_of(trial: Trial, draft: Draft | None) -> str:
    """What comes out of a trial."""
    if draft is None or draft.program is None:
        return NOTHING
    return VERBS[trial.verb](trial.about, draft.program) or NOTHING


def told(trial: Trial, result: str, special: frozenset[str] = frozenset()) -> str:
    """What stands behind the prompt when the reader is told what came out; the reader's `special` tokens stay text."""
    return escape(f" {trial.text}\nDraft: {result}\nAnswer:", special)


def meant(said: str, result: str) -> str:
    """The answer that a reader means who is told what came out."""
    return result if said == SAME else said


def to_say(answer: str, result: str) -> str:
    """What a reader says to give an answer when it is told what came out."""
    return SAME if answer == result else answer


def to_try(question: Question) -> Trial | None:
    """What is to be tried for a question; None where the draft itself is enough."""
    verb = OF_FAMILY.get(question.family)
    return None if verb is None else Trial(verb, question.detail)


def said_about(
    question: Question, subject: Subject, draft: Draft | None, special: frozenset[str] = frozenset()
) -> list[tuple[str, str]]:
    """What a reader learns to say when it is asked: for each time that it speaks, what stands behind the prompt by
    then, and what it says.

    With no draft it answers at once; it learns what to say to "nothing" all the same. What came out is the answer where
    it is right (of many inputs that lead to an answer, the one that the draft gives): it then says `SAME`.
    """
    trial = to_try(question)
    if trial is None:
        return [("", question.truth)]
    result = result_of(trial, draft)
    is_right = result != NOTHING and grade(question, result, subject).correct
    first = question.truth if draft is None else trial.text
    return [("", first), (told(trial, result, special), SAME if is_right else question.truth)]


def _run(about: str, program: Program | Flowchart) -> str | None:
    """What comes out for an input."""
    names, known = about.split(), {format_value(value): value for value in program.vocab}
    run: Callable[[list[Any]], list[Any]] = program.run
    shortest = program.max_seq_len if isinstance(program, Flowchart) else 1
    if not set(names) <= set(known) or not shortest <= len(names) <= program.max_seq_len:
        return None
    try:
        return " ".join(format_value(value) for value in run([known[name] for name in names]))
    except WeightOracleError:
        return None


def _find(about: str, program: Program | Flowchart) -> str | None:
    """An input that leads to an answer: of the fewest tokens, and of these the first in the order of names."""
    if not isinstance(program, Flowchart) or about not in program.answers:
        return None
    names = tuple(program.vocab)
    ids = plainest_first(tuple(sorted(range(len(names)), key=names.__getitem__)), program.max_seq_len)
    leads = program.run_batch(ids) == program.answers.index(about)
    if leads.any():
        return " ".join(names[i] for i in ids[int(leads.argmax())])
    try:
        return " ".join(least_inputs(program).get(about, ())) or None
    except ProgramError:  # too entangled to be counted, and found in none of many inputs
        return None


@lru_cache(maxsize=8)
def plainest_first(order: tuple[int, ...], length: int) -> Int[np.ndarray, "input pos"]:
    """Inputs of a length as ids of tokens, those of the fewest tokens first and then by the names, whose order is given
    as ids: all of them, or many, as in grading."""
    ids, _ = inputs_of(len(order), length, length, 0)
    rank = np.argsort(np.asarray(order))
    ranks = rank[ids]
    by_place = np.sort(ids, axis=1)
    n_different = 1 + (by_place[:, 1:] != by_place[:, :-1]).sum(1)
    return np.asarray(ids[np.lexsort((*ranks.T[::-1], n_different))])


def _where(about: str, program: Program | Flowchart) -> str | None:
    """The layers in which an operation is computed, once the draft is compiled."""
    if not isinstance(program, Program) or about not in COMPUTED:
        return None
    try:
        return " ".join(map(str, layers_of(program).get(about, ())))
    except WeightOracleError:
        return None


def _inside(about: str, program: Program | Flowchart) -> str | None:
    """The operations that the heads, or the neurons, of a layer compute, once the draft is compiled."""
    kind, _, layer = about.partition(" of layer ")
    if not isinstance(program, Program) or kind not in KINDS.values() or not layer.isdecimal():
        return None
    try:
        found = parts_of(program).get((int(layer), kind))
    except WeightOracleError:
        return None
    return None if found is None else " ".join(sorted(found)) or NO_OPERATION


VERBS: dict[str, Callable[[str, Any], str | None]] = {"run": _run, "find": _find, "where": _where, "inside": _inside}
"""Verb -> what comes out of a trial, None where it cannot be made."""
OF_FAMILY = {"output": "run", "trigger": "find", "rare": "find", "where": "where", "inside": "inside"}
"""What is tried for a question of a family."""
