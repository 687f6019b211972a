"""Evaluation: the same questions under several conditions, graded by execution, with intervals clustered by target.

own             the target's weights
another's       weights of another target of the same kind: a reader of weights must do worse
question only   no weights at all; the same reader was trained on this in a share of its steps
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from oracle.calibration import Reliability, reliability
from oracle.config import EvalConfig, to_json
from oracle.grade import grade
from oracle.oracle import Answer, WeightOracle
from oracle.questions import FAMILIES, Question, one_of_each
from oracle.statistics import Interval, clustered_mean
from oracle.steps import Step, step_losses
from oracle.subjects import Example, load_examples
from zoo.files import write_atomic
from zoo.store import Zoo
from zoo.target import Target

OWN, SWAPPED, NOTHING = "own weights", "another target's", "question only"
CONDITIONS = (OWN, SWAPPED, NOTHING)
BATCH = 64


@dataclass(frozen=True)
class Asked:
    """A question about one target of the evaluation."""

    index: int
    question: Question


@dataclass(frozen=True)
class Row:
    """One graded answer: everything that is needed to grade it again."""

    target: str
    kind: str
    family: str
    condition: str
    question: str
    detail: str
    truth: str
    answer: str
    confidence: float
    exact: bool
    correct: bool
    agreement: float


@dataclass(frozen=True)
class Report:
    """Graded answers and losses of an evaluation."""

    rows: tuple[Row, ...]
    losses: dict[str, dict[str, Interval]]
    """kind -> condition (or "gap") -> nats a token of the right program."""

    def accuracy(self, condition: str, kind: str | None = None, family: str | None = None) -> Interval:
        """Share of right answers under a condition, of one kind of target and one family if named."""
        rows = self._chosen(condition, kind, family)
        return clustered_mean([float(r.correct) for r in rows], [r.target for r in rows])

    def agreement(self, condition: str, kind: str) -> Interval:
        """Share of inputs on which the proposed programs agree with the true ones."""
        rows = self._chosen(condition, kind, "program")
        return clustered_mean([r.agreement for r in rows], [r.target for r in rows])

    def reliability(self) -> Reliability:
        """How good the confidence in answers from own weights is; a target's regime, which its shape gives away, is
        left out.

        Raises:
            InputError: nothing else was asked.
        """
        rows = [r for r in self._chosen(OWN, None, None) if r.family != "regime"]
        return reliability(np.array([r.confidence for r in rows]), np.array([r.correct for r in rows], dtype=bool))

    def without(self, family: str) -> Report:
        """The same report, one family of questions left out."""
        return replace(self, rows=tuple(r for r in self.rows if r.family != family))

    def _chosen(self, condition: str, kind: str | None, family: str | None) -> list[Row]:
        wanted = [r for r in self.rows if r.condition == condition and kind in (None, r.kind)]
        return [r for r in wanted if family in (None, r.family)]

    def margin(self, kind: str | None = None, control: str = NOTHING) -> Interval:
        """Own weights minus a control on the same questions, over all families; clustered by target."""
        rows = [r for r in self.rows if kind in (None, r.kind)]
        sign = {OWN: 1.0, control: -1.0}
        pairs: dict[tuple[str, str, str], float] = {}
        for r in rows:
            key = (r.target, r.family, r.question)
            pairs[key] = pairs.get(key, 0.0) + sign.get(r.condition, 0.0) * r.correct
        return clustered_mean(list(pairs.values()), [key[0] for key in pairs])

    @property
    def table(self) -> str:
        """A Markdown table: one row a family, one column a condition, and the losses below."""
        lines = ["| target | question | " + " | ".join(CONDITIONS) + " |", "|---|---|" + "---|" * len(CONDITIONS)]
        for kind in dict.fromkeys(r.kind for r in self.rows):
            for family in (f for f in FAMILIES if self._chosen(OWN, kind, f)):
                lines.append(_line(kind, family, [self.accuracy(condition, kind, family) for condition in CONDITIONS]))
            if kind != "none":
                agreement = [self.agreement(condition, kind) for condition in CONDITIONS]
                lines.append(_line(kind, "program, agreement per input", agreement))
        for kind, found in self.losses.items():
            losses = [found[condition] for condition in CONDITIONS]
            lines.append(_line(kind, "loss on the right program, nats a token", losses))
        return "\n".join([*lines, "", f"Confidence in answers from own weights: {self.reliability()}."])


def _line(kind: str, what: str, cells: Sequence[Interval]) -> str:
    return f"| {kind} | {what} | " + " | ".join(map(str, cells)) + " |"


def evaluate(config: EvalConfig) -> Report:
    """Measure an oracle on a zoo's split; answers.parquet, results.json and results.md go to `config.out` if given."""
    torch.set_num_threads(config.threads)
    oracle, zoo = WeightOracle.from_pretrained(config.oracle), Zoo.open(config.zoo)
    examples = load_examples(
        zoo, oracle.reader, split=config.split, limit=config.limit, seed=config.seed, regimes=config.regimes
    )
    report = examine(oracle, examples, [zoo.target(e.id) for e in examples], config.seed, config.questions_per_target)
    if config.out is not None:
        write_report(report, config, {"oracle": oracle.facts.get("zoo"), "zoo": zoo.content_hash()})
    return report


