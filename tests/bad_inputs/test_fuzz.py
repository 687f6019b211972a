"""Folders that were changed at random are read or refused; `benchmarks/fuzz.py` tries 10,000 of them."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.bad_inputs import fuzzing
from tests.bad_inputs.fuzzing import Bench

TARGETS, ORACLES = 400, 24


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("fuzz"))


def test_changed_targets_are_read_or_refused(bench: Bench) -> None:
    found = {seed: bench.target(seed) for seed in range(TARGETS)}
    assert {seed: each for seed, each in found.items() if each.is_fault} == {}
    counts = Counter(each.kind for each in found.values())
    assert counts["read"] > TARGETS / 50 and counts["refused"] > TARGETS / 2
    assert len({each.text.partition("/case")[2] for each in found.values()}) > TARGETS / 8


def test_changed_oracles_are_loaded_or_refused(bench: Bench) -> None:
    found = {seed: bench.changed_oracle(seed) for seed in range(ORACLES)}
    assert {seed: each for seed, each in found.items() if each.is_fault} == {}
    assert len({each.text.partition("/case")[2] for each in found.values()}) > ORACLES / 4


def test_a_crash_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "open_source", lambda path: 1 / 0)
    found = bench.target(0)
    assert found.is_fault and found.text.startswith("ZeroDivisionError")
