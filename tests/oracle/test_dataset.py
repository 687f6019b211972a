"""Questions as a table: true, the same bytes under a seed, joined with the weights of their own zoo alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oracle.config import QuestionsConfig
from oracle.dataset import FILE, load_questions, subject_of, write_questions
from oracle.facts import Question
from oracle.grade import grade
from oracle.phrasings import phrasings
from tracr_tasks.errors import InputError
from zoo.build import build_zoo
from zoo.spec import named_spec
from zoo.store import Zoo


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    spec = replace(named_spec("tiny"), compiled=5, trained=7, untrained=2)
    return build_zoo(spec, tmp_path_factory.mktemp("zoo") / "zoo", workers=1, progress=False)


def test_every_answer_is_graded_right_and_weights_are_the_targets_own(zoo: Zoo, tmp_path: Path) -> None:
    file = write_questions(QuestionsConfig(zoo.directory, tmp_path))
    found = load_questions(tmp_path, zoo.directory)
    ids = [row.id for row in zoo]
    subjects = {id: subject_of(zoo, zoo.row(id), number) for number, id in enumerate(ids)}
    assert file == tmp_path / FILE and set(found["target"]) == set(ids)
    for row in found:
        target = zoo.row(row["target"])
        assert (row["split"], row["kind"], row["regime"]) == (target.split, target.kind, target.regime)
        assert np.array_equal(row["weights"], zoo.flat(target.id))
        question = Question(row["family"], row["question"], row["answer"], row["detail"])
        assert grade(question, row["answer"], subjects[target.id], zoo.target(target.id)).correct
    assert "weights" not in load_questions(file).column_names


def test_a_seed_gives_the_same_bytes_and_phrasings_are_those_asked_for(zoo: Zoo, tmp_path: Path) -> None:
    config = QuestionsConfig(zoo.directory, tmp_path / "a", per_target=3)
    first = write_questions(config).read_bytes()
    assert write_questions(replace(config, out=tmp_path / "b")).read_bytes() == first
    assert write_questions(replace(config, out=tmp_path / "b", seed=1)).read_bytes() != first
    rows = load_questions(tmp_path / "a")
    assert rows.num_rows == 3 * len(zoo)
    seen = {row["question"] for row in rows if row["family"] == "program"}
    assert seen <= set(phrasings("program", test=False))
    held = load_questions(write_questions(replace(config, out=tmp_path / "c", test_phrasings=True)))
    assert {row["question"] for row in held if row["family"] == "program"} <= set(phrasings("program", test=True))


def test_another_zoo_and_an_empty_split_are_refused(zoo: Zoo, tmp_path: Path) -> None:
    write_questions(QuestionsConfig(zoo.directory, tmp_path, split="train"))
    other = build_zoo(replace(named_spec("tiny"), compiled=1, trained=0, untrained=0), tmp_path / "zoo", workers=1)
    with pytest.raises(InputError, match="questions about a zoo of hash"):
        load_questions(tmp_path, other.directory)
    with pytest.raises(InputError, match="no target in the split nowhere"):
        write_questions(QuestionsConfig(zoo.directory, tmp_path, split="nowhere"))
