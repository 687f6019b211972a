"""A hidden target is the same function by other weights, and its zeros are gone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks import TargetConfig
from tracr_tasks.compiler.text import compile_text
from zoo.legible.hiding import hidden
from zoo.legible.initial import initial_params
from zoo.legible.network import member, run
from zoo.padding import pad_layers

SMALL = TargetConfig(
    d_model=12, n_layers=2, n_heads=3, d_head=5, d_mlp=9, n_ctx=5, d_vocab=5, d_vocab_out=4, pad_token=1
)
PROGRAM = "v1 = select(tokens, tokens, ==)\nv2 = selector_width(v1)\nout = map(x > 1, v2)"


def states(config: TargetConfig, weights: dict[str, torch.Tensor], ids: torch.Tensor):
    return run(config, {name: tensor[None] for name, tensor in weights.items()}, ids[None])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    norm=st.sampled_from([None, "LN", "LNPre", "RMS", "RMSPre"]),
    act=st.sampled_from(["relu", "gelu"]),
    normalize_states=st.booleans(),
)
def test_the_function_stays_and_the_states_are_turned(seed: int, norm, act, normalize_states: bool) -> None:
    config = replace(SMALL, normalization_type=norm, act_fn=act, normalize_states=normalize_states)
    weights = member(initial_params(config, [seed]), 0)
    generator = torch.Generator().manual_seed(seed)
    for name in weights:  # biases, gains and shifts that are not those of the start
        if not name.rsplit(".", 1)[1].startswith("W_"):
            weights[name] = weights[name] + 0.3 * torch.randn(weights[name].shape, generator=generator)
    ids = torch.randint(2, 5, (11, 5), generator=generator)
    other, turn = hidden(config, weights, seed)
    before, after = states(config, weights, ids), states(config, other, ids)
    torch.testing.assert_close(after.logits, before.logits, rtol=1e-5, atol=1e-5)
    for one, two in zip(before.states, after.states, strict=True):
        torch.testing.assert_close(two, one @ turn, rtol=1e-4, atol=1e-5)
    again, _ = hidden(config, weights, seed)
    assert all(torch.equal(again[name], other[name]) for name in other)
    assert not torch.equal(hidden(config, weights, seed + 1)[0]["embed.W_E"], other["embed.W_E"])


@pytest.mark.parametrize("size", [{"n_heads": 4, "d_head": 6, "d_mlp": 16}, {"n_heads": 3, "d_head": 8, "d_mlp": 15}])
def test_a_compiled_program_stays_exact_and_has_no_zeros_left(size: dict[str, int]) -> None:
    compiled = compile_text(PROGRAM, [0, 1, 2], 4)
    config, weights = pad_layers(compiled.config, compiled.weights, d_model=24, **size)
    other, _ = hidden(config, weights, 3)
    ids = torch.cartesian_prod(*[torch.arange(2, 5)] * 4)
    ids = torch.nn.functional.pad(ids, (1, 0))
    before, after = states(config, weights, ids).logits[0], states(config, other, ids).logits[0]
    assert torch.equal(before[:, 1:].argmax(-1), after[:, 1:].argmax(-1))
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
    for name, tensor in weights.items():
        if name.rsplit(".", 1)[1].startswith("W_") and name != "unembed.W_U":
            rows = other[name][[0, *range(2, len(tensor))]] if name == "embed.W_E" else other[name]
            assert (tensor == 0).float().mean() > 0.3
            assert (rows.abs() < 1e-9).float().mean() < 0.01, name
