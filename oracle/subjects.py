"""From programs and zoos to subjects of questions, and the relabelling of flowcharts."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from oracle.batch import LabelIds
from oracle.decoder import CODEC
from oracle.drafter import can_be_drafted
from oracle.facts import RARE
from oracle.naming import Naming
from oracle.neutral import Neutral, fold
from oracle.questions import Subject
from oracle.reader import Reader
from tracr_tasks import format_value, sample_program
from tracr_tasks.errors import ProgramError
from tracr_tasks.rasp import Program
from tracr_tasks.simplest import simplest
from tracr_tasks.transformer import Weights
from zoo.branches import draw_each, least_inputs
from zoo.flowchart import Flowchart
from zoo.sampling import sample_flowchart
from zoo.split import split_of
from zoo.target import Target

N_INPUTS = 48
"""Random inputs whose outputs a subject remembers."""
N_PER_BRANCH = 4
"""Inputs to each branch of a flowchart that it remembers beside these, so that rare ones are asked about too."""


@dataclass(frozen=True)
class Example:
    """A target ready to be learned from or tested on."""

    id: str
    neutral: Neutral
    labels: LabelIds
    """Names of its labels, as token ids of the reader."""
    pieces: LabelIds | None
    """The same names, as pieces of the small decoder; None where that cannot read the target."""
    subject: Subject


def even_inputs(program: Any, n: int, rng: np.random.Generator, full: bool = False) -> list[tuple[str, ...]]:
    """`n` input sequences as names, drawn evenly: full length if asked for and for a flowchart, any length for RASP."""
    names, longest = [format_value(v) for v in program.vocab], program.max_seq_len
    full = full or isinstance(program, Flowchart)
    ids = rng.integers(0, len(names), (n, longest))
    lengths = np.full(n, longest) if full else rng.integers(2, longest + 1, n)
    return [tuple(names[i] for i in row[:length]) for row, length in zip(ids.tolist(), lengths.tolist(), strict=True)]


def random_inputs(program: Any, rng: np.random.Generator, full: bool = False) -> list[tuple[str, ...]]:
    """Inputs that a subject remembers: even ones, and some to each branch of a flowchart."""
    rows = even_inputs(program, N_INPUTS, rng, full)
    return rows + (branch_inputs(program, rng) if isinstance(program, Flowchart) else [])


def branch_inputs(chart: Flowchart, rng: np.random.Generator) -> list[tuple[str, ...]]:
    """Inputs that reach each branch of a flowchart that any reaches, be it ever so rare, and the first in the order of
    names that leads to each answer; none of flowcharts that are too entangled to be counted."""
    try:
        ids = draw_each(chart, N_PER_BRANCH, rng).tolist()
        least = least_inputs(chart)
    except ProgramError:
        return []
    return [tuple(chart.vocab[i] for i in row) for row in ids] + list(least.values())


def rare_answers(chart: Flowchart) -> tuple[str, ...]:
    """Answers of a flowchart to which some inputs lead, but under `RARE` of all."""
    try:
        shares = chart.branch_shares()
    except ProgramError:
        return ()
    by_answer: dict[str, float] = {}
    for answer, share in zip(chart.leaves(), shares, strict=True):
        by_answer[answer] = by_answer.get(answer, 0.0) + share
    return tuple(sorted(answer for answer, share in by_answer.items() if 0 < share < RARE))


def asked_about(program: Any, regime: str, labels: Mapping[str, Any]) -> Any:
    """The program that questions about a target are about: of those that compile to its weights, which no reader could
    tell apart, the simplest. A target with a history was not compiled from its program alone."""
    is_compiled = isinstance(program, Program) and regime == "compiled" and "history" not in labels
    return simplest(program) if is_compiled else program


def subject_of_program(program: Any, seed: int) -> Subject:
    """A program as its own target: the outputs are the program's."""
    program = asked_about(program, "compiled", {})
    inputs = random_inputs(program, np.random.default_rng(seed))
    value = {format_value(v): v for v in program.vocab}
    outputs = [tuple(format_value(v) for v in program.run([value[name] for name in row])) for row in inputs]
    is_flowchart = isinstance(program, Flowchart)
    kind, regime = ("flowchart", "trained") if is_flowchart else ("rasp", "compiled")
    rare = rare_answers(program) if is_flowchart else ()
    return Subject(kind, regime, program.text(), program, tuple(inputs), tuple(outputs), rare=rare)


