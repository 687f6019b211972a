"""A question in anybody's words -> the question with its truth, where the words are known phrasings.

What is recognised can be graded. What is not is answered all the same, and nobody says whether that is right.
"""

from __future__ import annotations

from functools import cache

from oracle.app.catalogue import Entry
from oracle.part_questions import COMPUTED, KINDS, has_parts, parts_of
from oracle.phrasings import phrasings
from oracle.questions import OPERATIONS, Question, Subject
from oracle.rules import Claim, claim_about
from oracle.truth import OF_A_PROGRAM, truth_about
from tracr_tasks.errors import ProgramError
from zoo.target import BOS, PAD

FAMILIES = ("program", "output", "first", "mentions", "rare", "trigger", "rule", "uses", "where", "inside", "regime")


@cache
def patterns() -> tuple[tuple[str, str, str], ...]:
    """(words before, words after, family) of every phrasing, those with most words first; lower case."""
    found = set[tuple[str, str, str]]()
    for family in FAMILIES:
        for text in (*phrasings(family, test=False), *phrasings(family, test=True)):
            before, _, rest = text.partition("{")
            found.add((before.lower(), rest.partition("}")[2].lower(), family))
    return tuple(sorted(found, key=lambda row: (-len(row[0]) - len(row[1]), row)))


def recognise(text: str, entry: Entry, known: tuple[Question, ...] = ()) -> Question | None:
    """The question that a text asks about a target, with its truth; None where either is not known.

    Args:
        known: questions with their truths that were drawn for this very target.
    """
    words = " ".join(text.split())
    for question in known:
        if question.text == words:
            return question
    low = words.lower()
    for before, after, family in patterns():
        if len(low) < len(before) + len(after) or not low.startswith(before) or not low.endswith(after):
            continue
        detail = words[len(before) : len(words) - len(after)]
        if (truth := _truth(family, detail, entry)) is not None:
            return Question(family, words, truth, detail)
    return None


def _truth(family: str, detail: str, entry: Entry) -> str | None:
    """What is right about a target; None where the family, or its detail, does not apply to it."""
    if family == "output":
        return _output(detail, entry)
    subject = entry.subject
    if subject is None or (detail != "") != (family in DETAILS):
        return None
    if detail and not DETAILS[family](detail, subject):
        return None
    if family in OF_A_PROGRAM and subject.program is None:
        return None
    return truth_about(Question(family, "", "", detail), subject)


def _output(detail: str, entry: Entry) -> str | None:
    """What the target itself answers, as far as it takes the input. Here, and not by the oracle, it is run."""
    names, target, subject = detail.split(), entry.target, entry.subject
    special = {BOS, PAD} if target.config.default_prepend_bos else set[int]()
    known = {name for i, name in enumerate(target.vocab.input) if i not in special}
    if not names or not set(names) <= known or len(names) > target.config.n_ctx - bool(special):
        return None
    if subject is not None and subject.kind == "flowchart" and len(names) != subject.program.max_seq_len:
        return None
    return " ".join(target.answers(target.encode([names]))[0])


def _is_token(detail: str, subject: Subject) -> bool:
    return subject.kind == "flowchart" and detail in subject.program.vocab


def _is_answer(detail: str, subject: Subject) -> bool:
    return subject.kind == "flowchart" and (detail,) in subject.outputs


def _is_claim(detail: str, subject: Subject) -> bool:
    return subject.kind == "flowchart" and parsed_claim(detail, subject) is not None


def parsed_claim(text: str, subject: Subject) -> Claim | None:
    """The claim that a text states about a flowchart; None where it states none."""
    try:
        return claim_about(text, subject.program)
    except ProgramError:  # asked of anybody's words: that they state no claim is an answer
        return None


def _is_operation(detail: str, subject: Subject) -> bool:
    return subject.kind == "rasp" and detail in OPERATIONS


def _is_computed(detail: str, subject: Subject) -> bool:
    return subject.kind == "rasp" and detail in COMPUTED


def _is_part(detail: str, subject: Subject) -> bool:
    if subject.kind != "rasp" or not has_parts(subject):
        return False
    return detail in {f"{kind} of layer {layer}" for layer, kind in parts_of(subject.program) if kind in KINDS.values()}


DETAILS = {
    "mentions": _is_token,
    "trigger": _is_answer,
    "rare": _is_answer,
    "rule": _is_claim,
    "uses": _is_operation,
    "where": _is_computed,
    "inside": _is_part,
}
"""Families that ask about something, and whether a text names such a thing of a subject."""
