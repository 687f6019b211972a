"""Rounded and sorted, the routes of a target are the same bits in every gauge."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oracle.neutral import Neutral, fold
from oracle.order import PARTS, colours_of, in_order, rounded
from oracle.routes import KINDS, Routes, Ways, writing
from oracle.symmetry import random_gauge
from tests.oracle.targets import configs, random_weights
from tracr_tasks.sampler import sample_compiled
from tracr_tasks.transformer import TargetConfig
from zoo.compiled import target_of
from zoo.target import Target

SEEDS = st.integers(0, 1_000_000)


def same(one: Routes | Ways, other: Routes | Ways) -> bool:
    """Whether all fields are the same bits."""
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if not (torch.equal(a, b) if isinstance(a, Tensor) else same(a, b)):
            return False
    return True


def routes(target: Neutral) -> Routes:
    """Those of a target that has them, rounded."""
    found = target.routes
    assert found is not None
    return rounded(found)


def permuted(target: Neutral, seed: int) -> Neutral:
    """A target whose heads and neurons stand in another order, in each layer."""
    rng, layers = torch.Generator().manual_seed(seed), []
    for layer in target.layers:
        heads, neurons = (torch.randperm(n, generator=rng) for n in (len(layer.W_Q), len(layer.b_in)))
        by_head = {name: getattr(layer, name)[heads] for name in ("W_Q", "b_Q", "W_K", "b_K", "W_V", "W_O")}
        by_neuron = {"W_in": layer.W_in[:, neurons], "b_in": layer.b_in[neurons], "W_out": layer.W_out[neurons]}
        layers.append(replace(layer, **by_head, **by_neuron))
    return replace(target, layers=tuple(layers))


def compiled(seed: int) -> Target:
    """A compiled program."""
    return target_of(sample_compiled(seed))


@given(configs(norm=None), SEEDS, SEEDS, SEEDS)
@settings(max_examples=40)
def test_every_gauge_is_read_as_the_same_bits(config: TargetConfig, seed: int, gauge: int, other: int) -> None:
    weights = random_weights(config, seed)
    one, two = (in_order(fold(config, random_gauge(config, weights, g))) for g in (gauge, other))
    assert same(routes(one), routes(two))


@given(configs(), SEEDS)
@settings(max_examples=40)
def test_an_order_is_one_of_what_is_there(config: TargetConfig, seed: int) -> None:
    target = fold(config, random_weights(config, seed))
    ordered = in_order(target)
    for layer, sorted_ in zip(target.layers, ordered.layers, strict=True):
        was = sorted(torch.cat([layer.W_in, layer.b_in[None], layer.W_out.T]).T.tolist())
        now = sorted(torch.cat([sorted_.W_in, sorted_.b_in[None], sorted_.W_out.T]).T.tolist())
        assert was == now
        was, now = (
            sorted(
                torch.cat([getattr(each, name).flatten(1) for name in ("W_Q", "b_Q", "W_K", "W_V", "W_O")], 1).tolist()
            )
            for each in (layer, sorted_)
        )
        assert was == now
    again = in_order(ordered)
    assert all(torch.equal(a.W_in, b.W_in) for a, b in zip(ordered.layers, again.layers, strict=True))


def test_compiled_programs_are_mostly_read_as_the_same_bits_in_float32() -> None:
    same_bits, as_they_stood = [], []
    for seed in range(60):
        target = compiled(seed)
        pair = [fold(target.config, random_gauge(target.config, target.weights, g)) for g in (seed, 1_000 + seed)]
        as_they_stood.append(same(*(each.routes for each in pair)))
        same_bits.append(same(*(routes(in_order(each)) for each in pair)))
    assert sum(same_bits) >= 57, sum(same_bits)
    assert sum(as_they_stood) <= 10, sum(as_they_stood)


@given(SEEDS, SEEDS)
@settings(max_examples=30)
def test_colours_go_with_the_components(seed: int, order: int) -> None:
    target = compiled(seed)
    plain = fold(target.config, target.weights)
    own, moved = (colours_of(routes(each)) for each in (plain, permuted(plain, order)))
    is_label = plain.routes.kind.numpy() < KINDS.index("head")
    assert (own[is_label] == moved[is_label]).all()
    assert sorted(own) == sorted(moved)


def test_colours_tell_programs_apart() -> None:
    found = [tuple(sorted(colours_of(routes(fold((t := compiled(seed)).config, t.weights))))) for seed in range(30)]
    assert len(set(found)) >= 28, len(set(found))


def test_what_writes_nothing_comes_last() -> None:
    config = TargetConfig(d_model=6, n_layers=1, n_heads=3, d_head=2, d_mlp=5, n_ctx=3, d_vocab=4, d_vocab_out=3)
    weights = random_weights(config, 0)
    weights["blocks.0.attn.W_O"][0], weights["blocks.0.mlp.W_out"][[0, 2]] = 0, 0
    (layer,) = in_order(fold(config, weights)).layers
    assert [on.tolist() for on in writing(layer)] == [[True, True, False], [True, True, True, False, False]]


def test_numbers_are_rounded_to_a_thousandth_and_zeros_are_none() -> None:
    target = compiled(3)
    found = fold(target.config, target.weights).routes
    assert found is not None
    for name in ("read", "bias"):
        exact, near = getattr(found, name), getattr(rounded(found), name)
        assert ((exact - near).abs() <= exact.abs() / PARTS).all()
        assert ((exact == 0) == (near == 0)).all()


def test_a_target_without_routes_stays_as_it_is() -> None:
    config = TargetConfig(4, 1, 1, 2, 3, 4, 5, 3, normalize_states=True)
    target = fold(config, random_weights(config, 1))
    assert in_order(target) is target
