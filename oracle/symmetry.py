"""Changes of weights that leave a target's function as it is (gauges), as functions from weights to weights.

    every target    S1 to S7 and S9; S8 where the answer is the largest logit
    a norm          L2 (LayerNorm only) and L3; L1 where the norm has a gain
    no norm         R2, R3; R1 for ReLU neurons, under a norm too

Every function takes a configuration, weights and a generator, returns new weights, and touches nothing else.
Invertible matrices are drawn with condition number at most 3. `relabel_weights` is the exact equivariance beside them.
What is no gauge, though it looks like one, is in controls.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig, Weights

Gauge = Callable[[TargetConfig, Weights, torch.Generator], dict[str, Tensor]]
"""From a configuration, weights and a generator to new weights."""

Read = tuple[str, str]
"""Names of a matrix that reads the residual stream and of its bias."""

RANK_TOLERANCE = 1e-12
"""Singular values below this part of the largest are zero: what float64 leaves of a direction that is not written."""


def random_orthogonal(n: int, like: Float[Tensor, "..."], rng: torch.Generator) -> Float[Tensor, "n n"]:
    """A random orthogonal matrix (QR of a Gaussian one)."""
    return torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=rng))[0].to(like.dtype)


def random_invertible(n: int, like: Float[Tensor, "..."], rng: torch.Generator) -> Float[Tensor, "n n"]:
    """A random matrix with singular values between 1/sqrt(3) and sqrt(3)."""
    left, right = random_orthogonal(n, like, rng), random_orthogonal(n, like, rng)
    log_scale = torch.rand(n, generator=rng, dtype=torch.float64) - 0.5
    return left * (3**log_scale).to(like.dtype) @ right


def _normal(shape: tuple[int, ...], like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=rng).to(like.dtype)


def _size(x: Tensor) -> Tensor:
    """Root mean square of a tensor's entries, zero for an empty one."""
    return x.square().sum().div(max(1, x.numel())).sqrt()


def reads_of(config: TargetConfig) -> dict[str, list[Read]]:
    """What reads the residual stream behind each norm (or where one would be), in the order of the computation."""
    reads: dict[str, list[Read]] = {}
    for layer in range(config.n_layers):
        attn, mlp = f"blocks.{layer}.attn.", f"blocks.{layer}.mlp."
        reads[f"blocks.{layer}.ln1"] = [(f"{attn}W_{side}", f"{attn}b_{side}") for side in "QKV"]
        reads[f"blocks.{layer}.ln2"] = [(f"{mlp}W_in", f"{mlp}b_in")]
    return reads | {"ln_final": [("unembed.W_U", "unembed.b_U")]}


def writes_of(config: TargetConfig) -> list[str]:
    """The tensors that are written into the residual stream, in the order of the computation."""
    sides = ("attn.W_O", "attn.b_O", "mlp.W_out", "mlp.b_out")
    blocks = [f"blocks.{layer}.{side}" for layer in range(config.n_layers) for side in sides]
    return ["embed.W_E", "pos_embed.W_pos", *blocks]


def _gain_and_shift(weights: Weights, norm: str) -> tuple[Float[Tensor, " d_model"], Float[Tensor, " d_model"]]:
    """Gain and shift of the norm called `norm`; one and zero where it has none."""
    like = weights["embed.W_E"][0]
    return weights.get(f"{norm}.w", torch.ones_like(like)), weights.get(f"{norm}.b", torch.zeros_like(like))


