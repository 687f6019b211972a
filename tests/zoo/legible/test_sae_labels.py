"""Autoencoders as measured labels: only if asked for, beside a twin, and refused at once where they cannot be had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.zoo.legible.test_making import RECIPE
from tracr_tasks.errors import InputError
from zoo.build import build
from zoo.legible.training_options import NetworkTraining
from zoo.spec import ZooSpec
from zoo.store import Zoo

COVERED = replace(RECIPE, autoencoders=True, training=NetworkTraining(steps=500, lr=1e-2))


def test_without_the_extra_nothing_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.legible.autoencoders.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'weight-oracle\[sae\]'"):
        build(ZooSpec("x", 0, 1, 0, legible=COVERED), tmp_path / "zoo", workers=1, progress=False)
    assert not (tmp_path / "zoo").exists()


def test_a_learned_variable_is_covered_better_than_in_the_twin(tmp_path: Path) -> None:
    pytest.importorskip("sae_lens")
    build(ZooSpec("x", 0, 1, 0, seed=5, legible=COVERED), tmp_path / "zoo", workers=1, progress=False)
    (row,) = Zoo.open(tmp_path / "zoo")
    found = row.labels["sae"]
    assert set(found) == {"own", "twin", "above_twin"}
    assert found["above_twin"]["coverage_computed"] > 0.1
    above = found["own"]["coverage_computed"] - found["twin"]["coverage_computed"]
    assert found["above_twin"]["coverage_computed"] == pytest.approx(above, abs=2e-4)
    assert 0.5 < found["own"]["explained_variance"] <= 1
