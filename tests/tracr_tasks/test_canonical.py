from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracr_tasks.corpus import library, random_inputs
from tracr_tasks.canonical import canonical
from tracr_tasks.rasp import Program
from tracr_tasks.sampler import sample_program
from tracr_tasks.text import parse_program


def parsed(text: str) -> Program:
    return canonical(parse_program(text, (0, 1, 2), 4))


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_sampled_programs_are_canonical(seed: int) -> None:
    program = sample_program(seed)
    assert canonical(program) == program


def test_the_function_stays() -> None:
    for program in library():
        ids, lengths = random_inputs(program, 50)
        assert np.array_equal(program.run_batch(ids, lengths), canonical(program).run_batch(ids, lengths))
        assert canonical(canonical(program)) == canonical(program)


def test_ways_of_writing() -> None:
    one = "a = map(x + 1, tokens)\nb = map(x * 2, indices)\n"
    assert parsed(one + "out = sequence_map(x * y, a, b)") == parsed(one + "out = sequence_map(x * y, b, a)")
    assert parsed(one + "out = sequence_map(x - y, a, b)") != parsed(one + "out = sequence_map(x - y, b, a)")
    assert parsed(one + "out = linear(2, 3, a, b)") == parsed(one + "out = linear(3, 2, b, a)")
    two = "s = select(tokens, tokens, ==)\nt = select(indices, indices, <)\n"
    assert parsed(two + "out = selector_width(selector_and(s, t))") == parsed(
        two + "out = selector_width(selector_and(t, selector_not(selector_not(s))))"
    )
    assert parsed("out = selector_width(select(indices, tokens, true))").text().startswith("v1 = select(tokens, tokens")
    assert parsed("out = numerical(categorical(numerical(tokens)))") == parsed("out = numerical(tokens)")
