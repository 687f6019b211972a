from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracr_tasks.corpus import library, mismatches, random_inputs, token_ids
from tracr_tasks.compiler.compile import CompiledProgram, compile_program
from tracr_tasks.compiler.facts import mean_set
from tracr_tasks.compiler.steps import staircase
from tracr_tasks.errors import InputError, ProgramError
from tracr_tasks.sampler import SamplerConfig, sample_compiled
from tracr_tasks.text import parse_program
from tracr_tasks.transformer import forward

DIGITS = (0, 1, 2, 3, 4)


def compiled(text: str, vocab: tuple[object, ...] = DIGITS, length: int = 5, causal: bool = False) -> CompiledProgram:
    return compile_program(parse_program(text, vocab, length, causal))  # type: ignore[arg-type]


@settings(max_examples=80)
@given(st.integers(0, 100_000), st.booleans(), st.sampled_from([None, ("a", "b", "c"), (-1, 0, 2.5)]))
def test_sampled_programs(seed: int, causal: bool, vocab: tuple[object, ...] | None) -> None:
    config = SamplerConfig(causal=causal, vocab=vocab, max_seq_len=5)  # type: ignore[arg-type]
    target = sample_compiled(seed, config)
    assert mismatches(target, *random_inputs(target.program, 200)) == 0, target.program.text()


@settings(max_examples=15)
@given(st.integers(0, 100_000))
def test_larger_programs(seed: int) -> None:
    config = SamplerConfig(min_ops=5, max_ops=9, max_seq_len=7, max_d_model=200, max_neurons=2000)
    target = sample_compiled(seed, config)
    assert mismatches(target, *random_inputs(target.program, 200)) == 0, target.program.text()


@pytest.mark.parametrize(
    "last",
    [
        "out = aggregate(v3, tokens)",
        "out = aggregate(v3, tokens, default=2)",
        "v4 = aggregate(v3, tokens, default=2)\nout = sequence_map(x + y, tokens, v4)",
        "out = selector_width(v3)",
    ],
)
def test_selectors_that_select_nothing(last: str) -> None:
    lines = ["v1 = map(x > 2, tokens)", "v2 = select(v1, indices, true)", "v3 = selector_not(v2)", last]
    target = compiled("\n".join(lines))
    assert mismatches(target, *random_inputs(target.program, 200)) == 0


def test_library() -> None:
    for program in library():
        assert mismatches(compile_program(program)) == 0, program.text()


@pytest.mark.parametrize("length", [9, 10, 12, 40, 100])
def test_wide_selectors_are_counted_exactly(length: int) -> None:
    target = compiled("out = selector_width(select(tokens, tokens, ==))", ("a", "b"), length)
    assert mismatches(target, *random_inputs(target.program, 3 * length)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "out = aggregate(select(tokens, tokens, true), tokens)",  # a mean that lands among the tokens
        "out = map(x - 9, tokens)",
        "a = map(x - 2, tokens)\nout = numerical(aggregate(select(a, a, <), a, default=-1))",
        "out = linear(-3, 2, tokens, indices)",
        "out = aggregate(select(indices, indices, k + 1 == q), tokens)",
        "out = aggregate(select(indices, indices, k + 1 == q), tokens, default=0)",
        "out = aggregate(select(indices, indices, k + 1 == q), tokens, default='nothing')",
        "out = aggregate(select(tokens, indices, ==), tokens, default='nothing')",
        "out = map(x == 0, aggregate(select(indices, indices, k + 1 == q), tokens))",
        "a = aggregate(select(tokens, indices, ==), indices, default=-1)\nout = selector_width(select(a, a, <))",
        "a = selector_width(select(tokens, indices, ==))\nout = selector_width(select(a, a, ==))",
        "out = constant(0)",
        "out = numerical(constant(-1.5))",
        "out = tokens",
        "out = numerical(tokens)",
        "out = indices",
        "out = length",
        "out = selector_width(select(tokens, tokens, false))",
        "out = selector_width(selector_not(select(tokens, tokens, true)))",
        "out = selector_width(selector_or(select(tokens, tokens, ==), select(indices, indices, <)))",
        "out = selector_width(selector_and(select(tokens, indices, !=), selector_not(select(indices, tokens, >))))",
        "out = aggregate(selector_and(select(tokens, tokens, ==), select(indices, indices, <)), indices)",
        "out = map({0: 'a', 1: 'b', 2: none, 3: 0.5, 4: -1}, tokens)",
        "out = sequence_map(x or y, map(x == 0, tokens), map(x > 2, indices))",
        "a = map(x > 1, numerical(map(x * x, tokens)))\nout = numerical(a)",
        "out = categorical(linear(1, 0.5, tokens, tokens))",
        "out = map(x[0], sequence_map((x, y), tokens, indices))",
        "a = map(x * 2, tokens)\nb = map(x > 4, a)\nout = sequence_map(x + y, a, b)",
        "a = aggregate(select(tokens, tokens, true), tokens)\nb = map(x > 1, a)\nout = map(not x, numerical(b))",
        "a = selector_width(select(tokens, tokens, <=))\nout = aggregate(select(a, indices, ==), tokens)",
        "a = selector_width(select(tokens, tokens, <))\nb = map(x + 1, a)\n"
        "out = aggregate(select(b, indices, ==), map(x % 2, tokens), default='no')",
        "a = map({0: 0, 1: 0, 2: none, 3: 1, 4: 1}, tokens)\nout = map(x + 1, a)",
        "out = sequence_map(x * y, tokens, categorical(tokens))",
        "a = map(x > 2, tokens)\nb = aggregate(select(tokens, tokens, <=), a)\nout = linear(2, -1, a, b)",
    ],
)
def test_corner_cases(text: str) -> None:
    assert mismatches(compiled(text)) == 0
    if "length" not in text:
        assert mismatches(compiled(text, causal=True)) == 0


