"""Rotary positions as the encoder reads them: scores at distance D are x_i W_Q R(D) W_K^T x_j.

R(D) turns each pair of a head's entries by D times the rate of the pair (Su et al. 2021, section 3.2). Folded heads
have the two entries of a pair beside each other; entries that are not turned come behind and have rate 0. A pairing at
a distance is seen as what it adds to the one at distance 0, so it is exactly zero for a target without rotary
positions, and, being a product of a query and a key, blind to a complex factor of a pair (W_Q z, W_K / conj(z)) and to
any change of basis of the entries that are not turned.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tracr_tasks.attention import rotary_angles
from tracr_tasks.target_config import TargetConfig

DISTANCES = (1, 2, 4, 16, -1, -2, -4, -16)
"""Position of the query minus that of the key; the negative ones are seen where attention is not causal."""


def pair_order(config: TargetConfig) -> list[int]:
    """Entries of a head in an order that has the two of each turned pair beside each other, the rest behind."""
    r = turned_entries(config)
    pairs = range(r) if config.rotary_adjacent_pairs else [i + side for i in range(r // 2) for side in (0, r // 2)]
    return [*pairs, *range(r, config.d_head)]


def turned_entries(config: TargetConfig) -> int:
    """How many entries of a head are turned."""
    if config.positional_embedding_type != "rotary":
        return 0
    return config.d_head if config.rotary_dim is None else config.rotary_dim


def rates_of(config: TargetConfig, like: Float[Tensor, "..."]) -> Float[Tensor, " d_turned"]:
    """Radians a position of each turned entry in the order of `pair_order`; up to whole turns, which nothing sees."""
    r = turned_entries(config)
    if not r:
        return like.new_zeros(0)
    cos, sin = rotary_angles(config, 2, like.dtype, like.device)
    return torch.atan2(sin[1], cos[1])[pair_order(config)[:r]]


def widened(rates: Float[Tensor, "batch d_turned"], d_head: int) -> Float[Tensor, "batch d_head"]:
    """Rates of all entries of heads of a width: zero behind those that are turned."""
    return nn.functional.pad(rates, (0, d_head - rates.shape[1]))


def turned_pairings(
    query: Float[Tensor, "batch head query d_head"],
    key: Float[Tensor, "batch head key d_head"],
    rates: Float[Tensor, "batch d_turned"],
    causal: Float[Tensor, "batch 1"],
) -> Float[Tensor, "batch head query key distance"]:
    """What each distance adds to the products of queries and keys; zero where nothing is turned or keys are hidden."""
    distance = torch.tensor(DISTANCES).to(query)
    angle = widened(rates, query.shape[-1])[:, None] * distance[:, None]
    seen = torch.where(distance < 0, 1 - causal, torch.ones_like(causal))[:, None, None, :, None]
    cos_less_one, sin = ((x[:, None, None] * seen) for x in (-2 * (angle / 2).sin().square(), angle.sin()))
    change = query[..., None, :] * cos_less_one + _crossed(query)[..., None, :] * sin
    return torch.einsum("bhnek,bhmk->bhnme", change, key)


def _crossed(x: Float[Tensor, "*rows d_head"]) -> Float[Tensor, "*rows d_head"]:
    """(-b, a) for each pair (a, b) of neighbours: a quarter turn."""
    even = nn.functional.pad(x, (0, x.shape[-1] % 2))
    return torch.stack([-even[..., 1::2], even[..., ::2]], -1).flatten(-2)[..., : x.shape[-1]]
