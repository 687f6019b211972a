"""GPT-NeoX (Pythia): rotary positions on part of each head, LayerNorm, attention and MLP side by side."""

from __future__ import annotations

from typing import Any

from tracr_tasks.transformer import TargetConfig
from zoo.readers.family import ACTIVATIONS, LANGUAGE_MODEL, Family
from zoo.readers.fields import Fields
from zoo.readers.rope import rotary_fields
from zoo.readers.source import Layout, Read, Tensors
from zoo.target_files import MAX_LAYERS, refused


def config_fields(fields: Fields) -> dict[str, Any]:
    """See `Family.config`."""
    width, heads = fields.integer("hidden_size", 6144), fields.integer("num_attention_heads", 64)
    if width % heads:
        raise refused(fields.where, "num_attention_heads", heads, f"a divisor of hidden_size, which is {width}")
    vocab, n_ctx = fields.integer("vocab_size", 50_432), fields.integer("max_position_embeddings", 2048)
    share = fields.number("rotary_pct", 0.25, 0, 1)
    has_bias = fields.flag("attention_bias", True)
    out = {
        "d_model": width,
        "n_layers": fields.integer("num_hidden_layers", 44, 0, MAX_LAYERS),
        "n_heads": heads,
        "d_head": width // heads,
        "d_mlp": fields.integer("intermediate_size", 24_576),
        "n_ctx": n_ctx,
        "d_vocab": vocab,
        "d_vocab_out": vocab,
        "act_fn": fields.choice("hidden_act", ACTIVATIONS, "gelu"),
        "normalization_type": "LN",
        "eps": fields.number("layer_norm_eps", 1e-5, 0, 1),
        "parallel_attn_mlp": fields.flag("use_parallel_residual", True),
        "qkv_bias": has_bias,
        "attn_out_bias": has_bias,
        "tie_word_embeddings": fields.flag("tie_word_embeddings", False),
    }
    return LANGUAGE_MODEL | out | rotary_fields(fields, width // heads, n_ctx, theta="rotary_emb_base", share=share)


def embedding(read: Read, c: TargetConfig) -> Tensors:
    """embed_in."""
    return {"embed.W_E": read("embed_in.weight", c.d_vocab, c.d_model)}


def block(read: Read, c: TargetConfig, layer: int) -> Tensors:
    """layers.{layer}: query_key_value holds query, key and value of the first head, then those of the second ..."""
    d, h, k, m = c.d_model, c.n_heads, c.d_head, c.d_mlp
    at, to = f"layers.{layer}.", f"blocks.{layer}."
    out: Tensors = {}
    for theirs, ours in (("input_layernorm", "ln1"), ("post_attention_layernorm", "ln2")):
        out |= {f"{to}{ours}.w": read(f"{at}{theirs}.weight", d), f"{to}{ours}.b": read(f"{at}{theirs}.bias", d)}
    qkv = read(at + "attention.query_key_value.weight", 3 * d, d).view(h, 3, k, d).permute(1, 0, 3, 2)
    out |= {f"{to}attn.W_{side}": qkv[i] for i, side in enumerate("QKV")}
    out[to + "attn.W_O"] = read(at + "attention.dense.weight", d, d).T.view(h, k, d)
    if c.qkv_bias:
        biases = read(at + "attention.query_key_value.bias", 3 * d).view(h, 3, k)
        out |= {f"{to}attn.b_{side}": biases[:, i] for i, side in enumerate("QKV")}
        out[to + "attn.b_O"] = read(at + "attention.dense.bias", d)
    return out | {
        to + "mlp.W_in": read(at + "mlp.dense_h_to_4h.weight", m, d).T,
        to + "mlp.b_in": read(at + "mlp.dense_h_to_4h.bias", m),
        to + "mlp.W_out": read(at + "mlp.dense_4h_to_h.weight", d, m).T,
        to + "mlp.b_out": read(at + "mlp.dense_4h_to_h.bias", d),
    }


def unembedding(read: Read, c: TargetConfig) -> Tensors:
    """final_layer_norm and embed_out."""
    out = {
        "ln_final.w": read("final_layer_norm.weight", c.d_model),
        "ln_final.b": read("final_layer_norm.bias", c.d_model),
    }
    return out if c.tie_word_embeddings else out | {"unembed.W_U": read("embed_out.weight", c.d_vocab, c.d_model).T}


FAMILY = Family(
    config_fields,
    Layout(embedding, block, unembedding, "gpt_neox.", ("embed_out.weight", "lm_head.weight"), "embed_in.weight"),
    buffers=r"(gpt_neox\.)?layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",
)
