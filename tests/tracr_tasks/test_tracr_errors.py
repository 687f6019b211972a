"""What Tracr gets wrong or cannot compile, each cause by its name: here the transformer is the program."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tracr_tasks.corpus import mismatches, random_inputs
from tracr_tasks.check import token_ids
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.library import library_program
from tracr_tasks.text import parse_program
from tracr_tasks.transformer import forward

DIGITS = tuple(range(5))
CAUSES = {
    "widths of 10 and more": ("out = selector_width(select(tokens, tokens, ==))", ("a", "b"), 14),
    "means of 10 and more": (
        "out = numerical(aggregate(select(indices, indices, <=), map(x == 'a', tokens)))",
        ("a", "b"),
        14,
    ),
    "negative numbers in categorical maps": ("out = map(x - 3, tokens)", DIGITS, 4),
    "negative numbers out of numerical maps": (
        "out = numerical(map(x - 3, numerical(aggregate(select(indices, indices, <=), tokens))))",
        (0, 1, 2),
        4,
    ),
    "steps over negative numbers": ("out = map(x < -1, linear(1, -2, tokens, indices))", DIGITS, 4),
    "a categorical mean inside the value set": ("out = aggregate(select(tokens, tokens, <=), tokens)", DIGITS, 4),
    "none is not a zero": ("out = map(x == 0, aggregate(select(indices, indices, k + 1 == q), tokens))", DIGITS, 4),
    "a default that is no token": (
        "out = aggregate(select(indices, indices, k + 1 == q), tokens, default='start')",
        ("a", "b"),
        4,
    ),
    "a numerical default that is not 0": (
        "out = numerical(aggregate(select(tokens, indices, ==), tokens, default=-2))",
        DIGITS,
        4,
    ),
    "more values than keys in a head": ("out = aggregate(select(tokens, tokens, k == 0), tokens)", tuple(range(12)), 3),
    "selector and": (
        "out = aggregate(selector_and(select(tokens, tokens, ==), select(indices, indices, <)), tokens)",
        ("a", "b"),
        5,
    ),
    "selector or": (
        "out = selector_width(selector_or(select(tokens, tokens, ==), select(indices, indices, <)))",
        ("a", "b"),
        5,
    ),
    "selector not": ("out = selector_width(selector_not(select(tokens, indices, >)))", DIGITS, 4),
    "length": ("out = sequence_map(x - y, length, indices)", ("a", "b"), 5),
    "a constant": ("out = constant('yes')", ("a", "b"), 3),
    "a constant in a sum": ("out = sequence_map(x + y, tokens, constant(-7))", DIGITS, 3),
    "identity": ("out = tokens", ("a", "b"), 3),
    "numerical tokens": ("out = numerical(tokens)", (-1, 0, 2.5), 3),
    "indices": ("out = indices", ("a", "b"), 3),
    "select over numbers": (
        "share = aggregate(select(tokens, tokens, true), map(x == 1, tokens))\n"
        "out = selector_width(select(tokens, share, >))",
        (0, 1),
        4,
    ),
    "a mean of numbers that are not 0 or 1": (
        "out = numerical(aggregate(select(indices, indices, <=), tokens))",
        DIGITS,
        4,
    ),
    "a sequence map of numbers": (
        "a = aggregate(select(indices, indices, <=), tokens)\nout = sequence_map(x > y, a, tokens)",
        (0, 1, 2),
        4,
    ),
}


CASES = [
    pytest.param(*case, causal, id=f"{name}{', causal' if causal else ''}")
    for name, case in CAUSES.items()
    for causal in (False, True)
    if not (causal and name == "length")  # a causal position cannot see how long the input is
]


@pytest.mark.parametrize(("text", "vocab", "length", "causal"), CASES)
def test_compiled_exactly(text: str, vocab: tuple[object, ...], length: int, causal: bool) -> None:
    compiled = compile_program(parse_program(text, tuple(vocab), length, causal))  # type: ignore[arg-type]
    assert mismatches(compiled) == 0
    assert mismatches(compiled, *random_inputs(compiled.program, 200)) == 0


@pytest.mark.parametrize("length", [1, 10, 40])
def test_the_temperature_is_not_divided_by_the_width_of_a_head(length: int) -> None:
    """A selected key and BOS differ by half a term; after the softmax the rest has under a billionth."""
    compiled = compile_program(library_program("reverse", max_seq_len=length))
    assert mismatches(compiled, *random_inputs(compiled.program, 2 * length)) == 0


def test_padding_is_masked() -> None:
    compiled = compile_program(library_program("length"))
    ids, lengths = random_inputs(compiled.program, 20)
    logits = forward(compiled.config, compiled.weights, token_ids(ids, lengths))
    answers = np.array(compiled.output_values)[logits[:, 1:].argmax(-1).numpy()]
    assert all((row[:n] == n).all() for row, n in zip(answers, lengths, strict=True))


def test_steep_steps_over_large_numbers_are_exact() -> None:
    """Levels up to 50 that lie a thirtieth apart; a softmax over their one-hots must not see how they were rounded."""
    text = """v1 = map(x + 0.5, tokens)
    v3 = aggregate(select(tokens, tokens, !=), v1, default=0)
    v6 = map(int(x), linear(11, -3, v1, v3))
    out = numerical(aggregate(select(indices, v6, !=), v6, default=0))"""
    compiled = compile_program(parse_program(text, DIGITS, 10))
    ids, lengths = random_inputs(compiled.program, 400)
    logits = forward(compiled.config, compiled.weights, token_ids(ids, lengths))[:, 1:, 0].numpy()
    expected = compiled.program.run_batch(ids, lengths)
    inside = np.arange(10) < lengths[:, None]
    assert np.abs(logits[inside] - expected[inside].astype(float)).max() < 3e-4


def test_float32_is_enough_at_length_100() -> None:
    compiled = compile_program(library_program("frac_prevs", max_seq_len=100))
    ids, lengths = random_inputs(compiled.program, 100)
    logits = forward(compiled.config, compiled.weights, token_ids(ids, lengths))[:, 1:, 0].numpy()
    expected = compiled.program.run_batch(ids, lengths)
    inside = np.arange(100) < lengths[:, None]
    assert np.abs(logits[inside] - expected[inside].astype(float)).max() < 1e-4
