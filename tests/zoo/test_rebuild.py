from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tracr_tasks.errors import ZooError
from zoo.build import build_zoo
from zoo.parts import Part
from zoo.rebuild import plan_of, rebuild, remake
from zoo.spec import ZooSpec, spec_from_fields
from zoo.store import Zoo


def test_every_target_is_made_again_from_spec_and_id_alone(built: Path) -> None:
    zoo = Zoo.open(built)
    for regime in ("compiled", "trained", "untrained"):
        for row in (zoo.rows(regime=regime)[0], zoo.rows(regime=regime)[-1]):
            again, _, _ = remake(zoo.spec, row.id)
            assert (again.sha256, again.seed, again.text) == (row.sha256, row.seed, row.text)
            target, stored = rebuild(zoo, row.id), zoo.target(row.id, check=True)
            assert target.config == stored.config
            assert target.vocab == stored.vocab
            assert all(torch.equal(target.weights[name], tensor) for name, tensor in stored.weights.items())


def test_targets_of_parts_are_made_again(small: ZooSpec, tmp_path: Path) -> None:
    spec = replace(small, parts=(Part("more", compiled=2, trained=3, untrained=1),))
    zoo = build_zoo(spec, tmp_path / "zoo", workers=1, progress=False)
    for target_id in ("more-compiled-000001", "more-trained-000002", "more-untrained-000000"):
        assert remake(zoo.spec, target_id)[0].sha256 == zoo.row(target_id).sha256


def test_the_least_that_is_needed_is_made(small: ZooSpec) -> None:
    assert len(plan_of(small, "compiled-000003")) == 1
    assert plan_of(small, "compiled-000003").ids() == ["compiled-000003"]
    assert plan_of(small, "trained-000003").ids() == ["trained-000002", "trained-000003"]
    for name in ("trained-000006", "trained-3", "more-trained-000000", ""):
        with pytest.raises(ZooError, match="no target"):
            plan_of(small, name)


def test_weights_that_come_out_otherwise_are_refused(small_copy: Path) -> None:
    zoo = Zoo.open(small_copy)
    zoo.__dict__["spec"] = spec_from_fields(zoo.spec.to_json() | {"seed": 4}, "x")
    with pytest.raises(ZooError, match="made again has sha256"):
        rebuild(zoo, "untrained-000000")
