"""Text survives its codec; the decoder learns a few programs by heart, writes them and stops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.batch import WeightBatch, collate
from oracle.decoder import END, DecoderConfig, TextCodec, WeightDecoder
from oracle.neutral import fold
from oracle.rivals import FlatEncoder
from tests.oracle.targets import D_LLM, SMALL, label_ids, random_weights
from tracr_tasks import sample_program
from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig
from zoo.flowchart_config import FlowchartConfig, Kinds
from zoo.sampling import sample_flowchart

CODEC = TextCodec()
EVERY_KIND = FlowchartConfig(kinds=Kinds(before=1, equals=1, first=1, last=1))
CONFIG = TargetConfig(d_model=6, n_layers=1, n_heads=2, d_head=3, d_mlp=4, n_ctx=7, d_vocab=8, d_vocab_out=6)


def round_trip(text: str) -> str:
    return CODEC.decode(CODEC.encode(text))


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000))
def test_flowcharts_survive_and_need_no_glue(seed: int) -> None:
    text = sample_flowchart(seed, EVERY_KIND).text()
    assert round_trip(text) == text
    assert len(CODEC.encode(text)) <= len(text.replace(",", " ,").replace("{", " { ").replace("}", " }").split())


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_rasp_programs_survive(seed: int) -> None:
    text = sample_program(seed).text()
    assert round_trip(text) == text


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126) | st.just("\n"), max_size=30))
def test_any_printable_text_survives(text: str) -> None:
    assert round_trip(text) == text


@given(st.lists(st.sampled_from(["v1", "v99", " ", "-", "(", ")", "if", "select", "default=", "=", "10", "7", "x"])))
def test_any_spacing_survives(parts: list[str]) -> None:
    assert round_trip("".join(parts)) == "".join(parts)


def test_other_characters_are_refused() -> None:
    with pytest.raises(InputError, match="ASCII"):
        CODEC.encode("if has ä")


def test_only_padded_names_have_id_zero() -> None:
    labels = CODEC.label_ids(["BOS", "PAD", "a", "-3", "token"], 4, ["0.3333333333333333"])
    for ids in (labels.tokens, labels.positions, labels.outputs):
        assert bool((ids[:, 0] > 0).all())
    assert len({tuple(row) for row in labels.tokens.tolist()}) == 5 and len(labels.positions) == 4


def learners() -> tuple[WeightDecoder, WeightBatch, list[str]]:
    """A tiny decoder and eight targets with programs that differ."""
    torch.manual_seed(0)
    decoder = WeightDecoder(DecoderConfig(D_LLM, n_layers=1, n_heads=2, max_len=40), FlatEncoder(SMALL, D_LLM))
    neutral = [fold(CONFIG, random_weights(CONFIG, seed, torch.float32)) for seed in range(8)]
    return decoder, collate(neutral, [label_ids(CONFIG)] * 8), [sample_flowchart(seed).text() for seed in range(8)]


def test_eight_programs_are_learned_by_heart() -> None:
    decoder, batch, texts = learners()
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-2)
    losses = []
    for _ in range(45):
        loss = decoder.loss(batch, texts).mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0]


def test_writing_stops() -> None:
    decoder, batch, _ = learners()
    decoder.unembed.bias.data[END] = 100.0
    assert [w.text for w in decoder.write(batch)] == [""] * 8
    assert all(-1e-3 < w.log_prob <= 0 for w in decoder.write(batch))
    decoder.unembed.bias.data[END] = -100.0
    decoder.unembed.bias.data[CODEC.index["if"]] = 100.0
    assert [w.text for w in decoder.write(batch, 3)] == ["if if if"] * 8
    assert [w.text for w in decoder.write(batch)] == [" ".join(["if"] * 40)] * 8


def test_the_probability_of_what_is_written_is_that_of_the_text() -> None:
    decoder, batch, _ = learners()
    decoder.unembed.bias.data[CODEC.index["if"]] = 4.0
    decoder.unembed.bias.data[END] = 3.9
    for row, written in enumerate(decoder.write(batch, 30)):
        ids = CODEC.encode(written.text)
        if len(ids) < 30:
            loss = decoder.loss(batch, [written.text] * 8)[row].item()
            assert abs(written.log_prob + loss * (len(ids) + 1)) < 1e-3


@torch.no_grad()
def test_kept_keys_and_values_give_the_same_logits() -> None:
    decoder, batch, texts = learners()
    ids = CODEC.batch(texts)[:, :6]
    memory, past = decoder._remember(decoder.encoder(batch, decoder.table)), None
    whole, _ = decoder._logits(ids, memory)
    for i in range(ids.shape[1]):
        logits, past = decoder._logits(ids[:, i : i + 1], memory, past)
        torch.testing.assert_close(logits[:, 0], whole[:, i], rtol=0, atol=1e-5)


def test_a_text_that_is_too_long_is_refused() -> None:
    decoder, batch, texts = learners()
    with pytest.raises(InputError, match="at most 40"):
        decoder.loss(batch, ["if has a then " * 20] * 8)
    assert decoder.loss(batch, texts).shape == (8,)
