"""The decoder that ships with the package writes the programs of the weights that it is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from oracle.bases import FLOWCHARTS, PROGRAMS
from oracle.decoder import Written
from oracle.decompiler import Decompiler
from oracle.grade import grade
from oracle.programs import decompile
from oracle.questions import Question, Subject
from oracle.symmetry import random_gauge
from tests.oracle.test_search import is_same, seen
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.sampler import sample_compiled
from tracr_tasks.simplest import simplest
from zoo.build import build_zoo
from zoo.compiled import target_of
from zoo.flowchart_parser import parse_flowchart
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
    assert (FLOWCHARTS / "README.md").is_file()


def test_four_runs_tell_likely_flowcharts_apart(unseen: list[tuple[Subject, Target]]) -> None:
    targets = [target for _, target in unseen]
    plain, tested = decompile(targets), decompile(targets, runs=4)
    assert n_right(unseen, tested) >= max(n_right(unseen, plain), 0.9 * len(unseen))
    assert all(w.runs == 4 and w.fits for w in tested) and not any(w.runs for w in plain)
    assert decompile(targets[:2], runs=4) == tested[:2]


def test_what_is_weighed_is_as_good_and_says_how_sure_it_is(unseen: list[tuple[Subject, Target]]) -> None:
    targets = [target for _, target in unseen]
    plain, weighed = decompile(targets), decompile(targets, namings=4)
    assert n_right(unseen, weighed) >= n_right(unseen, plain) - 1
    assert all(w.share is not None and w.share <= 1e-6 for w in weighed) and all(w.share is None for w in plain)
    gauged = [replace(t, weights=random_gauge(t.config, t.weights, 70 + i)) for i, t in enumerate(targets)]
    assert [w.text for w in decompile(gauged, namings=4)] == [w.text for w in weighed]


def test_of_fewer_tokens_than_were_learned_from_what_parses_is_told_apart(tmp_path: Path) -> None:
    """Likely texts name tokens that such targets have not; where all of them do, nothing is run."""
    spec = replace(named_spec("tiny"), compiled=0, trained=8, untrained=0)
    zoo = build_zoo(spec, tmp_path / "zoo", workers=1, progress=False)
    written = decompile([zoo.target(row.id) for row in zoo], runs=4)
    tested = [(row, each) for row, each in zip(zoo, written, strict=True) if each.runs]
    assert len(tested) >= 2 and all(each.runs == 4 for _, each in tested)
    for row, each in tested:
        parse_flowchart(each.text, row.input_names[2:], row.output_names, row.max_seq_len)


def test_compiled_programs_are_found_and_what_is_certified_is_right(tmp_path: Path) -> None:
    """Programs of functions that were held out, in random gauges; with the entries of tensors shuffled none is."""
    spec = replace(named_spec("quickstart"), compiled=6, trained=0, untrained=0, seed=97, splits=("test",))
    zoo = build_zoo(spec, tmp_path / "zoo", workers=1, progress=False)
    subjects, targets = list[Subject](), list[Target]()
    for i, row in enumerate(zoo):
        program, target = zoo.program(row.id), zoo.target(row.id)
        assert program is not None
        subjects.append(Subject(row.kind, row.regime, program.text(), program, (), ()))
        targets.append(replace(target, weights=random_gauge(target.config, target.weights, i)))
    written = decompile(targets, search=60)
    pairs = list(zip(subjects, written, strict=True))
    right = [grade(Question("program", "", s.text), w.text, s).correct for s, w in pairs]
    assert sum(w.certified for w in written) >= 2, [w.text for w in written]
    assert all(is_right for is_right, w in zip(right, written, strict=True) if w.certified)
    assert decompile(targets[:1], search=60) == written[:1]
    others = [replace(t, weights=random_gauge(t.config, t.weights, 50 + i)) for i, t in enumerate(targets[:3])]
    assert [w.text for w in decompile(others, search=60)] == [w.text for w in written[:3]]
    rng = torch.Generator().manual_seed(0)
    shuffled = [
        replace(
            t,
            weights={n: w.flatten()[torch.randperm(w.numel(), generator=rng)].view_as(w) for n, w in t.weights.items()},
        )
        for t in targets[:3]
    ]
    assert not any(w.certified for w in decompile(shuffled, search=60))
    assert (PROGRAMS / "README.md").is_file()


def test_simplest_programs_have_the_same_weights_where_numbers_change_their_scale_too() -> None:
    """Of programs with linear combinations, whose entries are others: each is certified in a gauge of its own."""
    decoder, n = Decompiler.from_pretrained(PROGRAMS).decoder, 0
    for seed in range(200):
        program = sample_compiled(seed).program
        changed = simplest(program)
        if "linear" not in program.text() or changed == program:
            continue
        one, other = (seen(target_of(compile_program(each)), seed + i) for i, each in enumerate((program, changed)))
        if one[0].routes is not None:
            n += 1
            assert is_same(one, other, decoder), program.text()
    assert n >= 20
