"""Targets as other people make them: gated, rotary, normed queries and keys, parallel, shared heads, absent biases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oracle.batch import EXTENSIONS, LabelIds, collate
from oracle.cli_verbs import load_target
from oracle.config import EncoderConfig
from oracle.controls import EXTENDED_CONTROLS
from oracle.encoder import WeightEncoder
from oracle.extended import BareLinear
from oracle.neutral import Held, Neutral, fold, fold_parts, positions_of
from oracle.oracle import ADDED
from oracle.rivals import BLIND, ENCODERS
from oracle.rotary import DISTANCES, turned_pairings
from oracle.symmetry import gauges_of, random_gauge
from tests.oracle.targets import D_LLM, configs, label_ids, random_weights
from tracr_tasks.transformer import TargetConfig, Weights, forward
from zoo.readers import open_source

SMALL = EncoderConfig(4, 4, 8, 8, 4, 16, n_mix_layers=1, d_edge=4, edge_probes=2, n_pool_layers=1, n_tokens=3)
BARE: dict[str, Any] = dict.fromkeys(("qkv_bias", "attn_out_bias", "mlp_bias", "unembed_bias"), False)
MODERN: dict[str, Any] = {
    "act_fn": "silu",
    "normalization_type": "RMS",
    "attention_dir": "causal",
    "default_prepend_bos": False,
    "positional_embedding_type": "rotary",
    "gated_mlp": True,
    **BARE,
}
LLAMA = TargetConfig(8, 2, 4, 4, 5, 6, 7, 7, **MODERN, n_key_value_heads=2)
QWEN2 = replace(LLAMA, qkv_bias=True, tie_word_embeddings=True)
QWEN3 = replace(LLAMA, d_head=6, use_qk_norm=True)
NEOX = TargetConfig(
    *(8, 2, 4, 4, 5, 6, 7, 7),
    act_fn="gelu",
    normalization_type="LN",
    attention_dir="causal",
    default_prepend_bos=False,
    positional_embedding_type="rotary",
    rotary_dim=2,
    parallel_attn_mlp=True,
    unembed_bias=False,
)
FAMILIES = {"llama": LLAMA, "qwen2": QWEN2, "qwen3": QWEN3, "gpt_neox": NEOX}


@st.composite
def extended(draw: Any) -> TargetConfig:
    """Any mixture of what a `TargetConfig` can say."""
    flag, plain = st.booleans(), draw(configs())
    shared, d_head = draw(st.integers(1, 2)), draw(st.integers(1, 5))
    kind = draw(st.sampled_from(["standard", "rotary", "rotary", "none"]))
    rotary: dict[str, Any] = {}
    if kind == "rotary":
        d_head = max(2, d_head)
        rotary = {"rotary_dim": draw(st.sampled_from(range(2, d_head + 1, 2)))}
        rotary |= {"rotary_base": draw(st.sampled_from([4.0, 100.0])), "rotary_adjacent_pairs": draw(flag)}
        rotary |= draw(st.sampled_from([{}, {"rotary_scaling_factor": 0.3}, {"use_NTK_by_parts_rope": True}]))
    tied = draw(flag)
    groups = plain.n_heads
    return replace(
        plain,
        n_heads=groups * shared,
        d_head=d_head,
        d_vocab_out=plain.d_vocab if tied else plain.d_vocab_out,
        act_fn=draw(st.sampled_from(["relu", "gelu", "silu"])),
        positional_embedding_type=kind,
        **rotary,
        n_key_value_heads=groups if shared > 1 else None,
        tie_word_embeddings=tied,
        attn_scale=draw(st.sampled_from([None, 1.0])),
        **{
            name: draw(flag) for name in ("default_prepend_bos", "use_qk_norm", "gated_mlp", "parallel_attn_mlp", *BARE)
        },
    )


@cache
def encoder_of(dtype: torch.dtype) -> tuple[WeightEncoder, Tensor]:
    torch.manual_seed(3)
    table = torch.randn(64, D_LLM, generator=torch.Generator().manual_seed(1))
    return WeightEncoder(SMALL, D_LLM).to(dtype), table.to(dtype)


def encode_folded(*targets: tuple[Neutral, LabelIds]) -> Tensor:
    encoder, table = encoder_of(targets[0][0].W_E.dtype)
    with torch.no_grad():
        return encoder(collate([t for t, _ in targets], [x for _, x in targets]), table)


def encode(config: TargetConfig, weights: Weights) -> Tensor:
    return encode_folded((fold(config, weights), label_ids(config)))


def probabilities(config: TargetConfig, weights: Weights) -> Tensor:
    ids = torch.randint(0, config.d_vocab, (8, config.n_ctx), generator=torch.Generator().manual_seed(5))
    return forward(config, weights, ids).softmax(-1)


def assert_same(config: TargetConfig, weights: Weights, other: Weights) -> None:
    """The same function and the same encoding."""
    torch.testing.assert_close(probabilities(config, other), probabilities(config, weights), rtol=0, atol=1e-9)
    torch.testing.assert_close(encode(config, other), encode(config, weights), rtol=0, atol=1e-9)


def assert_seen(config: TargetConfig, weights: Weights, other_config: TargetConfig, other: Weights) -> None:
    """Another function, and another encoding."""
    assert (probabilities(other_config, other) - probabilities(config, weights)).abs().max() > 1e-7
    assert (encode(other_config, other) - encode(config, weights)).abs().max() > 1e-7


@settings(max_examples=30)
@given(config=extended(), seed=st.integers(0, 1000))
def test_every_gauge_and_all_of_them(config: TargetConfig, seed: int) -> None:
    weights = random_weights(config, seed)
    gauges = gauges_of(config)
    name = sorted(gauges)[seed % len(gauges)]
    assert_same(config, weights, gauges[name](config, weights, torch.Generator().manual_seed(seed)))
    assert_same(config, weights, random_gauge(config, weights, seed))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_families_in_any_gauge(family: str, seed: int) -> None:
    config = FAMILIES[family]
    weights = random_weights(config, seed)
    for gauge in gauges_of(config).values():
        assert_same(config, weights, gauge(config, weights, torch.Generator().manual_seed(seed)))
    assert_same(config, weights, random_gauge(config, weights, seed))
    short = {name: tensor.float() for name, tensor in weights.items()}
    moved = random_gauge(config, short, seed)
    torch.testing.assert_close(encode(config, moved), encode(config, short), rtol=0, atol=1e-5)


def test_the_gauges_of_each_family() -> None:
    shared = {"S1", "S3", "S6", "S9", "L3", "L1"}
    assert set(gauges_of(LLAMA)) == shared | {"S2", "S8", "G1"}
    assert set(gauges_of(QWEN2)) == shared | {"S2", "G1"}
    assert set(gauges_of(QWEN3)) == shared | {"Q1", "S8", "G1"}
    assert set(gauges_of(NEOX)) == shared | {"S2", "S4", "S5", "S8", "L2"}


@settings(max_examples=15)
@given(one=extended(), other=extended(), plain=configs(), seed=st.integers(0, 1000))
def test_kinds_mix_in_a_batch(one: TargetConfig, other: TargetConfig, plain: TargetConfig, seed: int) -> None:
    folded = [(fold(c, random_weights(c, seed)), label_ids(c)) for c in (one, other, plain)]
    alone = torch.cat([encode_folded(x) for x in folded])
    torch.testing.assert_close(encode_folded(*folded), alone, rtol=0, atol=1e-9)


@settings(max_examples=8)
@given(config=extended(), seed=st.integers(0, 1000))
def test_layers_on_demand(config: TargetConfig, seed: int) -> None:
    weights, labels = random_weights(config, seed), label_ids(config)
    lazy = encode_folded((fold_parts(Held(config, weights)), labels))
    torch.testing.assert_close(lazy, encode(config, weights), rtol=0, atol=0)


@settings(max_examples=8)
@given(config=configs(), seed=st.integers(0, 1000))
def test_targets_made_here_are_read_without_what_was_added(config: TargetConfig, seed: int) -> None:
    folded = fold(config, random_weights(config, seed)), label_ids(config)
    encoder, table = encoder_of(torch.float64)
    bare = WeightEncoder(SMALL, D_LLM).double()
    state = encoder.state_dict()
    assert set(state) > ADDED
    bare.load_state_dict({n: torch.zeros_like(t) if n in ADDED else t for n, t in state.items()})
    with torch.no_grad():
        out = bare(collate([folded[0]], [folded[1]]), table)
    assert torch.equal(out, encode_folded(folded))


def test_what_was_added_leaves_the_other_parameters_as_they_were() -> None:
    torch.manual_seed(0)
    one, other = BareLinear(3, 4), torch.rand(2)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(2), other)
    assert one.bias is None and one.weight.std() > 0


@settings(max_examples=40)
@given(config=extended(), seed=st.integers(0, 1000))
def test_whatever_changes_the_function_is_seen(config: TargetConfig, seed: int) -> None:
    """3% of one number of any tensor."""
    weights = random_weights(config, seed)
    name = sorted(weights)[seed % len(weights)]
    flat = weights[name].flatten()
    at = torch.arange(len(flat)) == seed % len(flat)
    other = dict(weights) | {name: torch.where(at, 1.03 * flat, flat).reshape(weights[name].shape)}
    moved = (probabilities(config, other) - probabilities(config, weights)).abs().max()
    assert moved < 1e-6 or (encode(config, other) - encode(config, weights)).abs().max() > 1e-4 * moved


@settings(max_examples=15)
@given(config=extended(), seed=st.integers(0, 1000))
def test_gauges_in_float32(config: TargetConfig, seed: int) -> None:
    weights = random_weights(config, seed, torch.float32)
    moved = random_gauge(config, weights, seed)
    torch.testing.assert_close(encode(config, moved), encode(config, weights), rtol=0, atol=1e-5)


NEW = {
    "blocks.1.mlp.W_gate": LLAMA,
    "blocks.0.mlp.W_in": LLAMA,
    "blocks.0.mlp.b_gate": replace(LLAMA, mlp_bias=True),
    "blocks.0.mlp.b_in": replace(LLAMA, mlp_bias=True),
    "blocks.1.attn.b_K": QWEN2,
    "blocks.0.attn.b_Q": QWEN2,
    "blocks.1.attn.W_K": LLAMA,
    "blocks.0.attn.q_norm.w": QWEN3,
    "blocks.1.attn.k_norm.w": QWEN3,
    "blocks.0.attn.W_Q": QWEN3,
    "blocks.0.mlp.W_out": NEOX,
}


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("seed", range(3))
def test_one_per_cent_of_one_weight_is_seen(name: str, seed: int) -> None:
    config = NEW[name]
    weights = random_weights(config, seed)
    flat = weights[name].flatten()
    change = torch.where(torch.arange(len(flat)) == flat.abs().argmax(), 1.01 * flat, flat)
    assert_seen(config, weights, config, dict(weights) | {name: change.reshape(weights[name].shape)})


CASES = {"pair": LLAMA, "gain": QWEN3, "gate scale": LLAMA}


@pytest.mark.parametrize("name", EXTENDED_CONTROLS)
@pytest.mark.parametrize("seed", range(3))
def test_controls_are_seen(name: str, seed: int) -> None:
    config = CASES[name]
    weights = random_weights(config, seed)
    other = EXTENDED_CONTROLS[name](config, weights, torch.Generator().manual_seed(seed))
    assert_seen(config, weights, config, other)


@pytest.mark.parametrize(
    "change",
    [
        {"rotary_base": 500.0},
        {"rotary_scaling_factor": 2.0},
        {"rotary_adjacent_pairs": True},
        {"parallel_attn_mlp": False},
        {"act_fn": "silu"},
        {"rotary_dim": 4},
        {"positional_embedding_type": "none", "rotary_dim": None},
    ],
    ids=str,
)
def test_a_change_of_kind_is_seen(change: Mapping[str, Any]) -> None:
    config = replace(NEOX, rotary_dim=4 if "rotary_base" in change or "rotary_adjacent_pairs" in change else 2)
    weights = random_weights(config, 0)
    assert_seen(config, weights, replace(config, **change), weights)


@settings(max_examples=20)
@given(config=extended(), seed=st.integers(0, 1000))
def test_folded_queries_and_keys_give_the_scores(config: TargetConfig, seed: int) -> None:
    """Scores of a head at every pair of positions, as the forward pass turns queries and keys."""
    from tracr_tasks.attention import rotary_angles, turned

    config = replace(config, positional_embedding_type="rotary", d_head=4, rotary_dim=2, use_qk_norm=False)
    config = replace(config, normalization_type=None)
    weights, at, n = random_weights(config, seed), "blocks.0.attn.", 20
    layer, rng = fold(config, weights).layers[0], torch.Generator().manual_seed(seed)
    x = torch.randn(1, n, config.d_model, dtype=torch.float64, generator=rng)
    q, k = (torch.einsum("bpd,hdk->bhpk", x, weights[f"{at}W_{side}"]) for side in "QK")
    copies = len(weights[at + "W_Q"]) // len(weights[at + "W_K"])
    angles = rotary_angles(config, n, torch.float64, x.device)
    q, k = (turned(y, angles, config.rotary_adjacent_pairs) for y in (q, k.repeat_interleave(copies, 1)))
    expected = q @ k.transpose(-1, -2) / (2.0 if config.attn_scale is None else config.attn_scale)
    query, key = (torch.einsum("bpd,hdk->bhpk", x, W) for W in (layer.W_Q, layer.W_K))
    change = turned_pairings(query, key, fold(config, weights).rates[None], torch.zeros(1, 1, dtype=torch.float64))
    plain = query @ key.transpose(-1, -2)
    for e, distance in enumerate(DISTANCES):
        got = (plain + change[..., e]).diagonal(-distance, -2, -1)
        torch.testing.assert_close(got, expected.diagonal(-distance, -2, -1), rtol=0, atol=1e-9)
    causal = turned_pairings(query, key, fold(config, weights).rates[None], torch.ones(1, 1, dtype=torch.float64))
    assert not causal[..., torch.tensor(DISTANCES) < 0].any()


@cache
def rival(name: str) -> tuple[torch.nn.Module, Tensor]:
    torch.manual_seed(0)
    encoder = ENCODERS[name](SMALL, D_LLM, 1.0).double()
    return encoder, torch.randn(64, D_LLM, generator=torch.Generator().manual_seed(1)).double()


def encode_by(name: str, *targets: tuple[TargetConfig, Weights]) -> Tensor:
    encoder, table = rival(name)
    with torch.no_grad():
        return encoder(collate([fold(c, w) for c, w in targets], [label_ids(c) for c, _ in targets]), table)


@pytest.mark.parametrize("name", sorted(ENCODERS.keys() - BLIND))
@settings(max_examples=6)
@given(config=extended(), plain=configs(), seed=st.integers(0, 1000))
def test_rivals_read_them_too(name: str, config: TargetConfig, plain: TargetConfig, seed: int) -> None:
    weights, other = random_weights(config, seed), (plain, random_weights(plain, seed))
    before = encode_by(name, (config, weights))
    both = encode_by(name, (config, weights), other)
    torch.testing.assert_close(both, torch.cat([before, encode_by(name, other)]), rtol=0, atol=1e-8)
    if config.gated_mlp:
        gate = "blocks.0.mlp.W_gate"
        changed = weights[gate] * torch.linspace(1, 2, config.d_model, dtype=torch.float64)[:, None]
        assert (encode_by(name, (config, dict(weights) | {gate: changed})) - before).abs().max() > 1e-7
    if name == "circuits":
        moved = encode_by(name, (config, random_gauge(config, weights, seed)))
        torch.testing.assert_close(moved, before, rtol=0, atol=1e-8)


def test_extensions_are_flags() -> None:
    batch = collate([fold(c, random_weights(c, 0)) for c in (LLAMA, QWEN3, NEOX)], [label_ids(LLAMA)] * 3)
    flags = [[n for n in EXTENSIONS if batch.has(n)[i] > 0] for i in range(3)]
    assert flags == [["silu", "gated", "rotary"], ["silu", "gated", "rotary", "qk_norm"], ["parallel", "rotary"]]
    assert batch.W_pos.shape[1] == batch.position_ids.shape[1] == positions_of(LLAMA) == 0


SIZES = {"vocab_size": 11, "max_position_embeddings": 8, "hidden_size": 12, "num_hidden_layers": 2}
HEADS = SIZES | {"num_attention_heads": 3, "intermediate_size": 7}
GROUPS = SIZES | {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 7}
MODELS: dict[str, dict[str, Any]] = {
    "llama": GROUPS | {"head_dim": 4},
    "qwen2": GROUPS | {"hidden_size": 16},
    "qwen3": GROUPS | {"head_dim": 6, "tie_word_embeddings": True},
    "gpt_neox": HEADS | {"hidden_size": 24},
}


def saved(kind: str, folder: Path) -> Path:
    """A random model, every parameter drawn, as transformers saves it."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **MODELS[kind]))
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.3 * torch.randn(parameter.shape)
            parameter.copy_(spread if parameter.ndim > 1 else parameter + spread)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", MODELS)
def test_models_of_transformers_are_read_layer_by_layer_in_any_gauge(kind: str, tmp_path: Path) -> None:
    source = open_source(saved(kind, tmp_path))
    target, labels = source.to_target(), label_ids(source.config)
    streamed = encode_folded((fold_parts(source), labels))
    torch.testing.assert_close(streamed, encode(target.config, target.weights), rtol=0, atol=1e-6)
    assert bool(streamed.isfinite().all())
    asked = load_target(str(tmp_path))  # as the verb `ask` does
    assert asked.config == target.config and asked.vocab == target.vocab
    weights = {name: tensor.double() for name, tensor in target.weights.items()}
    assert_same(target.config, weights, random_gauge(target.config, weights, 1))
