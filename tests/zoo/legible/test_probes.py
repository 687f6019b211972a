"""Linear probes find what is linearly there, and no more than the commonest value where nothing is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tracr_tasks import Program, TargetConfig, rasp
from tracr_tasks.errors import InputError
from zoo.flowchart_parser import parse_flowchart
from zoo.legible.initial import initial_params
from zoo.legible.probes import probe_labels
from zoo.legible.tasks import UNASKED, task_of

HIST = rasp.SelectorWidth(rasp.select(rasp.TOKENS, rasp.TOKENS, "=="))
TASK = task_of(Program(HIST, ("a", "b", "c"), 5))
CONFIG = TargetConfig(
    d_model=12, n_layers=2, n_heads=2, d_head=5, d_mlp=9, n_ctx=6, d_vocab=5, d_vocab_out=5, pad_token=1
)


def test_inputs_are_found_and_counts_are_not_at_the_embedding() -> None:
    labels = probe_labels(CONFIG, initial_params(CONFIG, [0, 1]), [TASK, TASK])
    assert [list(each) for each in labels] == [["L0", "L1", "L2"]] * 2
    for each in labels:
        assert list(each["L0"]) == ["tokens", "indices", "out"]
        assert each["L0"]["tokens"]["accuracy"] > 0.95 and each["L0"]["indices"]["accuracy"] > 0.95
        found = each["L0"]["out"]
        assert abs(found["accuracy"] - found["majority"]) < 0.1  # a count of an input is not in its token
        shares = np.bincount(TASK.concept("out").codes[:, 1:].ravel()) / TASK.concept("out").codes[:, 1:].size
        assert found["majority"] == pytest.approx(shares.max(), abs=0.06)


def test_a_variable_that_is_written_is_found_where_it_is_written() -> None:
    """A head that attends to the tokens like its own, and so writes the count on the BOS token's value."""
    params = {name: torch.zeros_like(tensor) for name, tensor in initial_params(CONFIG, [0]).items()}
    params["embed.W_E"][0, 0, 0] = 1  # BOS
    for token in range(3):
        params["embed.W_E"][0, 2 + token, 1 + token] = 1
        params["blocks.0.attn.W_Q"][0, 0, 1 + token, token] = 50
        params["blocks.0.attn.W_K"][0, 0, 1 + token, token] = 1
        params["blocks.0.attn.W_Q"][0, 0, 1 + token, 3] = 50
    params["blocks.0.attn.W_K"][0, 0, 0, 3] = 1  # BOS has the score of an equal token
    params["blocks.0.attn.W_V"][0, 0, 0, 4] = 1
    params["blocks.0.attn.W_O"][0, 0, 4, 10] = 1
    labels = probe_labels(CONFIG, params, [TASK])[0]
    assert labels["L0"]["out"]["accuracy"] < 0.5
    assert labels["L1"]["out"]["accuracy"] > 0.9
    assert labels["L2"]["out"]["accuracy"] > 0.9


def test_conditions_are_probed_at_bos_and_labels_are_the_seeds_own() -> None:
    chart = parse_flowchart("if has a then p else if pos 2 is b then q else r", ("a", "b", "c"), ("p", "q", "r"), 5)
    task = task_of(chart)
    config = replace(CONFIG, d_vocab_out=3)
    params = initial_params(config, [0, 1])
    params["blocks.0.attn.W_Q"][:] = 0  # BOS reads the mean of all
    first, again = (probe_labels(config, params, [task, task], seed=3) for _ in range(2))
    assert first == again and first != probe_labels(config, params, [task, task], seed=4)
    alone = probe_labels(config, {name: tensor[1:] for name, tensor in params.items()}, [task], seed=3)
    for name, found in alone[0]["L2"].items():
        assert found == pytest.approx(first[1]["L2"][name], abs=0.02)
    assert (task.concept("has a").codes[:, 1:] == UNASKED).all()
    for each in first:
        assert each["L0"]["has a"]["accuracy"] == each["L0"]["has a"]["majority"]  # BOS has not looked yet
        assert each["L1"]["has a"]["accuracy"] > each["L1"]["has a"]["majority"] + 0.03


def test_few_inputs_and_wrong_numbers_of_tasks_are_refused() -> None:
    params = initial_params(CONFIG, [0])
    with pytest.raises(InputError, match="3 inputs, expected at least 4"):
        probe_labels(CONFIG, params, [TASK], n_inputs=3)
    with pytest.raises(InputError, match="2 tasks for 1 networks"):
        probe_labels(CONFIG, params, [TASK, TASK])
