"""What the page can be asked, without a page."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.app.catalogue import Catalogue, Entry
from oracle.app.recognise import FAMILIES, recognise
from oracle.app.service import Service, facts_of, listed
from oracle.explain import explain
from oracle.grade import grade
from oracle.phrasings import phrasings
from oracle.questions import ask, families_of
from tracr_tasks.errors import InputError
from zoo.store import Zoo

DETERMINED = ("program", "output", "first", "mentions", "uses", "where", "inside", "regime")
"""Families with one right answer, whatever was drawn."""


def keys(zoo: Zoo, kind: str) -> list[str]:
    return [f"zoo#{row.id}" for row in zoo.rows(kind=kind)]


@pytest.mark.parametrize("kind", ["rasp", "flowchart", "none"])
def test_answers_are_those_of_the_oracle(service: Service, zoo: Zoo, kind: str) -> None:
    key = keys(zoo, kind)[0]
    for question in service.look(key).examples[:2]:
        asked = service.ask(key, question)
        assert asked.other is not None and asked.other.said.key != key
        for judged in (asked.own, asked.other):
            (answer,) = service.oracle.ask(service.entry(judged.said.key).target, question)
            said = judged.said
            assert (said.text, said.confidence, said.sure) == (answer.text, answer.confidence, answer.sure)
            assert said.draft == (None if answer.draft is None else answer.draft.text)


def test_what_is_known_is_graded_and_the_truth_is_right(service: Service, zoo: Zoo) -> None:
    graded = 0
    for key in [*keys(zoo, "rasp")[:3], *keys(zoo, "flowchart")[:3]]:
        entry = service.entry(key)
        for question in service.known(key):
            assert entry.subject is not None
            assert grade(question, question.truth, entry.subject, entry.target).correct
            found = recognise(question.text, entry, service.known(key))
            assert found == question
            graded += 1
    assert graded > 12


@pytest.mark.parametrize("kind", ["rasp", "flowchart"])
def test_every_phrasing_of_a_known_family_is_recognised(service: Service, zoo: Zoo, kind: str) -> None:
    rng, seen = random.Random(5), set[str]()
    for key in keys(zoo, kind)[:4]:
        entry = service.entry(key)
        assert entry.subject is not None
        for family, _ in families_of(entry.subject):
            for test in (False, True):
                question = ask(entry.subject, family, rng, test=test)
                found = recognise(question.text, entry)
                assert found is not None, question.text
                assert grade(found, found.truth, entry.subject, entry.target).correct, question.text
                if family in DETERMINED:
                    assert (found.family, found.detail, found.truth) == (family, question.detail, question.truth)
                seen.add(family)
    assert seen >= {"program", "output", "regime"} and seen <= set(FAMILIES)


def test_phrasings_of_different_families_are_told_apart(service: Service, zoo: Zoo) -> None:
    entry = service.entry(keys(zoo, "flowchart")[0])
    for family in ("program", "first", "regime"):
        for text in phrasings(family, test=True):
            found = recognise(text, entry)
            assert found is not None and found.family == family


NOT_KNOWN = (
    *("Why?", "What is the output on z z z?", "Does the program use {}?", "What is the output on ?"),
    *("Is the answer x if?", "Is the answer p if pos 99 is a?", "Is the answer p if has a then q else if has b?"),
    "Does {token} matter?",
)


def test_what_is_not_known_is_not_graded(service: Service, zoo: Zoo) -> None:
    for kind in ("rasp", "flowchart", "none"):
        key = keys(zoo, kind)[0]
        assert [text for text in NOT_KNOWN if recognise(text, service.entry(key)) is not None] == []
    own = service.ask(key, NOT_KNOWN[0]).own
    assert own.grade is None and own.truth is None


def test_the_other_target_is_of_the_same_kind_and_another_function(service: Service, zoo: Zoo) -> None:
    again = Catalogue(service.catalogue.zoos, service.catalogue.seed)
    for row in zoo:
        entry = service.entry(f"zoo#{row.id}")
        partner = service.catalogue.partner(entry)
        assert partner is not None
        other = service.entry(partner)
        assert again.partner(entry) == partner
        assert other.subject is not None and other.subject.kind == row.kind
        assert other.key != entry.key and other.function != entry.function
        if row.kind == "flowchart":
            assert other.target.config == entry.target.config


def test_the_other_target_depends_on_the_seed(service: Service, zoo: Zoo) -> None:
    entry = service.entry(keys(zoo, "flowchart")[0])
    found = {Catalogue(service.catalogue.zoos, seed).partner(entry) for seed in range(12)}
    assert len(found) > 1


def test_a_target_alone_has_nobody_beside_it(service: Service, zoo: Zoo) -> None:
    row = zoo.rows(kind="flowchart")[0]
    alone = Zoo(zoo.directory, zoo.families, [row])
    lonely = Service(service.oracle, Catalogue({"zoo": alone}, 0), service.uploads)
    asked = lonely.ask(f"zoo#{row.id}", "What does this model compute?")
    assert asked.other is None and asked.mistaken is None and asked.own.grade is not None


def test_all_targets_of_a_small_zoo_are_offered_and_no_kind_of_a_large_one_is_forgotten(
    service: Service, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {key for _, key in service.catalogue.offered()} == {f"zoo#{row.id}" for row in zoo}
    monkeypatch.setattr("oracle.app.catalogue.MAX_OFFERED", 6)
    few = service.catalogue.offered()
    regimes = {zoo.row(key.partition("#")[2]).regime for _, key in few}
    assert len(few) == 6 and regimes == {row.regime for row in zoo}


@pytest.mark.parametrize(
    "key", ["", "zoo", "zoo#", "zoo#nobody", "other#trained-000000", "../zoo#x", "upload-00", "/etc"]
)
def test_a_target_that_is_not_there_is_refused_in_a_line(service: Service, key: str) -> None:
    for call in (service.look, lambda k: service.ask(k, "Why?"), lambda k: service.parts(k, "Why?", "so")):
        with pytest.raises(InputError) as caught:
            call(key)
        assert ("\n" not in str(caught.value) and "expected" in str(caught.value)) or "no target" in str(caught.value)


@pytest.mark.parametrize("question", ["", "  \n ", "x" * 10_001, "\ud800"])
def test_a_question_that_cannot_be_asked_is_refused(service: Service, zoo: Zoo, question: str) -> None:
    with pytest.raises(InputError, match="question 1"):
        service.ask(keys(zoo, "rasp")[0], question)


def test_parts_are_those_of_explain(service: Service, zoo: Zoo) -> None:
    key, question = keys(zoo, "flowchart")[0], "What does this model compute?"
    found = service.parts(key, question, "if has a then p else q")
    direct = explain(service.oracle, service.entry(key).target, question, "if has a then p else q")
    assert list(found.parts) == [(part.name, part.rise) for part in direct.parts[: len(found.parts)]]
    assert [rise for _, rise in found.parts] == sorted((rise for _, rise in found.parts), reverse=True)


def test_a_look_says_what_the_target_is(service: Service, zoo: Zoo) -> None:
    for row in [zoo.rows(kind=kind)[0] for kind in ("rasp", "flowchart", "none")]:
        look = service.look(f"zoo#{row.id}")
        facts = dict(look.facts)
        assert facts["parameters"] == f"{service.entry(look.key).target.n_parameters:,}"
        assert facts["layers"] == str(zoo.families[row.family].n_layers)
        assert "BOS" not in facts["input tokens"]
        assert look.examples and all(png.startswith(b"\x89PNG") for png in look.pictures)


def test_facts_of_many_names_are_short(service: Service, zoo: Zoo) -> None:
    assert listed([f"t{i}" for i in range(1000)]).endswith("t23 and 976 more")
    entry = service.entry(keys(zoo, "rasp")[0])
    assert ("outputs", "a number") in facts_of(
        replace(entry.target, config=replace(entry.target.config, output="numerical"))
    )


def test_an_upload_is_answered_like_any_target(service: Service, own_files: list[Path]) -> None:
    key = service.upload(own_files)
    entry = service.entry(key)
    assert isinstance(entry, Entry) and entry.subject is None
    look = service.look(key)
    for question in look.examples:
        (answer,) = service.oracle.ask(entry.target, question)
        asked = service.ask(key, question)
        assert asked.own.said.text == answer.text and asked.other is not None
    asked = service.ask(key, "What is the output on a a b?")
    assert asked.own.truth == "2 2 1"  # hist counts; the target was run for the truth
    assert service.ask(key, "What does this model compute?").own.truth is None
