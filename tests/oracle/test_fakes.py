"""A reader that was trained with shuffled labels knows what answers are usual, and nothing of the weights."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from oracle import train as train_module
from oracle.config import EvalConfig, TrainConfig
from oracle.evaluation.conditions import NOTHING, OWN
from oracle.evaluation.report import Report
from oracle.evaluation.run import evaluate
from oracle.loading import Examples, examples_of
from oracle.subjects import Example
from oracle.train import train
from tests.oracle.targets import SMALL
from zoo.build import build_zoo
from zoo.spec import named_spec
from zoo.store import Zoo

STEPS = 130


class Shuffled(Examples):
    """Targets, each with the program and the answers of another one of its kind."""

    def _make(self, i: int) -> Example:
        kind = self.entries[i].row.kind
        alike = [j for j, entry in enumerate(self.entries) if entry.row.kind == kind]
        other = random.Random(0).sample(alike, len(alike))[alike.index(i)]
        return replace(super()._make(i), subject=super()._make(other).subject)


@pytest.fixture(scope="module")
def flowcharts(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    spec = replace(named_spec("tiny"), compiled=0, trained=40, untrained=0, seed=3)
    return build_zoo(spec, tmp_path_factory.mktemp("zoo") / "zoo", workers=1, progress=False)


def report_of(zoo: Zoo, oracle: Path) -> Report:
    config = EvalConfig(zoo.directory, oracle=oracle, splits=("test", "structure", "train"), limit=16, controls="few")
    return evaluate(replace(config, questions_per_target=8, processes=1))


def test_a_reader_trained_with_shuffled_labels_scores_as_the_question_alone(
    flowcharts: Zoo, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oracle.reader.MAX_ANSWER", 8)

    def shuffled(*args: object, **options: object) -> Examples:
        found = examples_of(*args, **options)  # type: ignore[arg-type]
        return Shuffled(found.entries, found.reader, found.gauge)

    monkeypatch.setattr(train_module, "examples_of", shuffled)
    config = TrainConfig(flowcharts.directory, tmp_path / "oracle", str(base), decoder="none", encoder=SMALL)
    config = replace(config, lora_rank=8, muon_lr=0.03, no_weights=0.5, targets_per_step=8, questions_per_target=6)
    train(replace(config, steps=STEPS, processes=1, bf16=False, relabel=False, patience=1000))
    report = report_of(flowcharts, config.out)
    margin = report.margin(control=NOTHING)
    assert report.accuracy(OWN).mean > 0.1, "it has learned how such questions are answered"
    assert margin.low <= 0 <= margin.high
    assert report.significance()[NOTHING] > 0.05
