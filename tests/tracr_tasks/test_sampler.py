from __future__ import annotations

import itertools
import random
import statistics
import time
import tomllib
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracr_tasks.corpus import mismatches, random_inputs
from tracr_tasks import rasp
from tracr_tasks.batch import run_codes, run_nodes
from tracr_tasks.canonical import ENCODINGS, canonical
from tracr_tasks.drawing import Growth
from tracr_tasks.errors import InputError
from tracr_tasks.families import (
    LINEAR_WEIGHTS,
    MAPS,
    OPERATIONS,
    PREDICATES,
    SELECTORS,
    SEQUENCE_MAPS,
    default_families,
)
from tracr_tasks.sampler import (
    REASONS,
    SamplerConfig,
    draw,
    draws,
    fits,
    rejection,
    sample_compiled,
    sample_draw,
    sample_program,
    sample_programs,
    size_of,
    trial_inputs,
)
from tracr_tasks.text import parse_program

WORDS = ("a", "b", "c")
CONFIGS = (
    SamplerConfig(),
    SamplerConfig(causal=True, vocab_size=4),
    SamplerConfig(vocab=WORDS, max_seq_len=6),
    SamplerConfig(vocab=("x", 0, 2.5), causal=True),
    SamplerConfig(vocab=(-1, 0, 0.5), max_seq_len=3),
    SamplerConfig(vocab_size=10, max_seq_len=10),
)
seeds = st.integers(0, 10**9)


def inputs_of(config: SamplerConfig) -> tuple[np.ndarray, np.ndarray]:
    return trial_inputs(len(config.tokens), config.max_seq_len)


# the same every time


@settings(max_examples=8)
@given(seeds, st.sampled_from(CONFIGS))
def test_a_seed_gives_the_same_draws(seed: int, config: SamplerConfig) -> None:
    backwards = dict(reversed(config.weights.items())), dict(reversed(config.families.items()))
    other = replace(config, weights=backwards[0], families=backwards[1], vocab=config.tokens)
    assert list(itertools.islice(draws(seed, config), 4)) == list(itertools.islice(draws(seed, other), 4))


def test_a_seed_gives_one_program() -> None:
    assert sample_program(7) == sample_program(7) == sample_compiled(7).program
    assert len({sample_draw(seed).text() for seed in range(30)}) > 27


def test_the_first_accepted_draw_is_sampled() -> None:
    for seed in range(4):
        accepted = [d.program for d in itertools.islice(draws(seed), 10) if d.rejected is None]
        assert accepted[0] == sample_draw(seed)
        assert sample_program(seed) in accepted


# what is accepted


@settings(max_examples=15)
@given(seeds, st.sampled_from(CONFIGS))
def test_accepted_programs_pass_every_check(seed: int, config: SamplerConfig) -> None:
    program = sample_draw(seed, config)
    assert config.min_ops <= size_of(program) <= config.max_ops
    assert (program.vocab, program.max_seq_len, program.causal) == (config.tokens, config.max_seq_len, config.causal)
    assert canonical(program) == program
    assert parse_program(program.text(), config.tokens, config.max_seq_len, config.causal) == program
    assert_operations_differ(program, *inputs_of(config))
    assert_output_varies(program, *inputs_of(config), config)


def assert_operations_differ(program: rasp.Program, ids: np.ndarray, lengths: np.ndarray) -> None:
    """Each S-op has two values and is no other, nor an input; each selector selects something, and is no other."""
    valid, results = run_nodes(program, ids, lengths)
    pairs = valid[:, None] & valid[None]  # [query, key, batch]
    pairs = pairs & np.tril(np.ones(pairs.shape[:2], dtype=bool))[:, :, None] if program.causal else pairs
    sops = [ids.T[valid].tolist(), np.nonzero(valid)[0].tolist()]
    sops[0] = [program.exact_vocab[i] for i in sops[0]]
    selectors = []
    for node, result in zip(program.nodes, results, strict=True):
        if node.is_selector:
            selectors.append(result[pairs].tolist())
            assert True in selectors[-1], program.text()
            assert False in selectors[-1] or node.params[0].text == "true", program.text()
        elif node.op not in ("tokens", "indices", *ENCODINGS):
            sops.append([result.values[code] for code in result.codes[valid]])
            assert len(set(sops[-1])) > 1, program.text()
    for group in (sops, selectors):
        assert all(a != b for a, b in itertools.combinations(group, 2)), program.text()


