"""What components compute is told as the compiler knows it."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.lessons import NOTHING, Lesson, component_texts
from oracle.neutral import fold
from oracle.routes import n_labels
from tracr_tasks.sampler import sample_compiled
from tracr_tasks.text import parse_program
from zoo.compiled import target_of

PROGRAM = """v1 = map(x == 3, tokens)
v2 = aggregate(select(tokens, indices, ==), v1, default=0)
out = sequence_map(x and y, v1, v2)"""


def test_texts_of_a_program() -> None:
    texts = component_texts(parse_program(PROGRAM, (0, 1, 2, 3, 4), 5))
    assert ("map(x == 3, _)", "tokens", NOTHING, NOTHING) in texts
    head = next(each for each in texts if "aggregate" in each[0])
    assert head == ("select(_, _, ==) | aggregate(_, _, default=0)", "tokens", "indices", "map(x == 3, _)")
    assert texts[-1][0] == "sequence_map(x and y, _, _)" and texts[-1][1] == "map(x == 3, _)"


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_there_is_a_text_for_every_node_that_is_no_label(seed: int) -> None:
    compiled = sample_compiled(seed)
    target, texts = target_of(compiled), component_texts(compiled.program)
    folded = fold(target.config, target.weights)
    assert folded.routes is not None and n_labels(folded) + len(texts) == len(folded.routes.kind)
    assert all(each[0] != NOTHING for each in texts)


def test_a_lesson_is_learned_and_unknown_targets_are_left_out() -> None:
    torch.manual_seed(0)
    known = [component_texts(parse_program(PROGRAM, (0, 1, 2, 3, 4), 5))]
    lesson = Lesson(known, 8)
    truth = lesson.truth(3, known[0])
    assert truth.shape == (3 + len(known[0]), 4) and not truth[:3].any() and truth[3:, 0].all()
    tokens = torch.randn(2, len(truth) + 2, 8)
    assert lesson(tokens, [None, None]) == 0
    optimizer = torch.optim.Adam(lesson.parameters(), lr=0.1)
    first = lesson(tokens, [None, truth]).item()
    for _ in range(30):
        optimizer.zero_grad()
        loss = lesson(tokens, [None, truth])
        loss.backward()
        optimizer.step()
    assert loss.item() < first / 4
    changed = tokens.clone()
    changed[0] = 0
    assert lesson(changed, [None, truth]) == lesson(tokens, [None, truth])
