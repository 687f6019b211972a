"""Which piece of another text comes next, whatever was changed, added or left out before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class Alignment:
    """Rows of pieces, each growing beside one text that is there already.

    Kept for each row are its edit distances (Levenshtein) to all beginnings of that text; a new piece costs one line of
    the usual table.
    """

    text: Int[Tensor, " n"]
    """Pieces of the other text."""
    apart: Int[Tensor, "row n+1"]
    """Fewest pieces that are changed, added or left out between each row and the text's first j pieces."""

    @classmethod
    def beside(cls, text: Sequence[int], device: torch.device | str = "cpu") -> Alignment:
        """One empty row beside a text of one piece at least."""
        pieces = torch.tensor(text, device=device)
        return cls(pieces, torch.arange(len(pieces) + 1, device=device)[None])

    def due(self, n_pieces: int) -> Bool[Tensor, "row n_pieces"]:
        """Which of all pieces come next in the text after one of its beginnings that are nearest to a row."""
        open_ = self.apart[:, :-1]
        rows, places = torch.where(open_ == open_.amin(1, keepdim=True))
        due = torch.zeros(len(open_), n_pieces, dtype=torch.bool, device=self.text.device)
        due[rows, self.text[places]] = True
        return due

    def after(self, rows: Int[Tensor, " new"], pieces: Int[Tensor, " new"]) -> Alignment:
        """The rows that are gone on with, each with one piece more."""
        before = self.apart[rows]
        changed = before[:, :-1] + (self.text != pieces[:, None])
        apart = torch.cat([before[:, :1] + 1, torch.minimum(changed, before[:, 1:] + 1)], 1)
        place = torch.arange(apart.shape[1], device=apart.device)
        return Alignment(self.text, (apart - place).cummin(1).values + place)
