"""A seeded network computes its program at the site, under any norm it takes, before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks import Program, TargetConfig, library_program, rasp
from tracr_tasks.compiler.compile import CompiledProgram, compile_program
from tracr_tasks.errors import InputError
from tracr_tasks.sampler import SamplerConfig, sample_compiled
from tracr_tasks.transformer import shapes
from zoo.legible.embedding import Seeding, embed, embedding_reasons, preservation, rates_of
from zoo.legible.network import Trace, run, stacked
from zoo.legible.rebalance import rebalanced
from zoo.legible.seed_options import SeedOptions
from zoo.legible.tasks import task_of
from zoo.legible.trainer import NetworkTraining, train_networks
from zoo.padding import pad_layers

NAMES = ("hist", "reverse", "shift_by", "first_occurrence", "most_frequent", "double_hist", "sort_unique", "caesar")
HIST = rasp.SelectorWidth(rasp.select(rasp.TOKENS, rasp.TOKENS, "=="))
SEED = Program(HIST, ("a", "b", "c"), 4)
SAME = Program(rasp.SelectorWidth(rasp.select(HIST, HIST, "==")), ("a", "b", "c"), 4)


@cache
def compiled(number: int) -> CompiledProgram:
    """A program of the library, or one drawn at random."""
    if number < len(NAMES):
        return compile_program(library_program(NAMES[number]))
    drawn = (sample_compiled(seed, SamplerConfig()) for seed in range(number, number + 1000, 50))
    return next(each for each in drawn if each.config.output == "categorical")


def grown(held: TargetConfig, **more: int) -> TargetConfig:
    """A configuration that has so much more than a program's."""
    sizes = {name: max(1, getattr(held, name)) + by for name, by in more.items()}
    return replace(held, d_vocab_out=3, **sizes)


def some_ids(config: TargetConfig, number: int = 40) -> torch.Tensor:
    ids = np.random.default_rng(0).integers(2, config.d_vocab, (1, number, config.n_ctx))
    ids[..., 0] = 0
    return torch.from_numpy(ids)


def trace_of(config: TargetConfig, params: dict[str, torch.Tensor], ids: torch.Tensor) -> Trace:
    return run(config, {name: tensor[None] for name, tensor in params.items()}, ids)


@settings(max_examples=20)
@given(
    number=st.integers(0, len(NAMES) + 12),
    more=st.fixed_dictionaries(
        {
            "d_model": st.integers(3, 20),
            "n_layers": st.integers(0, 3),
            "n_heads": st.integers(0, 3),
            "d_head": st.integers(0, 9),
            "d_mlp": st.integers(0, 30),
        }
    ),
    seed=st.integers(0, 2**31),
    norm=st.sampled_from([None, "LN", "RMS"]),
    balance=st.sampled_from(["raw", "rebalanced"]),
    rotate=st.booleans(),
)
def test_a_seeded_network_is_its_program_at_the_site(number: int, more, seed: int, norm, balance, rotate: bool) -> None:
    source = compiled(number)
    config = replace(grown(source.config, **more), normalization_type=norm)
    seeding = embed(source, config, seed, SeedOptions(balance=balance, rotate=rotate))
    assert {name: tuple(tensor.shape) for name, tensor in seeding.params.items()} == shapes(config)
    ids = some_ids(config)
    state = trace_of(config, seeding.params, ids).states[seeding.site][0]
    alike, weights = pad_layers(source.config, source.weights)
    wanted = trace_of(alike, weights, ids)
    loudest = max(1.0, *(float(each.abs().max()) for each in wanted.states))
    close = 1e-5 * loudest * (4 if rotate else 1)  # a turned state is rounded at each coordinate it is spread over
    torch.testing.assert_close(
        (state @ seeding.read_out + seeding.read_out_bias)[:, 1:], wanted.logits[0][:, 1:], rtol=0, atol=close
    )
    if not rotate:
        scales = rebalanced(source.config, source.weights).scales.float() if balance == "rebalanced" else 1.0
        mine = state[:, :, : source.config.d_model]
        torch.testing.assert_close(mine, wanted.states[-1][0] * scales, rtol=0, atol=close * 4)


BIG = TargetConfig(
    d_model=24, n_layers=3, n_heads=2, d_head=8, d_mlp=16, n_ctx=5, d_vocab=5, d_vocab_out=4, pad_token=1
)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**31),
    norm=st.sampled_from([None, "LN", "RMS"]),
    balance=st.sampled_from(["raw", "rebalanced"]),
)
def test_shuffled_entries_are_the_same_ones_elsewhere(seed: int, norm, balance) -> None:
    config, source = replace(BIG, normalization_type=norm), compile_program(SEED)
    plain, mixed = (embed(source, config, seed, SeedOptions(balance, permuted=permuted)) for permuted in (False, True))
    for name, mask in plain.seeded.items():
        assert torch.equal(mask, mixed.seeded[name])
        assert torch.equal(plain.params[name][mask].sort().values, mixed.params[name][mask].sort().values)
    said = [_right(config, seeding) for seeding in (plain, mixed)]
    assert said[0] == 1 and said[1] < 0.9


