from __future__ import annotations

import json
from pathlib import Path

import pytest

from tracr_tasks.errors import InputError
from zoo.chunks import plan_chunks
from zoo.spec import ZooSpec, load_spec, named_spec, named_specs, spec_from_fields

GOOD = """
trained = 30
compiled = 0
untrained = 0
seed = 7
chunk = 16
[flowcharts]
vocab_size = 5
[training]
steps = 10
lr = 1
[[architectures]]
d_model = 8
[[architectures]]
n_layers = 2
"""


def test_toml_is_read(tmp_path: Path) -> None:
    (tmp_path / "zoo.toml").write_text(GOOD)
    spec = load_spec(tmp_path / "zoo.toml")
    assert (spec.trained, spec.seed, spec.flowcharts.vocab_size, spec.training.steps) == (30, 7, 5, 10)
    assert [a.n_layers for a in spec.architectures] == [1, 2]
    plans = [(plan.name, plan.start, plan.stop) for plan in plan_chunks(spec)]
    assert plans == [("trained-00000", 0, 16), ("trained-00001", 16, 30)]


@pytest.mark.parametrize("name", named_specs())
def test_specs_are_read_back_from_their_json(name: str, tmp_path: Path) -> None:
    spec = named_spec(name)
    assert spec_from_fields(json.loads(json.dumps(spec.to_json())), "x") == spec == load_spec(name)
    (tmp_path / "spec.json").write_text(json.dumps(spec.to_json()))
    assert load_spec(tmp_path / "spec.json").hash() == spec.hash()


def test_size_scales_the_counts() -> None:
    spec = ZooSpec(compiled=10, trained=100, untrained=0, size=0.25)
    assert [spec.count(regime) for regime in ("compiled", "trained", "untrained")] == [2, 25, 0]
    assert ZooSpec(compiled=1, size=0.01).count("compiled") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("traned = 3", "unknown field 'traned'; did you mean 'trained'?"),
        ("trained = -1", "trained = -1, expected 0 to 2000000"),
        ("trained = 1000000000", "trained = 1000000000"),
        ("trained = 0\ncompiled = 0\nuntrained = 0", "0 targets in all"),
        ("trained = 2000000\ncompiled = 2000000", "targets in all"),
        ("trained = 'many'", "trained = 'many', expected int"),
        ("trained = true", "trained = True, expected int"),
        ("seed = -1", "seed = -1"),
        ("size = 0", "size = 0"),
        ("chunk = 0", "chunk = 0, expected 1 to 4096"),
        ("architectures = []", "architectures is empty"),
        ("[[architectures]]\nd_model = -4", "d_model = -4, expected 1 to 1024"),
        ("[flowcharts]\nvocab = 5", "unknown field 'vocab'; did you mean 'vocab_size'?"),
        ("[flowcharts]\nvocab_size = 1", "vocab_size = 1, expected 2 to 15"),
        ("[training]\nsteps = 0", "steps = 0"),
        ("training = 3", "got int, expected a table"),
        ("[training", "not valid TOML"),
    ],
)
def test_bad_specs_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "zoo.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_spec(tmp_path / "zoo.toml")
    assert message in str(caught.value)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'tiny'"):
        load_spec("tinny")
    with pytest.raises(InputError, match="no such file"):
        load_spec(tmp_path / "none.toml")
