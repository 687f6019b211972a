"""Whether an answer follows an edit of the weights: who reads has a shift of 1, who does not a shift of 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oracle.evaluation import causal as causal_module
from oracle.evaluation.bench import Asked, Bench, bench_of
from oracle.evaluation.causal import Follows, causal, edits_of, held_out
from oracle.evaluation.edits import Edit
from oracle.loading import load_examples
from oracle.oracle import Answer, WeightOracle
from oracle.subjects import subject_of_program
from oracle.truth import truth_about
from tracr_tasks.rasp import Program
from zoo.store import Zoo


@pytest.fixture(scope="module")
def bench(zoo: Zoo, folder: Path) -> Bench:
    oracle = WeightOracle.from_pretrained(folder)
    examples = load_examples(zoo, oracle.reader, split="train", limit=12, seed=1)
    return bench_of(oracle, examples, zoo, 3, seed=1)


@pytest.fixture(scope="module")
def edits(bench: Bench) -> list[Edit]:
    return [edit for edit in edits_of(bench, 3) if edit.way != "fine-tuned"]  # tiny's targets are hardly trained


def measured(bench: Bench, edits: list[Edit], monkeypatch: pytest.MonkeyPatch, reads: bool) -> list[Follows]:
    """Of an oracle that knows what each version computes, or knows the originals by heart."""
    programs: list[Any] = []

    def looked_at(oracle: WeightOracle, examples: Sequence[Any]) -> list[None]:
        programs[:] = [e.subject.program for e in examples]
        return [None] * len(examples)

    def answers(oracle: WeightOracle, asked: Sequence[Asked], tokens: Any, label: str) -> list[Answer]:
        about = [programs[a.index if reads else a.index - a.index % 2] for a in asked]
        said = [truth_about(a.question, subject_of_program(p, 0)) or "" for a, p in zip(asked, about, strict=True)]
        return [Answer(a.question.text, text, 1.0, ()) for a, text in zip(asked, said, strict=True)]

    monkeypatch.setattr(causal_module, "edits_of", lambda bench, limit: edits)
    monkeypatch.setattr(causal_module, "looked_at", looked_at)
    monkeypatch.setattr(causal_module, "answers", answers)
    return causal(bench, 3)


def test_one_who_reads_follows_every_edit(bench: Bench, edits: list[Edit], monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(bench, edits, monkeypatch, reads=True)
    assert {f.way for f in found} == {"recompiled", "patched"}
    for f in found:
        assert f.original.low > 0 and f.edited.low > 0
        assert f.shift.mean == pytest.approx((f.original.mean + f.edited.mean) / 2)
        assert f.shift.mean == pytest.approx(1) or f.measure != "output on an input where they differ"


def test_one_who_does_not_read_follows_none(bench: Bench, edits: list[Edit], monkeypatch: pytest.MonkeyPatch) -> None:
    for f in measured(bench, edits, monkeypatch, reads=False):
        assert f.shift.low == f.shift.high == 0 and f.p == 1
        assert f.original.low > 0 and f.edited.high < 0


def test_edits_are_the_same_under_a_seed_and_held_out(bench: Bench, edits: list[Edit]) -> None:
    again = [edit for edit in edits_of(bench, 3) if edit.way != "fine-tuned"]
    assert [(e.id, e.way, e.what) for e in again] == [(e.id, e.way, e.what) for e in edits]
    assert all(held_out(e.after) and isinstance(e.after, Program) for e in edits)
    of_seeds = [[e.what for e in edits_of(replace(bench, seed=seed), 12) if e.way != "fine-tuned"] for seed in (1, 5)]
    assert of_seeds[0] != of_seeds[1]