def permute_heads(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S1: the heads of every layer in another order."""
    out = dict(weights)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.attn."
        order = torch.randperm(len(weights[at + "W_Q"]), generator=rng)
        out |= {at + n: weights[at + n][order] for n in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V")}
    return out


def change_query_basis(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S2: W_Q M, b_Q M, W_K M^-T, b_K M^-T for every head."""
    out = dict(weights)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.attn."
        for h in range(len(weights[at + "W_Q"])):
            M = random_invertible(weights[at + "W_Q"].shape[-1], weights[at + "W_Q"], rng)
            for name, matrix in (("Q", M), ("K", torch.linalg.inv(M).T)):
                out[at + f"W_{name}"] = _with_row(out[at + f"W_{name}"], h, weights[at + f"W_{name}"][h] @ matrix)
                out[at + f"b_{name}"] = _with_row(out[at + f"b_{name}"], h, weights[at + f"b_{name}"][h] @ matrix)
    return out


def change_value_basis(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S3: W_V N, b_V N, N^-1 W_O for every head."""
    out = dict(weights)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.attn."
        for h in range(len(weights[at + "W_V"])):
            N = random_invertible(weights[at + "W_V"].shape[-1], weights[at + "W_V"], rng)
            out[at + "W_V"] = _with_row(out[at + "W_V"], h, weights[at + "W_V"][h] @ N)
            out[at + "b_V"] = _with_row(out[at + "b_V"], h, weights[at + "b_V"][h] @ N)
            out[at + "W_O"] = _with_row(out[at + "W_O"], h, torch.linalg.inv(N) @ weights[at + "W_O"][h])
    return out


def _with_row(x: Tensor, index: int, row: Tensor) -> Tensor:
    out = x.clone()
    out[index] = row
    return out


def shift_key_bias(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S4: any other b_K."""
    names = [f"blocks.{layer}.attn.b_K" for layer in range(config.n_layers)]
    return dict(weights) | {n: weights[n] + _normal(tuple(weights[n].shape), weights[n], rng) for n in names}


def move_value_bias(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S5: b_V + c, b_O - c W_O."""
    out = dict(weights)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.attn."
        c = _normal(tuple(weights[at + "b_V"].shape), weights[at + "b_V"], rng)
        out[at + "b_V"] = weights[at + "b_V"] + c
        out[at + "b_O"] = weights[at + "b_O"] - torch.einsum("hk,hkd->d", c, weights[at + "W_O"])
    return out


def permute_neurons(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S6: the neurons of every layer in another order."""
    out = dict(weights)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.mlp."
        order = torch.randperm(len(weights[at + "b_in"]), generator=rng)
        out[at + "W_in"], out[at + "b_in"] = weights[at + "W_in"][:, order], weights[at + "b_in"][order]
        out[at + "W_out"] = weights[at + "W_out"][order]
    return out


def move_embedding(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S7: W_E + 1c, W_pos - 1c."""
    c = _normal((config.d_model,), weights["embed.W_E"], rng)
    moved = {"embed.W_E": weights["embed.W_E"] + c, "pos_embed.W_pos": weights["pos_embed.W_pos"] - c}
    return dict(weights) | moved


def shift_logits(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S8: W_U + w 1^T, b_U + c 1; a categorical output only."""
    w = _normal((config.d_model, 1), weights["unembed.W_U"], rng)
    c = _normal((1,), weights["unembed.b_U"], rng)
    return dict(weights) | {"unembed.W_U": weights["unembed.W_U"] + w, "unembed.b_U": weights["unembed.b_U"] + c}


def change_blind_reads(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S9: every read changes where nothing has been written before it, as seen through its norm.

    A read before which everything is written stays as it is.
    """
    out, is_ln = dict(weights), config.normalization_type in ("LN", "LNPre")
    for (norm, reads), written in zip(reads_of(config).items(), _written_before(config, weights), strict=True):
        gain, shift = _gain_and_shift(weights, norm)
        seen = (written - written.mean(-1, keepdim=True) if is_ln else written) * gain
        blind = _complement(seen)
        if not blind.shape[1]:
            break  # what is written only grows
        for W, b in reads:
            to = (*weights[W].shape[:-2], blind.shape[1], weights[W].shape[-1])
            change = (blind @ _normal(to, blind, rng)).to(seen.dtype) * _size(weights[W])
            out[W], out[b] = weights[W] + change, weights[b] - shift @ change
    return out


def _written_before(config: TargetConfig, weights: Weights) -> Iterator[Float[Tensor, "write d_model"]]:
    """What the residual stream is a sum of at each place of `reads_of`.

    W_E and W_pos add a row each, so what S7 moves between them is not written: their means count by their sum.
    """
    W_E, W_pos = weights["embed.W_E"], weights["pos_embed.W_pos"]
    rows = [W_E - W_E.mean(0), W_pos - W_pos.mean(0), (W_E.mean(0) + W_pos.mean(0))[None]]
    yield torch.cat(rows)
    for layer in range(config.n_layers):
        for names in (("attn.W_O", "attn.b_O"), ("mlp.W_out", "mlp.b_out")):
            rows += [weights[f"blocks.{layer}.{name}"].reshape(-1, config.d_model) for name in names]
            yield torch.cat(rows)


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
        s = torch.exp(0.3 * _normal((config.d_model,), weights["embed.W_E"], rng))
        delta = 0.3 * _normal((config.d_model,), s, rng) if f"{norm}.b" in weights else torch.zeros_like(s)
        out |= {f"{norm}.w": weights[f"{norm}.w"] * s} if f"{norm}.w" in weights else {}
        out |= {f"{norm}.b": weights[f"{norm}.b"] * s + delta} if f"{norm}.b" in weights else {}
        for W, b in reads:
            out[W] = weights[W] / s[:, None]
            out[b] = weights[b] - delta @ out[W]
    return out


def fold_norms(config: TargetConfig, weights: Weights) -> dict[str, Tensor]:
    """L1 without chance: gains and shifts go into the reads behind them, and are one and zero from then on."""
    out = dict(weights)
    for norm, reads in reads_of(config).items():
        gain, shift = _gain_and_shift(weights, norm)
        for W, b in reads:
            out[W], out[b] = gain[:, None] * weights[W], weights[b] + shift @ weights[W]
        out |= {f"{norm}.w": torch.ones_like(gain)} if f"{norm}.w" in weights else {}
        out |= {f"{norm}.b": torch.zeros_like(shift)} if f"{norm}.b" in weights else {}
    return out


def move_ones_direction(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """L2: alpha 1^T to every write, 1 c^T to every folded read; LayerNorm only.

    With a gain the read changes by (1 / gamma) c^T, and its bias takes out again what the shift puts in.
    """
    out, size = dict(weights), _size(weights["embed.W_E"])
    for name in writes_of(config):
        out[name] = weights[name] + size * _normal((*weights[name].shape[:-1], 1), weights[name], rng)
    for norm, reads in reads_of(config).items():
        gain, shift = _gain_and_shift(weights, norm)
        safe = torch.where(gain == 0, torch.finfo(gain.dtype).tiny, gain)  # unread entries are blind by themselves
        ones = safe.abs().min() / safe
        for W, b in reads:
            c = _normal((*weights[W].shape[:-2], 1, weights[W].shape[-1]), weights[W], rng)
            change = _size(weights[W]) * ones[:, None] * c
            out[W], out[b] = weights[W] + change, weights[b] - shift @ change
    return out


def scale_neurons(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """R1: (w_in, b_in) a, w_out / a for every ReLU neuron."""
    out = dict(weights)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.mlp."
        a = torch.exp(_normal((len(weights[at + "b_in"]),), weights[at + "b_in"], rng))
        out[at + "W_in"], out[at + "b_in"] = weights[at + "W_in"] * a, weights[at + "b_in"] * a
        out[at + "W_out"] = weights[at + "W_out"] / a[:, None]
    return out


def change_residual_basis(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """R2 without a norm (any invertible matrix), L3 under one (a rotation, that keeps the ones under LayerNorm).

    A gain is folded into its reads first: beside one that stays, only permutations would be exact.
    """
    like = weights["embed.W_E"]
    if config.normalization_type is None:
        return in_residual_basis(weights, random_invertible(config.d_model, like, rng))
    rotation = random_orthogonal if config.normalization_type in ("RMS", "RMSPre") else _rotation_around_ones
    return in_residual_basis(fold_norms(config, weights), rotation(config.d_model, like, rng))


def _rotation_around_ones(n: int, like: Tensor, rng: torch.Generator) -> Tensor:
    """An orthogonal R with R 1 = 1."""
    first = torch.cat(
        [torch.ones(n, 1, dtype=torch.float64), torch.randn(n, n - 1, dtype=torch.float64, generator=rng)], 1
    )
    basis = torch.linalg.qr(first)[0]
    inner = torch.eye(n, dtype=torch.float64)
    inner[1:, 1:] = random_orthogonal(n - 1, basis, rng)
    return (basis @ inner @ basis.T).to(like.dtype)


def in_residual_basis(weights: Weights, M: Float[Tensor, "d_model d_model"]) -> dict[str, Tensor]:
    """Weights in another basis of the residual stream: writes M, M^-1 reads, the rest (a norm's gain) as it is."""
    back, out = torch.linalg.inv(M), dict(weights)
    for name, tensor in weights.items():
        last = name.rsplit(".", 1)[-1]
        if last in ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out"):
            out[name] = tensor @ M
        elif last in ("W_Q", "W_K", "W_V", "W_in", "W_U"):
            out[name] = back @ tensor
    return out


def offset_writes(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """R3: an offset at every write site, taken out again by the biases of all later reads; no norm only."""
    out, total = dict(weights), torch.zeros_like(weights["embed.W_E"][0])
    sites = [name for name in writes_of(config) if name == "embed.W_E" or name.endswith(("b_O", "b_out"))]
    for site, reads in zip(sites, reads_of(config).values(), strict=True):
        c = _normal((config.d_model,), total, rng)
        out[site], total = weights[site] + c, total + c
        out |= {b: weights[b] - total @ weights[W] for W, b in reads}
    return out


def gauges_of(config: TargetConfig) -> dict[str, Gauge]:
    """Every gauge that a target has, by name, in an order of application in which none keeps another from moving.

    S9 comes first: rounding of a changed basis writes a little everywhere. L3 leaves no gain, so L1 comes last.
    """
    found: dict[str, Gauge] = {
        "S9": change_blind_reads,
        "S1": permute_heads,
        "S2": change_query_basis,
        "S3": change_value_basis,
        "S4": shift_key_bias,
        "S5": move_value_bias,
        "S6": permute_neurons,
        "S7": move_embedding,
    }
    if config.output == "categorical":
        found["S8"] = shift_logits
    if config.act_fn == "relu":
        found["R1"] = scale_neurons
    if config.normalization_type is None:
        return found | {"R2": change_residual_basis, "R3": offset_writes}
    if config.normalization_type in ("LN", "LNPre"):
        found["L2"] = move_ones_direction
    found["L3"] = change_residual_basis
    if config.normalization_type in ("LN", "RMS"):
        found["L1"] = change_norm_affine
    return found


def random_gauge(config: TargetConfig, weights: Weights, seed: int) -> dict[str, Tensor]:
    """All gauges of a target after one another, under a seed: other weights, the same function."""
    rng = torch.Generator().manual_seed(seed)
    out = dict(weights)
    for gauge in gauges_of(config).values():
        out = gauge(config, out, rng)
    return out


def relabel_weights(
    config: TargetConfig,
    weights: Weights,
    tokens: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    outputs: Sequence[int] | None = None,
) -> dict[str, Tensor]:
    """The target that computes the relabelled program: old label order[i] is label i of the result.

    `tokens` orders the input tokens after BOS and PAD, `positions` those after BOS, both counted from 0, and `outputs`
    the output tokens; None leaves them. An input of the old target, its tokens renamed and moved, gives the old logits,
    renamed (and moved, where answers are read at every position).

    Raises:
        InputError: an order is no permutation of the labels that it is for, or positions of causal attention move.
    """
    specials, first = (2, 1) if config.default_prepend_bos else (0, 0)
    if positions is not None and config.attention_dir == "causal" and list(positions) != sorted(positions):
        raise InputError("positions cannot be relabelled under causal attention, which sees their order")
    rows = _ordered("tokens", tokens, specials, config.d_vocab)
    places = _ordered("positions", positions, first, config.n_ctx)
    columns = _ordered("outputs", outputs, 0, config.d_vocab_out)
    return dict(weights) | {
        "embed.W_E": weights["embed.W_E"][rows],
        "pos_embed.W_pos": weights["pos_embed.W_pos"][places],
        "unembed.W_U": weights["unembed.W_U"][:, columns],
        "unembed.b_U": weights["unembed.b_U"][columns],
    }


def _ordered(what: str, order: Sequence[int] | None, fixed: int, n: int) -> list[int]:
    """Indices of `n` labels in their new order, the first `fixed` of them in place."""
    order = range(n - fixed) if order is None else order
    if sorted(order) != list(range(n - fixed)):
        raise InputError(f"{what} = {list(order)}, expected a permutation of 0 to {n - fixed - 1}")
    return [*range(fixed), *(fixed + i for i in order)]
