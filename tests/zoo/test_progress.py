from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo.chunks import ChunkPlan
from zoo.engines import Done, Lost
from zoo.progress import Tally, matmul_ceiling
from zoo.rows import Failure
from zoo.spec import ZooSpec
from zoo.stack import codes, forward_codes, initial_params, target_config, training_flops
from zoo.training_config import Architecture


def test_the_ceiling_is_a_speed_and_leaves_the_threads_as_they_were() -> None:
    threads = torch.get_num_threads()
    assert 0.1 < matmul_ceiling() < 10_000
    assert torch.get_num_threads() == threads


def test_operations_of_training_are_those_of_the_products() -> None:
    """Beside what torch counts of a model of two layers, forward and backward."""
    config = target_config(Architecture(n_layers=2), 4, 4, 6)
    params = {name: tensor.requires_grad_() for name, tensor in initial_params(config, [1]).items()}
    inputs = codes(torch.zeros(1, 8, 6, dtype=torch.long), 4)
    with FlopCounterMode(display=False) as counter:
        forward_codes(config, params, inputs).sum().backward()
    assert training_flops(config, 1, 8) == pytest.approx(counter.get_total_flops(), rel=0.1)
    assert training_flops(config, 10, 16) == 20 * training_flops(config, 1, 8)


def test_a_tally_counts() -> None:
    spec = ZooSpec()
    tally = Tally(spec, ceiling=1.0)
    assert (tally.share, tally.postfix()) == (None, "failed 0")
    tally.add(Done(ChunkPlan("compiled", 0, 0, 5), 100.0))
    plan = ChunkPlan("trained", 0, 0, 10)
    tally.add(Done(plan, 2.0, (Failure("trained-000003", 1, "nan"),), updates=2_000))
    tally.add(Lost(plan, "died", again=True))
    assert (tally.targets, tally.deaths, tally.given_up) == (15, 1, [])
    flops = training_flops(target_config(Architecture(), 6, 6, 6), 2_000, 64)
    assert tally.share == pytest.approx(flops / 2.0 / 1e9)
    tally.add(Lost(plan, "died", again=False))
    assert tally.given_up == [plan]
    assert tally.postfix() == f"failed 1, workers lost 2, {tally.share:.1%} of matmul"
