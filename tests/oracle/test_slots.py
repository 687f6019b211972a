"""Weight tokens start from labels in the order of their names."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from oracle.attention import gather_valid
from oracle.slots import label_slots, order_of_names


@given(rows=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_names_are_sorted_and_padding_is_last(rows: list[tuple[int, int]], seed: int) -> None:
    names = torch.tensor([rows])
    valid = torch.rand(1, len(rows), generator=torch.Generator().manual_seed(seed)) < 0.7
    order = order_of_names(names, valid)[0].tolist()
    assert sorted(order) == list(range(len(rows)))
    kept = [i for i in order if valid[0, i]]
    assert kept == sorted(kept, key=lambda i: (rows[i], i)) == order[: len(kept)]


@given(seed=st.integers(0, 999), n_slots=st.integers(1, 9))
def test_slots_hold_labels_whatever_the_order_of_a_vocabulary(seed: int, n_slots: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    ids = [torch.randint(1, 9, (2, n, 2), generator=rng) for n in (3, 2)]
    masks = [torch.rand(2, n, generator=rng) < 0.8 for n in (3, 2)]
    valid = torch.cat([*masks, torch.ones(2, 2, dtype=torch.bool)], 1)
    tokens = torch.randn(2, 7, 4, generator=rng)
    slots = label_slots(gather_valid(tokens, valid)[0], list(zip(ids, masks, strict=True)), n_slots)
    assert slots.shape == (2, n_slots, 4)
    for row in range(2):
        labels = [
            (kind, ids[kind][row, i].tolist(), tokens[row, 3 * kind + i])
            for kind in range(2)
            for i in range((3, 2)[kind])
            if masks[kind][row, i]
        ]
        labels.sort(key=lambda label: label[:2])
        if len(labels) > n_slots:
            assert not slots[row].any()
            continue
        assert not slots[row, len(labels) :].any()
        for slot, (_, _, token) in zip(slots[row], labels, strict=False):
            assert torch.equal(slot, token)
