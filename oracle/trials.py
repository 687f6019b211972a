"""What a reader may do with the draft that it is shown: try it, before it answers.

A small language model cannot work out in its head what five operations make of an input. It need not: it says what it
wants to be tried, is told what came out, and answers then.

    Question: What comes out for b a c?          Question: Give an input on which the model answers q.
    Answer: run b a c                            Answer: find q
    Draft: p                                     Draft: a a a b
    Answer: =                                    Answer: =

    Question: Is it true: p unless has a?
    Answer: check p unless has a
    Draft: no
    Answer: =

What came out is the answer where the reader says so with one sign: it need not copy a row of numbers.

It is the draft that is run, or compiled to see what stands where, on the interpreter: never the target. A draft that is
wrong gives a wrong answer, and none gives "nothing".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Int

from oracle.batch import N_SPECIALS, LabelIds
from oracle.calibration import form_of
from oracle.decoder import CODEC, Written
from oracle.facts import Question, Subject
from oracle.grade import grade, inputs_of
from oracle.neutral import Neutral
from oracle.part_questions import inside_text, where_text
from oracle.phrasings import NO_PROGRAM
from oracle.rules import claim_about
from oracle.template import escape
from oracle.truth import output_on
from tracr_tasks.errors import WeightOracleError
from tracr_tasks.rasp import Program
from tracr_tasks.simplest import simplest
from tracr_tasks.text import parse_program
from zoo.branches import least_inputs
from zoo.compiled import named_value
from zoo.flowchart import Flowchart
from zoo.flowchart_parser import parse_flowchart

SAME = "="
"""What a reader says where its answer is what came out."""
STRANGE = math.log(0.1)
"""Log-probability (nats) that no draft of an untrained target comes near: of 1,000 of the zoos `blank`, `default`,
`bench`, `four` and `unseen` the likeliest that was a program had -4.2."""
NOTHING = "nothing"
"""What comes out where there is no draft, or none that can be tried so."""


@dataclass(frozen=True)
class Draft(Written):
    """A program written from weights, and what it is to a machine."""

    program: Program | Flowchart | None = field(default=None, compare=False, repr=False)
    """None where the text is no program over the target's labels."""
    others: tuple[Draft, ...] = field(default=(), compare=False, repr=False)
    """Other functions that are likely, each with its share, the likeliest first, where they were weighed."""


@dataclass(frozen=True)
class Trial:
    """Something that is tried with a draft."""

    verb: str
    """One of `VERBS`."""
    about: str
    """The input, answer, claim, operation or part that it is tried with."""

    @property
    def text(self) -> str:
        """How the reader says it."""
        return f"{self.verb} {self.about}"


def draft_of(written: Written, target: Neutral, pieces: LabelIds) -> Draft:
    """What a decoder wrote about a target, parsed with the names of its labels (as pieces of `CODEC`); of RASP programs
    with the same weights the simplest."""
    program = program_of(written.text, target, pieces)
    if not isinstance(program, Program):
        return Draft(written.text, written.log_prob, written.certified, program)
    program = simplest(program)
    return Draft(program.text(), written.log_prob, written.certified, program)


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


def slipped(text: str, draft: Draft | None) -> bool:
    """Whether the draft stands for what a reader says of the program.

    That is where an answer has the form of a program and is not the draft: a reader that copies a long draft may lose
    its place, the more often the longer it is, and what it says then says nothing. And where it says that there is no
    program, of weights that look strange to it, and the draft is not as unlikely as those of untrained targets are
    (`STRANGE`).
    """
    if draft is None or draft.program is None:
        return False
    if text == NO_PROGRAM:
        return draft.certified or draft.log_prob >= STRANGE
    return form_of(text) == "program" and text != draft.text


def requested(text: str) -> Trial | None:
    """The trial that a reader asks for; None where it answers."""
    verb, _, about = text.partition(" ")
    return Trial(verb, about) if verb in VERBS and about else None


def result_of(trial: Trial, draft: Draft | None) -> str:
    """What comes out of a trial."""
    if draft is None or draft.program is None:
        return NOTHING
    try:
        return VERBS[trial.verb](trial.about, draft.program) or NOTHING
    except WeightOracleError:  # a program of which this cannot be said: it does not compile, say
        return NOTHING


def bears_out(draft: Draft, trial: Trial, answer: str) -> bool:
    """Whether an answer that was found by a trial with another draft is right if this one is: the same comes out, or
    the input does lead to the answer that one was looked for."""
    if trial.verb == "find":
        return result_of(Trial("run", answer), draft) == trial.about
    return result_of(trial, draft) == answer


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


def _find(about: str, program: Program | Flowchart) -> str | None:
    """An input that leads to an answer: of the fewest tokens, and of these the first in the order of names."""
    if not isinstance(program, Flowchart) or about not in program.answers:
        return None
    names = tuple(program.vocab)
    ids = plainest_first(tuple(sorted(range(len(names)), key=names.__getitem__)), program.max_seq_len)
    leads = program.run_batch(ids) == program.answers.index(about)
    if leads.any():
        return " ".join(names[i] for i in ids[int(leads.argmax())])
    return " ".join(least_inputs(program).get(about, ())) or None


def _check(about: str, program: Program | Flowchart) -> str | None:
    """Whether a claim such as "p if has a" is true of a flowchart, on all inputs on which it would be graded.

    Raises:
        ProgramError: it is no claim, or names what the flowchart has not.
    """
    if not isinstance(program, Flowchart):
        return None
    claim, names, length = claim_about(about, program), program.vocab, program.max_seq_len
    ids, _ = inputs_of(len(names), length, length, 0)
    meant = claim.condition.holds_batch(ids, {name: i for i, name in enumerate(names)}) != claim.negated
    return "yes" if (program.run_batch(ids[meant]) == program.answers.index(claim.answer)).all() else "no"


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


def _compiled(text: Callable[[Program, str], str | None]) -> Callable[[str, Program | Flowchart], str | None]:
    """What is said about a draft once it is compiled; nothing of flowcharts."""
    return lambda about, program: text(program, about) if isinstance(program, Program) else None


VERBS: dict[str, Callable[[str, Any], str | None]] = {
    "run": output_on,
    "find": _find,
    "check": _check,
    "where": _compiled(where_text),
    "inside": _compiled(inside_text),
}
"""Verb -> what comes out of a trial, None where it cannot be made."""
OF_FAMILY = {"output": "run", "trigger": "find", "rare": "find", "rule": "check", "where": "where", "inside": "inside"}
"""What is tried for a question of a family."""
