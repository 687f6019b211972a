"""From a program's text to a transformer, or to every reason why not."""

from __future__ import annotations

import pytest

from tracr_tasks.compiler.text import compile_text
from tracr_tasks.errors import ProgramError

ALL_WRONG = """# everything wrong at once
vocab = {'a', 'BOS', 'b', 'c'}
max_seq_len = 4
v1 = map(x + 1, v2)
v2 = map(x + 1, v1)
v3 = select(tokens, tokens, ==)
v4 = map(x + 1, v3)
v5 = map(sqrt(x), indices)
v6 = map(1 / x, indices)
v7 = numerical(tokens)
v8 = linear(1, 2, tokens, indices)
v9 = sequnce_map(x + y, v6, v6)

v10 = aggregate(select(tokens, tokens, <), tokens)
out = aggregate(v3, v4)"""


def reasons(text: str) -> list[str]:
    with pytest.raises(ProgramError) as caught:
        compile_text(text)
    return [str(reason) for reason in caught.value.reasons]


def test_every_reason_of_the_reader_and_of_the_compiler_with_its_line() -> None:
    expected = [
        "the vocabulary must not hold 'BOS'",
        "line 4: 'v2' is defined by itself (a cycle with line 5)",
        "line 7: argument 2 of map must be an S-op; 'v3' is a selector",
        "line 8: unknown function 'sqrt(x)'",
        "line 9: '1 / x' is not defined for 0: a division by zero",
        "line 10: numerical is for numbers, which tokens is not",
        "line 11: linear needs numbers",
        "line 12: unknown operation 'sequnce_map' (did you mean sequence_map?)",
        "line 14: the aggregate may average what is not a number",
    ]
    found = reasons(ALL_WRONG)
    assert len(found) == len(expected)
    assert all(reason.startswith(start) for reason, start in zip(found, expected, strict=True))


def test_lines_are_those_of_the_file() -> None:
    text = "# a comment\n\nvocab = {0, 1}\nmax_seq_len = 3\n\nunused = tokens\nout = map(1 / x, indices)"
    assert reasons(text) == ["line 7: '1 / x' is not defined for 0: a division by zero"]


def test_lines_that_use_refused_ones_are_not_refused_again() -> None:
    assert (
        len(reasons("vocab = {0, 1}\nmax_seq_len = 3\na = map(x +, tokens)\nb = map(x, a)\nout = linear(1, 1, a, b)"))
        == 1
    )


def test_without_a_usable_vocabulary_only_the_text_is_judged() -> None:
    assert len(reasons("vocab = {'BOS'}\nmax_seq_len = 3\nout = map(1 / x, indices)")) == 1
    assert len(reasons("out = map(1 / x, indices)")) == 2


def test_a_sound_text_is_compiled() -> None:
    compiled = compile_text("out = selector_width(select(tokens, tokens, ==))", ("a", "b"), 3, causal=True)
    assert compiled.program.causal and compiled.run([["a", "b", "a"]]) == [[1, 1, 2]]
