"""The rivals ignore padding exactly, and each is blind to what its docstring says and to nothing more."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oracle.batch import collate
from oracle.neutral import fold
from oracle.rivals import BLIND, ENCODERS, MAX_CHUNKS, Rival, statistics
from oracle.symmetry import change_residual_basis, permute_heads, permute_neurons, random_gauge
from tests.oracle.targets import D_LLM, SMALL, TABLE_ROWS, configs, label_ids, random_weights
from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig, Weights

RIVALS = tuple(name for name in ENCODERS if name not in BLIND)
CONFIG = TargetConfig(d_model=8, n_layers=2, n_heads=3, d_head=4, d_mlp=7, n_ctx=5, d_vocab=6, d_vocab_out=4)


@cache
def rival(name: str) -> tuple[Rival, Tensor]:
    torch.manual_seed(0)
    encoder = ENCODERS[name](SMALL, D_LLM, 1.0).double()
    assert isinstance(encoder, Rival)
    return encoder, torch.randn(TABLE_ROWS, D_LLM, generator=torch.Generator().manual_seed(1)).double()


@torch.no_grad()
def encode(name: str, *targets: tuple[TargetConfig, Weights]) -> Tensor:
    encoder, table = rival(name)
    return encoder(collate([fold(c, w) for c, w in targets], [label_ids(c) for c, _ in targets]), table)


@pytest.mark.parametrize("name", RIVALS)
@settings(max_examples=8)
@given(small=configs(), large=configs(), seed=st.integers(0, 1000))
def test_padding_changes_nothing(name: str, small: TargetConfig, large: TargetConfig, seed: int) -> None:
    a, b = (small, random_weights(small, seed)), (large, random_weights(large, seed + 1))
    together, alone = encode(name, a, b), torch.cat([encode(name, a), encode(name, b)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert together.shape == (2, SMALL.n_tokens, D_LLM)


MOVES: dict[Callable[..., dict[str, Tensor]], frozenset[str]] = {
    permute_neurons: frozenset({"flat"}),
    permute_heads: frozenset({"flat"}),
    change_residual_basis: frozenset({"flat", "set", "statistics"}),
    random_gauge: frozenset({"flat", "set", "statistics"}),
}


@pytest.mark.parametrize("change", MOVES)
@pytest.mark.parametrize("name", RIVALS)
def test_what_each_is_blind_to(name: str, change: Callable[..., dict[str, Tensor]]) -> None:
    weights = random_weights(CONFIG, 3)
    by = 5 if change is random_gauge else torch.Generator().manual_seed(5)
    moved = encode(name, (CONFIG, change(CONFIG, weights, by))) - encode(name, (CONFIG, weights))
    if name in MOVES[change]:
        assert moved.abs().max() > 1e-4
    else:
        assert moved.abs().max() < 1e-9


@settings(max_examples=10)
@given(config=configs(), seed=st.integers(0, 1000))
def test_circuits_see_no_gauge_of_any_target(config: TargetConfig, seed: int) -> None:
    weights = random_weights(config, seed)
    other = random_gauge(config, weights, seed)
    torch.testing.assert_close(
        encode("circuits", (config, other)), encode("circuits", (config, weights)), rtol=0, atol=1e-8
    )


@pytest.mark.parametrize("name", RIVALS)
def test_names_and_every_tensor_count(name: str) -> None:
    weights = random_weights(CONFIG, 3)
    before = encode(name, (CONFIG, weights))
    for tensor in ("embed.W_E", "blocks.0.attn.W_V", "blocks.0.mlp.W_out", "blocks.1.mlp.b_in", "unembed.W_U"):
        changed = weights[tensor].clone()
        changed[..., 0] *= 1.5
        assert not torch.allclose(encode(name, (CONFIG, weights | {tensor: changed})), before, atol=1e-6), tensor
    encoder, table = rival(name)
    labels = label_ids(CONFIG)
    labels.outputs[[0, 1]] = labels.outputs[[1, 0]]
    with torch.no_grad():
        renamed = encoder(collate([fold(CONFIG, weights)], [labels]), table)
    assert not torch.allclose(renamed, before, atol=1e-6)


@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 1000))
def test_statistics_are_those_of_the_values(n: int, padding: int, seed: int) -> None:
    values = torch.randn(1, n + padding, generator=torch.Generator().manual_seed(seed)).double()
    mask = torch.arange(n + padding)[None] < n
    x = values[0, :n]
    wanted = torch.stack([x.mean(), x.var(correction=0), *(x.quantile(q) for q in (0.0, 0.25, 0.5, 0.75, 1.0))])
    torch.testing.assert_close(statistics(values, mask)[0], wanted)


def test_flat_refuses_what_is_too_large() -> None:
    n = MAX_CHUNKS * D_LLM // 600 + 9
    wide = TargetConfig(d_model=300, n_layers=1, n_heads=1, d_head=1, d_mlp=n, n_ctx=2, d_vocab=3, d_vocab_out=2)
    with pytest.raises(InputError, match="at most"):
        encode("flat", (wide, random_weights(wide, 0)))
