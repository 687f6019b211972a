from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.flowchart import Flowchart, input_ids
from zoo.flowchart_config import FlowchartConfig
from zoo.flowchart_parser import parse_flowchart
from zoo.lessons import FEW, OWN_INPUTS, Lesson, make_lessons, training_pool
from zoo.sampling import sample_flowchart

RARE = "if 6 of c then p else if has a then q else r"  # the first branch: 8.5 inputs in 100,000


def large(text: str) -> Flowchart:
    """A flowchart over more inputs than a pool holds."""
    return parse_flowchart(text, tuple("abcdefgh"), tuple("pqrs"), 8)


def test_branches_are_drawn_evenly() -> None:
    lesson = Lesson(sample_flowchart(0, FlowchartConfig(4, 4, 4)), input_ids(4, 4))
    drawn = lesson.draw(np.random.default_rng(0), 100, 10, 40)
    assert drawn.shape == (100, 50)
    counts = np.bincount(lesson.branch[drawn[:, 10:]].ravel())
    assert counts.min() > 0.8 * counts.mean()


def test_small_spaces_are_taken_whole() -> None:
    chart = parse_flowchart("if 4 of a then p else q", tuple("abcd"), tuple("pq"), 4)
    lessons = make_lessons([chart, chart], [1, 2], 1)
    assert not lessons.has_own and len(lessons.inputs) == 4**4
    assert lessons.each[0].counts.tolist() == [1, 255]
    index = torch.tensor([[3, 5], [0, 255]])
    assert torch.equal(lessons.place(index), index)


def test_rare_branches_of_large_spaces_get_inputs_of_their_own() -> None:
    common, rare = large("if has a then p else q"), large(RARE)
    assert 1e-5 < rare.branch_shares()[0] < 1e-4
    lessons = make_lessons([rare, common, rare], [1, 2, 3], 1)
    pool = len(training_pool(8, 8))
    assert [len(lesson.own) for lesson in lessons.each] == [OWN_INPUTS, 0, OWN_INPUTS]
    assert Lesson(rare, training_pool(8, 8)).counts[0] < FEW <= lessons.each[0].counts[0]
    assert len(lessons.inputs) == pool + 2 * OWN_INPUTS
    for i, (chart, lesson) in enumerate(zip([rare, common, rare], lessons.each, strict=True)):
        drawn = lesson.draw(np.random.default_rng(i), 1, 50, 60)
        assert (drawn[0, :50] < pool).all()
        rows = lessons.place(torch.from_numpy(np.repeat(drawn, 3, 0)))[i]
        inputs = lessons.inputs[rows.numpy()]
        assert (chart.run_batch(inputs) == lessons.answers[i, drawn[0]]).all()
        assert (chart.branch_batch(inputs) == lesson.branch[drawn[0]]).all()
        assert np.bincount(lesson.branch[drawn[0, 50:]], minlength=len(chart.leaves())).min() > 8


def test_own_inputs_depend_on_the_seed_and_the_stream_alone() -> None:
    rare, other = large(RARE), large("if 6 of d then p else q")
    own = make_lessons([rare], [5], 1).each[0].own
    assert (make_lessons([other, rare], [4, 5], 1).each[1].own == own).all()
    for seed, stream in ((6, 1), (5, 2)):
        assert (make_lessons([rare], [seed], stream).each[0].own != own).any()


@pytest.mark.parametrize(("vocab_size", "length", "inputs"), [(4, 4, 256), (6, 6, 46_656), (8, 8, 50_000)])
def test_pools_are_bounded(vocab_size: int, length: int, inputs: int) -> None:
    pool = training_pool(vocab_size, length)
    assert pool.shape == (inputs, length) and pool.max() == vocab_size - 1
