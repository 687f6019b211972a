"""What the heads of one layer write, for every kind of attention that a target can have."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tracr_tasks.target_config import TargetConfig

Angles = tuple[Float[Tensor, "pos rotary_dim"], Float[Tensor, "pos rotary_dim"]]
"""Cosine and sine of the turn of each of a head's turned entries, at each position."""


def attention_mask(tokens: Int[Tensor, "batch pos"], config: TargetConfig) -> Float[Tensor, "batch 1 query key"]:
    """0 where a query may look at a key, -inf where it may not (later positions if causal, PAD always)."""
    n = tokens.shape[1]
    blocked = torch.zeros(tokens.shape[0], 1, n, n, dtype=torch.bool, device=tokens.device)
    if config.attention_dir == "causal":
        blocked |= torch.ones(n, n, dtype=torch.bool, device=tokens.device).triu(1)
    if config.pad_token is not None:
        blocked |= (tokens == config.pad_token)[:, None, None, :]
    return torch.zeros(blocked.shape, device=tokens.device).masked_fill(blocked, -math.inf)


def attention(
    config: TargetConfig,
    weights: Mapping[str, Tensor],
    at: str,
    read: Float[Tensor, "batch pos d_model"],
    mask: Float[Tensor, "batch 1 pos pos"],
) -> Float[Tensor, "batch pos d_model"]:
    """What the heads whose tensors' names begin with `at` write, b_O aside."""
    sides = {}
    for side in "QKV":
        sides[side] = torch.einsum("bpd,hdk->bhpk", read, weights[f"{at}W_{side}"])
        if config.qkv_bias:
            sides[side] = sides[side] + weights[f"{at}b_{side}"][:, None]
    q, k, v = sides["Q"], sides["K"], sides["V"]
    if config.use_qk_norm:
        q, k = (_rms(x, config.eps) * weights[f"{at}{side}_norm.w"] for x, side in ((q, "q"), (k, "k")))
    if config.positional_embedding_type == "rotary":
        angles = rotary_angles(config, read.shape[1], read.dtype, read.device)
        q, k = (turned(x, angles, config.rotary_adjacent_pairs) for x in (q, k))
    if config.n_key_value_heads is not None:
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    scale = math.sqrt(max(1, q.shape[-1])) if config.attn_scale is None else config.attn_scale
    scores = q @ k.transpose(-1, -2) / scale + mask
    return torch.einsum("bhpk,hkd->bpd", scores.softmax(-1) @ v, weights[f"{at}W_O"])


def rotary_angles(config: TargetConfig, n_pos: int, dtype: torch.dtype, device: torch.device) -> Angles:
    """Turns of the first `n_pos` positions (Su et al. 2021, section 3.2), computed in float32 or wider."""
    wide = torch.promote_types(dtype, torch.float32)
    r = config.d_head if config.rotary_dim is None else config.rotary_dim
    turn = 1 / config.rotary_base ** (torch.arange(0, r, 2, dtype=wide, device=device) / r)
    turn = _ntk_by_parts(turn, config) if config.use_NTK_by_parts_rope else turn / config.rotary_scaling_factor
    angles = torch.arange(n_pos, dtype=wide, device=device)[:, None] * turn
    angles = angles.repeat_interleave(2, dim=1) if config.rotary_adjacent_pairs else torch.cat([angles, angles], 1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def turned(
    x: Float[Tensor, "batch head pos d_head"], angles: Angles, adjacent: bool
) -> Float[Tensor, "batch head pos d_head"]:
    """Queries or keys with each pair of their leading entries turned by the angle of its position."""
    cos, sin = angles
    r = cos.shape[1]
    head, rest = x[..., :r], x[..., r:]
    if adjacent:
        crossed = torch.stack([-head[..., 1::2], head[..., ::2]], -1).flatten(-2)
    else:
        crossed = torch.cat([-head[..., r // 2 :], head[..., : r // 2]], -1)
    return torch.cat([head * cos + crossed * sin, rest], -1)


def _ntk_by_parts(turn: Float[Tensor, " pair"], config: TargetConfig) -> Float[Tensor, " pair"]:
    """Slow turns divided, fast ones kept, those between interpolated (Peng et al. 2023, section 3.2, as in Llama 3)."""
    rounds = config.NTK_original_ctx_len * turn / (2 * math.pi)
    low, high = config.NTK_by_parts_low_freq_factor, config.NTK_by_parts_high_freq_factor
    kept = ((rounds - low) / (high - low)).clamp(0, 1)
    return kept * turn + (1 - kept) * turn / config.NTK_by_parts_factor


def _rms(x: Float[Tensor, "batch head pos d_head"], eps: float) -> Float[Tensor, "batch head pos d_head"]:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
