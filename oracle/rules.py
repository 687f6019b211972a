"""Claims about a flowchart: "p if has a", "q unless pos 2 is c". True ones are its rules, false ones have a witness."""

from __future__ import annotations

import random
from dataclasses import dataclass

from oracle.facts import Subject
from tracr_tasks.errors import ProgramError, Reason
from zoo.conditions import Condition, renamed
from zoo.files import shown
from zoo.flowchart import Flowchart
from zoo.flowchart_parser import parse_tree
from zoo.tree import Question


@dataclass(frozen=True)
class Claim:
    """On every input where the condition holds (or, negated, does not), the answer is this one."""

    answer: str
    condition: Condition
    negated: bool

    def text(self) -> str:
        """As it stands in a question."""
        return f"{self.answer} {'unless' if self.negated else 'if'} {self.condition.text()}"


def claim_of(text: str) -> Claim:
    """The claim that a text states: the inverse of `Claim.text`.

    Raises:
        ProgramError: it states none.
    """
    answer, side, condition = (*text.split(" ", 2), "", "")[:3]
    root = parse_tree(f"if {condition} then a else b")
    if side not in ("if", "unless") or not isinstance(root, Question) or (root.yes, root.no) != ("a", "b"):
        raise ProgramError([Reason(1, f"{shown(repr(text))} is no claim, expected one such as 'p if has a'")])
    return Claim(answer, root.condition, side == "unless")


def claim_about(text: str, chart: Flowchart) -> Claim:
    """The claim that a text states about a flowchart.

    Raises:
        ProgramError: it states none, or names what the flowchart has not.
    """
    claim = claim_of(text)
    Flowchart(Question(claim.condition, claim.answer, claim.answer), chart.vocab, chart.answers, chart.max_seq_len)
    return claim


def rules(subject: Subject) -> list[Claim]:
    """What the first question of a flowchart settles at once, and the target does not refute: up to two claims."""
    root = subject.program.root
    if not isinstance(root, Question):
        return []
    sides = ((root.yes, False), (root.no, True))
    claims = [Claim(side, root.condition, negated) for side, negated in sides if isinstance(side, str)]
    return [claim for claim in claims if not refuted(claim, subject)]


def refuted(claim: Claim, subject: Subject) -> bool:
    """Whether the target answers otherwise on one of the inputs that are known of it, so that the claim is false."""
    pairs = zip(subject.inputs, subject.outputs, strict=True)
    return any(claim.condition.holds(row) != claim.negated and out != (claim.answer,) for row, out in pairs)


def false_claims(subject: Subject, rng: random.Random) -> list[Claim]:
    """Claims like the true ones, with another answer, the other side or other names, that the target refutes."""
    found, program = list[Claim](), subject.program
    for claim in rules(subject):
        others = [answer for answer in program.leaves() if answer != claim.answer]
        tokens = dict(zip(program.vocab, rng.sample(program.vocab, len(program.vocab)), strict=True))
        places = list(range(1, program.max_seq_len + 1))
        moved = dict(zip(places, rng.sample(places, len(places)), strict=True))
        found += [Claim(answer, claim.condition, claim.negated) for answer in dict.fromkeys(others)]
        found.append(Claim(claim.answer, claim.condition, not claim.negated))
        found.append(
            Claim(claim.answer, renamed(claim.condition, tokens.__getitem__, moved.__getitem__), claim.negated)
        )
    return [claim for claim in found if refuted(claim, subject)]
