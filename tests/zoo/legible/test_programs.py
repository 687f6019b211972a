"""Programs of legible zoos: drawn by number alone, with a variable that is used, compiled alone, and fits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks import Program, format_value
from tracr_tasks.errors import InputError
from zoo.chunks import seed_of
from zoo.legible.making import Pupil, pupil
from zoo.legible.programs import anchor_concepts, draw_program, network_config, value_shares
from zoo.legible.recipe import LegiblePrograms, LegibleRecipe
from zoo.legible.tasks import UNASKED, counterfactual
from zoo.spec import ZooSpec
from zoo.split import split_of
from zoo.training_config import Architecture

SHAPE = Architecture(24, 2, 2, 8, 32, normalization_type="none")
RECIPE = LegibleRecipe(LegiblePrograms(vocab_size=3, max_seq_len=4, max_ops=5), SHAPE)
SPEC = ZooSpec("x", 2, 0, 0, seed=5, legible=RECIPE)


@cache
def drawn(number: int) -> Pupil:
    return pupil(SPEC, "", number, "x", 0)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 5))
def test_a_program_has_a_variable_that_it_computes_and_uses(number: int) -> None:
    one = drawn(number).drawn
    task, concept, shape = one.task, one.task.concept(one.variable), network_config(RECIPE)
    assert 2 <= len(task.vocab.output) <= RECIPE.programs.max_outputs
    assert concept.computed and concept.name != "out" and 2 <= len(concept.values) <= RECIPE.programs.max_values
    assert max(value_shares(concept)) <= RECIPE.programs.max_share
    for compiled in (one.compiled, one.seed):
        for field in ("d_model", "n_layers", "n_heads", "d_head", "d_mlp"):
            assert getattr(compiled.config, field) <= getattr(shape, field)
    rows = np.random.default_rng(0).permutation(len(task.ids))
    changed = counterfactual(task, {one.variable: concept.codes[rows]}) != task.answers
    assert changed[:, 1:].mean() > 0.02
    for row in (0, 40, 80):  # the seed computes the variable
        tokens = [one.program.vocab[i - 2] for i in task.ids[row, 1:]]
        said = [format_value(value) for value in one.seed.program.run(tokens)]
        assert said == [concept.values[code] for code in concept.codes[row, 1:]]
    pairs = {(a, b) for a, b in zip(concept.codes.ravel(), task.answers.ravel(), strict=True) if b != UNASKED}
    assert not len(concept.values) == len(task.vocab.output) == len(pairs)  # the output is no renaming of it


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 5))
def test_decoys_and_concepts_are_what_they_must_be(number: int) -> None:
    found = drawn(number)
    strange = found.other.task.concept(found.other.variable)
    for concept in found.drawn.task.concepts:
        assert concept.values != strange.values or (concept.codes != strange.codes).any()
    name, value = found.concept
    concept = found.drawn.task.concept(name)
    assert name not in ("indices", "out")
    assert RECIPE.min_share <= value_shares(concept)[concept.values.index(value)] <= RECIPE.max_share


def test_a_number_has_one_program_whatever_else_the_spec_says() -> None:
    other = replace(SPEC, compiled=0, seeded=900, chunk=3, legible=replace(RECIPE, normalize_states="all"))
    for number in (0, 4):
        one, two = drawn(number), pupil(other, "", number, "y", 9)
        assert one.drawn.program == two.drawn.program
        assert (one.drawn.variable, one.concept) == (two.drawn.variable, two.concept)
        assert one.other.program == two.other.program
    assert len({drawn(number).drawn.program.function_hash() for number in range(5)}) == 5
    assert pupil(replace(SPEC, seed=6), "", 0, "x", 0).drawn.program != drawn(0).drawn.program


def test_splits_are_kept() -> None:
    program = draw_program(RECIPE, seed_of(1, "program", 0), ("test", "val")).program
    assert isinstance(program, Program)
    assert split_of(program.function_hash()) in ("test", "val")


def test_a_named_concept_is_taken_or_refused() -> None:
    task = drawn(0).drawn.task
    assert anchor_concepts(task, replace(RECIPE, concept="indices=0")) == [("indices", "0")]
    for concept, message in (("tokens=7", "has no value '7'"), ("vowel=1", "concept 'vowel': expected one of")):
        with pytest.raises(InputError, match=message):
            anchor_concepts(task, replace(RECIPE, concept=concept))