def test_combinations_that_cannot_occur_are_passed_over() -> None:
    """Values of two S-ops with too large a grid are combined freely, though each alone is known to be narrower."""
    text = """v3 = selector_or(select(tokens, tokens, ==), select(indices, indices, <))
    v4 = aggregate(v3, indices)
    v5 = map(int(x), v4)
    v7 = sequence_map(x and y, v5, indices)
    v9 = aggregate(select(indices, indices, k - 1 == q), v4, default=0)
    v12 = selector_or(select(v5, indices, >=), select(v7, map(int(x), v9), <=))
    out = numerical(aggregate(v12, v9, default=0))"""
    assert mismatches(compiled(text, ("a", "b", "c", "d"))) == 0


def test_a_map_of_maps_is_one_map() -> None:
    target = compiled("a = map(x + 1, tokens)\nb = numerical(map(x * 2, a))\nout = map(x > 5, b)")
    assert target.config.n_layers == 1 and target.config.d_mlp == 2
    names = dict(zip([node.name for node in target.program.nodes], target.program.nodes, strict=True))
    assert [names[line].op for line in ("v1", "v2", "v3", "out")] == ["map", "map", "numerical", "map"]
    assert target.provenance["v1"] == target.provenance["v2"] == target.provenance["out"] != ()


def test_what_only_a_mean_reads_is_one_number() -> None:
    target = compiled("a = map(x > 2, tokens)\nout = numerical(aggregate(select(indices, indices, <=), a))")
    assert target.residual_labels.count("v2") == 1 and target.config.d_mlp == 1


def test_equal_ranks_have_equal_values() -> None:
    text = "rank = selector_width(select(tokens, tokens, <))\nout = aggregate(select(rank, indices, ==), tokens)"
    letters = compiled(text, ("a", "b", "c"))
    assert mismatches(letters) == 0 and letters.output_names == ("a", "b", "c", "none")
    with pytest.raises(ProgramError, match="may average"):  # indices differ where the ranks are equal
        compiled(text.replace("==), tokens)", "==), map({0: 'p', 1: 'q', 2: 'r'}, indices))"), ("a", "b", "c"), 3)


def test_strings_compile_where_one_value_is_sure() -> None:
    letters = ("a", "b", "c")
    equal = "out = aggregate(selector_and(select(tokens, tokens, ==), select(indices, indices, <)), tokens)"
    ranked = (
        "a = map(1 - x, indices)\nb = selector_width(select(a, a, <))\nout = aggregate(select(b, indices, ==), tokens)"
    )
    assert mismatches(compiled(equal, letters)) == 0 and mismatches(compiled(ranked, letters)) == 0


