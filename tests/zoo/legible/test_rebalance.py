"""Rebalancing keeps the function and makes the two sides of every gain alike."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks import forward, library_program
from tracr_tasks.compiler.compile import CompiledProgram, compile_program
from tracr_tasks.sampler import SamplerConfig, sample_compiled
from zoo.legible.rebalance import LOUDEST, largest, rebalanced

NAMES = ("hist", "reverse", "sort_unique", "double_hist", "previous_distance", "caesar", "mean")


def program(number: int) -> CompiledProgram:
    if number < len(NAMES):
        return compile_program(library_program(NAMES[number]))
    return sample_compiled(number, SamplerConfig())


@settings(max_examples=12)
@given(number=st.integers(0, len(NAMES) + 40))
def test_the_function_stays_and_gains_are_equal(number: int) -> None:
    source = program(number)
    config = source.config
    done = rebalanced(config, source.weights)
    ids = np.random.default_rng(number).integers(2, config.d_vocab, (50, config.n_ctx))
    ids[:, 0] = 0
    before = forward(config, source.weights, torch.from_numpy(ids))
    after = forward(config, {name: tensor.float() for name, tensor in done.weights.items()}, torch.from_numpy(ids))
    close = 1e-5 * max(1.0, float(before.abs().max()))
    torch.testing.assert_close(after, before, rtol=0, atol=close)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}."
        _alike(done.weights[f"{at}mlp.W_in"].norm(dim=0), done.weights[f"{at}mlp.W_out"].norm(dim=1))
        for one, other in (("Q", "K"), ("V", "O")):
            sides = (done.weights[f"{at}attn.W_{side}"].flatten(1).norm(dim=1) for side in (one, other))
            _alike(*sides)
    assert float(done.scales.min()) >= 1 and float(done.scales.max()) <= LOUDEST
    assert done.largest_before == largest(source.weights) and done.largest_after == largest(done.weights)


def _alike(one: torch.Tensor, other: torch.Tensor) -> None:
    both = (one > 0) & (other > 0)
    torch.testing.assert_close(one[both], other[both], rtol=1e-9, atol=0)


def test_steep_gains_come_down() -> None:
    for name in ("hist", "double_hist", "reverse"):
        source = program(NAMES.index(name))
        done = rebalanced(source.config, source.weights)
        assert done.largest_after < done.largest_before / 4


def test_scales_are_what_the_state_was_multiplied_by() -> None:
    source = program(0)
    done = rebalanced(source.config, source.weights)
    wanted = source.weights["embed.W_E"].double() * done.scales
    torch.testing.assert_close(done.weights["embed.W_E"], wanted)
    assert float(done.scales.max()) > 1
