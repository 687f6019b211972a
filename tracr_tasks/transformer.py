"""The one transformer that everything here reads, writes and runs: a configuration and named weights.

Row-vector convention, TransformerLens names. A weight dictionary holds

    embed.W_E               [d_vocab, d_model]
    pos_embed.W_pos         [n_ctx, d_model]
    blocks.{l}.attn.W_Q     [n_heads, d_model, d_head]      also W_K, W_V; biases b_Q, b_K, b_V [n_heads, d_head]
    blocks.{l}.attn.W_O     [n_heads, d_head, d_model]      bias b_O [d_model]
    blocks.{l}.mlp.W_in     [d_model, d_mlp]                bias b_in [d_mlp]
    blocks.{l}.mlp.W_out    [d_mlp, d_model]                bias b_out [d_model]
    blocks.{l}.ln1.w, .b    [d_model]                       ln2 likewise, only where the normalisation has a gain
    ln_final.w, .b          [d_model]
    unembed.W_U             [d_model, d_vocab_out]          bias b_U [d_vocab_out]

The sizes of one layer are those of its tensors: layers may differ in n_heads, d_head and d_mlp (a compiled program is
not padded to its widest layer), and the configuration holds the largest of each.

Other people's models have more kinds of tensor, and fewer: what the configuration says is absent is not stored. Their
layers are all alike.

    blocks.{l}.attn.W_K, W_V            [n_key_value_heads, d_model, d_head]   grouped heads, not expanded (biases too):
                                                                               what TransformerLens calls _W_K, _W_V
    blocks.{l}.attn.q_norm.w, k_norm.w  [d_head]
    blocks.{l}.mlp.W_gate               [d_model, d_mlp]                       bias b_gate [d_mlp]
    embed.W_E without an unembed.W_U    W_U is W_E transposed (tied embeddings)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tracr_tasks.attention import attention, attention_mask
from tracr_tasks.target_config import TargetConfig as TargetConfig

Weights = Mapping[str, Tensor]
"""Named float tensors, as the module's docstring lists them."""

Shapes = dict[str, tuple[int, ...]]
"""Shapes by name."""


def shapes(config: TargetConfig) -> Shapes:
    """Shape of every tensor of a target whose layers are all alike, by name, in the order of the computation."""
    d, out = config.d_model, config.d_vocab_out
    sizes: Shapes = {"embed.W_E": (config.d_vocab, d)}
    if config.positional_embedding_type == "standard":
        sizes["pos_embed.W_pos"] = (config.n_ctx, d)
    for layer in range(config.n_layers):
        sizes |= {f"blocks.{layer}.{name}": shape for name, shape in block_shapes(config).items()}
    sizes |= _norm_shapes(config, "ln_final")
    sizes |= {} if config.tie_word_embeddings else {"unembed.W_U": (d, out)}
    return sizes | ({"unembed.b_U": (out,)} if config.unembed_bias else {})


def block_shapes(config: TargetConfig) -> Shapes:
    """Shape of every tensor of one layer, by its name within the layer."""
    d, h, k, m = config.d_model, config.n_heads, config.d_head, config.d_mlp
    kv = h if config.n_key_value_heads is None else config.n_key_value_heads
    gate = ("gate",) if config.gated_mlp else ()
    sizes = _norm_shapes(config, "ln1")
    sizes |= {"attn.W_Q": (h, d, k), "attn.W_K": (kv, d, k), "attn.W_V": (kv, d, k)}
    sizes |= {"attn.b_Q": (h, k), "attn.b_K": (kv, k), "attn.b_V": (kv, k)} if config.qkv_bias else {}
    sizes |= {"attn.q_norm.w": (k,), "attn.k_norm.w": (k,)} if config.use_qk_norm else {}
    sizes |= {"attn.W_O": (h, k, d)} | ({"attn.b_O": (d,)} if config.attn_out_bias else {})
    sizes |= _norm_shapes(config, "ln2")
    for side in (*gate, "in"):
        sizes |= {f"mlp.W_{side}": (d, m)} | ({f"mlp.b_{side}": (m,)} if config.mlp_bias else {})
    return sizes | {"mlp.W_out": (m, d)} | ({"mlp.b_out": (d,)} if config.mlp_bias else {})


