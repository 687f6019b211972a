"""What an evaluation asks, and of what: targets, questions about each, and the oracle under test."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from tqdm import tqdm

from oracle.evaluation.rows import Row, size_of
from oracle.evidence import Evidence
from oracle.facts import Question, Subject
from oracle.grade import grade
from oracle.neutral import fold
from oracle.oracle import Answer, WeightOracle
from oracle.questions import one_of_each
from oracle.subjects import Example
from oracle.truth import truth_about
from tracr_tasks.transformer import Weights
from zoo.rows import ZooRow
from zoo.store import Zoo
from zoo.target import Target

BATCH = 64
"""Questions that are answered at once."""


@dataclass(frozen=True)
class Asked:
    """A question about one target of the bench."""

    index: int
    question: Question


@dataclass(frozen=True)
class Said:
    """What a condition answers."""

    text: str
    confidence: float = 0.0


@dataclass(frozen=True)
class Bench:
    """Targets, the questions about them and the oracle that is asked."""

    oracle: WeightOracle
    examples: tuple[Example, ...]
    targets: tuple[Target, ...]
    rows: tuple[ZooRow, ...]
    """Of the zoo's index."""
    asked: tuple[Asked, ...]
    """In the order in which they are answered."""
    references: tuple[Example, ...]
    """What the controls that know other targets know; a target itself is never used for it."""
    seed: int

    @cached_property
    def evidence(self) -> list[Evidence]:
        """What is made of the weights of each target."""
        return looked_at(self.oracle, self.examples)

    @cached_property
    def donors(self) -> list[int]:
        """Whose weights each target is shown in the swapped condition."""
        return donors(self.examples, self.targets)

    def subject(self, asked: Asked) -> Subject:
        """What a question is about."""
        return self.examples[asked.index].subject


def questions_about(subject: Subject, n: int, seed: int, families: Sequence[str], key: str) -> list[Question]:
    """Up to `n` questions of different families about a target, its program first, in phrasings never trained on.

    They depend on the seed and the target's own id (`key`), and not on which other targets there are.
    """
    rng = random.Random(f"{seed}/{key}")
    program, *others = one_of_each(subject, rng, families=families)
    return [program, *rng.sample(others, min(n - 1, len(others)))]


def bench_of(
    oracle: WeightOracle,
    examples: Sequence[Example],
    zoo: Zoo,
    n_questions: int,
    seed: int,
    references: Sequence[Example] = (),
) -> Bench:
    """Draw the questions; `references` are the examples themselves if none are given."""
    rows = tuple(zoo.row(example.id) for example in examples)
    asked = [
        Asked(i, question)
        for i, example in enumerate(examples)
        for question in questions_about(example.subject, n_questions, seed, oracle.families, example.id)
    ]
    asked.sort(key=lambda each: each.question.family)
    targets = tuple(zoo.target(example.id) for example in examples)
    return Bench(oracle, tuple(examples), targets, rows, tuple(asked), tuple(references or examples), seed)


def donors(examples: Sequence[Example], targets: Sequence[Target]) -> list[int]:
    """For each target the next one of its kind and architecture, or of its kind where no other has its architecture."""
    kinds = [example.subject.kind for example in examples]
    alike = _following([f"{kind} {target.config}" for kind, target in zip(kinds, targets, strict=True)])
    return [j if j != i else other for i, (j, other) in enumerate(zip(alike, _following(kinds), strict=True))]


def _following(groups: Sequence[str]) -> list[int]:
    """The next place in the same group, and after the last its first."""
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    after = {i: places[(k + 1) % len(places)] for places in members.values() for k, i in enumerate(places)}
    return [after[i] for i in range(len(groups))]


def looked_at(oracle: WeightOracle, examples: Sequence[Example]) -> list[Evidence]:
    """What an oracle makes of the weights of targets, read in batches."""
    starts = tqdm(range(0, len(examples), 32), desc="weights", leave=False)
    return [each for i in starts for each in oracle.look(examples[i : i + 32])]


def read_as(bench: Bench, weights: Sequence[Weights]) -> list[Evidence]:
    """What is made of other weights in the targets' places, under the same names of labels."""
    changed = [
        replace(example, neutral=fold(target.config, each))
        for example, target, each in zip(bench.examples, bench.targets, weights, strict=True)
    ]
    return looked_at(bench.oracle, changed)


@torch.no_grad()
def answers(
    oracle: WeightOracle,
    asked: Sequence[Asked],
    evidence: Sequence[Evidence] | None,
    label: str,
    samples: int = 0,
) -> list[Answer]:
    """Answers to all questions, in batches, behind what is shown of each target; None: nothing is."""
    out: list[Answer] = []
    for start in tqdm(range(0, len(asked), BATCH), desc=label, leave=False):
        part = asked[start : start + BATCH]
        prefix, shown = None, None
        if evidence is not None:
            of = sorted({a.index for a in part})
            prefix = oracle.prefix([evidence[i] for i in of]).rows([of.index(a.index) for a in part])
            shown = [evidence[a.index] for a in part]
        out += oracle.answer([a.question.text for a in part], prefix, samples, start, evidence=shown)
    return out


def graded(bench: Bench, asked: Asked, said: Said, condition: str, donor: int | None = None) -> Row:
    """Grade one answer about the target that was asked about, whatever was shown."""
    example, row, question = bench.examples[asked.index], bench.rows[asked.index], asked.question
    found = grade(question, said.text, example.subject, bench.targets[asked.index])
    return Row(
        target=example.id,
        kind=example.subject.kind,
        regime=row.regime,
        split=row.split,
        part=row.part,
        size=size_of(row),
        n_layers=len(example.neutral.layers),
        d_model=bench.targets[asked.index].config.d_model,
        family=question.family,
        condition=condition,
        question=question.text,
        detail=question.detail,
        truth=question.truth,
        answer=said.text,
        confidence=said.confidence,
        parsed=found.parsed,
        exact=found.exact,
        correct=found.correct,
        agreement=found.agreement,
        donor="" if donor is None else bench.examples[donor].id,
        of_donor=donor is not None and right_about(bench, question, said.text, donor),
    )


def right_about(bench: Bench, question: Question, answer: str, index: int) -> bool:
    """Whether an answer would be right about another target of the bench."""
    subject = bench.examples[index].subject
    truth = truth_about(question, subject)
    return truth is not None and grade(replace(question, truth=truth), answer, subject, bench.targets[index]).correct
