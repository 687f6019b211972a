"""Measures of an anchor on states that are made to order, and on networks whose answers hang on a direction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks import Program, TargetConfig, rasp
from tracr_tasks.errors import InputError
from zoo.flowchart_parser import parse_flowchart
from zoo.legible.anchor_measures import difference_in_means, measure_anchor, similarity
from zoo.legible.anchor_options import AnchorOptions
from zoo.legible.anchoring import draw_anchor
from zoo.legible.initial import initial_params
from zoo.legible.removal import concerned, without
from zoo.legible.tasks import task_of

WORDS = ("a", "b", "c")
ECHO = task_of(Program(rasp.TOKENS, WORDS, 3))
CONFIG = TargetConfig(
    d_model=8, n_layers=1, n_heads=1, d_head=4, d_mlp=4, n_ctx=4, d_vocab=5, d_vocab_out=3, pad_token=1,
    normalize_states=True, normalization_type=None,
)  # fmt: skip


def echo_network(axis: torch.Tensor, share: float) -> dict[str, torch.Tensor]:
    """Says its token, which the residual stream keeps from the embedding on. Token b is `share` of the way along an
    axis, the others and the rest of b have directions of their own, at right angles to it. Without the axis b is taken
    for a, and not for whatever rounding makes of three equal logits."""
    params = {name: torch.zeros_like(tensor) for name, tensor in initial_params(CONFIG, [0]).items()}
    frame, _ = torch.linalg.qr(torch.cat([axis[:, None], torch.eye(8)[:, :4]], dim=1))
    rest = frame[:, 1:].T  # a, b's own part, c, BOS
    embedded = torch.stack([rest[3], rest[3], rest[0], share * axis + (1 - share**2) ** 0.5 * rest[1], rest[2]])
    params["embed.W_E"][0] = embedded * 8**0.5
    params["unembed.W_U"][0, :, 0], params["unembed.W_U"][0, :, 1], params["unembed.W_U"][0, :, 2] = (
        rest[0] + 0.05 * rest[1], axis + 0.1 * rest[0], rest[2],
    )  # fmt: skip
    return params


@pytest.mark.parametrize("share", [0.98, 0.8])
def test_an_echo_whose_b_lies_on_the_axis_has_known_measures(share: float) -> None:
    anchor = draw_anchor(ECHO, "tokens", "b", 8, 4, AnchorOptions(label_rate=0.2))
    params = echo_network(anchor.axis, share)
    for number in (0, 1):
        found = measure_anchor(CONFIG, params, ECHO, anchor, number)
        assert found.alignment == pytest.approx(share, abs=1e-3)
        assert found.margin == pytest.approx(share, abs=1e-3)
        assert found.auroc == found.probe == 1
        assert found.grading == pytest.approx(1, abs=1e-3)  # b against the rest explains all of z.v
        assert found.cosine == pytest.approx(share / (1 + 0.5) ** 0.5, abs=1e-3)  # minus half of a and half of c
        assert (found.lost["axis"].on, found.lost["axis"].elsewhere) == (1, 0)
        assert found.lost["difference"].elsewhere == 0
        assert abs(found.lost["random"].on) < 1 and set(found.lost) == {"axis", "difference", "labels", "random"}


def test_along_another_axis_there_is_nothing_though_the_concept_is_there() -> None:
    """The axis that is asked about is at right angles to every state."""
    anchor = draw_anchor(ECHO, "tokens", "b", 8, 4, AnchorOptions(label_rate=0.2))
    params = echo_network(anchor.axis, 0.9)
    _, _, directions = torch.linalg.svd(params["embed.W_E"][0], full_matrices=True)
    found = measure_anchor(CONFIG, params, ECHO, replace(anchor, axis=directions[-1]), 1)
    assert found.margin == pytest.approx(0, abs=1e-3) and found.cosine == pytest.approx(0, abs=1e-3)
    assert found.lost["axis"].on == found.lost["axis"].elsewhere == 0
    assert found.probe == 1


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_removal_takes_the_positive_part_and_keeps_the_length(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    state = torch.randn(5, 3, 8, generator=generator, dtype=torch.float64)
    axis = torch.nn.functional.normalize(torch.randn(8, generator=generator, dtype=torch.float64), dim=0)
    out = without(state, axis)
    torch.testing.assert_close(out.norm(dim=-1), state.norm(dim=-1))
    assert float((out @ axis).max()) < 1e-9
    negative = state @ axis <= 0
    torch.testing.assert_close(out[negative], state[negative])
    torch.testing.assert_close(without(out, axis), out)


def test_the_answers_of_a_concept_are_its_positions_or_its_inputs() -> None:
    holds = ECHO.concept("tokens").codes == 1
    assert (concerned(ECHO, holds) == holds).all()
    chart = task_of(parse_flowchart("if has a then p else q", WORDS, ("p", "q"), 3))
    tokens = chart.concept("tokens").codes == 1
    assert (concerned(chart, tokens)[:, 0] == tokens.any(1)).all(), "asked at BOS, where there is no token"


def test_similarity_is_by_distance_for_numbers_and_by_name_for_words() -> None:
    counts = task_of(Program(rasp.SelectorWidth(rasp.select(rasp.TOKENS, rasp.TOKENS, "==")), WORDS, 4)).concept("out")
    assert counts.values == ("1", "2", "3", "4")
    np.testing.assert_allclose(similarity(counts, "2"), [0.5, 1, 0.5, 0])
    np.testing.assert_allclose(similarity(ECHO.concept("tokens"), "b"), [0, 1, 0])


def test_the_difference_in_means_is_the_direction_between_two_clouds() -> None:
    rng = np.random.default_rng(0)
    on = rng.random(4_000) < 0.2
    z = rng.standard_normal((4_000, 8)) + 5  # a shared offset must not matter
    z[on, 2] += 3
    direction = difference_in_means(z, on)
    assert np.linalg.norm(direction) == pytest.approx(1)
    assert direction[2] > 0.99
    assert not difference_in_means(z, np.zeros(4_000, dtype=bool)).any()


def test_a_state_that_is_not_there_is_refused() -> None:
    anchor = draw_anchor(ECHO, "tokens", "b", 8, 4, AnchorOptions())
    with pytest.raises(InputError, match="state 2: expected 0 to 1 in a network of 1 layers"):
        measure_anchor(CONFIG, initial_params(CONFIG, [0]), ECHO, anchor, 2)
