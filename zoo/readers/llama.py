"""Llama, and what Qwen2 and Qwen3 share with it: RMSNorm, rotary positions, grouped heads, a gated MLP."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from tracr_tasks.transformer import TargetConfig
from zoo.readers.family import ACTIVATIONS, LANGUAGE_MODEL, Family
from zoo.readers.fields import Fields
from zoo.readers.rope import rotary_fields
from zoo.readers.source import Layout, Read, Tensors
from zoo.target_files import MAX_LAYERS, refused

BUFFERS = r"(model\.)?layers\.\d+\.self_attn\.rotary_emb\.inv_freq"


def config_fields(fields: Fields) -> dict[str, Any]:
    """See `Family.config`."""
    has_bias = fields.flag("attention_bias", False)
    biases = {"qkv_bias": has_bias, "attn_out_bias": has_bias, "mlp_bias": fields.flag("mlp_bias", False)}
    return shared_fields(fields, vocab=32_000, d_mlp=11_008, n_ctx=2048) | biases


def shared_fields(
    fields: Fields,
    *,
    vocab: int,
    d_mlp: int,
    n_ctx: int,
    n_key_value_heads: int | None = None,
    d_head: int | None = None,
) -> dict[str, Any]:
    """Fields of a `TargetConfig` for what the three families share; the arguments are the family's defaults."""
    width, heads = fields.integer("hidden_size", 4096), fields.integer("num_attention_heads", 32)
    if d_head is None and fields.values.get("head_dim") is None and width % heads:
        raise refused(fields.where, "num_attention_heads", heads, f"a divisor of hidden_size, which is {width}")
    d_head = fields.integer("head_dim", d_head or width // heads)
    if (
        n_key_value_heads is None or "num_key_value_heads" in fields.values
    ):  # null stands for as many as there are heads
        n_key_value_heads = heads
    groups = fields.integer("num_key_value_heads", n_key_value_heads)
    if heads % groups:
        raise refused(
            fields.where, "num_key_value_heads", groups, f"a divisor of num_attention_heads, which is {heads}"
        )
    d_vocab, n_ctx = fields.integer("vocab_size", vocab), fields.integer("max_position_embeddings", n_ctx)
    out = {
        "d_model": width,
        "n_layers": fields.integer("num_hidden_layers", 32, 0, MAX_LAYERS),
        "n_heads": heads,
        "d_head": d_head,
        "d_mlp": fields.integer("intermediate_size", d_mlp),
        "n_ctx": n_ctx,
        "d_vocab": d_vocab,
        "d_vocab_out": d_vocab,
        "act_fn": fields.choice("hidden_act", ACTIVATIONS, "silu"),
        "normalization_type": "RMS",
        "eps": fields.number("rms_norm_eps", 1e-6, 0, 1),
        "n_key_value_heads": None if groups == heads else groups,
        "gated_mlp": True,
        "tie_word_embeddings": fields.flag("tie_word_embeddings", False),
    }
    return LANGUAGE_MODEL | out | rotary_fields(fields, d_head, n_ctx, theta="rope_theta")


def embedding(read: Read, c: TargetConfig) -> Tensors:
    """embed_tokens."""
    return {"embed.W_E": read("embed_tokens.weight", c.d_vocab, c.d_model)}


def block(read: Read, c: TargetConfig, layer: int) -> Tensors:
    """layers.{layer}."""
    d, h, k, m = c.d_model, c.n_heads, c.d_head, c.d_mlp
    kv = h if c.n_key_value_heads is None else c.n_key_value_heads
    at, to = f"layers.{layer}.", f"blocks.{layer}."
    out: Tensors = {
        to + "ln1.w": read(at + "input_layernorm.weight", d),
        to + "ln2.w": read(at + "post_attention_layernorm.weight", d),
        to + "attn.W_O": read(at + "self_attn.o_proj.weight", d, h * k).T.view(h, k, d),
    }
    for side, n in (("Q", h), ("K", kv), ("V", kv)):
        name = f"{at}self_attn.{side.lower()}_proj"
        out[f"{to}attn.W_{side}"] = _heads(read(name + ".weight", n * k, d), n)
        if c.qkv_bias:
            out[f"{to}attn.b_{side}"] = read(name + ".bias", n * k).view(n, k)
        if c.use_qk_norm and side != "V":
            out[f"{to}attn.{side.lower()}_norm.w"] = read(f"{at}self_attn.{side.lower()}_norm.weight", k)
    if c.attn_out_bias:
        out[to + "attn.b_O"] = read(at + "self_attn.o_proj.bias", d)
    for theirs, ours, rows, columns in (("gate", "gate", m, d), ("up", "in", m, d), ("down", "out", d, m)):
        out[f"{to}mlp.W_{ours}"] = read(f"{at}mlp.{theirs}_proj.weight", rows, columns).T
        if c.mlp_bias:
            out[f"{to}mlp.b_{ours}"] = read(f"{at}mlp.{theirs}_proj.bias", rows)
    return out


def unembedding(read: Read, c: TargetConfig) -> Tensors:
    """norm and lm_head."""
    out = {"ln_final.w": read("norm.weight", c.d_model)}
    return out if c.tie_word_embeddings else out | {"unembed.W_U": read("lm_head.weight", c.d_vocab, c.d_model).T}


def _heads(weight: Float[Tensor, "rows d_model"], n: int) -> Float[Tensor, "n d_model d_head"]:
    """A linear layer's weight, [out, in], cut into n heads."""
    return weight.view(n, -1, weight.shape[1]).transpose(1, 2)


LAYOUT = Layout(embedding, block, unembedding, "model.", ("lm_head.weight",), "embed_tokens.weight")
FAMILY = Family(config_fields, LAYOUT, BUFFERS)
