"""The study of sparse autoencoders: what it plans, what it says of known rows, and one cell measured for real."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tracr_tasks.errors import InputError
from zoo.legible.autoencoders import AutoencoderConfig
from zoo.legible.initial import initial_params
from zoo.legible.network import run
from zoo.legible.studies import sae
from zoo.legible.studies.configs import SaeStudyConfig
from zoo.legible.studies.sae_cells import FAMILIES, SCALES, Cell, measure
from zoo.legible.studies.sae_networks import (
    ANEW,
    INITIAL,
    NULL,
    TRAINED,
    VARIANTS,
    _gaussian,
    _noisy,
    config_of,
    learned,
)
from zoo.legible.studies.sae_separation import OTHERS, auroc, separations
from zoo.legible.tasks import UNASKED

VALUES = st.sampled_from([0.0, 0.5, 1.0, 2.0])
COLUMNS = ("tokens", "indices", "inner", "out", "input", "computed")


def _rows(cell: Cell) -> list[dict[str, Any]]:
    """A cell's rows where coverage of computed variables tells, token entropy tells at scale 1, and nothing else."""
    rng = np.random.default_rng(cell.seed)
    pairs = [(scale, family) for scale in SCALES for family in FAMILIES if (scale, family) != (1.0, "normal")]
    made = [(name, 1.0, "normal") for name in VARIANTS] if cell.training_steps else [(INITIAL, *pair) for pair in pairs]
    rows = []
    for variant, scale, family in made:
        for kind, state in cell.sites:
            learns = variant == TRAINED
            row: dict[str, Any] = {"program": cell.program, "norm": str(cell.norm), "repetition": cell.number}
            row |= {"variant": variant, "scale": scale, "family": family, "kind": kind, "state": state}
            row |= {"accuracy": 0.99 if learns else None, "ce_recovered": 0.9 if learns else None}
            row |= {"explained_variance": 0.9 + 0.05 * rng.random(), "cosine": 0.95, "l0": 8.0, "l1": 9.0}
            row |= {"dead": rng.random() / 5, "token_entropy": 1.2 if learns or scale == 4 else 0.2}
            row |= {f"coverage_{name}": 0.2 + rng.random() / 10 for name in COLUMNS}
            row |= {f"coverage_{name}": 0.8 for name in ("inner", "out", "computed") if learns}
            rows.append(row)
    return rows


def test_a_study_says_which_metrics_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sae, "measure", _rows)
    monkeypatch.setattr(sae, "require_sae_lens", lambda: None)
    config = SaeStudyConfig(out=tmp_path / "out", seeds=3, workers=1)
    text = sae.study(config)
    files = {"study.json", "table.md", "table.parquet", "metrics.png", "layers.png", "separation.png", "untrained.png"}
    assert {path.name for path in config.out.iterdir()} == files
    assert (config.out / "table.md").read_text().rstrip("\n") == text.rstrip("\n")
    tell = next(line for line in text.splitlines() if line.startswith("- Tell"))
    fail = next(line for line in text.splitlines() if line.startswith("- Do not"))
    assert "coverage: inner variable (1.00 to 1.00)" in tell and "coverage: computed" in tell
    assert "token entropy" not in tell and "token entropy (0.82 to 1.00)" in fail  # a third of 11 ties with scale 4
    assert "explained variance" in fail and "coverage: inputs" in fail
    table = pq.read_table(config.out / "table.parquet").to_pylist()
    twin = [row for row in table if row["variant"] == ANEW]
    assert twin and all(row["excess_computed"] == 0 for row in twin)
    assert all(row["excess_inner"] > 0.4 for row in table if row["variant"] == TRAINED)
    assert sae.study(config) == text  # of the same options: again


def test_a_plan_has_every_variant_kind_state_scale_and_norm(tmp_path: Path) -> None:
    cells = sae.plan(SaeStudyConfig(out=tmp_path, seeds=3))
    full = [cell for cell in cells if len(cell.sites) > 1]
    assert len(full) == 3 and {cell.seed for cell in full} == {0, 1, 2}
    assert set(full[0].sites) == {("topk", n) for n in range(4)} | {("batchtopk", 3), ("jumprelu", 3)}
    assert {(cell.program, cell.norm) for cell in cells} == {
        (program, norm) for program in ("same count", "same occurrence") for norm in (False, True)
    }
    assert sum(cell.training_steps == 0 for cell in cells) == 3
    other = sae.plan(SaeStudyConfig(out=tmp_path, seeds=3, seed=1))
    assert not {cell.seed for cell in cells} & {cell.seed for cell in other}
    smoke = sae.plan(SaeStudyConfig(out=tmp_path, smoke=True))
    assert len(smoke) == 2 and smoke[0].autoencoder.steps <= 10


