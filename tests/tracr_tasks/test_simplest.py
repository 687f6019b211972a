"""The simplest program of those with some weights compiles to these weights, and is the same for all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracr_tasks.corpus import library, random_inputs
from tracr_tasks import simplest as module
from tracr_tasks.canonical import canonical
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.errors import ProgramError
from tracr_tasks.rasp import Program
from tracr_tasks.sampler import sample_compiled
from tracr_tasks.simplest import simplest
from tracr_tasks.text import parse_program


def parsed(text: str, vocab: tuple[int, ...] = (0, 1, 2, 3, 4)) -> Program:
    return parse_program(text, vocab, 5)


def entries(program: Program) -> dict[str, torch.Tensor]:
    """The entries of each tensor in ascending order: residual directions, heads and neurons may be in another one."""
    return {name: weights.flatten().sort().values for name, weights in compile_program(program).weights.items()}


def have_the_same_entries(one: Program, other: Program) -> bool:
    ones, others = entries(one), entries(other)
    return all(ones[name].shape == others[name].shape and torch.allclose(ones[name], others[name]) for name in ones)


@settings(max_examples=60)
@given(seed=st.integers(0, 100_000))
def test_weights_and_function_stay(seed: int) -> None:
    program = sample_compiled(seed).program
    found = simplest(program)
    assert found.function_hash() == program.function_hash()
    if "linear" in program.text():  # numbers in between may be larger or smaller
        assert {k: v.shape for k, v in entries(found).items()} == {k: v.shape for k, v in entries(program).items()}
    else:
        assert have_the_same_entries(found, program)


@settings(max_examples=60)
@given(seed=st.integers(0, 100_000))
def test_the_simplest_has_no_simpler(seed: int) -> None:
    program = simplest(sample_compiled(seed).program)
    assert simplest(program) == program == canonical(program)


SAME = {
    "the opposite": ("v1 = map(x == 2, tokens)\nout = map(not x, v1)", "out = map(x != 2, tokens)"),
    "a map that others read too": (
        "a = map(x == 2, tokens)\nb = map(not x, a)\nout = sequence_map(x + y, a, b)",
        "a = map(x == 2, tokens)\nb = map(x != 2, tokens)\nout = sequence_map(x + y, b, a)",
    ),
    "a longer function": ("out = map(x + 1 - 1 == 2, tokens)", "out = map(x == 2, tokens)"),
    "a negated selector": (
        "a = select(tokens, indices, >)\nb = selector_not(a)\nout = selector_width(b)",
        "a = select(tokens, indices, <=)\nout = selector_width(a)",
    ),
    "two selectors": (
        "a = select(tokens, tokens, <=)\nb = select(tokens, tokens, >=)\nout = selector_width(selector_and(a, b))",
        "a = select(tokens, tokens, ==)\nout = selector_width(a)",
    ),
    "the other way round": ("out = sequence_map(x > y, tokens, indices)", "out = sequence_map(x < y, indices, tokens)"),
    "logic of bits": (
        "a = map(x > 2, tokens)\nb = map(x == 1, indices)\nout = sequence_map(x and y, a, b)",
        "a = map(x > 2, tokens)\nb = map(x == 1, indices)\nout = sequence_map(x * y, b, a)",
    ),
    "a default that is never needed": (
        "a = select(indices, indices, <=)\nout = aggregate(a, tokens, default=3)",
        "a = select(indices, indices, <=)\nout = aggregate(a, tokens)",
    ),
    "the length": ("a = select(tokens, tokens, true)\nout = selector_width(a)", "out = length"),
    "a common factor": (
        "a = linear(3, -3, tokens, indices)\nb = linear(2, 1, tokens, a)\nout = numerical(b)",
        "a = linear(-1, 1, tokens, indices)\nb = linear(2, -3, tokens, a)\nout = numerical(b)",
    ),
    "a common factor before a map": (
        "a = linear(-3, 3, tokens, indices)\nb = map(not x, a)\nout = numerical(b)",
        "a = linear(-1, 1, tokens, indices)\nb = map(not x, a)\nout = numerical(b)",
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_ways_of_writing(name: str) -> None:
    one, other = map(parsed, SAME[name])
    assert canonical(one) != canonical(other)
    assert simplest(one) == simplest(other)
    assert "factor" in name or have_the_same_entries(one, other)


DIFFERENT = {
    "a default that is needed": (
        "a = select(tokens, indices, ==)\nout = aggregate(a, tokens, default=3)",
        "a = select(tokens, indices, ==)\nout = aggregate(a, tokens, default=2)",
    ),
    "keys and queries": (
        "a = select(tokens, indices, <)\nout = selector_width(a)",
        "a = select(indices, tokens, >)\nout = selector_width(a)",
    ),
    "the last number": (
        "a = linear(3, -3, tokens, indices)\nout = numerical(a)",
        "a = linear(1, -1, tokens, indices)\nout = numerical(a)",
    ),
    "a sign under steps": (
        "a = linear(1, -2, tokens, indices)\nb = map(not x, a)\nout = numerical(b)",
        "a = linear(-1, 2, tokens, indices)\nb = map(not x, a)\nout = numerical(b)",
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_weights_tell_stays(name: str) -> None:
    one, other = map(parsed, DIFFERENT[name])
    assert simplest(one) != simplest(other)
    ones, others = compile_program(one).weights, compile_program(other).weights
    assert any(not (w.shape == others[k].shape and torch.equal(w, others[k])) for k, w in ones.items())


def test_three_maps_are_two() -> None:
    """No function of the families does what the three do together; two do."""
    program = parsed("a = map(x + 1, tokens)\nb = map(x % 3, a)\nout = map(x != 1, b)")
    assert simplest(program).text() == "v1 = map(x % 3, tokens)\nout = map(x > 0, v1)"
    assert have_the_same_entries(simplest(program), program)


def test_two_operations_that_would_become_one_stay_two() -> None:
    """They have components of their own, and what becomes one in the text has one."""
    program = parsed("a = map(x == 2, tokens)\nb = map(x + 1 == 3, tokens)\nout = sequence_map(x + y, a, b)")
    assert simplest(program) == canonical(program)
    assert have_the_same_entries(simplest(program), program)


def test_the_example_of_the_module() -> None:
    rows = [line.strip() for line in str(module.__doc__).split("simplest:")[1].splitlines() if " = " in line]
    columns = [[part for part in row.split("   ") if part] for row in rows]
    one = "\n".join(row[0].strip() for row in columns)
    other = "\n".join(row[1].strip() for row in columns if len(row) > 1)
    assert simplest(parsed(one)).text() == parsed(other).text() == other


def test_the_function_of_library_programs_stays() -> None:
    for program in library():
        found = simplest(program)
        ids, lengths = random_inputs(program, 50)
        assert np.array_equal(program.run_batch(ids, lengths), found.run_batch(ids, lengths))


def test_what_cannot_be_compiled_comes_back() -> None:
    program = parsed("a = select(tokens, tokens, ==)\nb = aggregate(a, tokens)\nout = map(x / 0, b)")
    with pytest.raises(ProgramError):
        compile_program(program)
    assert simplest(program) == canonical(program)
