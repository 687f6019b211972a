"""The study of seeding: its arms begin as they say, its report says what its rows say, and bad options are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tracr_tasks.errors import InputError
from zoo.legible.persistence import MEASURES
from zoo.legible.seed_curves import moments
from zoo.legible.studies.configs import SeedingStudyConfig
from zoo.legible.studies.seeding import FIGURE, study
from zoo.legible.studies.seeding_arms import ARMS, FEWER, FROZEN, NORMED, PAIRS, PLAIN, RANDOM, begun, pair, target
from zoo.legible.studies.seeding_report import answer, draw_curves, report
from zoo.legible.tasks import UNASKED, counterfactual


def made(arms: dict[str, float], settings: tuple[str, ...] = (PLAIN.name,)) -> list[dict[str, Any]]:
    """Rows whose persistence falls by half every 100 steps towards a value of each arm."""
    rows = []
    for setting in settings:
        for name in PAIRS:
            for seed in (0, 1):
                for arm, end in arms.items():
                    for step in (0, 20, 50, 100, 200, 400):
                        now = end + (1 - end) * 0.5 ** (step / 100) + 0.01 * seed
                        row: dict[str, Any] = {"pair": name, "seed": seed, "arm": arm, "step": step, "setting": setting}
                        row |= {"steps_to_90": 100 + 10 * seed if arm != RANDOM else None, "final_accuracy": 0.99}
                        row |= dict.fromkeys(MEASURES, now)
                        rows.append(row | {f"persistence_{measure}": now for measure in MEASURES})
    return rows


def test_every_pair_has_a_variable_that_its_answers_need() -> None:
    for name in PAIRS:
        what = pair(name)
        concept = what.task.concept(what.concept)
        assert set(concept.values) == set(what.seed.output_names)
        assert concept.computed and concept.name != "out"
        partner = np.random.default_rng(0).permutation(len(what.task.ids))
        wanted = counterfactual(what.task, {what.concept: concept.codes[partner]})
        assert ((wanted != what.task.answers) & (wanted != UNASKED))[:, 1:].mean() > 0.4


@pytest.mark.parametrize("setting", [PLAIN, NORMED])
def test_arms_differ_in_what_they_hold_of_the_seed(setting) -> None:
    what = pair("count")
    config = target(SeedingStudyConfig(out=Path()), what.task, setting.norm)
    each = {arm: begun(what, config, 7, arm) for arm in ARMS}
    assert set(setting.arms) <= set(ARMS) and setting.arms[0] == RANDOM and setting.arms[-1] == FROZEN
    name = "blocks.0.attn.W_Q"
    assert torch.equal(each["rebalanced"].params[name], each[FROZEN].params[name])
    assert not torch.equal(each["rebalanced"].params[name], each["raw"].params[name])
    assert not torch.equal(each["rebalanced"].params[name], each["permuted"].params[name])
    assert each[RANDOM].params[name].abs().max() < 2 < each["raw"].params[name].abs().max()
    assert torch.equal(each[RANDOM].basis, each["rebalanced"].basis)
    if setting.norm is None:  # under a norm even the fresh parts keep off the loud coordinates
        assert torch.equal(each[RANDOM].params["unembed.W_U"], each["raw"].params["unembed.W_U"])


def test_points_of_a_curve_grow_apart() -> None:
    for steps in (1, 12, 600):
        points = moments(steps)
        assert points[0] == 0 and points[-1] == steps and points == sorted(set(points))
    gaps = np.diff(moments(600))
    assert len(moments(600)) == 10 and (gaps[1:] >= gaps[1:].min()).all() and gaps[-1] > 10 * gaps[0]


def test_the_report_says_what_the_rows_say() -> None:
    rows = made({RANDOM: 0.0, "rebalanced": 0.5, "rebalanced, rotated": 0.0, "rebalanced, rate 0.1": 0.9, FROZEN: 1.0})
    text = report(SeedingStudyConfig(out=Path(), seeds=2), rows, "p.png")
    assert "| rebalanced | 105 [" in text and "![Persistence over training](p.png)" in text
    assert "information stays in part (0.54 [" in text
    assert "no norm, AdamW, rebalanced, rotated, free to change: information leaves a faint trace (0.07 [" in text
    assert "no norm, AdamW: all three stay (mean over 0.75) at a rate of 0.1 for the seed, the largest" in text
    assert "too few networks reached 90%" in text  # the random ones never did
    lines = [line for line in text.split("\n") if line.startswith("| rebalanced, rotated | ")]
    assert [line.count("|") for line in lines] == [9, 7, 11]  # measures, persistence, half-lives with two asymptotes


def test_half_lives_that_were_not_reached_are_counted() -> None:
    text = report(SeedingStudyConfig(out=Path()), made({RANDOM: 0, "raw": 0.9, "permuted": 0.0, FROZEN: 1.0}), "p.png")
    lines = [line for line in text.split("\n") if line.startswith("| raw |")]
    assert any("never" in line for line in lines)
    halves = [line for line in text.split("\n") if line.startswith("| permuted |")][-1]
    assert "| 100 [" in halves or "| 101 [" in halves or "| 102 [" in halves


def test_no_gap_between_frozen_and_random_is_said() -> None:
    rows = made({RANDOM: 0.0, "rebalanced": 0.5, "rebalanced, rotated": 0.5, FROZEN: 1.0})
    for row in rows:
        row |= {f"persistence_{measure}": None for measure in MEASURES}
    assert "information cannot be told (no gap between frozen and random)" in answer(rows)
    assert "Diverged" not in answer(rows)
    for row in rows:
        row["probe"] = float("nan") if row["arm"] == FROZEN else row["probe"]
    assert f"Diverged: 0 of its networks, {2 * len(PAIRS)} frozen ones." in answer(rows)


def test_the_study_writes_its_folder(tmp_path: Path) -> None:
    config = SeedingStudyConfig(out=tmp_path / "one", smoke=True, steps=2, workers=1)
    text = study(config)
    rows = pq.read_table(tmp_path / "one" / "table.parquet").to_pylist()
    points = len({row["step"] for row in rows})
    assert len(rows) == points * (len(ARMS) + 2 * len(FEWER))
    assert {(row["norm"], row["optimizer"]) for row in rows} == {(None, "adamw"), ("LN", "adamw"), (None, "sgd")}
    assert (tmp_path / "one" / "table.md").read_text() == text.rstrip("\n") + "\n"
    assert (tmp_path / "one" / FIGURE).stat().st_size > 10_000
    for row in rows:
        if row["arm"] not in (RANDOM, "permuted") and row["step"] == 0:
            assert row["read_out"] == 1 and row["drift"] == 0
        if row["arm"] == FROZEN:
            assert row["read_out"] == 1 and row["drift"] == 0


def test_impossible_seeds_are_refused_with_every_reason_before_anything_is_done(tmp_path: Path) -> None:
    config = SeedingStudyConfig(out=tmp_path / "two", d_model=14, n_layers=0, d_head=4)
    with pytest.raises(InputError) as refused:
        study(config)
    said = str(refused.value)
    for words in ("count (LN, AdamW): d_model 14", "previous (no norm, AdamW): d_model 14", "occurrence", "n_layers 0"):
        assert words in said
    assert "d_head 4, expected at least 5" in said and "d_head 4, expected at least 11" in said
    assert "count (no norm, AdamW): d_model" not in said
    assert not (tmp_path / "two").exists()


def test_curves_are_drawn_for_missing_values_too(tmp_path: Path) -> None:
    rows = made({RANDOM: 0.0, "raw": 0.5, FROZEN: 1.0}, (PLAIN.name, NORMED.name))
    rows = [replace_missing(row) for row in rows]
    draw_curves(tmp_path / "a.png", rows)
    draw_curves(tmp_path / "b.png", rows)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def replace_missing(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the persistence of its use at its start."""
    return row | ({"persistence_interchange": None} if row["step"] == 0 else {})
