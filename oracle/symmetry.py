"""Changes of weights that leave a target's function as it is (gauges), as functions from weights to weights.

    every target    S1 to S7 and S9; S8 where the answer is the largest logit
    a norm          L2 (LayerNorm only) and L3; L1 where the norm has a gain
    no norm         R2, R3; R1 for ReLU neurons, under a norm too
    normalised      L3 in place of R2 and R3 where there is no norm beside it; of L2 only what reads change:
    states          what is written counts by its length, along the ones direction too
    other models    G1 for gated neurons, Q1 in place of S2 under norms of queries and keys; a gauge that needs a bias,
                    W_pos or a W_U of its own is left out where there is none

S1 to S5 and Q1 are in head_gauges.py. Every function takes a configuration, weights and a generator, returns new
weights, and touches nothing else. Invertible matrices are drawn with condition number at most 3. The exact
equivariance beside them is in relabelling.py. What is no gauge, though it looks like one, is in controls.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from oracle.gauge_parts import (
    Gauge,
    gain_and_shift,
    normal,
    random_invertible,
    random_orthogonal,
    reads_of,
    rotation_around_ones,
    signs,
    size_of,
    takes_shift,
    writes_of,
)
from oracle.head_gauges import (
    change_query_basis,
    change_query_norms,
    change_value_basis,
    move_value_bias,
    permute_heads,
    shift_key_bias,
)
from oracle.rotary import turned_entries
from tracr_tasks.transformer import TargetConfig, Weights

RANK_TOLERANCE = 1e-12
"""Singular values below this part of the largest are zero: what float64 leaves of a direction that is not written."""


def permute_neurons(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S6: the neurons of every layer in another order."""
    out = dict(weights)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.mlp."
        order = torch.randperm(len(weights[at + "W_out"]), generator=rng)
        names = [at + n for n in ("W_gate", "W_in", "b_gate", "b_in") if at + n in weights]
        out |= {name: weights[name][..., order] for name in names}
        out[at + "W_out"] = weights[at + "W_out"][order]
    return out


