"""Every case of the conformance file, by its kind; no case is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tracr_tasks.corpus import mismatches
from tests.tracr_tasks.sexpr import expression, read
from tracr_tasks.batch import hash_inputs, run_batch
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.compiler.values import Inference
from tracr_tasks.errors import WeightOracleError
from tracr_tasks.exact import exact, plain
from tracr_tasks.interpreter import evaluate
from tracr_tasks.rasp import Program, Selector, SelectorWidth
from tracr_tasks.text import format_program, parse_program
from tracr_tasks.transformer import forward

HERE = Path(__file__).parent
SHARED = HERE.parents[2] / "shared" / "conformance" / "rasp.jsonl"
FILE = SHARED if SHARED.exists() else HERE / "rasp.jsonl"
CASES = [json.loads(line) for line in FILE.read_text().splitlines()][1:]
RUN_KINDS = ("program", "padding", "known_tracr_bug", "tracr_cannot_compile")


def cases(*kinds: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in CASES if case["kind"] in kinds]


def program_of(case: dict[str, Any]) -> Program:
    return Program(
        expression(read(case["program_text"])), tuple(case["vocab"]), case["max_seq_len"], bool(case.get("causal"))
    )


def close(got: Any, expected: Any) -> bool:
    if isinstance(expected, int | float) and isinstance(got, int | float):
        return abs(got - expected) <= 1e-7 + 0.005 * abs(expected)
    return bool(got == expected)


def assert_equal(got: list[list[Any]], expected: list[list[Any]], nones: bool) -> None:
    for got_row, row in zip(got, expected, strict=True):
        for g, e in zip(got_row, row, strict=True):
            assert (e is None and not nones) or close(g, e), (got_row, row)


def test_every_kind_of_case_has_a_test() -> None:
    tested = {*RUN_KINDS, "interpreter", "must_raise", "must_reject", "validator_must_flag", "value_set"}
    assert {case["kind"] for case in CASES} == tested


@pytest.mark.parametrize("case", cases("interpreter"))
def test_interpreter(case: dict[str, Any]) -> None:
    what = expression(read(case["program_text"]))
    for tokens, expected in zip(case["inputs"], case["expected"], strict=True):
        got = evaluate(what, tokens, case["causal"])
        assert_equal(got, expected, nones=True) if isinstance(what, Selector) else assert_equal([got], [expected], True)


@pytest.mark.parametrize("case", cases("interpreter", *RUN_KINDS))
def test_many_inputs_at_once(case: dict[str, Any]) -> None:
    output = expression(read(case["program_text"]))
    if isinstance(output, Selector):
        output = SelectorWidth(output)
    vocab = tuple(dict.fromkeys(token for tokens in case["inputs"] for token in tokens))
    inputs = [tokens for tokens in case["inputs"] if tokens]
    program = Program(output, vocab, max(map(len, inputs)), bool(case.get("causal")))
    ids = np.zeros((len(inputs), program.max_seq_len), dtype=int)
    for row, tokens in zip(ids, inputs, strict=True):
        row[: len(tokens)] = [program.exact_vocab.index(exact(token)) for token in tokens]
    batch = program.run_batch(ids, np.array([len(tokens) for tokens in inputs]))
    for row, tokens in zip(batch, inputs, strict=True):
        assert row[: len(tokens)].tolist() == program.run(tokens)


@pytest.mark.parametrize("case", cases(*RUN_KINDS))
def test_interpreter_and_compiler(case: dict[str, Any]) -> None:
    program = program_of(case)
    assert_equal([program.run(tokens) for tokens in case["inputs"]], case["expected"], nones=False)
    compiled = compile_program(program)
    assert_equal(compiled.run(case["inputs"]), case["expected"], nones=False)
    assert_equal([compiled.run([tokens])[0] for tokens in case["inputs"]], case["expected"], nones=False)
    assert parse_program(format_program(program)) == program


@pytest.mark.parametrize("case", cases(*RUN_KINDS))
def test_compiler_beyond_the_listed_inputs(case: dict[str, Any]) -> None:
    program = program_of(case)
    assert mismatches(compile_program(program)) == 0


@pytest.mark.parametrize("case", cases("must_raise"))
def test_must_raise(case: dict[str, Any]) -> None:
    actions = {
        "error/bos_in_vocab": lambda: program_of(case),
        "error/no_bos": lambda: compile_program(program_of(case)).encode_names(["a", "b"]),
        "error/too_long": lambda: compile_program(program_of(case)).encode_names(["BOS", "a", "b", "a", "b"]),
        "error/const_len_mismatch": lambda: evaluate(expression(read(case["program_text"])), ["a"] * 13),
        "error/mean_of_strings": lambda: program_of(case).run(["a", "b"]),
        "error/select_none_key": lambda: program_of(case).run(["a", "b"]),
    }
    with pytest.raises(WeightOracleError):
        actions[case["id"]]()


@pytest.mark.parametrize("case", cases("must_reject", "validator_must_flag"))
def test_rejected_or_equal(case: dict[str, Any]) -> None:
    """These cannot be compiled by Tracr; here they are compiled exactly."""
    case = {"max_seq_len": 4} | case
    assert mismatches(compile_program(program_of(case))) == 0


@pytest.mark.parametrize("case", cases("value_set"))
def test_value_set(case: dict[str, Any]) -> None:
    """Ours may be smaller than Tracr's (and counts None), but must hold every value that occurs."""
    program = program_of(case)
    fact = Inference(program).run().facts[-1]
    assert {plain(value) for value in fact.values} - {None} <= set(case["expected_value_set"])
    ids, lengths = hash_inputs(len(program.vocab), program.max_seq_len)
    seen = {v for row, n in zip(run_batch(program, ids, lengths), lengths, strict=True) for v in row[:n]}
    assert {exact(value) for value in seen} <= set(fact.values)


SIZES = {"n_layers": "layers", "n_heads": "heads", "d_head": "key_size", "d_mlp": "mlp_hidden"}


@pytest.mark.parametrize("case", [c for c in cases(*RUN_KINDS) if "layers" in c.values[0].get("tracr_compiled", {})])
def test_never_larger_than_tracrs(case: dict[str, Any]) -> None:
    config = compile_program(program_of(case)).config
    for ours, theirs in SIZES.items():
        assert getattr(config, ours) <= case["tracr_compiled"][theirs], ours


@pytest.mark.parametrize("case", cases("padding"))
def test_padding_changes_nothing(case: dict[str, Any]) -> None:
    compiled = compile_program(program_of(case))
    for tokens in case["inputs"]:
        ids = torch.from_numpy(compiled.encode([tokens]))
        padded = forward(compiled.config, compiled.weights, ids)[:, : len(tokens) + 1]
        bare = forward(compiled.config, compiled.weights, ids[:, : len(tokens) + 1])
        assert torch.allclose(padded, bare, atol=1e-5)
