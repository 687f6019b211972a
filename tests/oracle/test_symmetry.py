"""Gauges leave the target's function as it is; the encoder sees none of them, and sees what is not a gauge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.batch import LabelIds, collate
from oracle.controls import CONTROLS, controls_of
from oracle.encoder import WeightEncoder
from oracle.gauge_parts import reads_of
from oracle.neutral import fold
from oracle.relabelling import relabel_weights
from oracle.route_encoder import RouteEncoder
from oracle.symmetry import change_blind_reads, gauges_of, random_gauge
from tests.oracle.targets import configs, label_ids, random_encoder, random_weights
from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig, Weights, forward

ROOMY = 96
"""A width that the largest of the random targets does not fill with what it writes."""
ALONE = {"R1": {"act_fn": "relu"}, "R2": {"normalization_type": None}, "R3": {"normalization_type": None}}
ALONE |= {"L1": {"normalization_type": "LN"}, "L2": {"normalization_type": "LN"}, "L3": {"normalization_type": "LN"}}
ALONE |= {"S9": {"d_model": ROOMY}}
"""What a target needs to have a gauge, or to have more than the identity of it."""
NAMES = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "R1", "R2", "R3", "L1", "L2", "L3")


@st.composite
def kinds(draw: Any) -> TargetConfig:
    """Any target of `configs`, wherever it is read, with and without padding, and also wider than what it writes."""
    config = draw(configs())
    return replace(
        config,
        d_model=draw(st.sampled_from([config.d_model, config.d_model, ROOMY])),
        read_out=draw(st.sampled_from(["all", "first", "last"])),
        pad_token=draw(st.sampled_from([None, 1])),
    )


@cache
def encoders_of(dtype: torch.dtype) -> tuple[tuple[torch.nn.Module, ...], torch.Tensor]:
    """Those that are blind to every gauge: by channels, and by routes."""
    (channels, table), (routes, _) = random_encoder(dtype, WeightEncoder), random_encoder(dtype, RouteEncoder)
    return (channels, routes), table


def encode(
    config: TargetConfig, weights: Weights, dtype: torch.dtype = torch.float64, labels: LabelIds | None = None
) -> torch.Tensor:
    encoders, table = encoders_of(dtype)
    batch = collate([fold(config, weights)], [labels or label_ids(config)])
    with torch.no_grad():
        return torch.stack([encoder(batch, table) for encoder in encoders])


def some_ids(config: TargetConfig) -> torch.Tensor:
    ids = torch.randint(0, config.d_vocab, (16, config.n_ctx), generator=torch.Generator().manual_seed(5))
    return ids.index_fill(1, torch.tensor([0]), 0)


def log_probabilities(config: TargetConfig, weights: Weights) -> torch.Tensor:
    return forward(config, weights, some_ids(config)).log_softmax(-1)


def assert_same(config: TargetConfig, weights: Weights, other: Weights) -> None:
    """The same function and the same encoding, in float64."""
    before, after = (log_probabilities(config, w) for w in (weights, other))
    torch.testing.assert_close(after.exp(), before.exp(), rtol=0, atol=1e-9)
    torch.testing.assert_close(encode(config, other), encode(config, weights), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=6)
@given(config=kinds(), seed=st.integers(0, 1000))
def test_every_gauge_alone(name: str, config: TargetConfig, seed: int) -> None:
    if name not in gauges_of(config) or name == "S9":
        config = replace(config, **ALONE[name])
    weights = random_weights(config, seed)
    assert_same(config, weights, gauges_of(config)[name](config, weights, torch.Generator().manual_seed(seed)))


def test_every_gauge_is_tested_alone() -> None:
    found = set[str]()
    for norm in (None, "LN", "LNPre", "RMS", "RMSPre"):
        found |= set(gauges_of(TargetConfig(4, 1, 1, 2, 3, 4, 5, 3, normalization_type=norm)))
    assert found == set(NAMES)


@settings(max_examples=12)
@given(config=kinds(), seed=st.integers(0, 1000))
def test_all_gauges_composed(config: TargetConfig, seed: int) -> None:
    weights = random_weights(config, seed)
    assert_same(config, weights, random_gauge(config, weights, seed))


@settings(max_examples=15)
@given(config=kinds(), seed=st.integers(0, 1000))
def test_all_gauges_composed_in_float32(config: TargetConfig, seed: int) -> None:
    size = min(1, (12 / config.d_model) ** 0.5)  # wide targets of the same weights would lose digits by themselves
    drawn = random_weights(config, seed, torch.float32)
    weights = {name: t if name.endswith(".w") else size * t for name, t in drawn.items()}
    before, after = (encode(config, w, torch.float32) for w in (weights, random_gauge(config, weights, seed)))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


@settings(max_examples=8)
@given(config=kinds(), seed=st.integers(0, 1000))
def test_blind_reads_move_only_where_nothing_is_written(config: TargetConfig, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    roomy, full = replace(config, d_model=ROOMY), replace(config, d_model=3, d_vocab=7, n_ctx=7)
    weights = random_weights(roomy, seed)
    moved = change_blind_reads(roomy, weights, rng)
    for W, _ in (read for reads in reads_of(roomy).values() for read in reads):
        assert (moved[W] - weights[W]).abs().max() > 1e-3, W
    if config.normalization_type not in ("LN", "LNPre"):  # the ones direction is never seen behind these
        weights = random_weights(full, seed)
        assert change_blind_reads(full, weights, rng) == weights


@pytest.mark.parametrize("name", ["S9", "L2", "L3", "L1"])
def test_gains_of_zero(name: str) -> None:
    config = TargetConfig(6, 2, 2, 2, 5, 4, 5, 3, normalization_type="LN")
    weights = random_weights(config, 0)
    for norm in reads_of(config):
        weights[f"{norm}.w"][2:4] = 0
    assert_same(config, weights, gauges_of(config)[name](config, weights, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("name", CONTROLS)
@settings(max_examples=8)
@given(config=kinds(), seed=st.integers(0, 1000))
def test_controls_are_seen_where_they_are_no_gauge(name: str, config: TargetConfig, seed: int) -> None:
    weights = random_weights(config, seed)
    other = CONTROLS[name](config, weights, torch.Generator().manual_seed(seed))
    if name not in controls_of(config):
        assert_same(config, weights, other)
        act_fn = "gelu" if name == "neuron scale" else config.act_fn
        config = replace(config, normalization_type="LN", act_fn=act_fn)
        weights = random_weights(config, seed)
        other = CONTROLS[name](config, weights, torch.Generator().manual_seed(seed))
    assert name in controls_of(config)
    assert (log_probabilities(config, other) - log_probabilities(config, weights)).abs().max() > 1e-6
    assert ((encode(config, other) - encode(config, weights)).abs().amax((1, 2, 3)) > 1e-6).all()


def rows(ids: torch.Tensor, fixed: int, order: Sequence[int]) -> torch.Tensor:
    return torch.cat([ids[:fixed], ids[fixed:][list(order)]])


@settings(max_examples=12)
@given(config=kinds(), seed=st.integers(0, 1000))
def test_relabelling_is_exact(config: TargetConfig, seed: int) -> None:
    """The relabelled target answers the relabelled input, and is encoded as the old one if its names go along."""
    weights, rng, labels = random_weights(config, seed), torch.Generator().manual_seed(seed), label_ids(config)
    tokens, positions, outputs = (
        torch.randperm(n, generator=rng).tolist() for n in (config.d_vocab - 2, config.n_ctx - 1, config.d_vocab_out)
    )
    positions = sorted(positions) if config.attention_dir == "causal" else positions
    moved = relabel_weights(config, weights, tokens, positions, outputs)
    old_id, old_place = rows(torch.arange(config.d_vocab), 2, tokens), rows(torch.arange(config.n_ctx), 1, positions)
    renamed = old_id.argsort()[some_ids(config)][:, old_place]
    logits = forward(config, weights, some_ids(config))[:, old_place][..., outputs]
    torch.testing.assert_close(forward(config, moved, renamed), logits, rtol=0, atol=1e-9)
    names = LabelIds(rows(labels.tokens, 2, tokens), rows(labels.positions, 1, positions), labels.outputs[outputs])
    before = encode(config, weights)
    torch.testing.assert_close(encode(config, moved, labels=names), before, rtol=0, atol=1e-9)
    if any(list(order) != sorted(order) for order in (tokens, positions, outputs)):
        assert ((encode(config, moved) - before).abs().amax((1, 2, 3)) > 1e-6).all()


def test_relabelling_refuses_what_is_not_exact() -> None:
    config = TargetConfig(4, 1, 1, 2, 3, 4, 5, 3, attention_dir="causal")
    weights = random_weights(config, 0)
    with pytest.raises(InputError, match="causal"):
        relabel_weights(config, weights, positions=[1, 0, 2])
    with pytest.raises(InputError, match="expected a permutation of 0 to 2"):
        relabel_weights(config, weights, tokens=[0, 1, 1])
    with pytest.raises(InputError, match="outputs"):
        relabel_weights(config, weights, outputs=[0, 1])


@settings(max_examples=12)
@given(one=configs(), other=configs(), seed=st.integers(0, 1000))
def test_padding_a_batch_changes_nothing(one: TargetConfig, other: TargetConfig, seed: int) -> None:
    encoders, table = encoders_of(torch.float64)
    folded = [fold(c, random_weights(c, seed + i)) for i, c in enumerate((one, other))]
    for encoder in encoders:
        with torch.no_grad():
            both = encoder(collate(folded, [label_ids(one), label_ids(other)]), table)
            alone = [encoder(collate([f], [label_ids(c)]), table)[0] for f, c in zip(folded, (one, other), strict=True)]
        torch.testing.assert_close(both, torch.stack(alone), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_component_that_writes_nothing_stays_none_when_ones_are_added(dtype: torch.dtype) -> None:
    config = TargetConfig(11, 1, 2, 3, 4, 4, 4, 3, normalization_type="LNPre")
    weights = random_weights(config, 1, dtype)
    for name in ("W_out", "W_O"):
        at = f"blocks.0.{'mlp' if name == 'W_out' else 'attn'}.{name}"
        weights[at] = weights[at].clone()
        weights[at][0] = 0
    other = gauges_of(config)["L2"](config, weights, torch.Generator().manual_seed(2))
    torch.testing.assert_close(encode(config, other, dtype), encode(config, weights, dtype), rtol=0, atol=1e-5)