@pytest.mark.parametrize("causal", [False, True])
def test_padding_and_bos_are_never_selected(causal: bool) -> None:
    target = compiled("out = numerical(aggregate(select(tokens, indices, !=), tokens, default=4))", causal=causal)
    ids, lengths = random_inputs(target.program, 50)
    whole = token_ids(ids, lengths)
    for row, length in zip(whole, lengths, strict=True):
        bare = forward(target.config, target.weights, row[None, : length + 1])
        padded = forward(target.config, target.weights, row[None])[:, : length + 1]
        assert torch.allclose(bare, padded, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "vocab", "reasons"),
    [
        ("out = aggregate(select(tokens, tokens, <), tokens)", ("a", "b", "c"), ["line 1: the aggregate may average"]),
        ("out = map(x + 1, tokens)", ("a", "b"), ["line 1: 'x + 1' is not defined for 'a'"]),
        ("out = map(1 / x, tokens)", (0, 1), ["line 1: '1 / x' is not defined for 0: a division by zero"]),
        (
            "a = aggregate(select(indices, indices, k + 1 == q), tokens)\nout = selector_width(select(a, a, ==))",
            (0, 1),
            ["line 2: the keys of select may be none"],
        ),
        (
            "out = numerical(aggregate(select(indices, indices, k + 1 == q), tokens))",
            (0, 1),
            ["line 1: v2 may be none, which no number stands for"],
        ),
        (
            "out = sequence_map(x + y, map(x + 1, tokens), map(1 / x, indices))",
            ("a", "b"),
            ["line 1: 'x + 1'", "line 1: '1 / x'"],
        ),
    ],
)
def test_refused_with_every_reason(text: str, vocab: tuple[object, ...], reasons: list[str]) -> None:
    with pytest.raises(ProgramError) as caught:
        compiled(text, vocab)
    assert len(caught.value.reasons) == len(reasons)
    for reason, expected in zip(caught.value.reasons, reasons, strict=True):
        assert str(reason).startswith(expected)


def test_length_is_refused_under_causal_attention() -> None:
    with pytest.raises(ProgramError, match="line 1: length cannot be known"):
        compiled("out = map(x - 1, length)", causal=True)


def test_what_the_result_names() -> None:
    target = compiled("a = select(tokens, tokens, ==)\nb = selector_width(a)\nout = map(x > 1, b)", ("a", "b"), 3)
    assert target.input_names == ("BOS", "PAD", "a", "b") and target.output_names == ("0", "1")
    assert target.provenance == {
        "tokens": ("embed",),
        "v1": ("blocks.0.attn.head.0",),
        "v2": ("blocks.0.attn.head.0", "blocks.0.mlp.neurons.0:4"),
        "out": ("blocks.1.mlp.neurons.0:2",),
    }
    assert target.residual_labels[:4] == ("BOS", "tokens=a", "tokens=b", "v2.share")
    assert len(target.residual_labels) == target.config.d_model
    assert target.config.pad_token == 1 and target.config.n_ctx == 4
    assert all(tensor.dtype == torch.float32 for tensor in target.weights.values())
    assert target.run([["a", "b", "a"], ["b"]]) == [[1, 0, 1], [0]]
    assert compiled("out = map({0: 1, 1: none}, tokens)", (0, 1), 2).output_names[-1] == "none"


def test_refused_inputs() -> None:
    target = compiled("out = tokens", ("a", "b"), 2)
    for sequence in ([], ["a"] * 3, ["c"]):
        with pytest.raises(InputError):
            target.run([sequence])
    with pytest.raises(InputError, match="starts with BOS"):
        target.encode_names(["a"])
    assert target.encode_names(["BOS", "b", "PAD"]).tolist() == [[0, 3, 1]]


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=12, unique=True), st.integers(0, 99))
def test_staircase(levels: list[int], seed: int) -> None:
    heights = np.random.default_rng(seed).integers(-2, 3, (len(levels), 3)).astype(float)
    stairs = staircase([float(level) for level in levels], heights, gated=False)
    for level, height in zip(levels, heights, strict=True):
        base = np.zeros(3) if stairs.base is None else stairs.base
        got = base + np.maximum(stairs.slope * level + stairs.bias, 0) @ stairs.write
        assert np.allclose(got, height)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=3, unique=True), st.integers(1, 4))
def test_mean_set(values: list[int], most: int) -> None:
    from fractions import Fraction
    from itertools import combinations_with_replacement

    means = {
        Fraction(sum(chosen), count)
        for count in range(1, most + 1)
        for chosen in combinations_with_replacement(values, count)
    }
    found = mean_set(tuple(3 * value for value in values), 3, most)
    assert found is not None and {Fraction(*pair) for pair in found} == means
