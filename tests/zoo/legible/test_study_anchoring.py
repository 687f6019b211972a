"""The study runs to its end, says the same twice, and its sentences follow the rows whichever way they went."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tracr_tasks.errors import InputError
from zoo.legible.anchoring import occurrences
from zoo.legible.studies.anchoring import study
from zoo.legible.studies.anchoring_arms import ANCHORED, CASES, CONTROL, arms_of, task_in
from zoo.legible.studies.anchoring_text import findings
from zoo.legible.studies.configs import AnchoringStudyConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "out"
    text = study(AnchoringStudyConfig(out, smoke=True, workers=1, steps=1))
    assert (out / "table.md").read_text("utf-8") == text + "\n"
    return out


def test_the_smoke_study_writes_a_row_for_every_arm_concept_and_seed(folder: Path) -> None:
    rows = pq.read_table(folder / "table.parquet").to_pylist()
    config = AnchoringStudyConfig(folder, smoke=True)
    assert len(rows) == 2 * len(arms_of(CASES[0], config))
    assert {row["case"] for row in rows} == {"branch: has a", "token: b"}
    assert all(0 <= row["probe"] <= 1 and -1 <= row["cosine"] <= 1 for row in rows)
    assert all(row["cost"] == 0 for row in rows if row["arm"] == CONTROL)
    for name in ("where.png", "removal.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    text = (folder / "table.md").read_text("utf-8")
    assert "smoke run" in text and "**Findings**" in text
    assert "nan" not in text


def test_a_folder_of_other_options_and_impossible_options_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="other options"):
        study(AnchoringStudyConfig(folder, smoke=True, workers=1, steps=4))
    with pytest.raises(InputError, match="anchor: label_rate"):
        study(AnchoringStudyConfig(tmp_path / "new", smoke=True, label_rate=2.0))
    assert not (tmp_path / "new").exists()


def test_every_concept_of_the_study_varies_and_labels_are_the_published_share() -> None:
    config = AnchoringStudyConfig(Path("unused"))
    for case in CASES:
        task = task_in(case, config)
        share = occurrences(task.concept(case.concept), case.value).any(1).mean()
        assert 0.05 < share < 0.98
        assert {options.label_rate for options in arms_of(case, config).values()} == {config.label_rate}
    assert 0.002 <= config.label_rate <= 0.01


def rows_with(**figures: float) -> list[dict]:
    base = {"accuracy": 1.0, "cost": 0.0, "margin": 0.0, "cosine": 0.0}
    base |= {f"lost_{name}_{side}": 0.0 for name in ("axis", "labels", "difference") for side in ("on", "elsewhere")}
    arms = [CONTROL, "shuffled labels", ANCHORED]
    return [base | {"case": "c", "seed": 0, "arm": arm} | (figures if arm == ANCHORED else {}) for arm in arms]


GOOD = {"cosine": 0.95, "lost_axis_on": 0.6}
POOR = {"cosine": 0.5, "cost": 0.1, "lost_axis_on": 0.6, "lost_axis_elsewhere": 0.5}
IDLE = {"lost_axis_on": 0.01, "lost_difference_on": 0.9}


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (GOOD, ("is known in advance", "within the 2", "0.00 elsewhere: selective", "no more than the known axis")),
        (POOR, ("falls short of 0.9", "more than the 2", "0.50 elsewhere: not selective")),
        (IDLE, ("hardly needs the axis", "anchoring is selective, not exclusive")),
    ],
)
def test_findings_follow_the_figures(figures: dict[str, float], said: tuple[str, ...]) -> None:
    text = " ".join(findings(rows_with(**figures)))
    for part in said:
        assert part in text


def test_a_removal_whose_intervals_overlap_is_not_called_selective() -> None:
    rows = [
        {**row, "seed": seed, "lost_axis_on": on, "lost_axis_elsewhere": elsewhere}
        for seed, on, elsewhere in ((0, 0.02, 0.09), (1, 0.9, 0.0), (2, 0.03, 0.0))
        for row in rows_with()
    ]
    assert "not surely selective" in findings(rows)[0]
