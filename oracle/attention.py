"""The attention block that encoders mix and pool their tokens with, and the pooling that ends each of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from oracle.config import EncoderConfig
from oracle.slots import label_slots


class AttentionBlock(nn.Module):
    """Pre-norm attention from `x` to `memory` (to itself if none is given) followed by a GELU MLP."""

    def __init__(self, width: int, n_heads: int):
        super().__init__()
        self.n_heads, self.scale = n_heads, (width // n_heads) ** -0.5
        self.norm_x, self.norm_memory, self.norm_mlp = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def _split(self, x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch heads n d_head"]:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def forward(
        self,
        x: Float[Tensor, "batch query width"],
        mask: Bool[Tensor, "batch key"],
        memory: Float[Tensor, "batch key width"] | None = None,
    ) -> Float[Tensor, "batch query width"]:
        """x after attention and MLP; keys where `mask` is False are not seen."""
        read = self.norm_x(x)
        seen = read if memory is None else self.norm_memory(memory)
        keys, values = self.key_value(seen).chunk(2, -1)
        scores = self._split(self.query(read)) @ self._split(keys).transpose(-1, -2) * self.scale
        hidden = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, -torch.inf)
        mixed = (scores + hidden[:, None, None]).softmax(-1).to(scores.dtype) @ self._split(values)
        x = x + self.out(mixed.transpose(1, 2).flatten(-2))
        return x + self.mlp(self.norm_mlp(x))


class Pooled(nn.Module):
    """The end of every encoder: tokens in the reader's width and norm; a Perceiver pools them where they are many."""

    def __init__(self, config: EncoderConfig, d_llm: int, embedding_norm: float):
        """Args: the configuration; the reader's hidden size; the mean norm of its embedding rows."""
        super().__init__()
        self.config, self.d_llm, d, heads = config, d_llm, config.d_token, config.n_attention_heads
        self.latents = nn.Parameter(torch.randn(config.n_tokens, d))
        self.pool = nn.ModuleList(AttentionBlock(d, heads) for _ in range(config.n_pool_layers))
        self.settle = nn.ModuleList(AttentionBlock(d, heads) for _ in range(config.n_pool_layers))
        self.project = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d_llm))
        self.gain = nn.Parameter(torch.tensor(float(embedding_norm)))

    def pooled(
        self,
        tokens: Float[Tensor, "batch n d_token"],
        mask: Bool[Tensor, "batch n"],
        labels: Sequence[tuple[Int[Tensor, "batch _ name"], Bool[Tensor, "batch _"]]],
    ) -> Float[Tensor, "batch n_weight_tokens d_llm"]:
        """Weight tokens of the norm of the reader's embeddings (times what the gain has learned).

        Those of a target with at most `n_tokens` tokens are these, in their order, which means nothing: a reader takes
        them as a set. Zero rows are padding (`present`). Args: tokens, valid ones first, of them the labels first; the
        names of each kind of label, and which are there.
        """
        few = (mask.sum(1) <= self.config.n_tokens) & (not self.config.pool_always)
        if bool(few.all()):
            return self._scaled(tokens) * mask[..., None]
        latents = self.latents.expand(len(tokens), -1, -1)
        if self.config.label_slots:
            latents = latents + label_slots(tokens, labels, self.config.n_tokens)
        full = torch.ones_like(latents[..., 0], dtype=torch.bool)
        for pool, settle in zip(self.pool, self.settle, strict=True):
            latents = settle(pool(latents, mask, tokens), full)
        pooled = self._scaled(latents)
        if not bool(few.any()):
            return pooled
        alone = self._scaled(tokens) * mask[..., None]
        alone = nn.functional.pad(alone, (0, 0, 0, max(0, self.config.n_tokens - alone.shape[1])))
        return torch.where(few[:, None, None], alone[:, : self.config.n_tokens], pooled)

    def _scaled(self, tokens: Float[Tensor, "batch n d_token"]) -> Float[Tensor, "batch n d_llm"]:
        return self.gain * nn.functional.normalize(self.project(tokens), dim=-1)


def present(weight_tokens: Float[Tensor, "batch n d_llm"]) -> Bool[Tensor, "batch n"]:
    """Which weight tokens are no padding."""
    return (weight_tokens != 0).any(-1)


def valid_order(mask: Bool[Tensor, "batch n"]) -> Int[Tensor, "batch m"]:
    """Places of the valid entries of each row in their order, then of others, as many as the longest row has."""
    return torch.argsort(~mask, dim=1, stable=True)[:, : int(mask.sum(1).max())]


def gather_valid(
    tokens: Shaped[Tensor, "batch n width"], mask: Bool[Tensor, "batch n"]
) -> tuple[Shaped[Tensor, "batch m width"], Bool[Tensor, "batch m"]]:
    """The same tokens with the valid ones first, cut to the longest row: padding costs nothing afterwards."""
    order = valid_order(mask)
    return tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[-1])), mask.gather(1, order)
