"""What a reader is shown of a target: its weight tokens, and a draft of its program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from oracle.trials import Draft


@dataclass(frozen=True)
class Evidence:
    """What is shown of one target, all of it made from its weights."""

    tokens: Float[Tensor, "n d_llm"]
    """Weight tokens; rows of zeros are padding."""
    draft: Draft | None = None
    """What the small decoder writes from the same weights; None: no draft is shown."""

    def without_draft(self) -> Evidence:
        """The weight tokens alone."""
        return Evidence(self.tokens)

    def without_tokens(self) -> Evidence:
        """The draft alone."""
        return Evidence(torch.zeros_like(self.tokens), self.draft)


def tokens_of(evidence: Sequence[Evidence]) -> Float[Tensor, "target n d_llm"]:
    """Weight tokens of several targets, padded."""
    return pad_sequence([each.tokens for each in evidence], batch_first=True)


def drafts_of(evidence: Sequence[Evidence]) -> list[str]:
    """Texts of the drafts, empty where there is none."""
    return ["" if each.draft is None else each.draft.text for each in evidence]
