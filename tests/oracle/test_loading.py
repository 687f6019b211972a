"""Examples of a zoo are made when they are needed, and are what they were if all were made at once."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.loading import Examples, batches_of, cost_of, costs_of, examples_of, load_examples
from oracle.neutral import fold
from oracle.oracle import WeightOracle
from oracle.reader import Reader
from oracle.subjects import Example
from zoo.build import build_zoo
from zoo.spec import named_spec
from zoo.store import Zoo


@pytest.fixture(scope="module")
def reader(folder: Path) -> Reader:
    return WeightOracle.from_pretrained(folder).reader


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    spec = replace(named_spec("tiny"), compiled=9, trained=3, untrained=0, seed=5)
    return build_zoo(spec, tmp_path_factory.mktemp("more") / "zoo", workers=1)


def test_costs_are_known_before_an_example_is_made(zoo: Zoo, more: Zoo, reader: Reader) -> None:
    joined = examples_of(zoo, reader, seed=3).and_then(examples_of(more, reader, seed=3))
    assert costs_of(joined) == [cost_of(example.neutral) for example in joined]
    assert len(joined) == len(zoo) + len(more)


def test_only_what_is_looked_at_is_made(zoo: Zoo, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one more a call whose argument is checked to be a sequence of examples."""
    made, real = list[int](), Examples._make

    def make(self: Examples, i: int) -> Example:
        made.append(i)
        return real(self, i)

    monkeypatch.setattr(Examples, "_make", make)
    found = examples_of(zoo, reader, seed=1)
    (one,), (other,) = ([next(batches_of(found, 3, random.Random(0), rank, 2))] for rank in (0, 1))
    assert len({example.id for example in (*one, *other)}) == len(one) + len(other) <= len(made) < len(zoo) / 2
    before = len(made)
    assert found[made[0]] is found[made[0]] and found[-1] is found[len(found) - 1] and len(made) <= before + 1
    assert [e.id for e in found[2:5]] == [row.id for row in list(zoo)[2:5]]


def test_an_example_does_not_depend_on_when_it_is_made(zoo: Zoo, more: Zoo, reader: Reader) -> None:
    at_once = [load_examples(each, reader, seed=2) for each in (zoo, more)]
    joined = examples_of(zoo, reader, seed=2).and_then(examples_of(more, reader, seed=2))
    order = random.Random(0).sample(range(len(joined)), len(joined))
    whole = [example for part in at_once for example in part]
    for i in order:
        assert joined[i].id == whole[i].id and joined[i].subject == whole[i].subject
        assert (joined[i].neutral.W_E == whole[i].neutral.W_E).all()
    assert [e.id for e in joined[1:4]] == [e.id for e in whole[1:4]]


def test_answers_are_those_of_the_target_and_not_of_a_rounded_copy(zoo: Zoo, reader: Reader) -> None:
    """In another basis float32 does not keep 1/3, whose name is told to 16 digits."""
    numerical = 0
    for example in examples_of(zoo, reader, seed=4):
        target, inputs = zoo.target(example.id), example.subject.inputs
        if inputs:
            expected = [tuple(row) for row in target.answers(target.encode(inputs))]
            assert list(example.subject.outputs) == expected
            moved = bool((example.neutral.W_E != fold(target.config, target.weights).W_E).any())
            assert moved
            numerical += target.config.output == "numerical"
    assert numerical > 0
