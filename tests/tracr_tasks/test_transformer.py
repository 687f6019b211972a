"""The parts of the transformer that only other people's models have, by the identities that define them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tracr_tasks.attention import rotary_angles, turned
from tracr_tasks.transformer import TargetConfig, activation, forward, shapes

SIZES: dict[str, Any] = {
    "d_model": 8,
    "n_layers": 2,
    "n_heads": 4,
    "d_head": 6,
    "d_mlp": 5,
    "n_ctx": 7,
    "d_vocab": 9,
    "d_vocab_out": 9,
    "attention_dir": "causal",
    "normalization_type": "RMS",
}
IDS = torch.tensor([[0, 4, 8, 1, 1, 3, 7], [5, 5, 2, 6, 0, 8, 1]])


def config_of(**changes: Any) -> TargetConfig:
    return TargetConfig(**(SIZES | changes))


def random_weights(config: TargetConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {n: torch.randn(s, generator=rng, dtype=torch.float64) for n, s in shapes(config).items()}


def test_a_target_made_here_has_the_json_that_it_always_had() -> None:
    config = TargetConfig(6, 2, 2, 3, 5, 5, 5, 3, pad_token=1)
    assert json.dumps(config.to_json()) == (
        '{"d_model": 6, "n_layers": 2, "n_heads": 2, "d_head": 3, "d_mlp": 5, "n_ctx": 5, "d_vocab": 5, '
        '"d_vocab_out": 3, "act_fn": "relu", "normalization_type": null, "attention_dir": "bidirectional", '
        '"eps": 1e-05, "read_out": "all", "output": "categorical", "pad_token": 1}'
    )
    assert config.extensions() == {}


@given(st.data())
def test_json_holds_every_field_that_is_not_as_it_always_was(data: st.DataObject) -> None:
    names = [f.name for f in dataclasses.fields(TargetConfig) if f.type == "bool"]
    chosen = data.draw(st.sets(st.sampled_from(names)))
    flipped = {name: not TargetConfig.__dataclass_fields__[name].default for name in chosen}
    config = config_of(**flipped, rotary_base=5.0)
    assert config.extensions() == flipped | {"rotary_base": 5.0}
    assert TargetConfig(**config.to_json()) == config


@given(st.integers(0, 50), st.integers(0, 20), st.booleans(), st.sampled_from([2, 4, 6]), st.booleans())
def test_turned_products_depend_on_the_distance_alone(start: int, gap: int, adjacent: bool, r: int, ntk: bool) -> None:
    config = config_of(
        positional_embedding_type="rotary", rotary_dim=r, rotary_adjacent_pairs=adjacent, use_NTK_by_parts_rope=ntk
    )
    angles = rotary_angles(config, 80, torch.float64, torch.device("cpu"))
    q, k = torch.randn(2, 1, 1, 1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(start))
    qs, ks = (turned(x.expand(1, 1, 80, 6), angles, adjacent)[0, 0] for x in (q, k))
    torch.testing.assert_close(qs[start + gap] @ ks[start], qs[gap] @ ks[0], atol=1e-9, rtol=0)
    assert torch.equal(qs[:, r:], q[0, 0].expand(80, 6)[:, r:])


def test_both_ways_to_pair_are_one_function_of_shuffled_heads() -> None:
    weights = random_weights(config := config_of(positional_embedding_type="rotary", rotary_dim=4))
    order = [0, 2, 1, 3, 4, 5]  # (0, 2), (1, 3) become neighbours
    moved = {n: t[..., order] if n.endswith(("_Q", "_K")) else t for n, t in weights.items()}
    adjacent = dataclasses.replace(config, rotary_adjacent_pairs=True)
    torch.testing.assert_close(forward(adjacent, moved, IDS), forward(config, weights, IDS))
    assert not torch.allclose(forward(adjacent, weights, IDS), forward(config, weights, IDS))


def test_scaling_slows_the_turns() -> None:
    config = config_of(positional_embedding_type="rotary", rotary_scaling_factor=2.0)
    cpu = torch.device("cpu")
    slow, plain = (
        rotary_angles(c, 9, torch.float64, cpu) for c in (config, config_of(positional_embedding_type="rotary"))
    )
    torch.testing.assert_close(slow[0][::2], plain[0][:5])
    ntk = config_of(
        positional_embedding_type="rotary", use_NTK_by_parts_rope=True, NTK_original_ctx_len=6, NTK_by_parts_factor=4.0
    )
    by_parts = rotary_angles(ntk, 9, torch.float64, cpu)[1]  # fewer than one round in 6 positions: all turns are slow
    torch.testing.assert_close(by_parts[4], plain[1][1])


def test_grouped_heads_are_repeated_heads() -> None:
    weights = random_weights(config := config_of(n_key_value_heads=2))
    repeated = {
        n: t.repeat_interleave(2, 0) if n.endswith(("W_K", "W_V", "b_K", "b_V")) else t for n, t in weights.items()
    }
    expected = forward(dataclasses.replace(config, n_key_value_heads=None), repeated, IDS)
    torch.testing.assert_close(forward(config, weights, IDS), expected)


def test_a_target_without_its_optional_tensors_is_one_with_zeros() -> None:
    absent = {"qkv_bias": False, "attn_out_bias": False, "mlp_bias": False, "unembed_bias": False}
    config = config_of(**absent, positional_embedding_type="none")
    weights = random_weights(config)
    full = config_of()
    zeros = {n: torch.zeros(s, dtype=torch.float64) for n, s in shapes(full).items() if n not in weights}
    assert sorted({n.rsplit(".", 1)[1] for n in zeros}) == ["W_pos", "b_K", "b_O", "b_Q", "b_U", "b_V", "b_in", "b_out"]
    torch.testing.assert_close(forward(config, weights, IDS), forward(full, weights | zeros, IDS))


def test_tied_embeddings_are_the_transpose() -> None:
    weights = random_weights(config := config_of(tie_word_embeddings=True))
    untied = forward(
        dataclasses.replace(config, tie_word_embeddings=False), weights | {"unembed.W_U": weights["embed.W_E"].T}, IDS
    )
    assert "unembed.W_U" not in weights
    torch.testing.assert_close(forward(config, weights, IDS), untied)


def test_a_parallel_mlp_reads_what_attention_reads() -> None:
    weights = random_weights(config := config_of(parallel_attn_mlp=True, n_layers=1))
    together, silent = forward(config, weights, IDS), dict(weights)
    plain = dataclasses.replace(config, parallel_attn_mlp=False)
    assert not torch.allclose(together, forward(plain, weights, IDS))
    silent["blocks.0.attn.W_O"] = torch.zeros_like(weights["blocks.0.attn.W_O"])
    silent["blocks.0.attn.b_O"] = torch.zeros_like(weights["blocks.0.attn.b_O"])
    torch.testing.assert_close(forward(config, silent, IDS), forward(plain, silent, IDS))


def test_an_open_gate_leaves_the_plain_mlp() -> None:
    weights = random_weights(config := config_of(act_fn="relu", gated_mlp=True))
    for layer in range(2):
        weights[f"blocks.{layer}.mlp.W_gate"] = torch.zeros(8, 5, dtype=torch.float64)
        weights[f"blocks.{layer}.mlp.b_gate"] = torch.ones(5, dtype=torch.float64)
    twice = {n: t for n, t in weights.items() if "gate" not in n}
    for layer in range(2):  # x = relu(x) - relu(-x), so linear neurons are pairs of plain ones
        for name, dim in (("W_in", 1), ("b_in", 0), ("W_out", 0)):
            tensor = twice[f"blocks.{layer}.mlp.{name}"]
            twice[f"blocks.{layer}.mlp.{name}"] = torch.cat([tensor, -tensor], dim)
    torch.testing.assert_close(forward(config, weights, IDS), forward(config_of(d_mlp=10), twice, IDS))


def test_normed_queries_and_keys_forget_their_length() -> None:
    weights = random_weights(config := config_of(use_qk_norm=True, qkv_bias=False, eps=0.0))
    longer = {n: 7 * t if n.endswith(("W_Q", "W_K")) else t for n, t in weights.items()}
    torch.testing.assert_close(forward(config, longer, IDS), forward(config, weights, IDS))
    gained = {n: 7 * t if n.endswith("q_norm.w") else t for n, t in weights.items()}
    assert not torch.allclose(forward(config, gained, IDS), forward(config, weights, IDS))


def test_scores_are_divided_by_the_scale() -> None:
    weights = random_weights(config := config_of())
    torch.testing.assert_close(
        forward(dataclasses.replace(config, attn_scale=6**0.5), weights, IDS), forward(config, weights, IDS)
    )
    halved = {n: t / 2 if n.endswith(("W_Q", "b_Q")) else t for n, t in weights.items()}
    scaled = dataclasses.replace(config, attn_scale=2 * 6**0.5)
    torch.testing.assert_close(forward(scaled, weights, IDS), forward(config, halved, IDS))


def test_the_tanh_formula_is_within_what_is_said_of_gelu() -> None:
    x = torch.linspace(-8, 8, 100_001, dtype=torch.float64)
    exact, formula, silu = (activation(config_of(act_fn=name), x) for name in ("gelu", "gelu_new", "silu"))
    assert 1e-4 < (exact - formula).abs().max().item() < 5e-4
    torch.testing.assert_close(silu, x * x.sigmoid())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_have_the_dtype_of_the_weights(dtype: torch.dtype) -> None:
    config = config_of(positional_embedding_type="rotary", use_qk_norm=True)
    weights = {n: t.to(dtype) for n, t in random_weights(config).items()}
    assert forward(config, weights, IDS).dtype == dtype
