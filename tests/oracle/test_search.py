"""A program is certified if and only if it compiles to the target's weights, in whatever gauge these are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oracle import search
from oracle.alignment import Alignment
from oracle.batch import LabelIds, collate
from oracle.config import EncoderConfig
from oracle.decoder import CODEC, END, DecoderConfig, WeightDecoder
from oracle.decompiler import Decompiler, new_decoder
from oracle.neutral import Neutral, fold
from oracle.programs import decompile
from oracle.search import (
    can_be_searched,
    changes,
    distance,
    matched,
    proposal,
    same_names,
    same_weights,
    searched,
    shape_of,
)
from oracle.symmetry import random_gauge
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.sampler import sample_compiled
from tracr_tasks.simplest import simplest
from tracr_tasks.text import parse_program
from zoo.compiled import target_of
from zoo.target import Target

TEXT = (
    "v1 = select(tokens, indices, <)\nv2 = map(x == 3, tokens)\nv3 = aggregate(v1, v2, default=0)\nout = numerical(v3)"
)
OTHERS = [TEXT.replace(*change) for change in (("== 3", "== 2"), ("<", "<="), ("default=0", "default=1"))]
SIZES = EncoderConfig(4, 4, 8, 8, 4, 24, n_mix_layers=2, d_edge=8, edge_probes=3, n_pool_layers=0, n_tokens=400)


def target(text: str = TEXT) -> Target:
    return target_of(compile_program(parse_program(text, (0, 1, 2, 3, 4), 5)))


def seen(of: Target, gauge: int | None = None) -> tuple[Neutral, LabelIds]:
    weights = of.weights if gauge is None else random_gauge(of.config, of.weights, gauge)
    return fold(of.config, weights), CODEC.label_ids(of.vocab.input, of.config.n_ctx, of.vocab.output)


def random_decoder() -> WeightDecoder:
    torch.manual_seed(0)
    return new_decoder("routes", SIZES, DecoderConfig(24, n_layers=1, n_heads=2)).eval()


def is_same(
    one: tuple[Neutral, LabelIds], other: tuple[Neutral, LabelIds], decoder: WeightDecoder | None = None
) -> bool:
    """Whether two targets have the same weights up to symmetries, nodes being told by a decoder (else a random one)."""
    decoder = random_decoder() if decoder is None else decoder
    if one[0].routes is None or other[0].routes is None or len(one[0].routes.kind) != len(other[0].routes.kind):
        return False
    with torch.no_grad():
        tokens = decoder.encoder(collate([one[0], other[0]], [one[1], other[1]]), decoder.table)
    order = matched(one[0].routes, other[0].routes, *tokens)
    return same_names(one[1], other[1]) and order is not None and same_weights(one[0], other[0], order)


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000), gauge=st.integers(0, 100))
def test_weights_of_one_program_are_the_same_in_every_gauge(seed: int, gauge: int) -> None:
    compiled = sample_compiled(seed)
    own = seen(target_of(compiled), gauge)
    again = proposal(compiled.program.text(), *own)
    assume(own[0].routes is not None and len(own[0].routes.kind) < 60)
    assert again is not None
    assert is_same(own, (again.neutral, again.labels))


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_weights_of_programs_that_differ_somewhere_are_not(seed: int) -> None:
    one, other = sample_compiled(seed), sample_compiled(seed + 1)
    assert not is_same(seen(target_of(one)), seen(target_of(other)))


CHAIN = """v1 = map(x == 1, tokens)
v2 = map(not x, v1)
v3 = select(tokens, v2, <=)
v4 = select(indices, v1, ==)
v5 = aggregate(v4, tokens, default=1)
v6 = select(indices, v5, <=)
v7 = aggregate(v6, v5, default=0)
v8 = aggregate(v3, v7, default=0)
out = numerical(v8)"""


def test_what_a_third_head_in_a_row_is_given_makes_the_difference() -> None:
    """Both move tokens from head to head, one of them by one head more: their routes are alike, their paths are not."""
    other = CHAIN.replace("aggregate(v6, v5", "aggregate(v6, tokens")
    assert is_same(seen(target(CHAIN), 1), seen(target(CHAIN), 2))
    assert not is_same(seen(target(CHAIN), 1), seen(target(other)))


PLACES = (
    "v1 = map(x == 3, indices)\nv2 = map({0: 3, 1: 2, 2: 4, 3: 1, 4: 2}, tokens)\nv3 = select(indices, v2, ==)\n"
    "v4 = map(not x, v1)\nv5 = aggregate(v3, v4, default=0)\nv6 = linear(-2, -1, v1, v5)\nout = categorical(v6)"
)
SWAPPED = PLACES.replace("x == 3", "x == 2").replace("{0: 3, 1: 2, 2: 4, 3: 1, 4: 2}", "{0: 2, 1: 3, 2: 4, 3: 1, 4: 3}")


def test_two_positions_that_have_changed_places_make_the_difference() -> None:
    """All that is done to one of them is done to the other: the programs differ in the names of labels alone."""
    one, two = seen(target(PLACES), 1), seen(target(SWAPPED), 2)
    assert is_same(one, seen(target(PLACES), 3)) and not is_same(one, two)
    decoder = random_decoder()
    routes = one[0].routes
    assert routes is not None
    with torch.no_grad():
        tokens = decoder.encoder(collate([one[0]], [one[1]]), decoder.table)[0]
    is_place = (routes.kind == 1).nonzero()[:, 0]
    others = tokens.clone()
    others[is_place] = tokens[is_place.flip(0)]  # an encoder to which names say little
    order = matched(routes, routes, tokens, others)
    assert order is not None and torch.equal(order, torch.arange(len(tokens)))


@pytest.mark.parametrize("text", OTHERS)
def test_one_constant_makes_the_difference(text: str) -> None:
    assert is_same(seen(target(), 1), seen(target(), 2))
    assert not is_same(seen(target(), 1), seen(target(text)))


@pytest.mark.parametrize("text", OTHERS)
def test_a_doubt_is_mended_and_what_is_found_is_certified(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that writes one piece wrong, and takes the right one for the second best."""
    decoder, own = random_decoder(), seen(target(), 5)
    right, wrong = CODEC.encode(TEXT), CODEC.encode(text)
    assert len(right) == len(wrong)

    def log_probs(_: torch.Tensor, pieces: Sequence[int]) -> torch.Tensor:
        rows = torch.full((len(pieces) + 1, len(CODEC)), -20.0)
        for place, piece in enumerate([*pieces, 2]):
            rows[place, piece] = -0.1
            rows[place, right[place] if place < len(right) else 2] = -0.2
        return rows

    monkeypatch.setattr(decoder, "likeliest", lambda *_: [(0.0, wrong)])
    monkeypatch.setattr(decoder, "log_probs", log_probs)
    found = searched(decoder, *own, budget=60)
    assert found.certified and found.text == TEXT and found.distance < 1e-3 and 1 < found.tried <= 60
    once = searched(decoder, *own, budget=1)
    assert not once.certified and once.text == text and once.tried == 1 and once.distance > found.distance


