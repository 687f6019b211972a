"""Changes of weights that leave a target's function as it is (gauges), as functions from weights to weights.

Names are those of the encoder's docstrings. Every function takes a configuration, weights and a generator, returns
new weights, and touches nothing else. Invertible matrices are drawn with condition number at most 3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tracr_tasks.transformer import TargetConfig, Weights

Gauge = Callable[[TargetConfig, Weights, torch.Generator], dict[str, Tensor]]


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


def scale_norm_gain(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """L1, its scale: gamma s, beta s, readers diag(1/s) W."""
    out = dict(weights)
    reads = {"ln_final": ["unembed.W_U"]}
    for layer in range(config.n_layers):
        reads[f"blocks.{layer}.ln1"] = [f"blocks.{layer}.attn.W_{side}" for side in "QKV"]
        reads[f"blocks.{layer}.ln2"] = [f"blocks.{layer}.mlp.W_in"]
    for norm, readers in reads.items():
        s = torch.exp(0.3 * _normal((config.d_model,), weights["embed.W_E"], rng))
        out |= {name: weights[name] * s for name in (f"{norm}.w", f"{norm}.b") if name in weights}
        out |= {name: weights[name] / s[:, None] for name in readers}
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
    """R2 without a norm (any invertible matrix), L3 under one without gain (a rotation that keeps LayerNorm's ones)."""
    like = weights["embed.W_E"]
    if config.normalization_type is None:
        M = random_invertible(config.d_model, like, rng)
    elif config.normalization_type == "RMSPre":
        M = random_orthogonal(config.d_model, like, rng)
    else:
        M = _rotation_around_ones(config.d_model, like, rng)
    back = torch.linalg.inv(M)
    return {name: _rotated(name, tensor, M, back) for name, tensor in weights.items()}


def _rotation_around_ones(n: int, like: Tensor, rng: torch.Generator) -> Tensor:
    """An orthogonal R with R 1 = 1."""
    first = torch.cat(
        [torch.ones(n, 1, dtype=torch.float64), torch.randn(n, n - 1, dtype=torch.float64, generator=rng)], 1
    )
    basis = torch.linalg.qr(first)[0]
    inner = torch.eye(n, dtype=torch.float64)
    inner[1:, 1:] = random_orthogonal(n - 1, basis, rng)
    return (basis @ inner @ basis.T).to(like.dtype)


def _rotated(name: str, tensor: Tensor, M: Tensor, back: Tensor) -> Tensor:
    """One tensor in the new basis of the residual stream: writes M, M^-1 reads, the rest as it is."""
    last = name.rsplit(".", 1)[-1]
    if last in ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out"):
        return tensor @ M
    if last in ("W_Q", "W_K", "W_V", "W_in", "W_U"):
        return back @ tensor
    return tensor


def offset_writes(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """R3: an offset at every write site, taken out again by the biases of all later reads; no norm only."""
    out, total = dict(weights), torch.zeros_like(weights["embed.W_E"][0])

    def offset(name: str) -> None:
        nonlocal total
        c = _normal((config.d_model,), total, rng)
        out[name], total = weights[name] + c, total + c

    offset("embed.W_E")
    for layer in range(config.n_layers):
        attn, mlp = f"blocks.{layer}.attn.", f"blocks.{layer}.mlp."
        for side in "QKV":
            out[attn + f"b_{side}"] = weights[attn + f"b_{side}"] - torch.einsum(
                "d,hdk->hk", total, weights[attn + f"W_{side}"]
            )
        offset(attn + "b_O")
        out[mlp + "b_in"] = weights[mlp + "b_in"] - total @ weights[mlp + "W_in"]
        offset(mlp + "b_out")
    out["unembed.b_U"] = weights["unembed.b_U"] - total @ weights["unembed.W_U"]
    return out


def gauges_of(config: TargetConfig) -> dict[str, Gauge]:
    """Every gauge that a target has, by name."""
    found: dict[str, Gauge] = {
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
        found |= {"R2": change_residual_basis, "R3": offset_writes}
    elif config.normalization_type in ("LNPre", "RMSPre"):
        found["L3"] = change_residual_basis
    else:
        found["L1"] = scale_norm_gain
    return found


def random_gauge(config: TargetConfig, weights: Weights, seed: int) -> dict[str, Tensor]:
    """All gauges of a target after one another, under a seed: other weights, the same function."""
    rng = torch.Generator().manual_seed(seed)
    out = dict(weights)
    for gauge in gauges_of(config).values():
        out = gauge(config, out, rng)
    return out