def assert_output_varies(program: rasp.Program, ids: np.ndarray, lengths: np.ndarray, config: SamplerConfig) -> None:
    """The output is rarely None and not one value nearly everywhere."""
    rows = [row[:n].tolist() for row, n in zip(program.run_batch(ids, lengths), lengths, strict=True)]
    flat = [value for row in rows for value in row]
    assert flat.count(None) <= config.max_none * len(flat)
    assert all(row.count(None) <= config.max_none * len(row) for row in rows if len(row) > 1)
    assert Counter(flat).most_common(1)[0][1] <= config.max_share * len(flat)
    if not any(isinstance(value, str) for value in flat):
        whole = [[value or 0 for value in row] for row in rows if len(row) == config.max_seq_len]
        spread = sum(statistics.pstdev(column) for column in zip(*whole, strict=True))
        assert spread >= config.min_deviation - 1e-9


@settings(max_examples=6)
@given(seeds, st.sampled_from(CONFIGS))
def test_accepted_programs_compile_within_the_limits(seed: int, config: SamplerConfig) -> None:
    compiled = sample_compiled(seed, config)
    shape = compiled.config
    assert shape.d_model <= 64 and shape.d_mlp <= 128 and shape.n_layers <= 8 and fits(compiled, config)
    assert mismatches(compiled, *random_inputs(compiled.program, 60)) == 0, compiled.program.text()


@settings(max_examples=25)
@given(seeds, st.sampled_from(CONFIGS))
def test_what_a_draw_knows_of_its_s_ops_holds(seed: int, config: SamplerConfig) -> None:
    growth = Growth(random.Random(seed), config, 8)
    for _ in range(12):
        growth.step()
    for item in growth.items:
        program = rasp.Program(item.sop, config.tokens, config.max_seq_len, config.causal)
        found = set(run_codes(program, *inputs_of(config))[1])
        assert item.may_be_none or None not in found, program.text()
        assert not item.is_known or found - {None} <= set(item.values), program.text()
        assert item.kind != "bool" or found <= {0, 1, None}, program.text()


# what is rejected

DIGITS = (0, 1, 2, 3, 4)
SHIFT = "aggregate(select(indices, indices, k + {} == q), tokens)"
LETTERS = "map({0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e'}, tokens)"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("out = map(x * 0, tokens)", "constant"),
        ("out = selector_width(select(tokens, tokens, k > 9))", "constant"),
        ("out = selector_width(select(tokens, tokens, k < 9))", "constant"),
        ("out = aggregate(select(indices, indices, ==), tokens)", "identity"),
        ("a = map(x + 1, indices)\nout = map(x - 1, a)", "identity"),
        ("a = map(x > 1, tokens)\nb = map(x >= 2, tokens)\nout = linear(1, 2, a, b)", "repeats"),
        ("out = selector_width(select(tokens, tokens, true))\n", "nearly constant"),
        ("a = selector_width(select(tokens, tokens, true))\nout = linear(1, 1, a, length)", "repeats"),
        (f"out = {SHIFT.format(2)}", "mostly none"),
        ("out = map({0: 1, 1: none, 2: none, 3: none, 4: 0}, tokens)", "mostly none"),
        ("out = map(x == 2, selector_width(select(tokens, tokens, k == 0)))", None),
        ("out = map(x == 5, selector_width(select(tokens, tokens, k == 0)))", "nearly constant"),
        ("out = map(x / 9, tokens)", None),
        ("out = map(x / 99, tokens)", "nearly constant"),
        (f"a = {SHIFT.format(1)}\nout = selector_width(select(a, a, ==))", "undefined"),
        (f"out = aggregate(select(tokens, tokens, <=), {LETTERS})", "undefined"),
        ("out = map(1 / x, tokens)", "undefined"),
        ("out = selector_width(select(tokens, tokens, ==))", None),
        (f"out = {SHIFT.format(1)}", None),
        (f"out = map(x == 'b', {LETTERS})", None),
        ("out = numerical(aggregate(select(tokens, tokens, true), tokens))", None),
    ],
)  # fmt: skip
def test_reasons_of_rejection(text: str, reason: str | None) -> None:
    assert rejection(parse_program(text, DIGITS, 5), SamplerConfig()) == reason


def test_reasons_can_be_counted() -> None:
    found = Counter(drawn.rejected for seed in range(25) for drawn in itertools.islice(draws(seed), 4))
    assert set(found) - {None} <= set(REASONS) and len(found) > 4
    assert found[None] > 25
    for drawn in itertools.islice(draws(0), 20):
        assert (drawn.program is None) == (drawn.rejected == "size")


def test_limits_can_be_changed() -> None:
    shift = parse_program(f"out = {SHIFT.format(2)}", DIGITS, 5)
    assert rejection(shift, SamplerConfig(max_none=1.0)) is None
    hist = parse_program("out = selector_width(select(tokens, tokens, ==))", DIGITS, 5)
    assert rejection(hist, SamplerConfig(max_share=0.3)) == "nearly constant"
    assert rejection(hist, SamplerConfig(min_deviation=99.0)) == "nearly constant"