def tokens_of(decoder: WeightDecoder) -> torch.Tensor:
    own = seen(target())
    with torch.no_grad():
        tokens: torch.Tensor = decoder.encoder(collate([own[0]], [own[1]]), decoder.table)
    return tokens


def test_changes_are_one_piece_each_and_begin_with_the_greatest_doubt() -> None:
    decoder, pieces = random_decoder(), CODEC.encode(TEXT)
    tokens = tokens_of(decoder)
    tried = changes(decoder, tokens, pieces)
    assert len(tried) == 24 and len(set(map(tuple, tried))) == 24
    assert all(len(text) == len(pieces) for text in tried)
    places = [[i for i, both in enumerate(zip(text, pieces, strict=True)) if both[0] != both[1]] for text in tried]
    assert all(len(place) == 1 for place in places)
    shares = decoder.log_probs(tokens, pieces)
    doubts = [float(shares[place, text[place]]) for text, (place,) in zip(tried, places, strict=True)]
    assert doubts == sorted(doubts, reverse=True)


def likely_end(decoder: WeightDecoder) -> WeightDecoder:
    """The decoder, more of whose texts come to their end soon."""
    with torch.no_grad():
        decoder.unembed.bias[END] += 3
    return decoder


@pytest.mark.parametrize("seed", [0, 1])
def test_a_beam_as_wide_as_the_vocabulary_misses_no_likely_text_of_one_piece(seed: int) -> None:
    torch.manual_seed(seed)
    decoder = likely_end(new_decoder("routes", SIZES, DecoderConfig(24, n_layers=1, n_heads=2)).eval())
    tokens = tokens_of(decoder)
    some = [[], *([piece] for piece in range(len(CODEC)) if piece != END)]
    right = sorted((decoder.log_prob(tokens, text) for text in some), reverse=True)
    found = decoder.likeliest(tokens, len(CODEC), 1)
    assert len(found) > 100
    assert [decoder.log_prob(tokens, text) for _, text in found] == pytest.approx(right[: len(found)], abs=1e-4)


def test_a_beam_of_longer_texts_is_in_order_and_a_wide_one_finds_no_worse() -> None:
    decoder = likely_end(random_decoder())
    tokens = tokens_of(decoder)
    narrow, wide = (decoder.likeliest(tokens, width, 12) for width in (2, 40))
    values, texts = [value for value, _ in wide], [text for _, text in wide]
    assert values == sorted(values, reverse=True) and len(set(map(tuple, texts))) == len(texts) == 40
    assert values == pytest.approx([decoder.log_prob(tokens, text) for text in texts], abs=1e-4)
    assert values[0] >= narrow[0][0] - 1e-4
    assert all(len(text) <= 12 for text in texts)


