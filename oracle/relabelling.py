"""Renaming the labels of a target in its weights: no gauge, but the exact equivariance beside them (symmetries.md)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig, Weights


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
