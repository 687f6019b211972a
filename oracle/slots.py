"""Where labels enter the pooling: each weight token starts from the token of one label, as long as there are enough.

Names are sorted, so the order of a vocabulary does not matter: a label that moves takes its name with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def order_of_names(
    names: Int[Tensor, "batch label name"], valid: Bool[Tensor, "batch label"]
) -> Int[Tensor, "batch label"]:
    """Labels of each target by name (entry by entry, ties as they come), those that are padding last."""
    order = torch.arange(names.shape[1], device=names.device).expand(names.shape[:2])
    for key in (*names.unbind(-1)[::-1], (~valid).long()):
        order = order.gather(1, torch.argsort(key.gather(1, order), dim=1, stable=True))
    return order


def label_slots(
    tokens: Float[Tensor, "batch n d_token"],
    kinds: Sequence[tuple[Int[Tensor, "batch _ name"], Bool[Tensor, "batch _"]]],
    n_slots: int,
) -> Float[Tensor, "batch n_slots d_token"]:
    """The labels' tokens in the order of kind and name; zero behind them, and where they are more than the slots.

    Args: tokens as `gather_valid` leaves them, with the labels in front; ids of the names of each kind of label, in the
    order of the tokens, and which of them are no padding; how many slots there are.
    """
    names = torch.cat([torch.nn.functional.pad(ids, (1, 0), value=kind) for kind, (ids, _) in enumerate(kinds)], 1)
    valid = torch.cat([mask for _, mask in kinds], 1)
    order = order_of_names(names, valid)[:, :n_slots]
    place = (valid.cumsum(1) - 1).clamp_min(0).gather(1, order)
    filled = valid.gather(1, order) & (valid.sum(1, keepdim=True) <= n_slots)
    rows = tokens.gather(1, place[..., None].expand(-1, -1, tokens.shape[-1])) * filled[..., None]
    return torch.nn.functional.pad(rows, (0, 0, 0, n_slots - rows.shape[1]))
