"""The decoder that ships with the package writes the programs of the weights that it is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from oracle.decoder import Written
from oracle.decompiler import Decompiler
from oracle.grade import grade
from oracle.questions import Question, Subject
from oracle.symmetry import random_gauge
from zoo.build import build_zoo
from zoo.spec import named_spec
from zoo.target import Target

N_TARGETS = 32


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Subject, Target]]:
    """Flowcharts of functions that were held out, each learned by a new transformer."""
    spec = replace(named_spec("quickstart"), compiled=0, trained=N_TARGETS, untrained=0, seed=91, splits=("test",))
    zoo = build_zoo(spec, tmp_path_factory.mktemp("zoo") / "zoo", workers=1, progress=False)
    found = []
    for row in zoo:
        program = zoo.program(row.id)
        assert program is not None
        found.append((Subject(row.kind, row.regime, program.text(), program, (), ()), zoo.target(row.id)))
    return found


def n_right(unseen: list[tuple[Subject, Target]], written: list[Written]) -> int:
    pairs = zip(unseen, written, strict=True)
    return sum(grade(Question("program", "", s.text), w.text, s).correct for (s, _), w in pairs)


def test_it_reads_the_weights_in_any_gauge(unseen: list[tuple[Subject, Target]]) -> None:
    decompiler = Decompiler.from_pretrained()
    one, other = (
        decompiler.decompile([replace(t, weights=random_gauge(t.config, t.weights, seed + i)) for i, (_, t) in rows])
        for seed, rows in ((0, list(enumerate(unseen))), (1000, list(enumerate(unseen))))
    )
    assert len(unseen) >= N_TARGETS - 4
    assert n_right(unseen, one) > 0.7 * len(unseen)
    assert n_right(unseen, [*one[1:], one[0]]) < 0.1 * len(unseen)
    assert sum(a.text == b.text for a, b in zip(one, other, strict=True)) >= len(unseen) - 1
    assert Path(__file__).parents[2].joinpath("oracle", "assets", "decoder", "README.md").is_file()