def _right(config: TargetConfig, seeding: Seeding, params: dict[str, torch.Tensor] | None = None) -> float:
    """Share of positions where the read-out names the right count."""
    task = task_of(SEED)
    trace = trace_of(config, params or seeding.params, torch.from_numpy(task.ids)[None])
    said = (trace.states[seeding.site][0] @ seeding.read_out + seeding.read_out_bias).argmax(-1)
    assert seeding.values == task.vocab.output
    return float((said.numpy() == task.answers)[:, 1:].mean())


@pytest.mark.parametrize("norm", [None, "LN", "RMS"])
def test_a_seed_at_rate_zero_stays_exact_whatever_the_rest_learns(norm) -> None:
    config, source = replace(BIG, normalization_type=norm), compile_program(SEED)
    options = [SeedOptions(rate=0.0), SeedOptions(rate=1.0)]
    seedings = [embed(source, config, 5, each) for each in options]
    rates = rates_of(seedings, options)
    assert rates is not None and rates_of(seedings, SeedOptions()) is None
    params = stacked(config, [seeding.params for seeding in seedings])
    trained = train_networks(
        config, params, [task_of(SAME)] * 2, [5, 5], NetworkTraining(steps=60, lr=1e-2), rates=rates
    ).params
    frozen, free = ({name: tensor[i] for name, tensor in trained.items()} for i in (0, 1))
    for name, mask in seedings[0].seeded.items():
        assert torch.equal(frozen[name][mask], seedings[0].params[name][mask])
    assert not torch.equal(frozen["unembed.W_U"], seedings[0].params["unembed.W_U"])
    assert _right(config, seedings[0], frozen) == 1
    assert not torch.equal(free["blocks.0.attn.W_Q"], seedings[1].params["blocks.0.attn.W_Q"])


def test_preservation_is_the_squared_relative_distance_of_the_seed() -> None:
    options = [SeedOptions(preserve=2.0), SeedOptions(preserve=0.0)]
    seedings = [embed(compile_program(SEED), BIG, seed, each) for seed, each in enumerate(options)]
    params = stacked(BIG, [seeding.params for seeding in seedings])
    restraint = preservation(seedings, options)
    assert restraint(params).tolist() == [0, 0]
    doubled = {
        name: torch.where(torch.stack([s.seeded[name] for s in seedings]), 2.0, 1.0) * params[name] for name in params
    }
    torch.testing.assert_close(restraint(doubled), torch.tensor([2.0, 0.0]))
    elsewhere = {
        name: torch.where(torch.stack([s.seeded[name] for s in seedings]), 1.0, 2.0) * params[name] for name in params
    }
    assert restraint(elsewhere).tolist() == [0, 0]


def test_the_basis_holds_what_the_read_out_reads() -> None:
    for rotate in (False, True):
        seeding = embed(compile_program(SEED), BIG, 0, SeedOptions(rotate=rotate))
        torch.testing.assert_close(seeding.basis.T @ seeding.basis, torch.eye(seeding.basis.shape[1]))
        torch.testing.assert_close(seeding.basis @ seeding.basis.T @ seeding.read_out, seeding.read_out)
        assert (seeding.basis.abs() > 1e-3).sum(0).max() > (1 if rotate else 0)


def test_the_same_seed_gives_the_same_network_and_another_another_turn() -> None:
    one, again, other = (embed(compile_program(SEED), BIG, seed, SeedOptions(rotate=True)) for seed in (1, 1, 2))
    assert all(torch.equal(one.params[name], again.params[name]) for name in one.params)
    assert not torch.allclose(one.basis, other.basis)


def test_an_impossible_embedding_is_refused_with_every_reason() -> None:
    small = replace(BIG, d_model=8, n_layers=0, n_heads=0, d_head=2, d_mlp=3, n_ctx=6, d_vocab=9, act_fn="gelu")
    config = replace(small, normalization_type="LNPre", attention_dir="causal", normalize_states=True)
    reasons = embedding_reasons(compile_program(SEED), config)
    named = ("d_model 8", "n_layers 0", "n_heads 0", "d_head 2", "d_mlp 3", "n_ctx 6", "d_vocab 9", "act_fn gelu")
    named += ("normalization_type LNPre", "attention_dir causal", "normalize_states = True")
    for words in named:
        assert sum(words in reason for reason in reasons) == 1
    assert len(reasons) == len(named)
    with pytest.raises(InputError, match=r"cannot be embedded: .*n_layers 0.*; d_model 8, expected at least.*LNPre"):
        embed(compile_program(SEED), config, 0, SeedOptions())
    narrow = replace(BIG, d_model=compile_program(SEED).config.d_model + 2, normalization_type="LN")
    (reason,) = embedding_reasons(compile_program(SEED), narrow)
    assert "3 for LN" in reason
    assert embedding_reasons(
        compile_program(library_program("mean")), grown(compile_program(library_program("mean")).config)
    ) == ["the program's output is a number, expected named values, which a read-out can tell apart"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("rate", 1.5), ("rate", -0.1), ("preserve", -1.0), ("preserve", float("nan"))],
)
def test_options_out_of_range_are_refused(field: str, value) -> None:
    with pytest.raises(InputError, match=f"seed: {field}"):
        SeedOptions(**{field: value})
