from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracr_tasks.corpus import library, random_inputs
from tracr_tasks import rasp
from tracr_tasks.batch import hash_inputs, run_batch
from tracr_tasks.errors import InputError, ProgramError
from tracr_tasks.sampler import SamplerConfig, draw, sample_program
from tracr_tasks.text import parse_program


def assert_same(program: rasp.Program, count: int) -> None:
    ids, lengths = random_inputs(program, count)
    batch = run_batch(program, ids, lengths)
    for row, place, length in zip(batch, ids, lengths, strict=True):
        assert program.run([program.vocab[i] for i in place[:length]]) == row[:length].tolist(), program.text()
        assert (row[length:] == None).all()  # noqa: E711


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.booleans())
def test_one_and_many_agree(seed: int, causal: bool) -> None:
    assert_same(sample_program(seed, SamplerConfig(causal=causal, max_ops=5, vocab_size=4)), 20)


@given(st.integers(0, 10_000), st.sampled_from([None, ("a", "b", "c")]))
def test_one_and_many_are_undefined_together(seed: int, vocab: tuple[str, ...] | None) -> None:
    """Also on draws that the sampler would reject."""
    import random

    rng, config = random.Random(seed), SamplerConfig(vocab=vocab, max_seq_len=4)
    program = draw(rng, config, rng.randint(2, 6))
    if program is None:
        return
    ids, lengths = random_inputs(program, 12)
    for place, length in zip(ids, lengths, strict=True):
        tokens = [program.vocab[i] for i in place[:length]]
        try:
            one = program.run(tokens)
        except ProgramError:
            with pytest.raises(ProgramError):
                run_batch(program, place[None], np.array([length]))
            continue
        assert run_batch(program, place[None], np.array([length]))[0, :length].tolist() == one


def test_library_agrees() -> None:
    for program in library():
        assert_same(program, 30)


def test_mean_is_exact_whatever_the_order() -> None:
    program = parse_program(
        "a = aggregate(select(tokens, tokens, true), map(x / 3, tokens))\nout = map(x * 3, a)", (0, 1, 2), 4
    )
    assert program.run([1, 1, 1]) == [1, 1, 1] and program.run([0, 1, 2, 2]) == [1.25] * 4


def test_selecting_none_one_many() -> None:
    text = "out = aggregate(select(tokens, indices, ==), tokens, default={})"
    assert parse_program(text.format(9), (0, 1, 2), 3).run([2, 0, 2]) == [0, 9, 2]
    strings = parse_program("out = aggregate(select(indices, indices, <=), tokens)", ("a", "b"), 3)
    assert strings.run(["a", "a"]) == ["a", "a"]  # many equal values are one value
    with pytest.raises(ProgramError, match="line 1: a mean is over numbers"):
        strings.run(["a", "b"])


def test_refused_inputs() -> None:
    program = parse_program("out = tokens", ("a", "b"), 3)
    for tokens in ([], ["a"] * 4, ["c"], [0]):
        with pytest.raises(InputError):
            program.run(tokens)
    for ids, lengths in (([[0, 1, 2]], [3]), ([[0, 0, 0]], [0]), ([[0, 0]], [2]), ([[0, -1, 0]], [2])):
        with pytest.raises(InputError):
            program.run_batch(np.array(ids), np.array(lengths))


def test_hash_is_of_the_function() -> None:
    def hash_of(text: str, vocab: tuple[int, ...] = (0, 1, 2)) -> str:
        return parse_program(text, vocab, 4).function_hash()

    assert hash_of("out = map(x + 2, tokens)") == hash_of("a = map(x + 1, tokens)\nout = map(x + 1, a)")
    assert hash_of("out = map(x + 2, tokens)") != hash_of("out = map(x + 1, tokens)")
    assert hash_of("out = tokens") != hash_of("out = tokens", (0, 1, 3))
    assert hash_of("out = map(x == 0, tokens)") == "4b77a500d3ae82c4"


def test_hash_inputs() -> None:
    ids, lengths = hash_inputs(5, 5)
    assert len(ids) == sum(5**n for n in range(1, 6))
    ids, lengths = hash_inputs(5, 20)
    assert ids.shape == (2000, 20) and lengths.min() == 1 and lengths.max() == 20


def test_many_inputs_at_once() -> None:
    program = parse_program("out = aggregate(select(indices, indices, <=), tokens)", tuple(range(5)), 10)
    ids, lengths = random_inputs(program, 5000)
    assert run_batch(program, ids, lengths).shape == (5000, 10)
