"""Questions about the layers of compiled targets: their answers are what the weights do, layer by layer."""

from __future__ import annotations

import random

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.part_questions import NOTHING, has_parts, layers_of, parts_of
from oracle.questions import ask, families_of
from oracle.subjects import subject_of_program
from tracr_tasks import sample_program
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.text import parse_program
from zoo.sampling import sample_flowchart

SEEDS = st.integers(0, 10_000)


@settings(max_examples=20)
@given(SEEDS)
def test_a_part_computes_nothing_where_its_weights_write_nothing(seed: int) -> None:
    program = sample_program(seed)
    weights = compile_program(program).weights
    for (layer, kind), operations in parts_of(program).items():
        name = "attn.W_O" if kind == "heads" else "mlp.W_out"
        assert bool(operations) == bool(torch.any(weights[f"blocks.{layer}.{name}"] != 0)), (layer, kind)


@settings(max_examples=20)
@given(SEEDS)
def test_the_answers_are_those_of_the_compiler(seed: int) -> None:
    subject, rng = subject_of_program(sample_program(seed), seed), random.Random(seed)
    program = subject.program
    assert {"where", "inside"} <= {family for family, _ in families_of(subject)}
    where, inside = ask(subject, "where", rng), ask(subject, "inside", rng)
    assert where.detail in where.text and inside.detail in inside.text
    assert where.detail in program.text() or where.detail == "length"
    for layer in map(int, where.truth.split()):
        assert any(where.detail in parts_of(program)[layer, kind] for kind in ("heads", "neurons"))
    kind, layer = inside.detail.split()[0], int(inside.detail.split()[-1])
    assert set(inside.truth.split()) - {NOTHING} == parts_of(program)[layer, kind]


def test_a_program_by_hand() -> None:
    text = "v1 = select(tokens, tokens, <)\nv2 = selector_width(v1)\nv3 = map(x % 2, v2)\nout = aggregate(v1, v3)"
    program = parse_program(text, vocab=(0, 1, 2), max_seq_len=4, causal=False)
    assert parts_of(program)[0, "heads"] == parts_of(program)[0, "neurons"] == {"selector_width"}
    layers = layers_of(program)
    assert layers["selector_width"] == [0] and layers["map"] == [1]
    assert layers["aggregate"] == [2] and parts_of(program)[2, "heads"] == {"aggregate"}


def test_nothing_is_asked_about_the_parts_of_trained_targets() -> None:
    assert not has_parts(subject_of_program(sample_flowchart(0), 0))