def move_embedding(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S7: W_E + 1c, W_pos - 1c."""
    c = normal((config.d_model,), weights["embed.W_E"], rng)
    moved = {"embed.W_E": weights["embed.W_E"] + c, "pos_embed.W_pos": weights["pos_embed.W_pos"] - c}
    return dict(weights) | moved


def shift_logits(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S8: W_U + w 1^T, b_U + c 1; a categorical output only."""
    out, like = dict(weights), weights["embed.W_E"]
    w, c = normal((config.d_model, 1), like, rng), normal((1,), like, rng)
    if not config.tie_word_embeddings:
        out["unembed.W_U"] = weights["unembed.W_U"] + w
    if config.unembed_bias:
        out["unembed.b_U"] = weights["unembed.b_U"] + c
    return out


def change_blind_reads(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S9: every read changes where nothing has been written before it, as seen through its norm.

    A read before which everything is written stays as it is. A shift that no bias can take out again counts as written.
    """
    out, is_ln = dict(weights), config.normalization_type in ("LN", "LNPre")
    for (norm, reads), written in zip(reads_of(config).items(), _written_before(config, weights), strict=True):
        gain, shift = gain_and_shift(weights, norm)
        seen = (written - written.mean(-1, keepdim=True) if is_ln else written) * gain
        if not takes_shift(weights, norm, reads):
            seen = torch.cat([seen, shift[None]])
        blind = _complement(seen)
        if not blind.shape[1]:
            break  # what is written only grows
        for W, b in reads:
            to = (*weights[W].shape[:-2], blind.shape[1], weights[W].shape[-1])
            change = (blind @ normal(to, blind, rng)).to(seen.dtype) * size_of(weights[W])
            out[W] = weights[W] + change
            out |= {} if b is None else {b: weights[b] - shift @ change}
    return out


def _written_before(config: TargetConfig, weights: Weights) -> Iterator[Float[Tensor, "write d_model"]]:
    """What the residual stream is a sum of at each place of `reads_of`.

    W_E and W_pos add a row each, so what S7 moves between them is not written: their means count by their sum.
    """
    W_E = weights["embed.W_E"]
    W_pos = weights.get("pos_embed.W_pos", torch.zeros_like(W_E[:1]))
    rows = [W_E - W_E.mean(0), W_pos - W_pos.mean(0), (W_E.mean(0) + W_pos.mean(0))[None]]
    yield torch.cat(rows)
    for layer in range(config.n_layers):
        for names in (("attn.W_O", "attn.b_O"), ("mlp.W_out", "mlp.b_out")):
            before = list(rows)
            found = [weights[n] for name in names if (n := f"blocks.{layer}.{name}") in weights]
            rows += [tensor.reshape(-1, config.d_model) for tensor in found]
            is_hidden = config.parallel_attn_mlp and names[0] == "attn.W_O"
            yield torch.cat(before if is_hidden else rows)


def _complement(rows: Float[Tensor, "row d_model"]) -> Float[Tensor, "d_model free"]:
    """An orthonormal basis, in float64, of what is orthogonal to every row; the rows' sizes do not matter."""
    wide = torch.nn.functional.normalize(rows.double(), dim=-1)
    _, sizes, directions = torch.linalg.svd(torch.linalg.qr(wide, mode="r")[1])
    rank = int((sizes > RANK_TOLERANCE * sizes.max()).sum())
    return directions[rank:].T


def change_norm_affine(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """L1: gamma s, beta s + delta, readers diag(1/s) W, b - delta W_new."""
    out = dict(weights)
    for norm, reads in reads_of(config).items():
        s = torch.exp(0.3 * normal((config.d_model,), weights["embed.W_E"], rng))
        delta = 0.3 * normal((config.d_model,), s, rng) if f"{norm}.b" in weights else torch.zeros_like(s)
        if not reads:
            continue  # of tied embeddings, which are a write too
        delta = delta if takes_shift(weights, norm, reads) else torch.zeros_like(s)
        out |= {f"{norm}.w": weights[f"{norm}.w"] * s} if f"{norm}.w" in weights else {}
        out |= {f"{norm}.b": weights[f"{norm}.b"] * s + delta} if f"{norm}.b" in weights else {}
        for W, b in reads:
            out[W] = weights[W] / s[:, None]
            out |= {} if b is None else {b: weights[b] - delta @ out[W]}
    return out


def fold_norms(config: TargetConfig, weights: Weights) -> dict[str, Tensor]:
    """L1 without chance: gains and shifts go into the reads behind them, and are one and zero from then on.

    A shift whose reads have no biases stays, divided by its gain; so does the norm before tied embeddings.
    """
    out = dict(weights)
    for norm, reads in reads_of(config).items():
        gain, shift = gain_and_shift(weights, norm)
        if not reads:
            continue
        folds = takes_shift(weights, norm, reads)
        for W, b in reads:
            out[W] = gain[:, None] * weights[W]
            out |= {} if b is None else {b: weights[b] + shift @ weights[W]}
        out |= {f"{norm}.w": torch.ones_like(gain)} if f"{norm}.w" in weights else {}
        out |= {f"{norm}.b": torch.zeros_like(shift) if folds else shift / gain} if f"{norm}.b" in weights else {}
    return out


def move_ones_direction(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """L2: alpha 1^T to every write, 1 c^T to every folded read; LayerNorm only.

    With a gain the read changes by (1 / gamma) c^T, and its bias takes out again what the shift puts in; a read stays
    as it is where it has no bias for that, and so do tied embeddings. Normalised states are scaled by the length of
    what is written, the ones included: writes then stay as they are.
    """
    out, size = dict(weights), size_of(weights["embed.W_E"])
    for name in () if config.normalize_states else writes_of(config)[int(config.tie_word_embeddings) :]:
        out[name] = weights[name] + size * normal((*weights[name].shape[:-1], 1), weights[name], rng)
    for norm, reads in reads_of(config).items():
        gain, shift = gain_and_shift(weights, norm)
        safe = torch.where(gain == 0, torch.finfo(gain.dtype).tiny, gain)  # unread entries are blind by themselves
        ones = safe.abs().min() / safe
        for W, b in reads if takes_shift(weights, norm, reads) else ():
            c = normal((*weights[W].shape[:-2], 1, weights[W].shape[-1]), weights[W], rng)
            change = size_of(weights[W]) * ones[:, None] * c
            out[W] = weights[W] + change
            out |= {} if b is None else {b: weights[b] - shift @ change}
    return out


def scale_neurons(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """R1: a times what the activation of every neuron is taken of, a > 0, and w_out / a; a gauge of ReLU only."""
    out, side = dict(weights), "gate" if config.gated_mlp else "in"
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.mlp."
        a = torch.exp(normal((len(weights[at + "W_out"]),), weights[at + "W_out"], rng))
        out |= {name: weights[name] * a for name in (f"{at}W_{side}", f"{at}b_{side}") if name in weights}
        out[at + "W_out"] = weights[at + "W_out"] / a[:, None]
    return out


def scale_gated(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """G1: (w_in, b_in) a, w_out / a for every gated neuron, a of either sign."""
    out = dict(weights)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.mlp."
        n, like = len(weights[at + "W_out"]), weights[at + "W_out"]
        a = torch.exp(normal((n,), like, rng)) * signs(n, like, rng)
        out |= {name: weights[name] * a for name in (at + "W_in", at + "b_in") if name in weights}
        out[at + "W_out"] = weights[at + "W_out"] / a[:, None]
    return out


def change_residual_basis(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """R2 without a norm (any invertible matrix), L3 under one (a rotation, that keeps the ones under LayerNorm).

    Normalised states alone leave rotations, as RMSNorm does.

    A gain is folded into its reads first: beside one that stays, only permutations would be exact. That is all that
    tied embeddings leave where there is a gain; where there is none, they leave rotations.
    """
    like, norm, tied = weights["embed.W_E"], config.normalization_type, config.tie_word_embeddings
    if norm in ("LN", "RMS") and tied:
        P = torch.eye(config.d_model, dtype=like.dtype)[torch.randperm(config.d_model, generator=rng)]
        gains = {name: weights[name] @ P for n in reads_of(config) if (name := f"{n}.w") in weights}
        return in_residual_basis(weights, P) | gains
    if norm is None:
        draw = random_orthogonal if tied or config.normalize_states else random_invertible
        return in_residual_basis(weights, draw(config.d_model, like, rng))
    rotation = random_orthogonal if norm in ("RMS", "RMSPre") else rotation_around_ones
    return in_residual_basis(fold_norms(config, weights), rotation(config.d_model, like, rng))


def in_residual_basis(weights: Weights, M: Float[Tensor, "d_model d_model"]) -> dict[str, Tensor]:
    """Weights in another basis of the residual stream: writes M, M^-1 reads, the rest (a norm's gain) as it is.

    A norm's shift goes with the writes.
    """
    back, out = torch.linalg.inv(M), dict(weights)
    for name, tensor in weights.items():
        last = name.rsplit(".", 1)[-1]
        if last in ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out", "b"):
            out[name] = tensor @ M
        elif last in ("W_Q", "W_K", "W_V", "W_gate", "W_in", "W_U"):
            out[name] = back @ tensor
    return out


def offset_writes(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """R3: an offset at every write site, taken out again by the biases of all later reads; no norm only."""
    out, total = dict(weights), torch.zeros_like(weights["embed.W_E"][0])
    written = ["embed.W_E"]
    for norm, reads in reads_of(config).items():
        for site in written:
            c = normal((config.d_model,), total, rng)
            out[site], total = weights[site] + c, total + c
        out |= {b: weights[b] - total @ weights[W] for W, b in reads if b is not None}
        at, is_attention = norm.removesuffix("ln1").removesuffix("ln2"), norm.endswith("ln1")
        sites = {"attn.b_O": is_attention != config.parallel_attn_mlp, "mlp.b_out": not is_attention}
        written = [name for site, is_here in sites.items() if is_here and (name := at + site) in weights]
    return out


def gauges_of(config: TargetConfig) -> dict[str, Gauge]:
    """Every gauge that a target has, by name, in an order of application in which none keeps another from moving.

    S9 comes first: rounding of a changed basis writes a little everywhere. L3 leaves no gain, so L1 comes last.
    """
    tied, is_categorical = config.tie_word_embeddings, config.output == "categorical"
    is_free = turned_entries(config) < config.d_head and not config.use_qk_norm
    places: dict[str, tuple[Gauge, bool]] = {
        "S9": (change_blind_reads, True),
        "S1": (permute_heads, True),
        "S2": (change_query_basis, not config.use_qk_norm),
        "Q1": (change_query_norms, config.use_qk_norm),
        "S3": (change_value_basis, True),
        "S4": (shift_key_bias, config.qkv_bias and is_free),
        "S5": (move_value_bias, config.qkv_bias and config.attn_out_bias),
        "S6": (permute_neurons, True),
        "S7": (move_embedding, config.positional_embedding_type == "standard" and (is_categorical or not tied)),
        "S8": (shift_logits, is_categorical and (config.unembed_bias or not tied)),
        "R1": (scale_neurons, config.act_fn == "relu"),
        "G1": (scale_gated, config.gated_mlp),
    }
    found = {name: gauge for name, (gauge, is_one) in places.items() if is_one}
    if config.normalization_type is None and not config.normalize_states:
        offsets = config.qkv_bias and config.mlp_bias and config.unembed_bias and not tied
        return found | {"R2": change_residual_basis} | ({"R3": offset_writes} if offsets else {})
    if config.normalization_type in ("LN", "LNPre"):
        found["L2"] = move_ones_direction
    found["L3"] = change_residual_basis
    if config.normalization_type in ("LN", "RMS"):
        found["L1"] = change_norm_affine
    return found


def random_gauge(config: TargetConfig, weights: Weights, seed: int) -> dict[str, Tensor]:
    """All gauges of a target after one another, under a seed: other weights, the same function.

    They are applied in float64, and rounded to the weights' own precision once: a gauge of float32 weights would else
    be one of weights that rounding has changed at every step.
    """
    rng = torch.Generator().manual_seed(seed)
    out = {name: tensor.double() for name, tensor in weights.items()}
    for gauge in gauges_of(config).values():
        out = gauge(config, out, rng)
    dtype = weights["embed.W_E"].dtype
    return {name: tensor.to(dtype) for name, tensor in out.items()}
