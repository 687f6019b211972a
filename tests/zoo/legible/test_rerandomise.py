"""Re-randomised networks keep each tensor's mean and spread, and nothing else of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks import TargetConfig
from tracr_tasks.errors import InputError
from tracr_tasks.transformer import shapes
from zoo.legible.initial import initial_params
from zoo.legible.rerandomise import rerandomised

CONFIG = TargetConfig(
    d_model=40, n_layers=2, n_heads=4, d_head=20, d_mlp=80, n_ctx=40, d_vocab=60, d_vocab_out=40, pad_token=1
)


def _params(seed: int, config: TargetConfig = CONFIG) -> dict[str, torch.Tensor]:
    """Weights whose entries are not normal and whose means are not zero; b_Q is constant."""
    generator = torch.Generator().manual_seed(seed)
    params = {name: 0.3 + torch.rand(3, *shape, generator=generator) ** 3 for name, shape in shapes(config).items()}
    params["embed.W_E"][:, 1] = 0
    params["blocks.0.attn.b_Q"][:] = 0.25
    return params


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), embeddings=st.booleans())
def test_moments_stay_entries_do_not(seed: int, embeddings: bool) -> None:
    params = _params(seed % 1000)
    drawn = rerandomised(CONFIG, params, [seed, seed + 1, seed + 2], embeddings)
    assert list(drawn) == list(params)
    for name, tensor in params.items():
        new = drawn[name]
        assert new.dtype == tensor.dtype and new.shape == tensor.shape
        if name == "blocks.0.attn.b_Q" or (name in ("embed.W_E", "pos_embed.W_pos") and not embeddings):
            torch.testing.assert_close(new, tensor)
            continue
        assert not torch.equal(new, tensor)
        if tensor[0].numel() > 1_000:
            used = [i for i in range(tensor.shape[1]) if name != "embed.W_E" or i != 1]
            old, redrawn = tensor[:, used].flatten(1), new[:, used].flatten(1)
            torch.testing.assert_close(redrawn.mean(1), old.mean(1), rtol=0, atol=0.05)
            torch.testing.assert_close(redrawn.std(1), old.std(1), rtol=0.1, atol=0)
    assert drawn["embed.W_E"][:, 1].abs().max() == 0


def test_a_networks_draws_are_its_own_and_shared_by_both_variants() -> None:
    params = _params(0)
    both, kept = (rerandomised(CONFIG, params, [5, 6, 7], embeddings) for embeddings in (True, False))
    alone = rerandomised(CONFIG, {name: tensor[1:2] for name, tensor in params.items()}, [6], True)
    for name in params:
        assert torch.equal(both[name][1], alone[name][0])
        if "embed.W_" not in name or name == "unembed.W_U":
            assert torch.equal(both[name], kept[name])
    assert not torch.equal(both["unembed.W_U"][0], both["unembed.W_U"][1])


def test_gains_of_one_stay_and_a_wrong_number_of_seeds_is_refused() -> None:
    config = replace(CONFIG, normalization_type="LN")
    params = initial_params(config, [0])
    drawn = rerandomised(config, params, [0], True)
    assert torch.equal(drawn["ln_final.w"], params["ln_final.w"])
    with pytest.raises(InputError, match="2 seeds for 1 networks"):
        rerandomised(config, params, [0, 1], True)
