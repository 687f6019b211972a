"""Questions about a target with their true answers.

A `Subject` is what is asked about: a program with the behaviour of its target on a few inputs. The answers about
behaviour are those of the target itself, also where it is wrong. Yes and no are asked for by a fair coin. What is asked
about a target's history and measured labels is in history_questions.py, about its parts in part_questions.py.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection
from dataclasses import replace

from oracle.facts import Question as Question
from oracle.facts import Subject as Subject
from oracle.history_questions import HISTORY, HISTORY_SLOTS, HISTORY_WEIGHTS, applies
from oracle.part_questions import PARTS, PARTS_SLOTS, has_parts
from oracle.phrasings import NO_PROGRAM, phrasings
from oracle.rules import false_claims, rules
from zoo.flowchart_parser import parse_tree
from zoo.tree import Question as Node
from zoo.tree import walk

OPERATIONS = ("selector_width", "aggregate", "sequence_map", "map", "linear", "indices")
"""Operations of RASP that a program may or may not use."""


def _program(subject: Subject, rng: random.Random) -> tuple[str, str]:
    return "", subject.text or NO_PROGRAM


def _output(subject: Subject, rng: random.Random) -> tuple[str, str]:
    i = rng.randrange(len(subject.inputs))
    return " ".join(subject.inputs[i]), " ".join(subject.outputs[i])


def _first(subject: Subject, rng: random.Random) -> tuple[str, str]:
    return "", first_condition(subject.text)


def _mentions(subject: Subject, rng: random.Random) -> tuple[str, str]:
    named = tokens_named(subject.text)
    others = sorted(set(subject.program.vocab) - named)
    yes = not others or (rng.random() < 0.5 and bool(named))
    return rng.choice(sorted(named) if yes else others), "yes" if yes else "no"


def _trigger(subject: Subject, rng: random.Random) -> tuple[str, str]:
    answer = rng.choice(sorted({out[0] for out in subject.outputs}))
    return answer, plainest(subject, answer)


def _rare(subject: Subject, rng: random.Random) -> tuple[str, str]:
    answer = rng.choice([answer for answer in subject.rare if (answer,) in subject.outputs])
    return answer, plainest(subject, answer)


def _rule(subject: Subject, rng: random.Random) -> tuple[str, str]:
    false = false_claims(subject, rng)
    yes = not false or rng.random() < 0.5
    return rng.choice(rules(subject) if yes else false).text(), "yes" if yes else "no"


def _uses(subject: Subject, rng: random.Random) -> tuple[str, str]:
    used = operations_used(subject.text)
    unused = [op for op in OPERATIONS if op not in used]
    yes = not unused or (bool(used) and rng.random() < 0.5)
    return rng.choice(sorted(used) if yes else unused), "yes" if yes else "no"


def _regime(subject: Subject, rng: random.Random) -> tuple[str, str]:
    return "", subject.regime


FAMILIES: dict[str, Callable[[Subject, random.Random], tuple[str, str]]] = {
    "program": _program,
    "output": _output,
    "first": _first,
    "mentions": _mentions,
    "trigger": _trigger,
    "rare": _rare,
    "rule": _rule,
    "uses": _uses,
    "regime": _regime,
    **PARTS,
    **HISTORY,
}
"""Family -> (detail, truth) of a random question about a subject."""

BY_KIND: dict[str, tuple[tuple[str, float], ...]] = {
    "rasp": (("program", 5), ("output", 1.5), ("uses", 1), ("where", 1), ("inside", 1), ("regime", 0.25)),
    "flowchart": (
        *(("program", 4), ("output", 1), ("first", 1), ("mentions", 1), ("trigger", 1), ("rare", 0.5), ("rule", 1)),
        ("regime", 0.25),
    ),
    "none": (("program", 1), ("regime", 1)),
}
"""Families that apply to a kind of subject, with their weight in a random draw (see `families_of`)."""

FIRST_FAMILIES = ("program", "output", "first", "mentions", "trigger", "uses", "regime")
"""What an oracle has learned to answer whose configuration does not say."""

_SLOT = {
    "output": "input",
    "mentions": "token",
    "trigger": "answer",
    "rare": "answer",
    "rule": "claim",
    "uses": "operation",
    **PARTS_SLOTS,
    **HISTORY_SLOTS,
}


def plainest(subject: Subject, answer: str) -> str:
    """Of the known inputs on which a target gives an answer, the one of the fewest tokens, and of these the first in
    the order of names: of many right answers one that can be worked out, where a random one could only be guessed."""
    hits = [x for x, out in zip(subject.inputs, subject.outputs, strict=True) if out[0] == answer]
    return " ".join(min(hits, key=lambda x: (len(set(x)), x)))


def first_condition(text: str) -> str:
    """The condition at the root of a flowchart's text."""
    match = re.match(r"if (.+?) then ", text)
    return match.group(1) if match else text


def tokens_named(text: str) -> set[str]:
    """Tokens that a flowchart's conditions name."""
    tree = parse_tree(text)
    return {token for node in walk(tree) if isinstance(node, Node) for token in node.condition.tokens}


def operations_used(text: str) -> set[str]:
    """Operations of `OPERATIONS` that occur in a RASP program's text."""
    return {op for op in OPERATIONS if re.search(rf"\b{op}\b", text)}


def families_of(subject: Subject) -> list[tuple[str, float]]:
    """Families that apply to a subject, with their weight in a random draw, the program itself first.

    Where a target has a history, it is asked for that and not for its regime among three.
    """
    own = [(family, float(weight)) for family, weight in BY_KIND[subject.kind] if _applies(subject, family)]
    if "history" not in subject.labels:
        return own
    return [each for each in own if each[0] != "regime"] + [
        each for each in HISTORY_WEIGHTS if applies(subject, each[0])
    ]


def _applies(subject: Subject, family: str) -> bool:
    """Whether a subject has what a family asks about."""
    if family in PARTS:
        return has_parts(subject)
    if family == "rare":
        return any((answer,) in subject.outputs for answer in subject.rare)
    return family != "rule" or bool(rules(subject))


def ask(subject: Subject, family: str, rng: random.Random, *, test: bool = False) -> Question:
    """A random question of a family; `test` uses the phrasings that are never trained on."""
    detail, truth = FAMILIES[family](subject, rng)
    return in_other_words(Question(family, "", truth, detail), rng, test=test)


def in_other_words(question: Question, rng: random.Random, *, test: bool = False) -> Question:
    """The same question in a random phrasing; `test` uses those that are never trained on."""
    family, text = question.family, rng.choice(phrasings(question.family, test=test))
    said = text.format(**{_SLOT[family]: question.detail}) if family in _SLOT else text
    return replace(question, text=said)


def draw(subject: Subject, n: int, rng: random.Random, *, test: bool = False) -> list[Question]:
    """`n` questions of random families about a subject, the program itself always among them."""
    families, weights = zip(*families_of(subject), strict=True)
    chosen = ["program", *rng.choices(families, weights, k=n - 1)]
    return [ask(subject, family, rng, test=test) for family in chosen]


def one_of_each(
    subject: Subject, rng: random.Random, *, test: bool = True, families: Collection[str] | None = None
) -> list[Question]:
    """One question of every family that applies to the subject (and is among `families`, if given)."""
    asked = [family for family, _ in families_of(subject) if families is None or family in families]
    return [ask(subject, family, rng, test=test) for family in asked]
