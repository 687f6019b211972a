"""What is asked about, and what is asked: a target as the questions see it, and a question with its true answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RARE = 0.02
"""Share of inputs under which an answer is rare."""


@dataclass(frozen=True)
class Subject:
    """A target as the questions see it."""

    kind: str
    """rasp, flowchart, or none for a target without a program."""
    regime: str
    """compiled, trained, untrained, or another of `zoo.parts.REGIMES`."""
    text: str
    """Canonical text of the program; empty where there is none."""
    program: Any
    """Its `Flowchart` or RASP `Program`, or None."""
    inputs: tuple[tuple[str, ...], ...]
    """Some input sequences, as names of tokens."""
    outputs: tuple[tuple[str, ...], ...]
    """What the target answers on each: one name a position, or a single one."""
    labels: Mapping[str, Any] = field(default_factory=dict)
    """What was measured of it (`zoo.rows.ZooRow.labels`), and what `history_questions.prepared` adds."""
    rare: tuple[str, ...] = ()
    """Answers of a flowchart to which under `RARE` of all inputs lead."""


@dataclass(frozen=True)
class Question:
    """A question, its true answer, and what the grader needs."""

    family: str
    text: str
    truth: str
    detail: str = ""
    """The asked input, token, answer or operation, as it stands in the text."""
