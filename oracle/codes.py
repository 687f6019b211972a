"""Codes of label names: how input tokens, positions and output tokens enter the encoder.

A code is made from the reader's own (frozen) embedding rows of the name, so the encoder can speak of any token that
the reader can write, and renaming a label changes its code and nothing else: relabelling is an equivariance by
construction.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from oracle.neutral import MAX_NAME_TOKENS


class NameCode(nn.Module):
    """Codes of one kind of label: a weighted sum of the embedding rows of its name, projected."""

    def __init__(self, d_embed: int, d_code: int):
        super().__init__()
        self.place = nn.Parameter(1 + 0.5 * torch.randn(MAX_NAME_TOKENS, d_embed))
        self.project = nn.Linear(d_embed, d_code)

    def forward(
        self, ids: Int[Tensor, "batch label name"], table: Float[Tensor, "vocab d_embed"]
    ) -> Float[Tensor, "batch label d_code"]:
        """Codes of RMS 1, zero for padded labels (those whose ids are all 0)."""
        code = self.project(self.summed(ids, table))
        code = code * torch.rsqrt(code.square().mean(-1, keepdim=True) + 1e-12)
        return code * (ids != 0).any(-1, keepdim=True)

    def summed(
        self, ids: Int[Tensor, "batch label name"], table: Float[Tensor, "vocab d_embed"]
    ) -> Float[Tensor, "batch label d_embed"]:
        """What is projected: the embedding rows at RMS 1, weighted by their place in the name."""
        rows = table[ids]
        rows = rows * torch.rsqrt(rows.square().mean(-1, keepdim=True) + 1e-12)
        return (rows * self.place * (ids != 0)[..., None]).sum(-2)
