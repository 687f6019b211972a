"""Flowcharts whose weights are written down: the network is the flowchart on every input, or is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.zoo.charts import ANSWERS, LENGTH, VOCAB, chart_of, trees
from tracr_tasks.errors import InputError, ProgramError
from tracr_tasks.transformer import forward
from zoo.build import build_zoo
from zoo.chart_weights import chart_weights, ways
from zoo.conditions import AtLeast, Equals
from zoo.flowchart import Flowchart, input_ids
from zoo.flowchart_parser import parse_flowchart
from zoo.rebuild import rebuild
from zoo.spec import ZooSpec, spec_from_fields
from zoo.stack import N_SPECIAL, target_config
from zoo.training_config import Architecture
from zoo.tree import Tree
from zoo.verify import verify_zoo

SPEC = ZooSpec("written", compiled=30, trained=0, untrained=2, chunk=16, compiles="flowchart")


def said(chart: Flowchart, architecture: Architecture) -> list[int]:
    """What the network says to every input."""
    config = target_config(architecture, len(chart.vocab), len(chart.answers), chart.max_seq_len)
    ids = input_ids(len(chart.vocab), chart.max_seq_len)
    full = torch.from_numpy(np.concatenate([np.zeros((len(ids), 1), dtype=np.int64), ids + N_SPECIAL], 1))
    answers: list[int] = forward(config, chart_weights(chart, config), full)[:, 0].argmax(-1).tolist()
    return answers


@given(tree=trees, norm=st.sampled_from(("none", "RMSPre", "RMS")), n_layers=st.integers(1, 2))
def test_the_network_is_the_flowchart_on_every_input(tree: Tree, norm: str, n_layers: int) -> None:
    chart = chart_of(tree)
    compares = any(isinstance(condition, Equals) for condition in chart.conditions())
    counts = any(sum(isinstance(c, AtLeast) for c, _ in way.asked) > 1 for way in ways(tree))
    shape = Architecture(n_layers=n_layers, normalization_type=norm)
    if compares or counts:
        with pytest.raises(ProgramError, match="compare" if compares else "count"):
            said(chart, shape)
        return
    assert said(chart, shape) == chart.run_batch(input_ids(len(VOCAB), LENGTH)).tolist()


def test_a_network_that_is_too_small_is_refused_with_every_reason() -> None:
    text = "if pos 1 is a then p else if has b then q else if 2 of c then r else p"
    chart = parse_flowchart(text, VOCAB, ANSWERS, LENGTH)
    small = Architecture(d_model=8, n_heads=2, d_mlp=3, act_fn="gelu", normalization_type="LN")
    with pytest.raises(ProgramError) as caught:
        said(chart, small)
    for part in ("('LN', 'gelu', 'bidirectional')", "d_model = 8, expected at least 9", "n_heads = 2", "d_mlp = 3"):
        assert part in str(caught.value)
    enough = Architecture(d_model=9, n_heads=3, d_mlp=4, normalization_type="none")
    assert said(chart, enough) == chart.run_batch(input_ids(len(VOCAB), LENGTH)).tolist()


def test_a_zoo_of_them_is_sound_and_one_is_made_again_from_its_seed(tmp_path: Path) -> None:
    zoo = build_zoo(SPEC, tmp_path / "zoo", workers=1, progress=False)
    rows = zoo.rows(regime="compiled")
    assert 20 < len(rows) <= 30 and all(row.kind == "flowchart" and row.labels["accuracy"] == 1 for row in rows)
    assert {row.family for row in rows} == {row.family for row in zoo.rows(regime="untrained")}  # of one shape
    assert not verify_zoo(tmp_path / "zoo").problems
    assert torch.equal(rebuild(zoo, rows[-1].id).weights["embed.W_E"], zoo.target(rows[-1].id).weights["embed.W_E"])
    assert "written into networks" in (tmp_path / "zoo" / "README.md").read_text("utf-8")


def test_a_spec_without_the_field_keeps_its_hash_and_another_kind_is_refused() -> None:
    assert "compiles" not in ZooSpec().to_json()
    assert spec_from_fields(SPEC.to_json(), "spec.json") == SPEC
    with pytest.raises(InputError, match="compiles = 'python', expected rasp or flowchart"):
        replace(SPEC, compiles="python")
