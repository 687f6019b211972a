"""Likely flowcharts are weighed as functions, under every naming of the labels alike."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oracle.batch import WeightBatch
from oracle.calibration import FLOOR
from oracle.decoder import CODEC, DecoderConfig, WeightDecoder
from oracle.naming import Naming
from oracle.neutral import Neutral, fold
from oracle.weighing import functions_of, renamed_scores, weighed
from tests.oracle.targets import random_weights
from tracr_tasks.target_config import TargetConfig
from zoo.flowchart import Flowchart
from zoo.flowchart_parser import parse_flowchart
from zoo.sampling import sample_flowchart

VOCAB, ANSWERS, LENGTH = ("a", "b", "c", "d"), ("p", "q", "r"), 4
CONFIG = TargetConfig(4, 1, 1, 2, 3, LENGTH + 1, len(VOCAB) + 2, len(ANSWERS))
LABELS = CODEC.label_ids(("BOS", "PAD", *VOCAB), LENGTH + 1, ANSWERS)
ONE, SAME, TWO = (
    "if pos 1 is a then p else q",
    "if pos 1 is a then p else if pos 1 is a then r else q",
    "if has b then if has c then p else q else r",
)
SEEDS = st.integers(0, 1_000_000)


class Blank(torch.nn.Module):
    """Sees nothing of a target."""

    def forward(self, batch: WeightBatch, table: Tensor) -> Tensor:
        return torch.zeros(len(batch), 3, 8)


class Decoder(WeightDecoder):
    """Finds some texts likely, and under other names those of so many questions."""

    def __init__(self, likely: Sequence[tuple[float, str]], questions: int, max_len: int = 200):
        super().__init__(DecoderConfig(d_model=8, n_layers=1, n_heads=1, max_len=max_len), Blank())
        self.likely, self.questions, self.asked = likely, questions, list[list[str]]()

    def likeliest(self, *_: Any) -> list[tuple[float, list[int]]]:
        return [(math.log(p), CODEC.encode(text)) for p, text in self.likely]

    def loss_behind(self, tokens: Tensor, texts: Sequence[str]) -> Tensor:
        assert len(tokens) == len(texts)
        self.asked.append(list(texts))
        return torch.tensor(
            [(0.1 if text.count("if") == self.questions else 3.0) / (1 + len(CODEC.encode(text))) for text in texts]
        )


def target() -> Neutral:
    return fold(CONFIG, random_weights(CONFIG, 0))


def weigh(likely: Sequence[tuple[float, str]], questions: int, namings: int) -> Any:
    return weighed(Decoder(likely, questions), target(), LABELS, namings)


@given(SEEDS, SEEDS)
@settings(max_examples=60)
def test_a_renamed_flowchart_does_the_same_under_other_names(seed: int, names: int) -> None:
    chart, rng = sample_flowchart(seed), random.Random(names)
    naming = Naming.drawn(chart, rng, moves=chart.positions_move)
    renamed = naming.flowchart(chart)
    for _ in range(20):
        row = tuple(rng.choice(chart.vocab) for _ in range(chart.max_seq_len))
        assert renamed.run(naming.row(chart, row)) == [naming.answer(chart, answer) for answer in chart.run(row)]


@given(SEEDS)
def test_labels_go_where_the_flowchart_says(seed: int) -> None:
    chart = parse_flowchart(TWO, VOCAB, ANSWERS, LENGTH)
    naming = Naming.drawn(chart, random.Random(seed), moves=True)
    named = naming.labels(LABELS)
    names = [CODEC.name_of(ids) for ids in named.tokens.tolist()]
    assert names[:2] == ["BOS", "PAD"] and names[2:] == [VOCAB[i] for i in naming.tokens]
    assert [CODEC.name_of(ids) for ids in named.outputs.tolist()] == [naming.answer(chart, name) for name in ANSWERS]
    assert [CODEC.name_of(ids) for ids in named.positions.tolist()] == ["BOS", *(str(1 + i) for i in naming.places)]


def test_texts_of_one_function_are_put_together() -> None:
    programs = [parse_flowchart(text, VOCAB, ANSWERS, LENGTH) for text in (ONE, TWO, SAME)]
    found = functions_of(programs, 0)
    assert found[0] == found[2] != found[1]
    best = weigh([(0.4, TWO), (0.3, ONE), (0.2, SAME)], 1, namings=0)
    assert best.text == ONE and math.isclose(best.share, math.log(0.5 / 0.9), abs_tol=1e-6)
    assert math.isclose(best.log_prob, math.log(0.3))


def test_other_names_are_asked_too() -> None:
    likely = [(0.6, ONE), (0.3, TWO)]
    alone, among = weigh(likely, 2, namings=0), weigh(likely, 2, namings=8)
    assert alone.text == ONE and among.text == TWO
    assert math.exp(among.share) > 0.9 > math.exp(weigh(likely, 1, namings=0).share)
    assert weigh(likely, 1, namings=8).text == ONE


def test_other_functions_that_are_likely_stay_beside_the_draft() -> None:
    other = "if pos 2 is a then p else q"
    best = weigh([(0.4, TWO), (0.3, ONE), (0.2, SAME), (0.05, other), (0.0001, "if has d then p else q")], 1, namings=0)
    assert [each.text for each in best.others] == [TWO, other]
    assert [math.exp(each.share) for each in best.others] == pytest.approx([0.4 / 0.9501, 0.05 / 0.9501])
    assert all(isinstance(each.program, Flowchart) and not each.others for each in best.others)


def test_every_naming_is_a_text_of_its_own_and_a_seed_gives_the_same() -> None:
    decoders = [Decoder([(0.6, ONE), (0.3, TWO)], 2) for _ in range(2)]
    first, again = (weighed(decoder, target(), LABELS, 8) for decoder in decoders)
    assert first == again and decoders[0].asked == decoders[1].asked
    assert len({texts[0] for texts in decoders[0].asked}) > 4


def test_positions_stay_where_a_condition_speaks_of_their_order() -> None:
    ordered = "if first b before first c then p else q"
    decoder = Decoder([], 1)
    programs = [parse_flowchart(text, VOCAB, ANSWERS, LENGTH) for text in (ONE, ordered)]
    renamed_scores(decoder, target(), LABELS, programs, 8, random.Random(0))
    assert all(text.startswith("if pos 1 is") for text, _ in decoder.asked)


def test_what_has_no_text_is_as_unlikely_as_can_be() -> None:
    decoder = Decoder([], 1, max_len=12)
    programs = [parse_flowchart(text, VOCAB, ANSWERS, LENGTH) for text in (ONE, TWO)]
    scores = renamed_scores(decoder, target(), LABELS, programs, 3, random.Random(0))
    assert scores.shape == (3, 2) and np.allclose(scores, [-0.1, FLOOR])


@pytest.mark.parametrize("text", ["no program", "if", "v1 = map(x + 1, tokens); out = numerical(v1)"])
def test_without_a_flowchart_there_is_nothing_to_weigh(text: str) -> None:
    assert weigh([(0.9, text)], 1, namings=4) is None


def test_flowcharts_are_what_is_weighed() -> None:
    found = weigh([(0.9, "if"), (0.05, ONE)], 1, namings=4)
    assert found.text == ONE and found.share == 0.0 and isinstance(found.program, Flowchart)
