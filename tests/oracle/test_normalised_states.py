"""Targets whose residual states are normalised: their gauges, and that the encoder sees all that is no gauge."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oracle.batch import collate
from oracle.controls import CONTROLS, STATE_CONTROLS, controls_of
from oracle.encoder import WeightEncoder
from oracle.gauge_parts import reads_of
from oracle.neutral import fold
from oracle.rivals import BLIND, ENCODERS
from oracle.symmetry import change_blind_reads, gauges_of, move_ones_direction, random_gauge
from tests.oracle.targets import D_LLM, configs, label_ids, random_weights
from tests.oracle.test_imported import (
    FAMILIES,
    SMALL,
    assert_same,
    assert_seen,
    encode,
    encode_by,
    encode_folded,
    encoder_of,
    extended,
    probabilities,
)
from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig, Weights
from zoo.readers import to_hooked
from zoo.target import Target, Vocab

NORMS = (None, "LN", "LNPre", "RMS", "RMSPre")
HERE = {"S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "R1"}
UNDER: dict[str | None, set[str]] = {None: {"L3"}, "LN": {"L1", "L2", "L3"}, "LNPre": {"L2", "L3"}}
UNDER |= {"RMS": {"L1", "L3"}, "RMSPre": {"L3"}}
ALONE = [(norm, name) for norm in NORMS for name in sorted(HERE | UNDER[norm])]


@st.composite
def kinds(draw: Any) -> TargetConfig:
    """Any mixture of what a `TargetConfig` can say, with normalised states."""
    return replace(draw(extended()), normalize_states=True)


def small(norm: Any, **more: Any) -> TargetConfig:
    return TargetConfig(9, 2, 2, 3, 5, 5, 6, 4, normalization_type=norm, normalize_states=True, **more)


@pytest.mark.parametrize(("norm", "name"), ALONE)
def test_every_gauge_alone(norm: str | None, name: str) -> None:
    config = replace(small(norm), d_model=40 if name == "S9" else 9)
    assert set(gauges_of(config)) == HERE | UNDER[norm]
    for seed in (1,):
        weights = random_weights(config, seed)
        other = gauges_of(config)[name](config, weights, torch.Generator().manual_seed(seed))
        assert max(float((other[n] - w).abs().max()) for n, w in weights.items()) > 1e-3, "the gauge moved nothing"
        assert_same(config, weights, other)


@settings(max_examples=8)
@given(config=kinds(), seed=st.integers(0, 1000))
def test_all_gauges_composed(config: TargetConfig, seed: int) -> None:
    weights = random_weights(config, seed)
    assert "R2" not in gauges_of(config) and "R3" not in gauges_of(config) and "L3" in gauges_of(config)
    assert_same(config, weights, random_gauge(config, weights, seed))


@settings(max_examples=6)
@given(config=kinds(), seed=st.integers(0, 1000))
def test_all_gauges_composed_in_float32(config: TargetConfig, seed: int) -> None:
    weights = random_weights(config, seed, torch.float32)
    moved = random_gauge(config, weights, seed)
    torch.testing.assert_close(encode(config, moved), encode(config, weights), rtol=0, atol=1e-5)


@settings(max_examples=8)
@given(config=configs(), seed=st.integers(0, 1000))
def test_the_flag_is_seen(config: TargetConfig, seed: int) -> None:
    """The same weights with and without normalised states are two functions."""
    weights, other = random_weights(config, seed), replace(config, normalize_states=True)
    assert (probabilities(other, weights) - probabilities(config, weights)).abs().max() > 1e-7
    assert (encode(other, weights) - encode(config, weights)).abs().max() > 1e-3


@pytest.mark.parametrize("name", [*CONTROLS, *STATE_CONTROLS])
@pytest.mark.parametrize("norm", NORMS)
def test_controls_are_seen(norm: str | None, name: str) -> None:
    config = small(norm, act_fn="gelu")
    control = (CONTROLS | STATE_CONTROLS)[name]
    weights = random_weights(config, 1)
    other = control(config, weights, torch.Generator().manual_seed(2))
    if name in CONTROLS and name not in controls_of(config):
        assert name == "rotation" and norm not in ("LN", "LNPre")
        assert_same(config, weights, other)
    else:
        assert_seen(config, weights, config, other)


def test_the_ones_count_only_where_states_are_normalised() -> None:
    """Under LayerNorm alone what is written along the ones is a gauge; normalised states see it."""
    config = replace(small("LNPre"), normalize_states=False)
    weights = random_weights(config, 3)
    other = STATE_CONTROLS["ones"](config, weights, torch.Generator().manual_seed(4))
    assert_same(config, weights, other)
    moved = move_ones_direction(replace(config, normalize_states=True), weights, torch.Generator().manual_seed(4))
    changed = Counter(n.rsplit(".", 1)[-1] for n, w in weights.items() if not torch.equal(moved[n], w))
    assert set(changed) == {"W_Q", "W_K", "W_V", "W_in", "W_U"}


@pytest.mark.parametrize("norm", [None, "RMSPre"])
@pytest.mark.parametrize("name", ["blocks.1.mlp.W_out", "blocks.1.attn.W_O", "blocks.1.mlp.b_out", "blocks.1.attn.b_O"])
def test_a_write_that_nothing_reads_is_seen_by_its_length(norm: Any, name: str) -> None:
    """In the last block, along what the outputs do not read (nor, for attention, the neurons)."""
    config = replace(small(norm), d_model=20)
    weights = random_weights(config, 0)
    reads = torch.cat([weights["unembed.W_U"], weights["blocks.1.mlp.W_in"]], 1)
    unread = torch.linalg.svd(reads)[0][:, -1]
    other = dict(weights) | {name: weights[name] + 2 * unread}
    assert_seen(config, weights, config, other)


@settings(max_examples=12)
@given(config=kinds(), seed=st.integers(0, 1000))
def test_whatever_changes_the_function_is_seen(config: TargetConfig, seed: int) -> None:
    """3% of one number of any tensor."""
    weights = random_weights(config, seed)
    name = sorted(weights)[seed % len(weights)]
    flat = weights[name].flatten()
    at = torch.arange(len(flat)) == seed % len(flat)
    other = dict(weights) | {name: torch.where(at, 1.03 * flat, flat).reshape(weights[name].shape)}
    moved = (probabilities(config, other) - probabilities(config, weights)).abs().max()
    assert moved < 1e-6 or (encode(config, other) - encode(config, weights)).abs().max() > 1e-4 * moved


@settings(max_examples=5)
@given(one=kinds(), other=extended(), plain=configs(), seed=st.integers(0, 1000))
def test_kinds_mix_in_a_batch(one: TargetConfig, other: TargetConfig, plain: TargetConfig, seed: int) -> None:
    folded = [(fold(c, random_weights(c, seed)), label_ids(c)) for c in (one, other, plain)]
    alone = torch.cat([encode_folded(x) for x in folded])
    torch.testing.assert_close(encode_folded(*folded), alone, rtol=0, atol=1e-9)


@settings(max_examples=4)
@given(config=kinds(), seed=st.integers(0, 1000))
def test_the_rival_that_is_blind_to_the_basis_stays_blind(config: TargetConfig, seed: int) -> None:
    weights = random_weights(config, seed)
    before, after = (encode_by("circuits", (config, w)) for w in (weights, random_gauge(config, weights, seed)))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-8)


def test_rivals_read_them_too() -> None:
    for name in ENCODERS.keys() - BLIND:
        for norm in NORMS:
            config = small(norm)
            assert bool(encode_by(name, (config, random_weights(config, 0))).isfinite().all())


@pytest.mark.parametrize("family", ["qwen3", "gpt_neox"])
def test_other_peoples_kinds_with_normalised_states(family: str) -> None:
    config = replace(FAMILIES[family], normalize_states=True)
    weights = random_weights(config, 0)
    assert_same(config, weights, random_gauge(config, weights, 0))
    plain = FAMILIES[family]
    assert_seen(config, weights, plain, weights)


@settings(max_examples=4)
@given(config=kinds(), seed=st.integers(0, 1000))
def test_blind_reads_are_blind(config: TargetConfig, seed: int) -> None:
    """S9 where there is room: every read moves, and nothing else does."""
    config = replace(config, d_model=96, tie_word_embeddings=False)
    weights = random_weights(config, seed)
    moved = change_blind_reads(config, weights, torch.Generator().manual_seed(seed))
    for W, _ in (read for reads in reads_of(config).values() for read in reads):
        assert (moved[W] - weights[W]).abs().max() > 1e-3, W
    assert_same(config, weights, moved)


def test_gradients_are_finite_where_components_write_nothing() -> None:
    config = small("RMSPre")
    weights = random_weights(config, 0, torch.float32)
    for name in ("blocks.0.mlp.W_out", "blocks.1.attn.W_O"):
        weights[name] = weights[name].clone()
        weights[name][0] = 0
    encoder, table = encoder_of(torch.float32)
    plain: Weights = random_weights(replace(config, n_layers=1), 1, torch.float32)
    folded = [fold(config, weights), fold(replace(config, n_layers=1, normalize_states=False), plain)]
    encoder.zero_grad()
    encoder(collate(folded, [label_ids(config)] * 2), table).square().sum().backward()
    missing = [n for n, p in encoder.named_parameters() if p.grad is not None and not bool(p.grad.isfinite().all())]
    assert not missing
    used = {n: p.grad for n, p in encoder.named_parameters() if "gram" in n or "normalised" in n or "states" in n}
    assert used and all(grad is not None and bool((grad != 0).any()) for grad in used.values())
    encoder.zero_grad(set_to_none=True)


def test_an_encoder_saved_before_reads_plain_targets_as_ever_and_normalised_ones_as_under_a_norm() -> None:
    """Without the added maps nothing is added: their features are zero for other targets, their weights for these."""
    from oracle.oracle import ADDED

    encoder, table = encoder_of(torch.float64)
    old = WeightEncoder(SMALL, D_LLM).double()
    new = {n for n in ADDED if "gram" in n or "normalised" in n or "states" in n}
    state: dict[str, Tensor] = encoder.state_dict()
    assert len(new) == 7 and new <= state.keys()
    old.load_state_dict({n: torch.zeros_like(t) if n in new else t for n, t in state.items()})
    config = small(None)
    weights, labels = random_weights(config, 0), label_ids(config)
    plain = fold(replace(config, normalize_states=False), weights)
    with torch.no_grad():
        assert torch.equal(old(collate([plain], [labels]), table), encode_folded((plain, labels)))
        out = old(collate([fold(config, weights)], [labels]), table)
    moved = random_gauge(config, weights, 5)
    with torch.no_grad():
        again = old(collate([fold(config, moved)], [labels]), table)
    torch.testing.assert_close(again, out, rtol=0, atol=1e-9)


def test_transformer_lens_is_refused() -> None:
    config = small("LNPre")
    names = tuple("abcdefgh")
    target = Target(config, random_weights(config, 0, torch.float32), Vocab(names[:6], names[:4]))
    with pytest.raises(TargetError, match="normalize_states = True, expected False"):
        to_hooked(target)