def examine(
    oracle: WeightOracle, examples: Sequence[Example], targets: Sequence[Target], seed: int, n_questions: int
) -> Report:
    """Ask every question under every condition, and measure the losses on the right programs."""
    rng = random.Random(seed)
    each = [one_of_each(e.subject, rng, families=oracle.families)[:n_questions] for e in examples]
    asked = [Asked(i, q) for i, questions in enumerate(each) for q in questions]
    asked.sort(key=lambda a: a.question.family)
    donors = swap_within_kind(examples)
    tokens = encoded(oracle, examples)
    rows: list[Row] = []
    for condition in CONDITIONS:
        weights = {OWN: tokens, SWAPPED: [tokens[i] for i in donors], NOTHING: None}[condition]
        said = answers(oracle, asked, weights, condition)
        rows += [graded(a, answer, condition, examples, targets) for a, answer in zip(asked, said, strict=True)]
    return Report(tuple(rows), program_losses(oracle, examples, donors, rng))


def encoded(oracle: WeightOracle, examples: Sequence[Example]) -> list[Float[Tensor, "_ d_llm"]]:
    """The weight tokens of each target, read in batches."""
    return [row for i in range(0, len(examples), 32) for row in oracle.encode(examples[i : i + 32])]


@torch.no_grad()
def answers(
    oracle: WeightOracle,
    asked: Sequence[Asked],
    tokens: Sequence[Float[Tensor, "_ d_llm"]] | None,
    label: str,
    samples: int = 0,
) -> list[Answer]:
    """Answers to all questions of one condition, in batches; `tokens` are those that each target is shown."""
    out: list[Answer] = []
    for start in tqdm(range(0, len(asked), BATCH), desc=label, leave=False):
        part = asked[start : start + BATCH]
        prefix = None
        if tokens is not None:
            of = sorted({a.index for a in part})
            read = oracle.reader.read(pad_sequence([tokens[i] for i in of], batch_first=True))
            prefix = read.rows([of.index(a.index) for a in part])
        out += oracle.answer([a.question.text for a in part], prefix, samples, seed=start)
    return out


def swap_within_kind(examples: Sequence[Example]) -> list[int]:
    """For each target the next one of its kind: the donor of the swapped condition."""
    groups: dict[str, list[int]] = {}
    for i, e in enumerate(examples):
        groups.setdefault(e.subject.kind, []).append(i)
    following = {i: group[(k + 1) % len(group)] for group in groups.values() for k, i in enumerate(group)}
    return [following[i] for i in range(len(examples))]


def graded(asked: Asked, answer: Answer, condition: str, examples: Sequence[Example], targets: Sequence[Target]) -> Row:
    """Grade one answer about the target that was asked about, whatever weights were shown."""
    example, q = examples[asked.index], asked.question
    found = grade(q, answer.text, example.subject, targets[asked.index])
    return Row(
        target=example.id,
        kind=example.subject.kind,
        family=q.family,
        condition=condition,
        question=q.text,
        detail=q.detail,
        truth=q.truth,
        answer=answer.text,
        confidence=answer.confidence,
        exact=found.exact,
        correct=found.correct,
        agreement=found.agreement,
    )


@torch.no_grad()
def program_losses(
    oracle: WeightOracle, examples: Sequence[Example], donors: Sequence[int], rng: random.Random
) -> dict[str, dict[str, Interval]]:
    """Loss on the right program (nats a token, mean over targets) by kind and condition, and the gap to another's."""
    by_condition: dict[str, list[float]] = {condition: [] for condition in CONDITIONS}
    questions = [one_of_each(e.subject, rng)[0] for e in examples]
    for start in range(0, len(examples), 32):
        part = range(start, min(start + 32, len(examples)))
        for condition in CONDITIONS:
            shown = tuple(examples[donors[i] if condition == SWAPPED else i] for i in part)
            has_weights = (condition != NOTHING,) * len(part)
            step = Step(shown, tuple(range(len(part))), tuple(questions[i] for i in part), has_weights)
            by_condition[condition] += step_losses(oracle, step).tolist()
    by_condition["gap"] = [s - o for s, o in zip(by_condition[SWAPPED], by_condition[OWN], strict=True)]
    kinds = [e.subject.kind for e in examples]
    return {
        kind: {
            name: clustered_mean([v for v, k in zip(values, kinds, strict=True) if k == kind], _ids(examples, kind))
            for name, values in by_condition.items()
        }
        for kind in dict.fromkeys(kinds)
    }


def _ids(examples: Sequence[Example], kind: str) -> list[str]:
    return [e.id for e in examples if e.subject.kind == kind]


def write_report(report: Report, config: EvalConfig, facts: dict[str, object]) -> None:
    """answers.parquet (one row an answer), results.json and results.md."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert config.out is not None
    config.out.mkdir(parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([asdict(r) for r in report.rows]), sink)
    write_atomic(config.out / "answers.parquet", [sink.getvalue().to_pybytes()])
    losses = {kind: {name: asdict(x) for name, x in found.items()} for kind, found in report.losses.items()}
    margins = {control: asdict(report.margin(control=control)) for control in (SWAPPED, NOTHING)}
    trust = {"reliability": asdict(report.reliability())}
    results = {"config": to_json(config), "losses": losses, "margins": margins} | trust | facts
    write_atomic(config.out / "results.json", [json.dumps(results, indent=1).encode()])
    write_atomic(config.out / "results.md", [(report.table + "\n").encode()])
