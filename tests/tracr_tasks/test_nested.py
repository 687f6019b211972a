"""Nested text and canonical text are the same program."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks import sample_program
from tracr_tasks.library import library_names, library_program
from tracr_tasks.nested import assignments, nested


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_both_forms_say_the_same_program(seed: int) -> None:
    text = sample_program(seed).text()
    there = nested(text)
    assert "\n" not in there and assignments(there) == text and len(there) <= len(text)


@pytest.mark.parametrize("name", library_names())
def test_every_named_program_has_both_forms(name: str) -> None:
    program = library_program(name, **({"vocab": (1, 2, 3)} if name == "caesar" else {}))
    assert assignments(nested(program.text())) == program.text()


def test_what_is_used_again_is_named_where_it_is_first_met() -> None:
    text = "v1 = map(x == 3, tokens)\nv2 = linear(1, -2, indices, v1)\nv3 = linear(2, -1, v1, v2)\nout = numerical(v3)"
    one = "out = numerical(linear(2, -1, v1 = map(x == 3, tokens), linear(1, -2, indices, v1)))"
    assert nested(text) == one and assignments(one) == text


def test_what_an_operation_does_stands_before_what_it_does_it_to() -> None:
    text = "v1 = select(tokens, indices, ==)\nv2 = selector_width(v1)\nout = aggregate(v1, v2, default=0)"
    one = "out = aggregate(default=0, v1 = select(==, tokens, indices), selector_width(v1))"
    assert nested(text) == one and assignments(one) == text


def test_what_is_written_twice_is_one_line() -> None:
    twice = "out = sequence_map(x + y, map(x + 1, tokens), map(x + 1, tokens))"
    assert assignments(twice) == "v1 = map(x + 1, tokens)\nout = sequence_map(x + y, v1, v1)"


@pytest.mark.parametrize(
    "text",
    (
        *("if has c then p else q", "no program here", "p", "", "out", "4", "v1 = tokens", "out = map(x"),
        *("out = f(tokens)", "out = v1", "out = tokens", "out = map(x + 1, tokens)"),
        *("v1 = map(x, v1)\nout = numerical(v1)", "v1 =\nout = tokens"),
    ),
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert nested(text) == text and assignments(text) == text


def test_a_text_too_deep_is_left_alone() -> None:
    deep = "out = " + "numerical(" * 500 + "tokens" + ")" * 500
    assert assignments(deep) == deep
    lines = [f"v{i + 1} = numerical({f'v{i}' if i else 'tokens'})" for i in range(200)]
    text = "\n".join([*lines, "out = numerical(v200)"])
    assert nested(text) == text