# distinct programs


def test_sampled_programs_are_distinct_functions() -> None:
    config = SamplerConfig(vocab_size=3, max_seq_len=3, max_ops=4)
    programs = [compiled.program for compiled in sample_programs(40, 1, config)]
    assert len({program.function_hash() for program in programs}) == len(programs) == 40
    assert programs[:20] == [compiled.program for compiled in sample_programs(20, 1, config)]
    assert programs[:5] != [compiled.program for compiled in sample_programs(5, 2, config)]
    assert list(sample_programs(0, 1)) == []


def test_a_small_space_is_exhausted() -> None:
    config = SamplerConfig(vocab_size=2, max_seq_len=2, min_ops=2, max_ops=2, weights={"map": 9.0}, max_draws=60)
    found = []
    with pytest.raises(InputError, match=r"no new function in 60 programs after \d+"):
        for compiled in sample_programs(1000, 0, config):
            found.append(compiled.program.function_hash())
    assert 1 < len(set(found)) == len(found) < 30


def test_giving_up_is_an_error() -> None:
    with pytest.raises(InputError, match="no program accepted in 5 draws"):
        sample_program(0, SamplerConfig(max_d_model=2, max_draws=5))
    with pytest.raises(InputError, match="no program accepted"):
        sample_draw(0, SamplerConfig(max_share=0.0, max_draws=5))


# what occurs

PUBLISHED_MAPS = (
    "x + 1, x - 1, x + 0.5, x * 2, x == 0, x == 1, x == 2, x == 3, x != 2, x != 3, x > 2, x > 3, x < 2, x < 3, "
    "not x, x > 3.5, x < 3.5, x > 0.5, int(x)"
)
PUBLISHED_SEQUENCE_MAPS = "x * y, x + y % 10, (x + y) % 10, x - y, x or y, x and y"


def drawn_nodes(config: SamplerConfig, count: int) -> list[tuple[Any, rasp.Program]]:
    rng = random.Random(0)
    programs = (draw(rng, config, rng.randint(config.min_ops, config.max_ops)) for _ in range(count))
    return [(node, program) for program in programs if program is not None for node in program.nodes]


RARER = {"sum": 6.0, "categorical_to_bool": 4.0, "float_to_categorical": 4.0}
"""Families with functions that differ from simpler ones on large numbers only."""


def test_the_published_mixture_is_covered() -> None:
    found = drawn_nodes(SamplerConfig(min_ops=8), 200)
    texts: dict[str, set[str]] = {op: set() for op in ("map", "sequence_map", "select")}
    for node, _ in found + drawn_nodes(SamplerConfig(min_ops=8, families=RARER), 130):
        if node.op in texts:
            texts[node.op].add(node.params[0].text)
    assert texts["map"] >= set(PUBLISHED_MAPS.split(", "))
    assert texts["sequence_map"] >= set(PUBLISHED_SEQUENCE_MAPS.split(", "))
    assert texts["select"] >= {"==", "!=", "<", "<=", ">", ">=", "true", "k + 1 == q", "k == 2"}
    assert {weight for node, _ in found if node.op == "linear" for weight in node.params} == set(LINEAR_WEIGHTS)
    selectors = {"select", "selector_and", "selector_or", "selector_not", "selector_width"}
    others = {"tokens", "indices", "length", "map", "sequence_map", "linear", "aggregate", "numerical", "categorical"}
    assert {node.op for node, _ in found} == selectors | others
    assert {type(node.params[0]) for node, _ in found if node.op == "aggregate"} >= {type(None), int}


def test_encodings_occur_inside_and_at_the_end() -> None:
    found = drawn_nodes(SamplerConfig(categorical=0.5, families={"bool_encoding": 2.0, "float_encoding": 1.0}), 150)
    last = Counter(node.op for node, program in found if node is program.nodes[-1])
    inside = Counter(node.op for node, program in found if node is not program.nodes[-1])
    assert all(last[encoding] and inside[encoding] for encoding in ENCODINGS)
    for share, encoding in ((1.0, "numerical"), (0.0, "categorical")):
        config = SamplerConfig(numerical=share, categorical=1 - share, weights={"linear": 3.0}, max_ops=4)
        last = Counter(node.op for node, program in drawn_nodes(config, 60) if node is program.nodes[-1])
        assert last[encoding] > 0 and (share == 1 or last["numerical"] < sum(last.values()) / 2)
        assert share < 1 or last["categorical"] == 0