def _norm_shapes(config: TargetConfig, name: str) -> Shapes:
    """Gain and shift of the norm called `name`, as far as the normalisation has them."""
    row: tuple[int, ...] = (config.d_model,)
    sizes: Shapes = {f"{name}.w": row} if config.normalization_type in ("LN", "RMS") else {}
    return sizes | ({f"{name}.b": row} if config.normalization_type == "LN" else {})


def normalise(
    x: Float[Tensor, "... d_model"], config: TargetConfig, weights: Weights, name: str
) -> Float[Tensor, "... d_model"]:
    """What a block reads: x itself, or its LayerNorm or RMSNorm with the gain and shift called `name`."""
    kind = config.normalization_type
    if kind is None:
        return x
    if kind in ("LN", "LNPre"):
        x = x - x.mean(-1, keepdim=True)
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + config.eps)
    x = x * weights[f"{name}.w"] if kind in ("LN", "RMS") else x
    return x + weights[f"{name}.b"] if kind == "LN" else x


def normalised_state(x: Float[Tensor, "... d_model"], config: TargetConfig) -> Float[Tensor, "... d_model"]:
    """A residual state as it is kept between blocks: x, or if the configuration says so x over its root mean square."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + config.eps) if config.normalize_states else x


def activation(config: TargetConfig, x: Float[Tensor, "... d_mlp"]) -> Float[Tensor, "... d_mlp"]:
    """The MLP's activation function, elementwise."""
    if config.act_fn == "gelu_new":
        return torch.nn.functional.gelu(x, approximate="tanh")
    plain = {"relu": torch.relu, "gelu": torch.nn.functional.gelu, "silu": torch.nn.functional.silu}
    return plain[config.act_fn](x)


def mlp(
    config: TargetConfig, weights: Weights, at: str, read: Float[Tensor, "batch pos d_model"]
) -> Float[Tensor, "batch pos d_model"]:
    """What the neurons whose tensors' names begin with `at` write, b_out aside."""

    def side(name: str) -> Float[Tensor, "batch pos d_mlp"]:
        product = read @ weights[f"{at}W_{name}"]
        return product + weights[f"{at}b_{name}"] if config.mlp_bias else product

    hidden = activation(config, side("gate")) * side("in") if config.gated_mlp else activation(config, side("in"))
    return hidden @ weights[f"{at}W_out"]


def forward(
    config: TargetConfig, weights: Weights, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "batch pos d_vocab_out"]:
    """Run a target on token ids (BOS first, where it has one) and return its logits at every position."""
    x = weights["embed.W_E"][tokens]
    if config.positional_embedding_type == "standard":
        x = x + weights["pos_embed.W_pos"][: tokens.shape[1]]
    x = normalised_state(x, config)
    mask = attention_mask(tokens, config).to(x.dtype)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}."
        mid = x + attention(config, weights, at + "attn.", normalise(x, config, weights, at + "ln1"), mask)
        mid = mid + weights[at + "attn.b_O"] if config.attn_out_bias else mid
        read = normalise(x if config.parallel_attn_mlp else mid, config, weights, at + "ln2")
        x = mid + mlp(config, weights, at + "mlp.", read)
        x = normalised_state(x + weights[at + "mlp.b_out"] if config.mlp_bias else x, config)
    x = normalise(x, config, weights, "ln_final")
    logits = x @ (weights["embed.W_E"].T if config.tie_word_embeddings else weights["unembed.W_U"])
    return logits + weights["unembed.b_U"] if config.unembed_bias else logits
