"""Products of writes and reads, without what is rounding alone.

A compiled target pairs vectors of length 10^4 that are orthogonal. In another residual basis their product is not zero
but the rounding of 10^8, and the logarithm of what is seen (`squash`) makes that as loud as a weight. What is smaller
than the rounding of the vectors that were multiplied is therefore taken for the zero that it stands for.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDINGS = 4
"""A product of two vectors is taken for zero below so many roundings of the product of their lengths."""


def cleaned(x: Float[Tensor, "..."], bound: Float[Tensor, "..."], share: float | None = None) -> Float[Tensor, "..."]:
    """x, and zero where it is rounding alone; `bound` [broadcastable to x] is how large x could have been, and `share`
    the part of it that is rounding, `smallest(x)` if it is not given."""
    return torch.where(x.abs() <= (smallest(x) if share is None else share) * bound, 0.0, x)


def smallest(x: Float[Tensor, "..."]) -> float:
    """Share of its bound below which a product is rounding alone."""
    return ROUNDINGS * min(torch.finfo(x.dtype).eps, torch.finfo(torch.float32).eps)


def paired(
    a: Float[Tensor, "*batch n d"], b: Float[Tensor, "*batch d m"], share: float | None = None
) -> Float[Tensor, "*batch n m"]:
    """a @ b without rounding; `share` as in `cleaned`."""
    return cleaned(a @ b, a.norm(dim=-1, keepdim=True) * b.norm(dim=-2, keepdim=True), share)
