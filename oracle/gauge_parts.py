"""What the gauges of symmetry.py and head_gauges.py are made of: random matrices, and who reads and writes what."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tracr_tasks.transformer import TargetConfig, Weights

Gauge = Callable[[TargetConfig, Weights, torch.Generator], dict[str, Tensor]]
"""From a configuration, weights and a generator to new weights."""

Read = tuple[str, str | None]
"""Names of a matrix that reads the residual stream and of its bias, where it has one."""


def random_orthogonal(n: int, like: Float[Tensor, "..."], rng: torch.Generator) -> Float[Tensor, "n n"]:
    """A random orthogonal matrix (QR of a Gaussian one)."""
    return torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=rng))[0].to(like.dtype)


def rotation_around_ones(n: int, like: Float[Tensor, "..."], rng: torch.Generator) -> Float[Tensor, "n n"]:
    """A random orthogonal R with R 1 = 1."""
    first = torch.cat(
        [torch.ones(n, 1, dtype=torch.float64), torch.randn(n, n - 1, dtype=torch.float64, generator=rng)], 1
    )
    basis = torch.linalg.qr(first)[0]
    inner = torch.eye(n, dtype=torch.float64)
    inner[1:, 1:] = random_orthogonal(n - 1, basis, rng)
    return (basis @ inner @ basis.T).to(like.dtype)


def random_invertible(n: int, like: Float[Tensor, "..."], rng: torch.Generator) -> Float[Tensor, "n n"]:
    """A random matrix with singular values between 1/sqrt(3) and sqrt(3)."""
    left, right = random_orthogonal(n, like, rng), random_orthogonal(n, like, rng)
    log_scale = torch.rand(n, generator=rng, dtype=torch.float64) - 0.5
    return left * (3**log_scale).to(like.dtype) @ right


def normal(shape: tuple[int, ...], like: Float[Tensor, "..."], rng: torch.Generator) -> Float[Tensor, "..."]:
    """Standard normal numbers, the same ones for every dtype."""
    return torch.randn(shape, dtype=torch.float64, generator=rng).to(like.dtype)


def signs(n: int, like: Float[Tensor, "..."], rng: torch.Generator) -> Float[Tensor, " n"]:
    """-1 or 1, each as often."""
    return (2 * torch.randint(2, (n,), generator=rng) - 1).to(like.dtype)


def size_of(x: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Root mean square of a tensor's entries, zero for an empty one."""
    return x.square().sum().div(max(1, x.numel())).sqrt()


def reads_of(config: TargetConfig) -> dict[str, list[Read]]:
    """What reads the residual stream behind each norm (or where one would be), in the order of the computation.

    Tied embeddings are a write, and no read of their own.
    """

    def sides(at: str, names: str, biased: bool) -> list[Read]:
        return [(f"{at}W_{name}", f"{at}b_{name}" if biased else None) for name in names.split()]

    reads: dict[str, list[Read]] = {}
    for layer in range(config.n_layers):
        at = f"blocks.{layer}."
        reads[f"{at}ln1"] = sides(f"{at}attn.", "Q K V", config.qkv_bias)
        reads[f"{at}ln2"] = sides(f"{at}mlp.", "gate in" if config.gated_mlp else "in", config.mlp_bias)
    return reads | {"ln_final": [] if config.tie_word_embeddings else sides("unembed.", "U", config.unembed_bias)}


def writes_of(config: TargetConfig) -> list[str]:
    """The tensors that are written into the residual stream, in the order of the computation."""
    written = {
        "attn.W_O": True,
        "attn.b_O": config.attn_out_bias,
        "mlp.W_out": True,
        "mlp.b_out": config.mlp_bias,
    }
    blocks = [
        f"blocks.{layer}.{name}" for layer in range(config.n_layers) for name, is_there in written.items() if is_there
    ]
    positions = ["pos_embed.W_pos"] if config.positional_embedding_type == "standard" else []
    return ["embed.W_E", *positions, *blocks]


def gain_and_shift(weights: Weights, norm: str) -> tuple[Float[Tensor, " d_model"], Float[Tensor, " d_model"]]:
    """Gain and shift of the norm called `norm`; one and zero where it has none."""
    like = weights["embed.W_E"][0]
    return weights.get(f"{norm}.w", torch.ones_like(like)), weights.get(f"{norm}.b", torch.zeros_like(like))


def takes_shift(weights: Weights, norm: str, reads: list[Read]) -> bool:
    """Whether what a norm's shift puts into its reads can be taken out again by their biases."""
    return f"{norm}.b" not in weights or all(b is not None for _, b in reads)


def with_row(x: Float[Tensor, "n *row"], index: int, row: Float[Tensor, "*row"]) -> Float[Tensor, "n *row"]:  # noqa: F821
    """x with another row."""
    out = x.clone()
    out[index] = row
    return out
