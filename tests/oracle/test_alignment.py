from functools import cache

import torch
from hypothesis import given
from hypothesis import strategies as st

from oracle.alignment import Alignment

PIECES = st.lists(st.integers(0, 4), max_size=9)


def changes(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Levenshtein's distance, by its definition."""

    @cache
    def apart(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(apart(i - 1, j) + 1, apart(i, j - 1) + 1, apart(i - 1, j - 1) + (one[i - 1] != other[j - 1]))

    return apart(len(one), len(other))


def grown(text: list[int], rows: list[list[int]]) -> Alignment:
    """Rows of one length that grow beside a text."""
    alignment = Alignment.beside(text)
    for place in range(len(rows[0])):
        kept = torch.zeros(len(rows), dtype=torch.long) if place == 0 else torch.arange(len(rows))
        alignment = alignment.after(kept, torch.tensor([row[place] for row in rows]))
    return alignment


@given(PIECES.filter(bool), PIECES.filter(bool), PIECES.filter(bool))
def test_distances_are_levenshteins_of_all_beginnings(text: list[int], one: list[int], other: list[int]) -> None:
    rows = [row[: min(len(one), len(other))] for row in (one, other)]
    right = [[changes(tuple(row), tuple(text[:j])) for j in range(len(text) + 1)] for row in rows]
    assert grown(text, rows).apart.tolist() == right


@given(PIECES.filter(bool), PIECES.filter(bool))
def test_what_is_due_follows_the_nearest_beginnings(text: list[int], row: list[int]) -> None:
    far = [changes(tuple(row), tuple(text[:j])) for j in range(len(text))]
    right = {text[j] for j in range(len(text)) if far[j] == min(far)}
    assert set(torch.where(grown(text, [row]).due(7)[0])[0].tolist()) == right


def test_what_was_changed_added_or_left_out_is_forgotten() -> None:
    text = [0, 1, 2, 3, 4, 5, 6]
    for row in ([0, 1, 9, 3, 4], [0, 1, 9, 2, 3, 4], [0, 2, 3, 4]):
        assert torch.where(grown(text, [row]).due(10)[0])[0].tolist() == [5], row


def test_rows_that_are_gone_on_with_keep_what_they_have() -> None:
    alignment = grown([0, 1, 2], [[0], [2]]).after(torch.tensor([1, 0, 0]), torch.tensor([0, 1, 0]))
    right = [[changes(row, (0, 1, 2)[:j]) for j in range(4)] for row in ((2, 0), (0, 1), (0, 0))]
    assert alignment.apart.tolist() == right