def apart_from(text: list[int], other: list[int]) -> int:
    """Pieces that are changed, added or left out between a text and the nearest beginning of another one."""
    alignment = Alignment.beside(other)
    for piece in text:
        alignment = alignment.after(torch.tensor([0]), torch.tensor([piece]))
    return int(alignment.apart.min())


def test_texts_near_another_one_differ_from_it_in_few_places() -> None:
    decoder, pieces = random_decoder(), CODEC.encode(TEXT)
    tokens = tokens_of(decoder)
    found = [text for _, text in decoder.likeliest(tokens, 10, 140, pieces, 12.0)]
    assert found[0] == pieces and len(set(map(tuple, found))) == len(found) == 10
    beside = [apart_from(text, pieces) for text in found]
    assert max(beside) <= 3
    assert any(len(text) != len(pieces) and text[-3:] == pieces[-3:] for text in found)  # longer or shorter before that
    ((_, far),) = decoder.likeliest(tokens, 1, 10)
    assert far != pieces[: len(far)]


def test_a_text_without_an_end_is_given_as_far_as_it_goes() -> None:
    decoder = random_decoder()
    with torch.no_grad():
        decoder.unembed.bias[END] = -1e4
    assert [len(text) for _, text in decoder.likeliest(tokens_of(decoder), 3, 5)] == [5, 5, 5]


def test_what_is_written_of_one_target_is_what_is_written_of_it_in_a_batch() -> None:
    decoder, own = random_decoder(), seen(target())
    with torch.no_grad():
        decoder.unembed.bias[END] = -1e4  # the likeliest text is then the likeliest piece after piece
    ((_, alone),) = decoder.likeliest(tokens_of(decoder), 1, 20)
    assert CODEC.decode(alone) == decoder.write(collate([own[0]], [own[1]]), 20)[0].text


def test_programs_of_another_shape_are_passed_over_once_one_has_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, own = random_decoder(), seen(target(), 5)
    wider = TEXT.replace("map(x == 3, tokens)", "sequence_map(x - y, tokens, indices)")
    assert shape_of(seen(target(wider))[0]) != shape_of(own[0]) == shape_of(seen(target(OTHERS[0]))[0])
    texts = [CODEC.encode(text) for text in (wider, OTHERS[0], wider.replace("<", "<="), OTHERS[1])]
    found = list[list[int]]()

    def likeliest(_: object, width: int, *__: object) -> list[tuple[float, list[int]]]:
        return [(0.0, text) for text in (texts[:1] if width == 1 else texts[1:])]

    monkeypatch.setattr(decoder, "likeliest", likeliest)
    monkeypatch.setattr(search, "changes", lambda *_: found)
    nearest = searched(decoder, *own, budget=10)
    assert nearest.tried == 3 and nearest.text in OTHERS[:2]  # not the third, which has the first one's shape
    endless = (CODEC.encode(wider.replace("default=0", f"default={n}")) for n in range(1, 1000))
    monkeypatch.setattr(search, "changes", lambda *_: [next(endless)])
    assert searched(decoder, *own, budget=10).tried == 3  # and an end is made of it


def test_targets_that_no_program_compiles_to_are_not_searched() -> None:
    own, labels = seen(target())
    assert can_be_searched(own, labels)
    assert not can_be_searched(replace(own, norm=1), labels)
    foreign = CODEC.label_ids(("a", "b", *target().vocab.input[2:]), target().config.n_ctx, target().vocab.output)
    assert not can_be_searched(own, foreign)
    decoders = [Decompiler(random_decoder(), {})]
    (plain,), (tried,) = (decompile([target()], search, decoders) for search in (0, 5))
    assert not plain.certified and not tried.certified and plain.text == tried.text


def test_tokens_are_as_far_apart_as_they_differ() -> None:
    tokens = torch.eye(4)
    assert distance(tokens, tokens[[2, 0, 1, 3]]) == 0
    assert distance(tokens, -tokens) > 1


FACTORS = (
    "v1 = map(x == 2, tokens)\nv2 = map(not x, v1)\nv3 = select(indices, indices, >)\nv4 = selector_not(v3)\n"
    "v5 = aggregate(v4, v2, default=0)\nv6 = linear(3, -3, v2, v5)\nv7 = linear(2, 1, v2, v6)\nout = numerical(v7)"
)


def test_the_simplest_program_has_the_weights_up_to_symmetries() -> None:
    """A number that is three times as large, read by a third of the weight, is a change of basis."""
    program = parse_program(FACTORS, (0, 1, 2, 3, 4), 5)
    one, other = seen(target(FACTORS), 1), seen(target(simplest(program).text()), 2)
    assert simplest(program) != program and is_same(one, other)
    assert not is_same(one, seen(target(simplest(program).text().replace("linear(2, 3", "linear(2, 1")), 2))
