"""Anybody's words stay text: on the page, in the picture, through templates."""

from __future__ import annotations

import random
import warnings
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.app import words
from oracle.app.catalogue import Entry
from oracle.app.circuits import circuits_of, picture
from oracle.app.service import Asked, Judged, Look, Rests, Said, Service, facts_of
from oracle.console import SLIPPED
from oracle.grade import Grade
from oracle.symmetry import random_gauge
from tests.oracle.targets import configs, random_weights
from tracr_tasks import compile_program, library_program
from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig
from zoo.compiled import target_of
from zoo.store import Zoo
from zoo.target import Target, Vocab

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "${alert(1)}",
    "{{constructor}}",
    "`",
    "' onmouseover='x",
    '"><b>',
    "</pre><h1>",
    "\u202egnirts",
    "\x1b[2J",
    "$\\frac{1}{0}$",
    "漢字🦜",
    "&lt;",
)
TAGS = {"p", "div", "section", "h3", "pre", "strong", "span", "details", "summary", "ul", "li", "dl", "dt", "dd"} | {
    *("figure", "figcaption", "img"),
}


class Strict(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.said = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.said += data


def parsed(html: str) -> Strict:
    out = Strict()
    out.feed(html)
    out.close()
    return out


@given(st.text(max_size=60))
def test_any_words_stay_text(said: str) -> None:
    html = words.text(said)
    assert not set("<>\"'{}$`") & set(html)
    assert parsed(html).tags == set()


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=60))
def test_printable_words_arrive_as_they_are(said: str) -> None:
    assert parsed(words.text(said)).said == said


def hostile_target(names: tuple[str, ...]) -> Target:
    sizes = {"d_model": 6, "n_layers": 1, "n_heads": 2, "d_head": 3, "d_mlp": 4, "n_ctx": 4}
    config = TargetConfig(**sizes, d_vocab=len(names) + 2, d_vocab_out=len(names))  # type: ignore[arg-type]
    return Target(config, random_weights(config, 0, torch.float32), Vocab(("BOS", "PAD", *names), names))


def test_a_hostile_target_and_its_answers_are_text() -> None:
    target = hostile_target(HOSTILE)
    entry = Entry("zoo#<b>", target)
    look = Look(entry.key, tuple(facts_of(target)), (b"png", b"png"), (2, 2), HOSTILE)
    for said in HOSTILE:
        own = Said(f"zoo#{said}", said, 0.4, False, said, 0.3, certified=True, tried=said)
        judged = Judged(own, said, Grade(True, False, False, 0.5))
        asked = Asked(said, judged, replace(judged, truth=said + "x"), Grade(True, False, True, 1.0), entry)
        rests = Rests(((said, 0.3), ("head 0.1", -0.1)), 0.1)
        for html in (words.answers(asked), words.shape(look), words.parts(rests), words.notice(InputError(said))):
            found = parsed(html)
            assert found.tags <= TAGS and found.attributes <= {"class", "style", "alt", "src", "role"}
            assert "${" not in html and "{{" not in html


def test_what_was_tried_with_the_draft_is_shown_beside_it() -> None:
    entry = Entry("zoo#a", hostile_target(("a", "b")))
    said = Said("zoo#a", "q", 0.9, True, "if has a then q else p", 0.25, tried="run a a a -> q")
    judged = Judged(said, "q", Grade(True, True, True, 1.0))
    shown = parsed(words.answers(Asked("?", judged, judged, Grade(True, False, False, 0.0), entry))).said
    assert "tried with it: run a a a -> q" in shown and "probability 0.25" in shown
    sure = replace(judged, said=replace(said, certified=True, tried=""))
    shown = parsed(words.answers(Asked("?", sure, sure, Grade(True, False, False, 0.0), entry))).said
    assert "certified" in shown and "tried" not in shown and SLIPPED not in shown
    slipped = replace(judged, said=replace(said, slipped=True))
    assert SLIPPED in parsed(words.answers(Asked("?", slipped, judged, Grade(True, False, False, 0.0), entry))).said


def test_programs_are_shown_as_diagrams(service: Service, zoo: Zoo) -> None:
    chart, rasp = (service.entry(f"zoo#{zoo.rows(kind=kind)[0].id}") for kind in ("flowchart", "rasp"))
    for entry in (chart, rasp):
        html = words.answers(service.ask(entry.key, "What does this model compute?"))
        found = parsed(html)
        assert "flowchart TD" in found.said and found.tags <= TAGS
    assert chart.subject is not None and rasp.subject is not None
    shown = parsed(words.tree(chart.subject.program.root)).said
    assert all(f"answer {leaf}" in shown for leaf in chart.subject.program.leaves())
    assert all(f"{condition.text()}?" in shown for condition in chart.subject.program.conditions())
    said = parsed(words.answers(service.ask(rasp.key, "Why?"))).said
    assert all(line in said for line in rasp.subject.text.splitlines())


def test_the_picture_draws_any_names_and_warns_of_nothing() -> None:
    found = circuits_of(hostile_target(HOSTILE))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert picture(found).startswith(b"\x89PNG")
    assert all(len(label) <= 5 and label.isprintable() for label in (*found.labels, *found.outputs))


@settings(max_examples=25)
@given(configs(norm=None), st.integers(0, 2**31))
def test_circuits_do_not_depend_on_the_gauge(config: TargetConfig, seed: int) -> None:
    weights = random_weights(config, seed)
    vocab = Vocab(
        ("BOS", "PAD", *(f"t{i}" for i in range(config.d_vocab - 2))), tuple(map(str, range(config.d_vocab_out)))
    )
    one, other = (
        circuits_of(Target(config, changed, vocab)) for changed in (weights, random_gauge(config, weights, seed))
    )
    assert one.labels == other.labels and len(one.heads) == len(other.heads)
    for head in one.heads:  # heads of a layer may have changed places
        same = [
            torch.allclose(head.qk - head.qk.mean(1, True), each.qk - each.qk.mean(1, True), atol=1e-6)
            and torch.allclose(head.ov, each.ov, atol=1e-6)
            for each in other.heads
            if each.layer == head.layer
        ]
        assert any(same) or len(one.heads) < one.n_heads


def test_circuits_say_what_a_head_does() -> None:
    """hist compares each token with each other: along the diagonal the score is highest, but for BOS."""
    found = circuits_of(target_of(compile_program(library_program("hist"))))
    (head,) = found.heads
    tokens = [i for i, name in enumerate(found.labels) if name in "abcd"]
    scores = head.qk[tokens][:, tokens]
    assert (
        scores.argmax(1).tolist() == list(range(4))
        and (scores.diag() > scores.fill_diagonal_(-1e9).max(1).values).all()
    )


@pytest.mark.parametrize("n", [0, 1, 7])
def test_many_heads_are_drawn_in_part(n: int) -> None:
    config = TargetConfig(d_model=4, n_layers=1, n_heads=n, d_head=2, d_mlp=1, n_ctx=3, d_vocab=4, d_vocab_out=2)
    found = circuits_of(
        Target(config, random_weights(config, 0, torch.float32), Vocab(("BOS", "PAD", "a", "b"), ("p", "q")))
    )
    assert len(found.heads) == min(n, 6) and found.n_heads == n
    rng = random.Random(n)
    if n:
        head = rng.choice(found.heads)
        assert head.qk.shape == (len(found.labels),) * 2 and head.ov.shape == (len(found.labels), 2)
