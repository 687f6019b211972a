"""GPT-2: learned positions, LayerNorm, fused c_attn. Its Conv1D weights are [in, out], as ours are."""

from __future__ import annotations

from typing import Any

from tracr_tasks.transformer import TargetConfig
from zoo.readers.family import ACTIVATIONS, LANGUAGE_MODEL, Family
from zoo.readers.fields import Fields
from zoo.readers.source import Layout, Read, Tensors
from zoo.target_files import MAX_LAYERS, refused


def config_fields(fields: Fields) -> dict[str, Any]:
    """See `Family.config`."""
    fields.expect("scale_attn_by_inverse_layer_idx", False)
    fields.expect("add_cross_attention", False)
    width, heads = fields.integer("n_embd", 768), fields.integer("n_head", 12)
    if width % heads:
        raise refused(fields.where, "n_head", heads, f"a divisor of n_embd, which is {width}")
    vocab = fields.integer("vocab_size", 50_257)
    return LANGUAGE_MODEL | {
        "d_model": width,
        "n_layers": fields.integer("n_layer", 12, 0, MAX_LAYERS),
        "n_heads": heads,
        "d_head": width // heads,
        "d_mlp": fields.integer("n_inner", 4 * width),
        "n_ctx": fields.integer("n_positions", 1024),
        "d_vocab": vocab,
        "d_vocab_out": vocab,
        "act_fn": fields.choice("activation_function", ACTIVATIONS, "gelu_new"),
        "normalization_type": "LN",
        "eps": fields.number("layer_norm_epsilon", 1e-5, 0, 1),
        "attn_scale": None if fields.flag("scale_attn_weights", True) else 1.0,
        "tie_word_embeddings": fields.flag("tie_word_embeddings", True),
    }


def embedding(read: Read, c: TargetConfig) -> Tensors:
    """wte and wpe."""
    return {
        "embed.W_E": read("wte.weight", c.d_vocab, c.d_model),
        "pos_embed.W_pos": read("wpe.weight", c.n_ctx, c.d_model),
    }


def block(read: Read, c: TargetConfig, layer: int) -> Tensors:
    """h.{layer}: c_attn holds all queries, then all keys, then all values, each head after head."""
    d, h, k, m = c.d_model, c.n_heads, c.d_head, c.d_mlp
    at, to = f"h.{layer}.", f"blocks.{layer}."
    qkv = read(at + "attn.c_attn.weight", d, 3 * d).view(d, 3, h, k).permute(1, 2, 0, 3)
    biases = read(at + "attn.c_attn.bias", 3 * d).view(3, h, k)
    out: Tensors = {}
    for i, name in ((1, "ln1"), (2, "ln2")):
        out |= {f"{to}{name}.w": read(f"{at}ln_{i}.weight", d), f"{to}{name}.b": read(f"{at}ln_{i}.bias", d)}
    for i, side in enumerate("QKV"):
        out |= {f"{to}attn.W_{side}": qkv[i], f"{to}attn.b_{side}": biases[i]}
    return out | {
        to + "attn.W_O": read(at + "attn.c_proj.weight", d, d).view(h, k, d),
        to + "attn.b_O": read(at + "attn.c_proj.bias", d),
        to + "mlp.W_in": read(at + "mlp.c_fc.weight", d, m),
        to + "mlp.b_in": read(at + "mlp.c_fc.bias", m),
        to + "mlp.W_out": read(at + "mlp.c_proj.weight", m, d),
        to + "mlp.b_out": read(at + "mlp.c_proj.bias", d),
    }


def unembedding(read: Read, c: TargetConfig) -> Tensors:
    """ln_f, and lm_head where it is not wte."""
    out = {"ln_final.w": read("ln_f.weight", c.d_model), "ln_final.b": read("ln_f.bias", c.d_model)}
    return out if c.tie_word_embeddings else out | {"unembed.W_U": read("lm_head.weight", c.d_vocab, c.d_model).T}


FAMILY = Family(
    config_fields,
    Layout(embedding, block, unembedding, "transformer.", ("lm_head.weight",), "wte.weight"),
    buffers=r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)",
)
