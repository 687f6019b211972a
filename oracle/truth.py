"""What is right about a subject when it is asked a question that was drawn for another one.

The controls need this: what a nearest neighbour, a written program or a donor of weights would make of the question.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oracle.facts import Question, Subject
from oracle.part_questions import has_parts, inside_text, where_text
from oracle.phrasings import NO_PROGRAM
from oracle.questions import first_condition, operations_used, tokens_named
from oracle.rules import claim_of, refuted
from tracr_tasks import format_value
from zoo.flowchart import Flowchart


def truth_about(question: Question, subject: Subject) -> str | None:
    """The right answer to a question about a subject; None where it says nothing of such a one.

    Of several right answers (an input that leads to an answer), one. Behaviour is the program's own. Histories, whose
    truths are measured and not read off a program, are left out.
    """
    if question.family in ALWAYS:
        return ALWAYS[question.family](subject)
    if subject.program is None or question.family not in OF_A_PROGRAM:
        return None
    return OF_A_PROGRAM[question.family](question.detail, subject)


def output_on(text: str, program: Any) -> str | None:
    """What a program gives for an input, as an answer; None where that is none of its inputs: flowcharts take one
    length, RASP programs any up to the longest.

    Raises:
        ProgramError: the program gives nothing for it.
    """
    values = {format_value(v): v for v in program.vocab}
    names = text.split()
    shortest = program.max_seq_len if isinstance(program, Flowchart) else 1
    if not set(names) <= set(values) or not shortest <= len(names) <= program.max_seq_len:
        return None
    return " ".join(format_value(v) for v in program.run([values[name] for name in names]))


def _output(detail: str, subject: Subject) -> str | None:
    return output_on(detail, subject.program)


def _first(detail: str, subject: Subject) -> str | None:
    return first_condition(subject.text) if subject.kind == "flowchart" else None


def _mentions(detail: str, subject: Subject) -> str | None:
    if subject.kind != "flowchart":
        return None
    return "yes" if detail in tokens_named(subject.text) else "no"


def _trigger(detail: str, subject: Subject) -> str | None:
    pairs = zip(subject.inputs, subject.outputs, strict=True)
    return next((" ".join(names) for names, out in pairs if out == (detail,)), None)


def _rule(detail: str, subject: Subject) -> str | None:
    if subject.kind != "flowchart":
        return None
    return "no" if refuted(claim_of(detail), subject) else "yes"


def _uses(detail: str, subject: Subject) -> str | None:
    if subject.kind != "rasp":
        return None
    return "yes" if detail in operations_used(subject.text) else "no"


def _where(detail: str, subject: Subject) -> str | None:
    return where_text(subject.program, detail) if subject.kind == "rasp" and has_parts(subject) else None


def _inside(detail: str, subject: Subject) -> str | None:
    return inside_text(subject.program, detail) if subject.kind == "rasp" and has_parts(subject) else None


ALWAYS: dict[str, Callable[[Subject], str]] = {
    "program": lambda subject: subject.text or NO_PROGRAM,
    "regime": lambda subject: subject.regime,
}
"""Families that every target can be asked about."""

OF_A_PROGRAM: dict[str, Callable[[str, Any], str | None]] = {
    "output": _output,
    "first": _first,
    "mentions": _mentions,
    "trigger": _trigger,
    "rare": _trigger,
    "rule": _rule,
    "uses": _uses,
    "where": _where,
    "inside": _inside,
}
"""Families whose answer follows from a program: (detail, subject) -> the right answer."""
