"""Recipes of legible zoos: read, hashed and refused with every reason, before anything is built."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracr_tasks.errors import InputError
from zoo.build import build
from zoo.chunks import check_recipes, plan_chunks
from zoo.legible.anchor_options import AnchorOptions
from zoo.legible.recipe import HISTORIES, LegiblePrograms, LegibleRecipe
from zoo.legible.seed_options import SeedOptions
from zoo.legible.training_options import NetworkTraining
from zoo.parts import Part
from zoo.shard import _shard_key
from zoo.spec import ZooSpec, load_spec, spec_from_fields
from zoo.training_config import Architecture

SHAPE = Architecture(24, 2, 2, 8, 32, normalization_type="none")
TOML = """
compiled = 0
trained = 3
untrained = 0
decoy = 2
seeded_anchored = 2
[legible]
concept = "tokens=2"
[legible.seeding]
balance = "raw"
rate = 0.1
[legible.anchoring]
label_rate = 0.01
states = [2]
[legible.training]
steps = 7
[[parts]]
name = "other"
permuted = 1
[parts.legible.programs]
vocab_size = 3
"""


def test_toml_is_read(tmp_path: Path) -> None:
    (tmp_path / "zoo.toml").write_text(TOML)
    spec = load_spec(tmp_path / "zoo.toml")
    assert list(spec.counts()) == [
        ("", "trained", 3),
        ("", "decoy", 2),
        ("", "seeded_anchored", 2),
        ("other", "permuted", 1),
    ]
    assert spec.legible is not None and spec.legible.seeding == SeedOptions("raw", rate=0.1)
    assert spec.legible.anchoring.states == (2,)
    assert spec.legible.seeds("permuted").permuted and not spec.legible.seeds("seeded").permuted
    own = spec.recipe("other").legible
    assert own is not None and own.programs.vocab_size == 3 and own.concept == ""
    assert [plan.name for plan in plan_chunks(spec)][-2:] == ["seeded_anchored-00000", "other-permuted-00000"]
    assert load_spec(tmp_path / "zoo.toml").hash() == spec.hash() != replace(spec, decoy=3).hash()


FIELDS = st.fixed_dictionaries(
    {
        "normalize_states": st.sampled_from(["anchored", "all", "none"]),
        "initial_family": st.sampled_from(["normal", "uniform", "orthogonal", "heavy-tailed"]),
        "concept": st.sampled_from(["", "tokens=1"]),
        "hidden": st.booleans(),
        "vocab_size": st.integers(2, 12),
        "steps": st.integers(1, 999),
        "rotate": st.booleans(),
        "preserve": st.floats(0, 9),
        "states": st.sampled_from([(), (1,), (0, 2)]),
    }
)


def recipe_of(fields: dict[str, Any]) -> LegibleRecipe:
    own = {name: fields[name] for name in ("normalize_states", "initial_family", "concept", "hidden")}
    return LegibleRecipe(
        programs=LegiblePrograms(vocab_size=fields["vocab_size"]),
        training=NetworkTraining(steps=fields["steps"]),
        seeding=SeedOptions(rotate=fields["rotate"], preserve=fields["preserve"]),
        anchoring=AnchorOptions(states=fields["states"]),
        **own,
    )


@given(FIELDS, FIELDS)
def test_recipes_are_read_back_from_json_and_have_a_hash(one: dict[str, Any], other: dict[str, Any]) -> None:
    recipes = [recipe_of(fields) for fields in (one, other)]
    specs = [ZooSpec(seeded=2, parts=(Part("a", anchored=1, legible=each),), legible=each) for each in recipes]
    for spec in specs:
        assert spec_from_fields(json.loads(json.dumps(spec.to_json())), "x") == spec
    assert (specs[0].hash() == specs[1].hash()) == (recipes[0] == recipes[1])


def test_shards_of_every_regime_have_a_place_of_their_own_in_the_order_of_the_index() -> None:
    spec = ZooSpec("x", 1, 1, 1, legible=LegibleRecipe(), **dict.fromkeys(HISTORIES, 1))
    spec = replace(spec, parts=(Part("b_2", legible=LegibleRecipe(), **dict.fromkeys(HISTORIES, 1)),))
    names = [plan.name for plan in plan_chunks(spec)]
    assert len(names) == 9 + 6
    assert sorted(set(names), key=_shard_key) == names


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ZooSpec(decoy=2, seeded=1), "spec: seeded = 1; decoy = 2: expected a table `legible`"),
        (lambda: ZooSpec(parts=(Part("a", anchored=1),)), "part 'a': anchored = 1: expected a table `legible`"),
        (lambda: ZooSpec(seeded=-1), "seeded = -1, expected 0 to 2000000"),
        (lambda: LegibleRecipe(min_share=0.0), "a concept that never holds, or always does, cannot be anchored"),
        (lambda: LegibleRecipe(max_share=1.0), "a concept that never holds, or always does, cannot be anchored"),
        (lambda: LegibleRecipe(concept="tokens"), "concept = 'tokens', expected a name and a value"),
        (lambda: LegibleRecipe(initial_scale=0.0), "initial_scale = 0.0"),
        (lambda: LegibleRecipe(architecture=Architecture(attention_dir="causal")), "expected bidirectional"),
        (lambda: LegiblePrograms(vocab_size=1), "programs: vocab_size = 1, expected 2 to 12"),
        (lambda: LegiblePrograms(min_ops=5, max_ops=4), "programs: max_ops = 4, expected 5 to 20"),
        (lambda: LegiblePrograms(max_share=1.0), "programs: max_share = 1.0"),
    ],
)
def test_bad_recipes_are_refused(make, message: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("regime", "recipe", "messages"),
    [
        ("anchored", LegibleRecipe(architecture=SHAPE, concept="tokens=9"), ["has no value '9', expected one of 0, 1"]),
        ("anchored", LegibleRecipe(architecture=SHAPE, concept="vowels=1"), ["concept 'vowels': expected one of tok"]),
        ("seeded", LegibleRecipe(architecture=Architecture(8, 1, 1, 2, 4, "none")), ["no program with a variable"]),
        (
            "seeded",
            LegibleRecipe(architecture=replace(SHAPE, normalization_type="RMSPre", act_fn="gelu")),
            ["normalization_type RMSPre, expected None, LN or RMS", "act_fn gelu, expected the program's relu"],
        ),
        ("decoy", LegibleRecipe(architecture=SHAPE, normalize_states="all"), ["normalize_states = True"]),
        ("anchored", LegibleRecipe(architecture=SHAPE, anchoring=AnchorOptions(label_rate=1.0)), ["lower label_rate"]),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(
    regime: str, recipe: LegibleRecipe, messages: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.legible.programs.MAX_DRAWS", 200)
    spec = ZooSpec("x", 0, 0, 0, legible=recipe, **{regime: 2})
    with pytest.raises(InputError) as caught:
        build(spec, tmp_path / "zoo", workers=1, progress=False)
    assert all(message in str(caught.value) for message in messages), str(caught.value)
    assert not (tmp_path / "zoo").exists()


def test_every_reason_is_given() -> None:
    """Three programs are tried; where each has its own reason all are said."""
    recipe = LegibleRecipe(architecture=SHAPE, anchoring=AnchorOptions(label_rate=1.0))
    with pytest.raises(InputError) as caught:
        check_recipes(ZooSpec("x", 0, 0, 0, seed=1, anchored=1, legible=recipe))
    assert str(caught.value).count("lower label_rate") > 1
