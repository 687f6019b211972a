"""Trained decoders beside their controls: do they write the program of the weights that they are shown?

    OMP_NUM_THREADS=1 python benchmarks/decompiler.py --zoo ZOO
    OMP_NUM_THREADS=1 python benchmarks/decompiler.py --zoo ZOO --decoder runs/decoder --limit 300
    OMP_NUM_THREADS=1 python benchmarks/decompiler.py --zoo ZOO --kind rasp --search 200 --limit 100
    OMP_NUM_THREADS=1 python benchmarks/decompiler.py --zoo ZOO --runs 4

Every target of a held-out split is read in a random gauge of its own, then in another gauge, then with the weights of
another target in its place, then with the entries of each of its tensors shuffled. A program is right if it computes
the same as the truth on every input tried, and certified if the search found that it has the weights that were shown.
With --runs the target is run on so many inputs to choose among the likely texts; last, it is the target that was asked
about that is run, and the texts are those of another one's weights: what runs alone are worth. Intervals are 95%
(bootstrap over targets).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from tqdm import tqdm

from oracle.behaviour import told_apart
from oracle.calibration import reliability
from oracle.decoder import WeightDecoder, Written
from oracle.decompiler import Decompiler
from oracle.evaluation.shown import shuffled_entries
from oracle.grade import Grade, grade
from oracle.neutral import fold
from oracle.programs import decompile, shipped
from oracle.questions import Question, Subject
from oracle.statistics import clustered_mean
from oracle.subjects import asked_about
from oracle.symmetry import random_gauge
from oracle.weighing import likely_drafts
from tracr_tasks.transformer import Weights
from zoo.rows import ZooRow
from zoo.store import Zoo
from zoo.target import Target


@dataclass(frozen=True)
class ControlsConfig:
    """What is tested, on what."""

    zoo: Path
    """Folder of the zoo."""
    decoder: Path | None = None
    """Folder of the decoder; those that ship with the package if not given."""
    search: int = 0
    """Programs that may be compiled for each target and compared with it (oracle/search.py)."""
    runs: int = 0
    """Inputs on which each target is run to choose among likely flowcharts (oracle/behaviour.py)."""
    namings: int = 0
    """Other names of the labels under which likely flowcharts are weighed (oracle/weighing.py)."""
    kind: Literal["flowchart", "rasp"] = "flowchart"
    """Programs to write."""
    splits: tuple[str, ...] = ("test", "structure")
    """Splits of the zoo."""
    limit: int = 1_000
    """Targets of each split at most, a seeded sample."""
    seed: int = 0
    """Of the sample, the gauges, the shuffles and the bootstrap."""


@dataclass(frozen=True)
class Case:
    """A target with its truth."""

    row: ZooRow
    target: Target
    subject: Subject


def cases_of(zoo: Zoo, config: ControlsConfig, split: str) -> list[Case]:
    """A seeded sample of a split."""
    rows = zoo.rows(split=split, kind=config.kind)
    rows = random.Random(config.seed).sample(rows, config.limit) if config.limit < len(rows) else rows
    out = []
    for row in tqdm(rows, desc=split, leave=False, mininterval=2):
        program = asked_about(zoo.program(row.id), row.regime, row.labels)
        assert program is not None
        out.append(
            Case(row, zoo.target(row.id), Subject(row.kind, row.regime, program.text(), program, inputs=(), outputs=()))
        )
    return out


def written(decoders: Sequence[Decompiler], targets: Sequence[Target], config: ControlsConfig) -> list[Written]:
    """What the decoders write."""
    each = tqdm(targets, leave=False, mininterval=5, disable=None)
    return [w for target in each for w in decompile([target], config.search, decoders, config.runs, config.namings)]


def of_others(decoder: WeightDecoder, cases: Sequence[Case], config: ControlsConfig) -> list[Written]:
    """Each target run to choose among texts that are likely of the next one's weights."""
    found = []
    for case, other in zip(cases, [*cases[1:], *cases[:1]], strict=True):
        vocab = other.target.vocab
        labels = decoder.codec.label_ids(vocab.input, other.target.config.n_ctx, vocab.output)
        drafts = likely_drafts(decoder, fold(other.target.config, other.target.weights), labels)
        found.append(told_apart(case.target, drafts, config.runs) or Written("", -math.inf))
    return found


def graded(cases: Sequence[Case], texts: Sequence[Written]) -> list[Grade]:
    pairs = zip(cases, texts, strict=True)
    return [grade(Question("program", "", case.subject.text), text.text, case.subject) for case, text in pairs]


def report(decoders: Sequence[Decompiler], cases: Sequence[Case], config: ControlsConfig, split: str) -> None:
    """Rows of the table for one split."""
    seed = config.seed
    ids = [case.row.id for case in cases]

    def changed(change: Callable[[Case, int], Weights]) -> list[Target]:
        return [Target(c.target.config, change(c, seed + i), c.target.vocab) for i, c in enumerate(cases)]

    def line(name: str, texts: Sequence[Written], shown: Sequence[Case] = cases) -> list[Grade]:
        """Print one row, and give its grades. A certificate is of the weights that were shown: it is held against
        their program, whoever is asked about."""
        grades = graded(cases, texts)
        cells = [
            f"{clustered_mean([float(v) for v in values], ids, seed)}"
            for values in ([g.exact for g in grades], [g.correct for g in grades], [g.agreement for g in grades])
        ]
        own = grades if shown is cases else graded(shown, texts)
        certain = [bool(g.correct) for g, text in zip(own, texts, strict=True) if text.certified]
        if config.runs:
            fitting = [bool(g.correct) for g, text in zip(own, texts, strict=True) if text.fits]
            cells.append(f"{len(fitting)} fit, of them right {sum(fitting)}")
        else:
            cells.append(f"{len(certain)}, of them right {sum(certain)}" if config.search else "-")
        print(f"| {split} ({len(cases)}) | {name} | " + " | ".join(cells) + " |", flush=True)
        return grades

    own = written(decoders, changed(lambda c, s: random_gauge(c.target.config, c.target.weights, s)), config)
    grades = line("own weights", own)
    again = written(decoders, changed(lambda c, s: random_gauge(c.target.config, c.target.weights, s + 10**6)), config)
    line("own weights, another gauge", again)
    line("another target's weights", own[1:] + own[:1], [*cases[1:], *cases[:1]])
    line("entries shuffled", written(decoders, changed(lambda c, s: shuffled_entries(c.target.weights, s)), config))
    if config.runs and config.kind == "flowchart":
        line("another's texts, told apart by running this target", of_others(decoders[0].decoder, cases, config))
    same = sum(a.text == b.text for a, b in zip(own, again, strict=True))
    sure = np.array([w.probability for w in own])
    trust = reliability(sure, np.array([bool(g.correct) for g in grades]))
    print(
        f"\n{split}: the same text in both gauges {same} of {len(cases)}; probability of the text: {trust}\n",
        flush=True,
    )


def main(config: ControlsConfig) -> None:
    """Load, write, grade, print."""
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")
    decoders = shipped() if config.decoder is None else [Decompiler.from_pretrained(config.decoder)]
    zoo = Zoo.open(config.zoo)
    print("| split | weights shown | exact | equivalent | agreement | certified |\n|---|---|---|---|---|---|")
    for split in config.splits:
        if cases := cases_of(zoo, config, split):
            report(decoders, cases, config, split)


if __name__ == "__main__":
    main(tyro.cli(ControlsConfig, description=__doc__))
