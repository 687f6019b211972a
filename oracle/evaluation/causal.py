"""Does the answer follow the weights? One rule of a target is changed, and the same questions are asked again.

An oracle that reads weights describes the changed program, one that recognises targets goes on describing the original.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from tqdm import tqdm

from oracle.evaluation.bench import Asked, Bench, answers, looked_at
from oracle.evaluation.edits import Edit
from oracle.evaluation.edits_compiled import as_patch, patched, recompiled
from oracle.evaluation.edits_trained import fine_tuned_all
from oracle.facts import Question, Subject
from oracle.grade import grade
from oracle.questions import in_other_words
from oracle.statistics import Interval, clustered_mean, paired_p
from oracle.subjects import Example, even_inputs, example_of, subject_of_program
from oracle.symmetry import random_gauge
from oracle.truth import truth_about
from zoo.flowchart import Flowchart
from zoo.split import split_of

OUTPUTS = 4
"""Inputs of each edit on which the two programs differ, whose output is asked for."""
DRAWN = 256
"""Inputs that these are looked for among."""
ORIGINAL, EDITED = 0, 1
MEASURES = {"program": "agreement of the program written", "output": "output on an input where they differ"}
Scored = tuple[str, float, float]
"""Target; how much better the answer about the original fits the edited program than the original (-1 to 1); the same
of the answer about the edited target."""


@dataclass(frozen=True)
class Follows:
    """How answers change with the weights."""

    way: str
    """recompiled, patched or fine-tuned."""
    measure: str
    n: int
    """Targets."""
    original: Interval
    """Of answers about the original: how much better they fit it than the edited program."""
    edited: Interval
    """Of answers about the edited target: how much better they fit its program than the original."""
    shift: Interval
    """How far answers move towards the edited program when the weights do: 0 where they do not follow, 1 where all
    were right about the one and are right about the other."""
    p: float
    """That the shift is zero: paired, clustered by target."""


def causal(bench: Bench, limit: int) -> list[Follows]:
    """Edit `limit` targets of each kind, at most, ask about both versions of each, and measure."""
    edits = edits_of(bench, limit)
    found = list[Follows]()
    for way in dict.fromkeys(edit.way for edit in edits):
        group = [edit for edit in edits if edit.way == way]
        for measure, values in _scores(bench, group).items():
            found.append(_measured(way, measure, values))
    return found


def _measured(way: str, measure: str, values: Sequence[Scored]) -> Follows:
    ids, before, after = ([row[0] for row in values], [row[1] for row in values], [row[2] for row in values])
    shift = [(b - a) / 2 for a, b in zip(before, after, strict=True)]
    return Follows(
        *(way, measure, len(set(ids))),
        clustered_mean([-x for x in before], ids),
        clustered_mean(after, ids),
        clustered_mean(shift, ids),
        paired_p(shift, ids),
    )


def edits_of(bench: Bench, limit: int) -> list[Edit]:
    """Compiled targets with one line changed, recompiled and patched (with the same change where that is possible);
    trained ones with one rule changed, fine-tuned. The changed functions are of held-out splits too."""
    rng, found = random.Random(bench.seed), list[Edit]()
    compiled = [e for e in bench.examples if e.subject.kind == "rasp" and e.subject.regime == "compiled"][:limit]
    for example in tqdm(compiled, desc="edits of compiled targets", leave=False):
        program = example.subject.program
        edit = recompiled(example.id, program, rng, held_out)
        patch = as_patch(edit) if edit is not None else None  # the same change, where weights of its line are enough
        found += [each for each in (edit, patch or patched(example.id, program, rng, held_out)) if each is not None]
    trained = [
        (example.id, target, example.subject.program)
        for example, target in zip(bench.examples, bench.targets, strict=True)
        if example.subject.kind == "flowchart" and example.subject.regime == "trained"
    ][:limit]
    return found + [edit for edit in fine_tuned_all(trained, rng, held_out) if edit is not None]


def held_out(program: object) -> bool:
    """Whether no oracle has learned from a changed program's function."""
    structure = program.structure_hash() if isinstance(program, Flowchart) else ""
    return split_of(program.function_hash(), structure) != "train"  # type: ignore[attr-defined]


def _scores(bench: Bench, edits: Sequence[Edit]) -> dict[str, list[Scored]]:
    """Measure -> what was said of each edit: about the original, and about the edited target."""
    subjects = [(subject_of_program(edit.before, 0), subject_of_program(edit.after, 0)) for edit in edits]
    examples = [_example(bench, edit, version, i) for i, edit in enumerate(edits) for version in (ORIGINAL, EDITED)]
    asked = [
        Asked(2 * i + version, question)
        for i, both in enumerate(tqdm(subjects, desc="questions about edits", leave=False))
        for question in _questions(both, bench.seed + i)
        for version in (ORIGINAL, EDITED)
    ]
    said = answers(bench.oracle, asked, looked_at(bench.oracle, examples), "edits")
    found: dict[str, list[Scored]] = {}
    for k in range(0, len(asked), 2):
        i, question = asked[k].index // 2, asked[k].question
        before, after = (_leaning(subjects[i], question, said[k + version].text) for version in (ORIGINAL, EDITED))
        found.setdefault(MEASURES[question.family], []).append((edits[i].id, before, after))
    return found


def _example(bench: Bench, edit: Edit, version: int, index: int) -> Example:
    """A version of an edited target in a random gauge of its own."""
    program, target = ((edit.before, edit.original), (edit.after, edit.edited))[version]
    seed = bench.seed + 2 * index + version
    shown = random_gauge(target.config, target.weights, seed)
    regime = "trained" if isinstance(program, Flowchart) else "compiled"
    return example_of(edit.id, target, program, regime, bench.oracle.reader, seed, shown=shown)


def _questions(subjects: tuple[Subject, Subject], seed: int) -> list[Question]:
    """For the program, and for the output on inputs on which the two programs differ, in phrasings never trained on.
    The truths are the original's."""
    rng, (before, after) = random.Random(seed), subjects
    inputs = dict.fromkeys(even_inputs(before.program, DRAWN, np.random.default_rng(seed)))
    asked = (Question("output", "", "", " ".join(names)) for names in inputs)
    told = ((q, truth_about(q, before), truth_about(q, after)) for q in asked)
    differ = (replace(q, truth=was) for q, was, now in told if was is not None and was != now)
    found = [Question("program", "", before.text), *islice(differ, OUTPUTS)]
    return [in_other_words(question, rng, test=True) for question in found]


def _leaning(subjects: tuple[Subject, Subject], question: Question, answer: str) -> float:
    """How much better an answer fits the edited program than the original, from -1 to 1."""
    truths = [truth_about(question, subject) or "" for subject in subjects]
    one, other = (
        grade(replace(question, truth=truth), answer, subject).agreement
        for truth, subject in zip(truths, subjects, strict=True)
    )
    return other - one
