"""The encoder on targets of any size and origin: read layer by layer, with and without edges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.batch import CollatedOnDemand, LabelIds, collate
from oracle.config import EncoderConfig
from oracle.decoder import DecoderConfig, WeightDecoder
from oracle.encoder import WeightEncoder
from oracle.neutral import Held, Neutral, fold, fold_parts
from oracle.symmetry import random_gauge
from tests.oracle.targets import configs, label_ids, random_weights
from tracr_tasks.transformer import TargetConfig, forward
from zoo.readers import open_source

SMALL = EncoderConfig(4, 4, 8, 8, 4, 16, n_mix_layers=1, d_edge=4, edge_probes=2, n_pool_layers=1, n_tokens=3)


def encode(neutral: Neutral, labels: LabelIds, config: EncoderConfig = SMALL) -> torch.Tensor:
    torch.manual_seed(3)
    encoder, table = WeightEncoder(config, 8).to(neutral.W_E.dtype), torch.randn(64, 8, dtype=neutral.W_E.dtype)
    with torch.no_grad():
        return encoder(collate([neutral], [labels]), table)


@settings(max_examples=15)
@given(config=configs(), seed=st.integers(0, 1000))
def test_layers_on_demand_are_the_layers(config: TargetConfig, seed: int) -> None:
    weights, labels = random_weights(config, seed), label_ids(config)
    lazy = fold_parts(Held(config, weights))
    assert isinstance(collate([lazy], [labels]).layers, CollatedOnDemand)
    assert len(list(lazy.layers)) == config.n_layers
    torch.testing.assert_close(encode(lazy, labels), encode(fold(config, weights), labels), rtol=0, atol=0)


@settings(max_examples=15)
@given(config=configs(), seed=st.integers(0, 1000))
def test_large_targets_are_read_without_edges_and_blind_to_gauge(config: TargetConfig, seed: int) -> None:
    weights, labels, few = random_weights(config, seed), label_ids(config), replace(SMALL, max_edge_nodes=1)
    other = random_gauge(config, weights, seed)
    plain = encode(fold(config, weights), labels, few)
    assert not torch.allclose(plain, encode(fold(config, weights), labels), rtol=0, atol=1e-6)
    torch.testing.assert_close(encode(fold(config, other), labels, few), plain, rtol=0, atol=1e-9)


@settings(max_examples=15)
@given(config=configs(), seed=st.integers(0, 1000))
def test_tokens_of_a_small_target_are_its_components_as_a_set_to_the_decoder(config: TargetConfig, seed: int) -> None:
    weights, labels, many = random_weights(config, seed), label_ids(config), replace(SMALL, n_tokens=500)
    torch.manual_seed(seed)
    decoder = WeightDecoder(DecoderConfig(16, n_layers=1, n_heads=2), WeightEncoder(many, 16)).double()
    plain, other = (collate([fold(config, w)], [labels]) for w in (weights, random_gauge(config, weights, seed)))
    text = ["if has a then p else q"]
    with torch.no_grad():
        tokens, again = (decoder.encoder(batch, decoder.table)[0] for batch in (plain, other))
        assert len(tokens) == int(plain.n_nodes) and bool(tokens.any(-1).all())
        distance = torch.cdist(tokens, again)
        assert max(distance.amin(0).max().item(), distance.amin(1).max().item()) < 1e-7
        torch.testing.assert_close(decoder.loss(other, text), decoder.loss(plain, text), rtol=0, atol=1e-9)


@settings(max_examples=20)
@given(one=configs(), other=configs(), n_tokens=st.integers(3, 40), max_edge_nodes=st.integers(3, 60))
def test_what_is_read_of_a_target_does_not_depend_on_its_batch(
    one: TargetConfig, other: TargetConfig, n_tokens: int, max_edge_nodes: int
) -> None:
    folded = [fold(config, random_weights(config, i)) for i, config in enumerate((one, other))]
    labels = [label_ids(config) for config in (one, other)]
    torch.manual_seed(0)
    encoder, table = (
        WeightEncoder(replace(SMALL, n_tokens=n_tokens, max_edge_nodes=max_edge_nodes), 8).double(),
        torch.randn(64, 8).double(),
    )
    with torch.no_grad():
        both = encoder(collate(folded, labels), table)
        for row, neutral, names in zip(both, folded, labels, strict=True):
            alone = encoder(collate([neutral], [names]), table)[0]
            assert not row[len(alone) :].any()
            torch.testing.assert_close(row[: len(alone)], alone[: len(row)], rtol=0, atol=1e-9)


@settings(max_examples=10)
@given(config=configs())
def test_a_target_of_zeros_is_encoded(config: TargetConfig) -> None:
    weights = {name: torch.zeros_like(tensor) for name, tensor in random_weights(config, 0).items()}
    assert bool(encode(fold(config, weights), label_ids(config)).isfinite().all())


def test_absent_biases_tied_embeddings_and_shared_heads_are_what_they_stand_for() -> None:
    bare = TargetConfig(
        *(8, 2, 4, 3, 5, 6, 7, 7),
        act_fn="gelu",
        normalization_type="RMS",
        attention_dir="causal",
        default_prepend_bos=False,
        n_key_value_heads=2,
        attn_scale=1.5,
        **dict.fromkeys(("qkv_bias", "attn_out_bias", "mlp_bias", "unembed_bias"), False),
        tie_word_embeddings=True,
    )
    weights = random_weights(bare, 0)
    extensions = {name: TargetConfig.__dataclass_fields__[name].default for name in bare.extensions()}
    plain = replace(bare, **extensions)
    whole = {name: torch.zeros_like(tensor) for name, tensor in random_weights(plain, 0).items()} | dict(weights)
    whole["unembed.W_U"] = weights["embed.W_E"].T
    for layer in range(2):
        at = f"blocks.{layer}.attn."
        whole |= {at + name: weights[at + name].repeat_interleave(2, 0) for name in ("W_K", "W_V")}
        whole[at + "W_Q"] = weights[at + "W_Q"] * 3**0.5 / 1.5
    ids = torch.randint(0, 7, (5, 6), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(forward(bare, weights, ids), forward(plain, whole, ids))
    labels = label_ids(bare)
    torch.testing.assert_close(encode(fold(bare, weights), labels), encode(fold(plain, whole), labels))


def test_a_folder_is_read_layer_by_layer(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": 8, "n_layer": 3, "n_head": 2, "vocab_size": 12, "n_positions": 6}
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=1)).save_pretrained(tmp_path)
    source = open_source(tmp_path)
    labels = label_ids(source.config)
    streamed, target = encode(fold_parts(source), labels), source.to_target()
    torch.testing.assert_close(streamed, encode(fold(target.config, target.weights), labels), rtol=0, atol=0)
