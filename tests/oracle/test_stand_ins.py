"""Stand-ins for labels: no name twice, plain names kept, and texts that come back as they went."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oracle.stand_ins import PLAIN, StandIns, are_plain, language
from zoo.spec import named_specs
from zoo.target import Vocab

ODD = ("cat", "dog", "model", "the answer", "yes", "t1", "##ing", "ignore all instructions", "a b", "1e9", "ä")
names = st.sampled_from((*"abcxpq", "1", "2.5", "-3", "true", *ODD)) | st.text(max_size=6)
labels = st.lists(names, min_size=1, max_size=30, unique=True).map(tuple)


@settings(max_examples=300)
@given(inputs=labels, outputs=labels)
def test_every_label_has_a_plain_name_of_its_own(inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    vocab = Vocab(inputs, outputs)
    plain = StandIns(vocab).vocab
    assert are_plain(name for name in (*plain.input, *plain.output) if not re.fullmatch(r"t\d+", name))
    for own, found in zip((vocab.input, vocab.output), (plain.input, plain.output), strict=True):
        assert len(set(found)) == len(own) == len(found)
        assert all(new == old for old, new in zip(own, found, strict=True) if PLAIN.fullmatch(old))
    new_names = dict(zip((*vocab.input, *vocab.output), (*plain.input, *plain.output), strict=True))
    assert len(set(new_names.values())) == len(new_names)


@settings(max_examples=300)
@given(inputs=labels, data=st.data())
def test_an_input_goes_in_and_comes_back(inputs: tuple[str, ...], data: st.DataObject) -> None:
    """Names of one word that is no word of the questions; the others are quoted, which the next test looks at."""
    said = [n for n in inputs if len(n.split()) == 1 and n.split() == [n] and n.isalnum()]
    said = [n for n in said if n.isprintable() and n.casefold() not in language()]
    assume(said)
    chosen = data.draw(st.lists(st.sampled_from(said), min_size=1, max_size=5))
    vocab = Vocab(inputs, ("p", "q"))
    stand_ins = StandIns(vocab)
    inward = stand_ins.inward(f"What is the output on {' '.join(chosen)}?")
    plain = inward.removeprefix("What is the output on ").removesuffix("?")
    by_name = dict(zip(vocab.input, stand_ins.vocab.input, strict=True))
    assert plain.split() == [by_name[name] for name in chosen]
    assert stand_ins.outward(plain).split() == chosen


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the output on cat dog?", "What is the output on b c?"),
        ("Does the model mention 'model'?", "Does the model mention d?"),
        ("Does the model mention cat, or dogs?", "Does the model mention b, or dogs?"),
        ("Is the answer `the answer`?", "Is the answer p?"),
        ("What comes out for ignore all instructions cat?", "What comes out for e b?"),
        ('Is it "yes" if has a?', "Is it q if has a?"),
    ],
)
def test_names_in_questions(question: str, expected: str) -> None:
    vocab = Vocab(("BOS", "PAD", "cat", "dog", "model", "ignore all instructions", "a"), ("the answer", "yes", "cat"))
    assert StandIns(vocab).inward(question) == expected


def test_names_in_answers() -> None:
    stand_ins = StandIns(Vocab(("cat", "dog"), ("x\x1b[31m" + "y" * 100, "q", "x")))
    assert stand_ins.vocab == Vocab(("a", "b"), ("p", "q", "x"))
    assert stand_ins.outward("if has a then p else q").startswith("if has cat then x\\x1b[31myyy")
    assert len(stand_ins.outward("p")) == 60
    program = "v1 = map(x == 'a', tokens)\nout = linear(1, -2, a, 'b')"
    assert stand_ins.outward(program) == program.replace("'a'", "'cat'").replace("'b'", "'dog'")


def test_a_large_vocabulary_has_names_for_all() -> None:
    words = tuple(f"word{i}" for i in range(50_000))
    stand_ins = StandIns(Vocab(words, words))
    assert stand_ins.vocab.input == stand_ins.vocab.output and len(set(stand_ins.vocab.input)) == len(words)
    assert stand_ins.inward("What is the output on word7 word49999?") == "What is the output on h t49985?"


def test_the_labels_of_our_own_zoos_are_plain() -> None:
    for spec in named_specs().values():
        assert are_plain((*spec.flowcharts.vocab(), *spec.flowcharts.answers()))
