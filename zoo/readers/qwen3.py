"""Qwen3: a Llama with an RMSNorm on each query and key, and heads whose width is chosen apart."""

from __future__ import annotations

from typing import Any

from zoo.readers.family import Family
from zoo.readers.fields import Fields
from zoo.readers.llama import BUFFERS, LAYOUT, shared_fields
from zoo.readers.rope import expect_full_attention


def config_fields(fields: Fields) -> dict[str, Any]:
    """See `Family.config`."""
    out = shared_fields(fields, vocab=151_936, d_mlp=22_016, n_ctx=32_768, n_key_value_heads=32, d_head=128)
    expect_full_attention(fields, out["n_layers"], out["n_ctx"])
    has_bias = fields.flag("attention_bias", False)
    return out | {"use_qk_norm": True, "qkv_bias": has_bias, "attn_out_bias": has_bias, "mlp_bias": False}


FAMILY = Family(config_fields, LAYOUT, BUFFERS)