def subject_of_target(
    program: Any | None, regime: str, target: Target, seed: int, labels: Mapping[str, Any] | None = None
) -> Subject:
    """A zoo's target: the outputs are what the target itself answers."""
    labels = labels or {}
    if program is None:
        return Subject("none", regime, "", None, (), (), labels)
    program = asked_about(program, regime, labels)
    learned = "history" in labels  # from inputs of full length alone (zoo.legible)
    inputs = random_inputs(program, np.random.default_rng(seed), full=learned)
    outputs = tuple(tuple(row) for row in target.answers(target.encode(inputs)))
    kind, rare = ("flowchart", rare_answers(program)) if isinstance(program, Flowchart) else ("rasp", ())
    return Subject(kind, regime, program.text(), program, tuple(inputs), outputs, labels, rare)


def fresh_subjects(n: int, seed: int) -> list[Subject]:
    """`n` programs of each kind, of the train split only, as subjects of text, in random order."""
    rng, subjects = random.Random(seed), list[Subject]()
    for sample in (sample_flowchart, sample_program):
        found: dict[str, Any] = {}
        with tqdm(total=n, desc=f"programs ({sample.__name__})", leave=False) as bar:
            while len(found) < n:
                program = sample(rng.getrandbits(31))
                key = program.function_hash()
                if key not in found and split_of(key, _structure(program)) == "train":
                    found[key] = program
                    bar.update()
        subjects += [subject_of_program(program, rng.getrandbits(31)) for program in found.values()]
    rng.shuffle(subjects)
    return subjects


def _structure(program: Any) -> str:
    return program.structure_hash() if isinstance(program, Flowchart) else ""


def example_of(
    id: str,
    target: Target,
    program: Any | None,
    regime: str,
    reader: Reader,
    seed: int,
    measured: Mapping[str, Any] | None = None,
    shown: Weights | None = None,
) -> Example:
    """Fold a target's weights and look up the names of its labels; `measured` are those of its row.

    `shown` are weights of the same function in another gauge, to be read in place of its own. What it answers is taken
    from its own: in another basis float32 keeps 1/3 only to a few digits, and numbers are told by their names.
    """
    names = target.vocab.input, target.config.n_ctx, target.vocab.output
    subject = subject_of_target(program, regime, target, seed, measured)
    neutral = fold(target.config, target.weights if shown is None else shown)
    pieces = CODEC.label_ids(*names) if can_be_drafted(target, neutral) else None
    return Example(id, neutral, reader.label_ids(*names), pieces, subject)


def relabel(example: Example, rng: random.Random) -> Example:
    """The same weights with tokens, answers and positions renamed, in labels, program and behaviour at once.

    Exact: the renamed target computes the renamed flowchart. Positions stay where one of its conditions speaks of first
    or last, and in causal targets. Other targets are returned as they are: the values of a RASP program have an
    arithmetic meaning, and an untrained target has no program. So are those with a history, whose labels name
    conditions and tokens.
    """
    program = example.subject.program
    if not isinstance(program, Flowchart) or "history" in example.subject.labels:
        return example
    naming = Naming.drawn(program, rng, moves=program.positions_move and not example.neutral.causal)
    renamed = naming.flowchart(program)
    subject = replace(
        example.subject,
        text=renamed.text(),
        program=renamed,
        inputs=tuple(naming.row(program, row) for row in example.subject.inputs),
        outputs=tuple((naming.answer(program, a),) for (a,) in example.subject.outputs),
        rare=tuple(sorted(naming.answer(program, a) for a in example.subject.rare)),
    )
    pieces = None if example.pieces is None else naming.labels(example.pieces)
    return replace(example, subject=subject, labels=naming.labels(example.labels), pieces=pieces)
