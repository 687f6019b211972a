from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tracr_tasks.errors import InputError
from zoo.chunks import plan_chunks
from zoo.parts import REGIMES
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
        ("seed = 1\nseed = 2", "not valid TOML"),
        ("[[parts]]\ntrained = 1", "parts: field 'name' is missing"),
        ("[[parts]]\nname = 'Long'\ntrained = 1", "part 'Long': expected a name"),
        ("[[parts]]\nname = 'trained'\ntrained = 1", "part 'trained': expected a name"),
        ("[[parts]]\nname = 'a'", "part 'a' has no targets"),
        ("[[parts]]\nname = 'a'\ntrained = -1", "part 'a': trained = -1"),
        ("[[parts]]\nname = 'a'\ntrained = 1000000000", "part 'a': trained = 1000000000"),
        ("[[parts]]\nname = 'a'\ntrained = 2000000", "targets in all"),
        ("[[parts]]\nname = 'a'\ntrained = 1\n[[parts]]\nname = 'a'\ncompiled = 1", "two parts are called 'a'"),
        ("[[parts]]\nname = 'a'\ntraned = 1", "parts: unknown field 'traned'; did you mean 'trained'?"),
        ("[[parts]]\nname = 'a'\ntrained = 1\nsplits = ['exam']", "splits = ['exam']"),
        ("[[parts]]\nname = 'a'\ntrained = 1\n[[parts.architectures]]\nd_model = -4", "d_model = -4"),
        ("[growth]\norigin = 'x'\n[growth.ends]\ntrained = 3", "ends.trained: got 3, expected a list"),
    ],
)
def test_bad_specs_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "zoo.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_spec(tmp_path / "zoo.toml")
    assert message in str(caught.value)


PARTS = """
compiled = 0
trained = 0
untrained = 0
[[parts]]
name = "wide"
trained = 300
[[parts.architectures]]
d_model = 32
[[parts]]
name = "long"
compiled = 10
splits = ["test"]
[parts.programs]
min_ops = 9
max_ops = 12
"""


def test_parts_are_read_and_replace_recipes(tmp_path: Path) -> None:
    (tmp_path / "zoo.toml").write_text(PARTS)
    spec = load_spec(tmp_path / "zoo.toml")
    assert list(spec.counts()) == [("long", "compiled", 10), ("wide", "trained", 300)]
    assert [(p.part, p.name, len(p)) for p in plan_chunks(spec)] == [
        ("long", "long-compiled-00000", 10),
        ("wide", "wide-trained-00000", 128),
        ("wide", "wide-trained-00001", 128),
        ("wide", "wide-trained-00002", 44),
    ]
    long = spec.recipe("long")
    assert (long.programs, long.splits, long.parts) == ({"min_ops": 9, "max_ops": 12}, ("test",), ())
    assert spec.recipe("wide").architectures[0].d_model == 32
    assert spec.recipe("wide").flowcharts == spec.flowcharts
    assert spec_from_fields(json.loads(json.dumps(spec.to_json())), "x") == spec
    assert replace(spec, size=0.5).count("trained", "wide") == 150


def test_bench_is_held_out_and_unlike_the_default_in_each_part() -> None:
    bench, default = named_spec("bench"), named_spec("default")
    assert bench.splits == ("test", "structure")
    assert {part.name for part in bench.parts} == {"long", "kinds", "wide", "deep", "vocab", "styles"}
    assert all(bench.recipe(part.name).splits == bench.splits for part in bench.parts)
    assert bench.recipe("").flowcharts == default.flowcharts
    assert bench.recipe("").programs == default.programs
    assert bench.recipe("long").flowcharts.min_conditions > default.flowcharts.max_conditions
    assert bench.recipe("vocab").flowcharts.vocab_size > default.flowcharts.vocab_size
    assert {a.d_model for a in bench.recipe("wide").architectures}.isdisjoint(
        {a.d_model for a in default.architectures}
    )
    assert {a.n_layers for a in bench.recipe("deep").architectures} == {2, 3}
    assert bench.recipe("kinds").flowcharts == named_spec("kinds").flowcharts != default.flowcharts
    styles = bench.recipe("styles").architectures
    assert len([plan for plan in plan_chunks(bench) if plan.part == "styles"]) == len(set(styles)) == 6
    assert default.architectures[0] not in styles
    shapes = {plan.number % 2 for plan in plan_chunks(bench) if plan.name.startswith("deep-trained")}
    assert shapes == {0, 1}


@pytest.mark.parametrize(
    ("name", "hash_"),
    [
        ("tiny", "4f210ac2a4ca72b3"),
        ("quickstart", "9d39c625748856dd"),
        ("unseen", "10c1646c9b6eb178"),
        ("default", "48395e5f28b4fcf7"),
        ("kinds", "7392b7a20fc736b1"),
        ("bench", "766e1a639f340517"),
    ],
)
def test_hashes_of_specs_stay(name: str, hash_: str) -> None:
    """Zoos that were built with them must still be theirs."""
    assert named_spec(name).hash() == hash_


def test_legible_has_every_history_of_the_same_programs() -> None:
    spec = named_spec("legible")
    assert [(part, count) for part, _, count in spec.counts()] == [("", 150)] * 9
    assert {regime for _, regime, _ in spec.counts()} == set(REGIMES)
    assert spec.legible is not None and spec.legible.hidden
    assert not any(spec.legible.normalizes(regime) for regime in REGIMES)


def test_a_whole_size_and_a_float_are_one_spec() -> None:
    spec = ZooSpec()
    object.__setattr__(spec, "size", 2)  # as a caller without type checks gives it
    spec.__post_init__()
    assert spec.hash() == ZooSpec(size=2.0).hash()


def test_a_key_twice_in_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zoo.json").write_text('{"seed": 1, "seed": 2}')
    with pytest.raises(InputError, match=r"not valid JSON .*key 'seed' twice"):
        load_spec(tmp_path / "zoo.json")


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'tiny'"):
        load_spec("tinny")
    with pytest.raises(InputError, match="no such file"):
        load_spec(tmp_path / "none.toml")