@settings(max_examples=25, deadline=None)
@given(ones=st.lists(VALUES, min_size=1, max_size=8), others=st.lists(VALUES, min_size=1, max_size=8))
def test_auroc_is_that_of_scikit_learn(ones: list[float], others: list[float]) -> None:
    wanted = roc_auc_score([1] * len(ones) + [0] * len(others), ones + others)
    assert auroc(ones, others) == pytest.approx(wanted)


def test_networks_are_compared_within_a_program_and_norm(tmp_path: Path) -> None:
    """A metric that is higher in trained networks of each program, but not across them, still tells."""
    rows = [row for cell in sae.plan(SaeStudyConfig(out=tmp_path)) for row in _rows(cell)]
    for row in rows:
        row["cosine"] = 10.0 * (row["program"] == "same count") + (row["variant"] == TRAINED)
    cosine = next(each for each in separations(rows) if each.metric == "cosine")
    assert cosine.auroc == dict.fromkeys(cosine.auroc, 1.0) and OTHERS in cosine.auroc
    assert cosine.gap.mean == pytest.approx(1) and cosine.says()
    dead = next(each for each in separations(rows) if each.metric == "dead")
    assert not dead.says()


def test_programs_have_a_variable_that_their_answers_need() -> None:
    for name in ("same count", "same occurrence"):
        what = learned(name)
        inner = what.task.concept(what.inner)
        assert inner.computed and inner.name != "out"
        row = [what.task.vocab.input[i] for i in what.task.ids[1_234, 1:]]
        said = what.seed.run(row)
        assert [inner.values[code] for code in inner.codes[1_234, 1:]] == [str(value) for value in said]
        answers = [int(what.task.vocab.output[a]) for a in what.task.answers[1_234, 1:]]
        assert answers == [said.count(value) for value in said] and what.task.answers[0, 0] == UNASKED


def test_controls_keep_moments_and_lose_the_rest() -> None:
    task = learned("same count").task
    config = config_of(task, norm=False)
    params, ids = initial_params(config, [0]), torch.from_numpy(task.ids[:800])
    with torch.no_grad():
        state = run(config, params, ids[None]).states[2][0]
    drawn = _gaussian(state, np.random.default_rng(0))
    assert torch.equal(drawn[:, 0], state[:, 0])
    old, new = state[:, 1:].flatten(0, 1), drawn[:, 1:].flatten(0, 1)
    torch.testing.assert_close(new.mean(0), old.mean(0), rtol=0, atol=0.1)
    assert (torch.cov(new.T) - torch.cov(old.T)).norm() < 0.1 * torch.cov(old.T).norm()
    noisy = _noisy(config, params, ids, np.random.default_rng(0))
    plain = run(config, params, ids[None]).states
    assert torch.equal(noisy[0][:, 0], plain[0][0][:, 0])
    same = (ids[:, 1] == ids[0, 1]).nonzero()[:, 0]
    assert torch.equal(plain[0][0][same[0], 1], plain[0][0][same[1], 1])
    assert not torch.equal(noisy[0][same[0], 1], noisy[0][same[1], 1])


@pytest.mark.skipif(find_spec("sae_lens") is None, reason="the extra 'sae' is not installed")
def test_a_cell_measures_every_variant_and_depends_on_itself_alone() -> None:
    options = AutoencoderConfig(steps=8, latents=32, active=4)
    cell = Cell("same count", False, 5, 0, 3, options, (("topk", 3),), 64)
    rows = measure(cell)
    assert [row["variant"] for row in rows] == list(VARIANTS) and rows == measure(cell)
    for row in rows:
        assert {f"coverage_{name}" for name in COLUMNS} < set(row)
        assert row["l0"] <= 4 and (row["accuracy"] is not None) == (row["variant"] in (TRAINED, "seeded"))
    assert rows[-1]["variant"] == NULL and rows[-1]["ce_recovered"] is None
    side = measure(Cell("same count", False, 5, 0, 0, options, (("topk", 3),), 64))
    assert len(side) == len(SCALES) * len(FAMILIES) - 1 and {row["variant"] for row in side} == {INITIAL}


def test_without_the_extra_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sae_lens", None)
    with pytest.raises(InputError, match=r"pip install 'weight-oracle\[sae\]'"):
        sae.study(SaeStudyConfig(out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
