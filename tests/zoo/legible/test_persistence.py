"""The five measures tell an exact seed, a removed one and a random network apart, and each sees its own failure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks import Program, TargetConfig, rasp
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.errors import InputError
from zoo.legible.embedding import Seeding, embed
from zoo.legible.initial import initial_params
from zoo.legible.network import stacked
from zoo.legible.persistence import MEASURES, Meter, persistence, probe_r2
from zoo.legible.seed_options import SeedOptions
from zoo.legible.tasks import task_of

VOCAB, LENGTH = ("a", "b", "c"), 4
HIST = rasp.SelectorWidth(rasp.select(rasp.TOKENS, rasp.TOKENS, "=="))
TASK = task_of(Program(rasp.map_("x % 2", HIST), VOCAB, LENGTH))
"""Whether a count is odd: what comes after the site can be written down."""
CONFIG = TargetConfig(
    d_model=20, n_layers=2, n_heads=2, d_head=8, d_mlp=16, n_ctx=5, d_vocab=5, d_vocab_out=2, pad_token=1
)


def seeded(rotate: bool = False, read: float = 5.0) -> Seeding:
    """A seed whose output alone decides the answer: nothing is written after it, and W_U reads it."""
    source = compile_program(Program(HIST, VOCAB, LENGTH))
    seeding = embed(source, CONFIG, 3, SeedOptions(rotate=rotate))
    params = dict(seeding.params)
    for name in ("attn.W_O", "mlp.W_out"):
        params[f"blocks.1.{name}"] = torch.zeros_like(params[f"blocks.1.{name}"])
    odd = torch.tensor([[float((int(value) % 2) == answer) for answer in (0, 1)] for value in seeding.values])
    params["unembed.W_U"] = read * seeding.read_out @ odd
    return replace(seeding, params=params)


def concept() -> str:
    return next(c.name for c in TASK.concepts if c.computed and c.name != "out")


@settings(max_examples=4)
@given(rotate=st.booleans(), seed=st.integers(0, 100))
def test_a_seed_that_is_there_and_used_scores_one(rotate: bool, seed: int) -> None:
    seeding = seeded(rotate)
    (found,) = Meter(CONFIG, [TASK], [seeding], concept(), seed)(stacked(CONFIG, [seeding.params]))
    assert (found.accuracy, found.read_out, found.interchange, found.drift) == (1, 1, 1, 0)
    assert found.probe > 0.95
    assert found.selectivity > 0.2


def test_each_measure_sees_its_own_loss() -> None:
    seeding = seeded()
    unread = dict(seeding.params)
    unread["unembed.W_U"] = torch.zeros(CONFIG.d_model, 2)
    moved = dict(seeding.params)
    moved["blocks.0.mlp.W_out"] = torch.roll(moved["blocks.0.mlp.W_out"], 1, 1)
    fresh = {name: tensor[0] for name, tensor in initial_params(CONFIG, [3]).items()}
    params = stacked(CONFIG, [unread, moved, fresh])
    there, elsewhere, random = Meter(CONFIG, [TASK] * 3, [seeding] * 3, concept())(params)
    assert there.read_out == 1 and there.probe > 0.95  # still known and in place ...
    assert there.interchange < 0.6 and abs(there.selectivity) < 0.01  # ... but not used: one of two answers, always
    assert elsewhere.read_out < 0.7 and elsewhere.probe > 0.8 and elsewhere.drift > 0.1  # known, not in place
    assert random.probe < 0.5 and random.read_out < 0.7 and random.drift > 0.5


def test_drift_is_relative_and_of_the_seed_alone() -> None:
    seeding = seeded()
    grown = {name: torch.where(mask, 1.5, 3.0) * seeding.params[name] for name, mask in seeding.seeded.items()}
    (found,) = Meter(CONFIG, [TASK], [seeding], concept())(stacked(CONFIG, [grown]))
    assert found.drift == pytest.approx(0.5, rel=1e-5)


def test_the_same_seed_measures_the_same_and_a_broken_network_nothing() -> None:
    seeding = seeded()
    meter = Meter(CONFIG, [TASK] * 2, [seeding] * 2, concept(), n_inputs=40)
    broken = {name: torch.full_like(tensor, float("nan")) for name, tensor in seeding.params.items()}
    once, nothing = meter(stacked(CONFIG, [seeding.params, broken]))
    again = Meter(CONFIG, [TASK], [seeding], concept(), n_inputs=40)(stacked(CONFIG, [seeding.params]))[0]
    assert once == again
    assert all(np.isnan(getattr(nothing, measure)) for measure in MEASURES)


def test_a_concept_that_no_answer_depends_on_is_refused() -> None:
    with pytest.raises(InputError, match="concept 'v9'"):
        Meter(CONFIG, [TASK], [seeded()], "v9")
    both = rasp.sequence_map("x + 0 * y", rasp.TOKENS, HIST)
    idle = task_of(Program(both, (1, 2, 3), LENGTH))
    name = next(c.name for c in idle.concepts if c.computed and c.name != "out")
    with pytest.raises(InputError, match="no answer depends on it"):
        Meter(CONFIG, [idle], [seeded()], name)


@pytest.mark.parametrize(("values", "share"), [((1, 0, 1), 1), ((0.5, 0.25, 0.75), 0.5), ((0.2, 0.2, 0.25), None)])
def test_persistence_is_a_share_of_the_gap(values: tuple[float, float, float], share: float | None) -> None:
    assert persistence(*map(float, values)) == share
    assert persistence(float("nan"), 0.0, 1.0) is None


def test_a_probe_finds_what_is_there_and_no_more() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (80, 5))
    codes[:, 0] = -1
    noise = torch.from_numpy(rng.standard_normal((80, 5, 6))).float()
    loud = torch.full((80, 5, 1), 4096.0)
    known = torch.cat([noise, loud, torch.nn.functional.one_hot(torch.from_numpy(codes + 1))[..., 1:].float()], 2)
    assert probe_r2(known, codes) > 0.95
    assert probe_r2(noise, codes) < 0.1
