from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracr_tasks.corpus import library
from tracr_tasks import rasp
from tracr_tasks.arguments import split_arguments
from tracr_tasks.errors import ProgramError
from tracr_tasks.reading import strip_comment
from tracr_tasks.sampler import SamplerConfig, sample_program
from tracr_tasks.text import format_program, parse_program

EXAMPLE = """vocab = {0, 1, 2, 3, 4}
max_seq_len = 5
attention = causal
v1 = select(tokens, indices, ==)
v2 = selector_width(v1)
v3 = map(x + 1, tokens)
v4 = sequence_map(x * y, v2, v3)
out = aggregate(v1, v4, default=0)"""


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_sampled_programs_read_back(seed: int) -> None:
    program = sample_program(seed, SamplerConfig(max_ops=5))
    assert parse_program(format_program(program)) == program
    again = parse_program(program.text(), program.vocab, program.max_seq_len, program.causal)
    assert again == program and hash(again) == hash(program)


def test_library_reads_back() -> None:
    for program in library():
        assert format_program(parse_program(format_program(program))) == format_program(program)


def test_example_is_canonical() -> None:
    program = parse_program(EXAMPLE)
    assert format_program(program) == EXAMPLE and program.causal and program.vocab == (0, 1, 2, 3, 4)


def test_every_operation_reads_back() -> None:
    text = """a = select(tokens, tokens, k + 1 == q)   # a comment, with 'quotes'
    b = selector_or(selector_not(a), selector_and(a, select(tokens, indices, <)))
    c = aggregate(b, map({'x,#': 1, 'y': -0.5}, tokens), default=1/3)
    d = linear(0.5, -2, c, selector_width(a))
    out = categorical(sequence_map({(0, 1): 'a, b'}, numerical(d), constant(none)))"""
    program = parse_program(text, ("x,#", "y"), 3)
    assert parse_program(format_program(program)) == program
    assert "default=1/3" in program.text() and "{'x,#': 1, 'y': -0.5}" in program.text()


def test_names_order_and_dead_lines_do_not_matter() -> None:
    one = parse_program("a = map(x+1, tokens)\nb = map(x+2, indices)\nout = sequence_map(x*y, a, b)", (0, 1), 3)
    two = parse_program(
        "q = map((x + 2), indices)\ndead = map(x, q)\np = map(x + 1, tokens)\nout = sequence_map(x * y, p, q)",
        (0, 1),
        3,
    )
    assert one == two and one.text().count("\n") == 2


def test_shared_expressions_are_one_line() -> None:
    def twice() -> rasp.SOp:
        return rasp.TOKENS + 1

    assert (
        rasp.Program(twice() * twice(), (0, 1), 3).text()
        == "v1 = map(x + 1, tokens)\nout = sequence_map(x * y, v1, v1)"
    )


def test_every_reason_with_its_line() -> None:
    text = """v1 = select(tokens, v9, ==)
v2 = mapp(x, tokens)
v3 = map(x +, tokens)
v4 = selector_width(tokens)
v5 = map(z, tokens)
v6 = map(x, v7)
v7 = map(x, v7)
v8 = map(x, tokens, tokens)
tokens = v1
v8 = indices
v10 = linear(a, 1, tokens, tokens)
nonsense
v11 = map(x, v1)
v12 = aggregate(tokens, v11)
out = select(tokens, tokens, =<)"""
    with pytest.raises(ProgramError) as caught:
        parse_program(text, ("BOS", 1, 1, "PAD"))
    assert {reason.line for reason in caught.value.reasons} == {*range(1, 11), 11, 12, 14, 15, None}
    found = str(caught.value)
    for part in ("'v9'", "'mapp'", "'x +'", "must be a selector", "'z'", "defined by itself", "defined by itself"):
        assert part in found, part
    for part in ("BOS", "PAD", "'1' twice", "no length"):
        assert part in found, part


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no line `out"),
        ("out = select(tokens, tokens, ==)", "not a selector"),
        ("vocab = {}\nout = tokens", "empty"),
        ("max_seq_len = -1\nout = tokens", "whole number"),
        ("attention = both\nout = tokens", "causal or bidirectional"),
        ("out = map(__import__('os'), tokens)", "unknown function"),
        ("out = map(x ** 9, tokens)", "not part of a function"),
        ("out = map(x.real, tokens)", "not part of a function"),
        ("out = map(0 < x < 2, tokens)", "comparison of two"),
        ("out = linear('a', 1, tokens, tokens)", "must be numbers"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(ProgramError, match=reason):
        parse_program(text, None if "vocab" in text else (0, 1), None if "max" in text else 3)


@given(st.text(alphabet="abxyout=(),'\"#{}<>!+-*/ \n0123456789", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        program = parse_program(text, (0, 1), 3)
    except ProgramError:
        return
    assert parse_program(format_program(program)) == program


def test_very_long_and_deep_texts_are_refused_or_read() -> None:
    chain = "\n".join(f"v{i} = map(x + 1, {'tokens' if i == 0 else f'v{i - 1}'})" for i in range(299))
    assert len(parse_program(chain + "\nout = v298", (0, 1), 2).nodes) == 300
    for text in ("out = " + "map(x, " * 5000 + "tokens" + ")" * 5000, "out = map(" + "(" * 5000, "x\n" * 5000):
        with pytest.raises(ProgramError):
            parse_program(text, (0, 1), 2)


def test_parts() -> None:
    assert split_arguments("a, f(b, c), 'd, e', {1: 2, 3: 4}") == ["a", "f(b, c)", "'d, e'", "{1: 2, 3: 4}"]
    assert split_arguments(" ") == []
    assert strip_comment("x '#' # y") == "x '#' "
