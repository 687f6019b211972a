"""Products without what is rounding alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from oracle.batch import collate
from oracle.neutral import fold
from oracle.pairings import cleaned, paired
from oracle.symmetry import random_gauge
from tests.oracle.targets import label_ids, random_encoder
from tracr_tasks import sample_compiled
from zoo.compiled import target_of
from zoo.target import Target


@given(st.integers(0, 2**31 - 1), st.integers(2, 24), st.sampled_from([1.0, 1e4, 1e-4]))
def test_orthogonal_vectors_pair_to_zero_in_every_basis(seed: int, d: int, size: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(d, d, generator=rng))[0]
    a, b = size * torch.eye(d)[: d // 2], size * torch.eye(d)[:, d // 2 :]
    assert (paired(a, b) == 0).all()
    assert (paired(a @ basis, basis.T @ b) == 0).all()


@given(st.integers(0, 2**31 - 1))
def test_what_is_no_rounding_stays(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    a, b = torch.randn(3, 5, 7, generator=rng), torch.randn(3, 7, 4, generator=rng)
    bound = a.norm(dim=-1, keepdim=True) * b.norm(dim=-2, keepdim=True)
    assert ((paired(a, b) - a @ b).abs() <= 1e-6 * bound).all()
    exact = a.double() @ b.double()
    assert torch.equal(paired(a, b) == 0, cleaned(a @ b, bound) == 0)
    assert (paired(a, b) != 0)[exact.abs() > 2e-6 * bound].all()


@torch.no_grad()
def test_compiled_targets_read_alike_in_another_gauge() -> None:
    encoder, table = random_encoder(torch.float32)

    def read(target: Target) -> torch.Tensor:
        batch = collate([fold(target.config, target.weights)], [label_ids(target.config)])
        found = encoder.components(batch, table)
        return found.tokens.where(found.mask[..., None], 0.0).sum(1)

    changes = []
    for seed in range(24):
        target = target_of(sample_compiled(seed))
        other = replace(target, weights=random_gauge(target.config, target.weights, 100 + seed))
        here, there = read(target), read(other)
        changes.append(float((here - there).norm() / here.norm()))
    assert sum(change < 3e-4 for change in changes) >= 18, sorted(changes)
