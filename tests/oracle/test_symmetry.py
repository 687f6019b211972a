"""Gauges leave the target's function as it is; the encoder sees none of them, and sees what is not a gauge."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.batch import LabelIds, collate
from oracle.neutral import fold
from oracle.symmetry import change_residual_basis, gauges_of, random_gauge, scale_neurons
from tests.oracle.targets import configs, label_ids, random_encoder, random_weights
from tracr_tasks.transformer import TargetConfig, Weights, forward

NAMES = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "R1", "R2", "R3", "L1", "L3")


def encode(config: TargetConfig, weights: Weights, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    encoder, table = random_encoder(dtype)
    with torch.no_grad():
        return encoder(collate([fold(config, weights)], [label_ids(config)]), table)


def probabilities(config: TargetConfig, weights: Weights) -> torch.Tensor:
    ids = torch.randint(0, config.d_vocab, (16, config.n_ctx), generator=torch.Generator().manual_seed(5))
    return forward(config, weights, ids).softmax(-1)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15)
@given(config=configs(), seed=st.integers(0, 1000))
def test_every_gauge_alone(name: str, config: TargetConfig, seed: int) -> None:
    if name not in gauges_of(config):
        kinds = {"R1": {"act_fn": "relu"}, "R2": {"normalization_type": None}, "R3": {"normalization_type": None}}
        kinds |= {"L1": {"normalization_type": "LN"}, "L3": {"normalization_type": "LNPre"}}
        config = replace(config, **kinds[name])
    weights = random_weights(config, seed)
    other = gauges_of(config)[name](config, weights, torch.Generator().manual_seed(seed))
    torch.testing.assert_close(probabilities(config, other), probabilities(config, weights), rtol=0, atol=1e-9)
    torch.testing.assert_close(encode(config, other), encode(config, weights), rtol=0, atol=1e-9)


@settings(max_examples=40)
@given(config=configs(), seed=st.integers(0, 1000))
def test_all_gauges_composed(config: TargetConfig, seed: int) -> None:
    weights = random_weights(config, seed)
    other = random_gauge(config, weights, seed)
    torch.testing.assert_close(probabilities(config, other), probabilities(config, weights), rtol=0, atol=1e-9)
    torch.testing.assert_close(encode(config, other), encode(config, weights), rtol=0, atol=1e-9)


@settings(max_examples=20)
@given(config=configs(), seed=st.integers(0, 1000))
def test_all_gauges_composed_in_float32(config: TargetConfig, seed: int) -> None:
    weights = random_weights(config, seed, torch.float32)
    before, after = (encode(config, w, torch.float32) for w in (weights, random_gauge(config, weights, seed)))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


def edited(weights: Weights, name: str, factor: float) -> dict[str, torch.Tensor]:
    return dict(weights) | {name: weights[name] * factor}


@settings(max_examples=20)
@given(config=configs(), seed=st.integers(0, 1000))
def test_changes_of_the_function_are_seen(config: TargetConfig, seed: int) -> None:
    weights = random_weights(config, seed)
    before = encode(config, weights)
    last = config.n_layers - 1
    for name in ("blocks.0.attn.W_K", "blocks.0.attn.b_Q", f"blocks.{last}.mlp.W_out", "unembed.W_U"):
        assert (encode(config, edited(weights, name, 1.3)) - before).abs().max() > 1e-9, name


@settings(max_examples=10)
@given(config=configs(norm="LNPre"), seed=st.integers(0, 1000))
def test_what_is_no_gauge_is_seen(config: TargetConfig, seed: int) -> None:
    """Neuron scaling under GELU, and any invertible change of basis under a norm."""
    config, rng = replace(config, act_fn="gelu"), torch.Generator().manual_seed(seed)
    weights = random_weights(config, seed)
    before = encode(config, weights)
    assert (encode(config, scale_neurons(config, weights, rng)) - before).abs().max() > 1e-9
    no_norm = replace(config, normalization_type=None)
    assert (encode(config, change_residual_basis(no_norm, weights, rng)) - before).abs().max() > 1e-9


@settings(max_examples=20)
@given(config=configs(), seed=st.integers(0, 1000))
def test_renaming_labels_is_permuting_weights(config: TargetConfig, seed: int) -> None:
    """Rows of W_E in another order, with their names in the same order: the same target, so the same encoding."""
    weights, rng = random_weights(config, seed), torch.Generator().manual_seed(seed)
    order, labels = torch.randperm(config.d_vocab, generator=rng), label_ids(config)
    moved = dict(weights) | {"embed.W_E": weights["embed.W_E"][order]}
    encoder, table = random_encoder()
    with torch.no_grad():
        before = encoder(collate([fold(config, weights)], [labels]), table)
        named = LabelIds(labels.tokens[order], labels.positions, labels.outputs)
        after = encoder(collate([fold(config, moved)], [named]), table)
        unnamed = encoder(collate([fold(config, moved)], [labels]), table)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-9)
    if not torch.equal(order, torch.arange(config.d_vocab)):
        assert (unnamed - before).abs().max() > 1e-9


@settings(max_examples=20)
@given(one=configs(), other=configs(), seed=st.integers(0, 1000))
def test_padding_a_batch_changes_nothing(one: TargetConfig, other: TargetConfig, seed: int) -> None:
    encoder, table = random_encoder()
    folded = [fold(c, random_weights(c, seed + i)) for i, c in enumerate((one, other))]
    with torch.no_grad():
        both = encoder(collate(folded, [label_ids(one), label_ids(other)]), table)
        alone = [encoder(collate([f], [label_ids(c)]), table)[0] for f, c in zip(folded, (one, other), strict=True)]
    torch.testing.assert_close(both, torch.stack(alone), rtol=0, atol=1e-9)
