"""The house model's texts say what the questions say; answers count in full, and batches keep to their tokens."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from oracle.base import pack_loss
from oracle.config import BaseConfig
from oracle.packs import PADDING, Text, cut, lookup, packs, padded, questions_about, text_of
from oracle.reader import Reader
from oracle.schedule import Optimizers, rate_share, split_matrices
from oracle.subjects import fresh_subjects
from oracle.template import from_source
from tests.oracle.targets import tiny_reader
from tracr_tasks.nested import nested

CONFIG = BaseConfig(out=Path("unused"), batch_tokens=1500, questions=3)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return tiny_reader([subject.text for subject in fresh_subjects(5, 9)])


@settings(max_examples=15)
@given(seed=st.integers(0, 1000))
def test_a_text_holds_the_program_once_and_each_answer_by_the_root_of_its_length(reader: Reader, seed: int) -> None:
    rng = random.Random(seed)
    subject = rng.choice(fresh_subjects(3, seed % 5))
    questions = questions_about(subject, 3, rng)
    text = text_of(reader, subject.text, questions, 0.2)

    def said(part: int, weights: tuple[float, ...]) -> str:
        of = zip(text.ids, text.parts, text.weights, strict=True)
        return str(reader.tokenizer.decode([id for id, p, weight in of if p == part and weight in weights]))

    for number, (question, answer) in enumerate(questions, 1):
        n = len(reader.answer_ids(question, answer)[1])
        assert said(number, (n**-0.5,)) == f" {nested(answer)}{reader.tokenizer.eos_token}"
        assert said(0, (0.0, 0.2)) + said(number, (0.0, 0.2)) == from_source(question, subject.text)


@torch.no_grad()
def test_each_question_reads_as_it_does_alone(reader: Reader) -> None:
    """The loss of a pack is the mean of those of its questions, weighted, each as the model alone reads it."""
    source, questions = "if has a then p else q", [("What?", "p"), ("Which input?", "a b c"), ("What?", "q q")]
    pack = padded([text_of(reader, source, questions, 0.0), text_of(reader, "p", questions[:1], 0.0)], reader.pad_id)
    losses, weights = list[torch.Tensor](), list[float]()
    for context, question, answer in (*((source, *each) for each in questions), ("p", *questions[0])):
        head, tail = reader.answer_ids(from_source(question, context), answer)
        logits = reader.model(input_ids=torch.tensor([head + tail])).logits[0, len(head) - 1 : -1]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(tail)))
        weights.append(len(tail) ** 0.5)
    expected = sum(loss * weight for loss, weight in zip(losses, weights, strict=True)) / sum(weights)
    torch.testing.assert_close(pack_loss(reader.model, pack), expected, rtol=1e-4, atol=1e-5)


def test_lookups_ask_for_names_half_of_which_are_there() -> None:
    rng, words = random.Random(0), ["if", "then", "else", "map(x", "3", *"abcpq"]
    answers = list[str]()
    for _ in range(300):
        source, asked = lookup(words, list("abcpq"), 3, rng)
        assert set(source.split()) <= set(words) and len(asked) == 3
        for text, answer in asked:
            (name,) = {word.strip("?.,") for word in text.split()[1:]} & set("bcpq") or {"a"}
            assert answer == ("yes" if name in source.split() else "no")
            answers.append(answer)
    assert 0.4 < answers.count("yes") / len(answers) < 0.6


def test_batches_keep_to_their_tokens_and_lose_no_text(reader: Reader) -> None:
    texts = [Text([1] * n, [1.0] * n, [0] * n, [*range(n)]) for n in (3, 5, 5, 9, 40, 700)]
    batches = list(cut(texts, 40))
    assert [text for batch in batches for text in batch] == texts
    for batch in batches:
        assert len(batch) == 1 or padded(batch, 0).ids.numel() <= 40
    for pack in islice(packs(reader, fresh_subjects(8, 0), CONFIG), 30):
        assert pack.ids.numel() <= CONFIG.batch_tokens or len(pack.ids) == 1
        assert bool(((pack.ids == reader.pad_id) == (pack.parts == PADDING)).all())


def test_the_same_seed_gives_the_same_texts(reader: Reader) -> None:
    subjects = fresh_subjects(8, 0)
    one, same, other = (
        [pack.ids for pack in islice(packs(reader, subjects, replace(CONFIG, seed=seed)), 5)] for seed in (0, 0, 1)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=False))


def test_a_name_at_the_end_of_a_sentence_is_the_token_that_it_is_in_a_program() -> None:
    questions = [
        f"{q} {name}{mark}" for q in ("Does it name", "On which input is it") for name in "abcpq" for mark in "?."
    ]
    programs = [
        "if pos 2 is a then p else if has b then q else p",
        "v1 = map(x > 2.5, tokens)\nout = aggregate(v1, v1)",
    ]
    tokenizer = tiny_reader([*questions, *programs] * 9).tokenizer

    def ids(text: str) -> list[int]:
        return list(tokenizer(text)["input_ids"])

    for name in "abcpq":
        assert ids(f"Does it name {name}?")[-2:-1] == ids(f" {name}") == ids(f"is {name} then")[-2:-1]
        assert len(ids(f" {name}")) == 1 and ids(f"input is it {name}.")[-2:-1] == ids(f" {name}")
    for text in (*questions, *programs, "x > 2.5", "a.b ... c?! d"):
        assert tokenizer.decode(ids(text)) == text
    assert ids("map(x > 2.5, tokens)").count(ids("a.")[-1]) == 0


def test_every_parameter_is_trained_by_one_optimizer(reader: Reader) -> None:
    model = reader.model
    for muon_lr in (0.0, 0.02):
        optimizers = Optimizers(model, 1e-3, muon_lr)
        held = optimizers.parameters
        assert len(held) == len(list(model.parameters())) and {*map(id, held)} == {*map(id, model.parameters())}
    matrices, _ = split_matrices(model)
    names = {name for name, p in model.named_parameters() if any(p is matrix for matrix in matrices)}
    assert names == {name for name, p in model.named_parameters() if "proj" in name}


def test_an_adapter_has_matrices_alone() -> None:
    adapter = nn.Sequential(nn.Linear(16, 8, bias=False), nn.Linear(8, 16, bias=False))
    optimizers = Optimizers(adapter, 1e-3, 0.02)
    assert [type(each) for each, _ in optimizers.each] == [torch.optim.Muon] and len(optimizers.parameters) == 2


def test_both_optimizers_step_and_stand_still_at_no_share() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 16), nn.Linear(16, 16))
    optimizers = Optimizers(model, 0.1, 0.1)
    for share, moves in ((0.0, False), (0.5, True)):
        before = [p.detach().clone() for p in model.parameters()]
        optimizers.zero_grad()
        model(torch.arange(9)).square().sum().backward()
        optimizers.step(share)
        assert [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)] == [moves] * 3


def test_the_rate_rises_stays_and_falls() -> None:
    shares = [rate_share(step, 1 - step / 200, warm_up=50, decay=0.5) for step in range(200)]
    assert shares[0] == 1 / 50 and max(shares) == 1 and shares[50:100] == [1.0] * 50
    assert shares[:50] == sorted(shares[:50]) and shares[100:] == sorted(shares[100:], reverse=True)
    assert shares[-1] == pytest.approx(0.01)