def test_every_size_occurs() -> None:
    sizes = Counter(size_of(sample_draw(seed)) for seed in range(30))
    assert sorted(sizes) == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("family", [*MAPS, *SEQUENCE_MAPS, *PREDICATES], ids=lambda family: family.name)
def test_a_family_is_drawn_unless_its_weight_is_zero(family: Any) -> None:
    vocab = WORDS if family.takes == ("word",) else None
    for weight in (20.0, 0.0):
        growth = Growth(random.Random(1), SamplerConfig(vocab=vocab, families={family.name: weight}), 9)
        for _ in range(30):
            growth.step()
        everything = growth.items * 2  # two of a kind, too
        pairs = itertools.product(everything, everything) if family not in MAPS else ((x,) for x in everything)
        drawn = [growth.choose([family], items) for items in pairs if all(x.kind in family.takes for x in items)]
        assert drawn and any(drawn) == (weight > 0)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_without_weight_is_not_drawn(operation: str) -> None:
    def ops_of(weights: dict[str, float]) -> set[str]:
        return {node.op for node, _ in drawn_nodes(SamplerConfig(weights=weights, max_ops=5), 30)}

    if operation.endswith("aggregate"):
        assert "aggregate" not in ops_of({"numerical_aggregate": 0.0, "categorical_aggregate": 0.0})
        operation = "aggregate"
    else:
        assert operation not in ops_of({operation: 0.0})
    assert operation in ops_of({})


@settings(max_examples=6)
@given(seeds)
def test_strings_are_never_reckoned_with(seed: int) -> None:
    program = sample_draw(seed, CONFIGS[2])
    for node in program.nodes:
        if node.op in ("linear", "map", "sequence_map") and any(program.nodes[i].op == "tokens" for i in node.args):
            assert node.op != "linear"
            assert node.params[0].text.split(" ")[1] in ("==", "!=") or node.params[0].text.startswith("{'a':")


def test_length_is_not_drawn_under_causal_attention() -> None:
    assert "length" not in {node.op for node, _ in drawn_nodes(SamplerConfig(causal=True), 60)}
    assert "length" in {node.op for node, _ in drawn_nodes(SamplerConfig(), 60)}


# configuration


def test_a_table_of_a_spec_is_a_configuration() -> None:
    table = tomllib.loads(
        'vocab = ["a", "b"]\nmax_ops = 5\ncausal = true\nweights = {linear = 0.0}\n[families]\ntable = 2.0\n'
    )
    config = SamplerConfig(**{name: tuple(v) if isinstance(v, list) else v for name, v in table.items()})
    assert config.tokens == ("a", "b") and config.weights == OPERATIONS | {"linear": 0}
    assert config.families == default_families() | {"table": 2}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"min_ops": 1}, "min_ops = 1"),
        ({"min_ops": 5, "max_ops": 4}, "2 <= min_ops <= max_ops"),
        ({"vocab_size": 1}, "vocab_size = 1"),
        ({"vocab": ("a",)}, "vocab holds 1"),
        ({"vocab": ("a", "BOS")}, "must not hold 'BOS'"),
        ({"vocab": ("a", "a")}, "twice"),
        ({"max_seq_len": 0}, "max_seq_len"),
        ({"max_none": 1.5}, "max_none = 1.5"),
        ({"numerical": -0.1}, "numerical = -0.1"),
        ({"max_draws": 0}, "max_draws = 0"),
        ({"weights": {"mop": 1.0}}, "weights: unknown 'mop'; expected some of map, "),
        ({"weights": {"map": -1.0}}, "map = -1.0"),
        ({"weights": dict.fromkeys(OPERATIONS, 0.0)}, "every weight is 0"),
        ({"families": {"maps": 1.0}}, "families: unknown 'maps'"),
        ({"families": {"table": float("nan")}}, "table = nan"),
        ({"families": dict.fromkeys(SELECTORS, 0.0)}, "one of select"),
    ],
)  # fmt: skip
def test_refused_configurations(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        SamplerConfig(**fields)
    assert message in str(caught.value)


def test_trial_inputs_hold_the_corners() -> None:
    inputs = [tuple(row[:n].tolist()) for row, n in zip(*trial_inputs(3, 4), strict=True)]
    assert {(0,), (1,), (2,), (0, 0, 0, 0), (2, 2, 2, 2), (0, 1, 2, 0), (0, 2, 1, 0)} <= set(inputs)
    assert {len(tokens) for tokens in inputs} == {1, 2, 3, 4}


def test_sampling_is_fast() -> None:
    start = time.perf_counter()
    for seed in range(10):
        sample_compiled(seed)
    assert time.perf_counter() - start < 15  # 0.2 s on a free core without the tests' type checks
