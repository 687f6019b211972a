from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest

from tracr_tasks.errors import InputError
from zoo.canonical import canonical
from zoo.conditions import At, AtLeast, Contains
from zoo.flowchart import Flowchart, input_ids
from zoo.flowchart_config import FlowchartConfig, Kinds, every_kind
from zoo.sampling import sample_flowchart
from zoo.tree import is_chain

EVERY = every_kind()


def digest(charts: list[Flowchart]) -> str:
    lines = "\n".join(f"{chart.text()} {chart.function_hash()} {chart.structure_hash()}" for chart in charts)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def test_the_default_draws_what_it_always_drew() -> None:
    """Zoos and the oracle that ships were made from these: their texts and hashes must not change."""
    charts = [sample_flowchart(seed) for seed in range(60)]
    assert digest(charts) == "073261fefb0e6604"
    assert {type(c) for chart in charts for c in chart.conditions()} == {At, Contains, AtLeast}
    assert digest([sample_flowchart(seed, FlowchartConfig(4, 4, 4)) for seed in range(30)]) == "b5da41473e3117f9"
    first = "if pos 2 is a then if pos 1 is b then t else s else u"
    assert [charts[0].text(), charts[0].function_hash(), charts[0].structure_hash()] == [
        *(first, "d65c9fdddf7ed4e7", "e524174c6e90f5a4")
    ]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("config", [FlowchartConfig(max_conditions=3), EVERY], ids=["default kinds", "every kind"])
def test_samples_are_canonical_and_use_every_branch(seed: int, config: FlowchartConfig) -> None:
    chart = sample_flowchart(seed, config)
    assert chart == canonical(chart) == sample_flowchart(seed, config)
    ids = input_ids(6, 6)
    shares = np.bincount(chart.branch_batch(ids), minlength=len(chart.leaves())) / len(ids)
    assert shares.tolist() == list(chart.branch_shares())
    assert all(share >= (config.rare_min if config.rare else config.min_branch) for share in shares)
    assert np.bincount(chart.run_batch(ids)).max() < 0.95 * len(ids)


def test_every_kind_is_drawn_and_no_other() -> None:
    charts = [sample_flowchart(seed, EVERY) for seed in range(40)]
    found = Counter(type(condition).__name__ for chart in charts for condition in chart.conditions())
    assert set(found) == {"At", "Contains", "AtLeast", "Before", "Equals", "FirstIn", "LastIn"}
    assert {len(chart.conditions()) for chart in charts} == {1, 2, 3, 4}
    assert {c.count for chart in charts for c in chart.conditions() if isinstance(c, AtLeast)} == {2, 3, 4}
    only = FlowchartConfig(kinds=Kinds(0, 0, 0, before=1))
    assert all("before" in c.text() for seed in range(10) for c in sample_flowchart(seed, only).conditions())


def test_rare_branches_are_drawn_where_they_are_asked_for() -> None:
    config = replace(EVERY, rare=1.0, rare_max=0.002, rare_min=0.0005)
    for seed in range(8):
        shares = sample_flowchart(seed, config).branch_shares()
        assert any(0.0005 <= share <= 0.002 for share in shares)
        assert all(0.0005 <= share <= 0.002 or share >= config.min_branch for share in shares)
    none = replace(EVERY, rare=0.0)
    assert all(min(sample_flowchart(seed, none).branch_shares()) >= none.min_branch for seed in range(8))
    some = [min(sample_flowchart(seed, EVERY).branch_shares()) <= EVERY.rare_max for seed in range(40)]
    assert 0.1 < np.mean(some) < 0.5


def test_chains_are_drawn_where_they_are_asked_for() -> None:
    config = replace(EVERY, min_conditions=4)
    assert all(is_chain(sample_flowchart(seed, replace(config, chains=1.0)).root) for seed in range(8))
    assert not all(is_chain(sample_flowchart(seed, replace(config, chains=0.0)).root) for seed in range(8))


def test_growth_decides_the_sizes() -> None:
    sizes = [
        len(sample_flowchart(seed, FlowchartConfig(max_conditions=3, growth=0.1)).conditions()) for seed in range(40)
    ]
    assert sizes.count(1) > 30


def test_the_impossible_is_refused() -> None:
    with pytest.raises(InputError, match="no flowchart of 1 questions in 1000 draws fits"):
        sample_flowchart(0, FlowchartConfig(max_conditions=1, kinds=Kinds(1, 0, 0), max_answer=0.5))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"kinds": Kinds(0, 0, 0, first=1), "vocab_size": 3},
            "kinds: first = 1, expected 0, or vocab_size 4 and max_seq_len 1",
        ),
        (
            {"kinds": Kinds(before=2), "vocab_size": 2},
            "kinds: before = 2, expected 0, or vocab_size 3 and max_seq_len 2",
        ),
        (
            {"kinds": Kinds(equals=1), "max_seq_len": 1},
            "kinds: equals = 1, expected 0, or vocab_size 2 and max_seq_len 2",
        ),
        ({"rare": 0.5, "max_conditions": 1}, "rare = 0.5, expected 0, or max_conditions 2"),
        ({"rare": 0.5, "rare_min": 0.1}, "rare_min = 0.1, expected at most rare_max, 0.01"),
        ({"rare": 1.5}, "rare = 1.5, expected a share from 0 to 1"),
        ({"max_count": 7}, "max_count = 7, expected 2 to 6"),
        ({"growth": 0.0}, "growth = 0.0, expected 0.01 to 100"),
        (
            {"kinds": Kinds(equals=1), "max_conditions": 5, "vocab_size": 15},
            "max_conditions = 5 of up to 15 states each need 759375 joint states, expected at most 100000",
        ),
        (
            {"max_count": 60, "max_seq_len": 64, "max_conditions": 4},
            "of up to 61 states each need 13845841 joint states",
        ),
    ],
)
def test_configurations_that_do_not_fit_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        FlowchartConfig(**fields)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_kinds_are_weighed_by_whole_numbers() -> None:
    assert Kinds().table() == ("pos", "pos", "has", "of")
    assert asdict(FlowchartConfig())["kinds"] == {"pos": 2, "has": 1, "of": 1} | dict.fromkeys(
        ("before", "equals", "first", "last"), 0
    )
    with pytest.raises(InputError, match="kinds: has = -1, expected a whole number from 0 to 100"):
        Kinds(has=-1)
    with pytest.raises(InputError, match="kinds: all are 0"):
        Kinds(0, 0, 0)
