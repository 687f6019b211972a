"""Routes say all that a small target does, whatever its basis, and are not made for others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import oracle.routes
from oracle.batch import collate
from oracle.neutral import fold
from oracle.route_encoder import RouteEncoder
from oracle.routes import KINDS, MAX_NODES, SOME_HEAD, Routes, Ways, is_plain, routes_of, stacked
from oracle.symmetry import random_gauge
from tests.oracle.targets import configs, label_ids, random_encoder, random_weights
from tests.oracle.test_imported import LLAMA
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.errors import InputError
from tracr_tasks.sampler import sample_compiled
from tracr_tasks.text import parse_program
from tracr_tasks.transformer import TargetConfig, forward
from zoo.compiled import target_of
from zoo.target import Target

HEAD, NEURON, OUTPUT = (KINDS.index(kind) for kind in ("head", "neuron", "output token"))


def tables(ways: Ways, head: int) -> dict[tuple[int, int], Tensor]:
    """Tables of a head, by the ways of rows and columns."""
    return {
        (int(ways.row[i]), int(ways.column[i])): ways.table[i]
        for i in range(len(ways.head))
        if int(ways.head[i]) == head
    }


def run(routes: Routes, config: TargetConfig, ids: Tensor) -> Tensor:
    """Logits of a target of at most two layers without norms, from its routes alone: no weight is looked at.

    A state is how much of each writer it holds, by the way it came: directly, from a head, from a head that had it from
    another.
    """
    n, length = len(routes.kind), ids.shape[1]
    held = {(0, 0): torch.zeros(len(ids), length, n, dtype=routes.read.dtype)}
    direct = held[(0, 0)]
    direct.scatter_(2, ids[..., None], 1.0)
    for position in range(length):
        direct[:, position, config.d_vocab + position] = 1
    direct[..., config.d_vocab + config.n_ctx] = 1  # the target: the constant stream
    act = torch.relu if config.act_fn == "relu" else torch.nn.functional.gelu

    def taken() -> Tensor:
        found = routes.bias + direct @ routes.read
        for (head, came), coefficients in held.items():
            if head and (came, 0) in tables(routes.moved, head):
                found = found + coefficients @ tables(routes.moved, head)[(came, 0)]
        return found

    for layer in range(config.n_layers):
        ways = {0: direct} | {h: sum(held[key] for key in held if key[0] == h) for h in {h for h, _ in held if h}}
        new = {}
        for way in range(1, len(routes.head_node)):
            if int(routes.layer[routes.head_node[way]]) != layer:
                continue
            scores = torch.zeros(len(ids), length, length, dtype=direct.dtype)
            for (row, column), table in tables(routes.compared, way).items():
                scores = scores + ways[row] @ table @ ways[column].transpose(1, 2)
            if config.attention_dir == "causal":
                scores = scores + torch.full((length, length), -torch.inf).triu(1)
            pattern = scores.softmax(-1)
            new |= {(way, came): pattern @ coefficients for came, coefficients in ways.items()}
        held |= new
        at = (routes.kind == NEURON) & (routes.layer == layer)
        direct[..., at] = act(taken()[..., at])
    return taken()[..., routes.kind == OUTPUT]


@settings(max_examples=25)
@given(config=configs(norm=None), seed=st.integers(0, 1000), moves=st.booleans())
def test_the_routes_alone_run_the_target(config: TargetConfig, seed: int, moves: bool) -> None:
    config = replace(config, n_layers=min(2, config.n_layers), normalization_type=None)
    weights = random_weights(config, seed)
    shown = random_gauge(config, weights, seed) if moves else weights
    ids = torch.randint(0, config.d_vocab, (8, config.n_ctx), generator=torch.Generator().manual_seed(seed))
    found = run(routes_of(fold(config, shown)), config, ids)
    torch.testing.assert_close(found.softmax(-1), forward(config, weights, ids).softmax(-1), rtol=0, atol=1e-4)


PROGRAM = """v1 = map(x == 3, tokens)
v2 = aggregate(select(tokens, indices, ==), v1, default=0)
out = sequence_map(x and y, v1, v2)"""


def test_a_compiled_program_has_few_ways() -> None:
    """Each selector of a compiled program compares one variable with another, and what is not used has no table."""
    target = target_of(compile_program(parse_program(PROGRAM, (0, 1, 2, 3, 4), 5)))
    routes = routes_of(fold(target.config, target.weights))
    assert routes.head_on.sum() == 1 and routes.compared.table.shape[0] == routes.moved.table.shape[0] == 1
    again = routes_of(fold(target.config, random_gauge(target.config, target.weights, 3)))
    assert again.compared.table.shape == routes.compared.table.shape
    for name in ("read", "bias"):
        before, after = (getattr(r, name).flatten().sort().values for r in (routes, again))
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


def test_heads_of_many_ways_are_followed_without_being_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TargetConfig(8, 3, 2, 2, 4, 4, 5, 3, normalization_type=None)
    folded = fold(config, random_weights(config, 0))
    apart = routes_of(folded)
    monkeypatch.setattr(oracle.routes, "MAX_WAYS", 5)
    together = routes_of(folded)
    assert {*together.compared.row.tolist()} == {0, SOME_HEAD} and {*apart.compared.row.tolist()} == set(range(5))
    for head in range(1, 7):
        one, other = tables(apart.moved, head), tables(together.moved, head)
        summed = sum(table for (row, _), table in one.items() if row)
        if head > 2:
            torch.testing.assert_close(other[(SOME_HEAD, 0)], summed, rtol=0, atol=1e-9)
        torch.testing.assert_close(other[(0, 0)], one[(0, 0)], rtol=0, atol=1e-9)
    encoder, table = random_encoder(torch.float64, RouteEncoder)
    moved = fold(config, random_gauge(config, random_weights(config, 0), 1))
    with torch.no_grad():
        before, after = (encoder(collate([t], [label_ids(config)]), table) for t in (folded, moved))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-9)


def test_padding_is_taken_out_and_put_in() -> None:
    one, other = (
        fold(c, random_weights(c, 0))
        for c in (TargetConfig(4, 1, 1, 2, 3, 4, 5, 3), TargetConfig(6, 2, 2, 2, 5, 4, 6, 2))
    )
    both = stacked([one.routes, other.routes])
    assert (both.kind >= 0).sum(1).tolist() == [len(one.routes.kind), len(other.routes.kind)]
    assert not both.read[0, len(one.routes.kind) :].any() and not both.head_on[0, 2:].any()
    assert one.routes is one.routes


def test_large_and_extended_targets_have_none() -> None:
    wide = TargetConfig(4, 1, 1, 2, MAX_NODES, 4, 5, 3)
    for config in (wide, LLAMA, TargetConfig(4, 1, 1, 2, 3, 4, 5, 3, normalize_states=True)):
        folded = fold(config, random_weights(config, 0, torch.float32))
        assert not is_plain(folded) and folded.routes is None
        encoder, table = random_encoder(torch.float32, RouteEncoder)
        with pytest.raises(InputError, match=f"target 1: its routes are not read, expected at most {MAX_NODES} labels"):
            encoder(collate([folded], [label_ids(config)]), table)
    least = TargetConfig(4, 1, 1, 2, 3, 4, 5, 3)
    assert is_plain(fold(least, random_weights(least, 0)), spare=MAX_NODES - 17)
    assert not is_plain(fold(least, random_weights(least, 0)), spare=MAX_NODES - 16)


def entries(target: Target, gauge: int) -> list[Tensor]:
    """What is not zero in each table of a target's routes, in ascending order: heads and neurons have none."""
    routes = fold(target.config, random_gauge(target.config, target.weights, gauge)).routes
    assert routes is not None
    tables = (routes.read, routes.bias, routes.compared.table, routes.moved.table)
    return [table[table != 0].sort().values for table in tables]


def test_rounding_is_told_from_weights_in_every_gauge() -> None:
    """What a gauge leaves of a zero is no route: 1e-7 that is there in one gauge alone is as loud as a weight."""
    for seed in range(40):
        target = target_of(sample_compiled(seed))
        if is_plain(fold(target.config, target.weights)):
            for one, other in zip(entries(target, 1), entries(target, 2), strict=True):
                assert one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-4), seed
